// SPDX-License-Identifier: Apache-2.0
//
// Sends Ethernet frames as they are given, and shows those that an interface receives.
//
// Usage:  rawframes send IFACE HEX[+N]...  each frame once, in order; +N: and N zeros after it
//         rawframes hear IFACE             one line of hex a frame (at most 256 bytes of it) until SIGTERM; the interface is
//                                          promiscuous meanwhile. Not those that it sends.
// Exit:   0; 1 when a frame cannot be sent; 2 on wrong usage or when the interface cannot be used
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static volatile sig_atomic_t ended;

static void end_now(int number) {
    ended = number;
}

static int send_all(int fd, char **frames) {
    for (; *frames; frames++) {
        static unsigned char frame[65536];
        size_t length = 0;
        const char *at = *frames;
        for (; at[0] && at[0] != '+' && at[1] && length < sizeof frame; at += 2, length++) {
            unsigned byte;
            if (sscanf(at, "%2x", &byte) != 1) return 2;
            frame[length] = (unsigned char)byte;
        }
        size_t zeros = 0;
        if (at[0] && (sscanf(at, "+%zu", &zeros) != 1 || zeros > sizeof frame - length)) return 2;
        memset(frame + length, 0, zeros);
        length += zeros;
        if (send(fd, frame, length, 0) != (ssize_t)length) {
            perror("send");
            return 1;
        }
    }
    return 0;
}

static int hear(int fd) {
    // Without SA_RESTART: a signal ends the wait.
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = end_now}, NULL);
    while (!ended) {
        unsigned char frame[65536];
        struct sockaddr_ll from;
        socklen_t from_len = sizeof from;
        ssize_t length = recvfrom(fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &from_len);
        if (length < 14 || from.sll_pkttype == PACKET_OUTGOING) continue;
        for (ssize_t i = 0; i < length && i < 256; i++) printf("%02x", frame[i]);
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv) {
    const int sends = argc >= 3 && strcmp(argv[1], "send") == 0;
    if (!sends && !(argc == 3 && strcmp(argv[1], "hear") == 0)) {
        fputs("usage: rawframes send IFACE HEX[+N]... | hear IFACE\n", stderr);
        return 2;
    }
    int fd = socket(AF_PACKET, SOCK_RAW, sends ? 0 : htons(ETH_P_ALL));
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = sends ? 0 : htons(ETH_P_ALL)};
    at.sll_ifindex = (int)if_nametoindex(argv[2]);
    struct packet_mreq promisc = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        (!sends && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof promisc) != 0)) {
        perror(argv[2]);
        return 2;
    }
    return sends ? send_all(fd, argv + 3) : hear(fd);
}
