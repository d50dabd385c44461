// SPDX-License-Identifier: Apache-2.0
//
// Pings an IPv4 address at a steady pace and tells, by sequence number, what was not answered or answered twice.
//
// Usage:  steadyping ADDRESS MILLISECONDS
//         SIGTERM: sends no more, waits until all is answered (30 s without an answer: it is lost), and tells
// Output: "sent N lost N twice N longest-pause-ms N", then a line "lost FIRST LAST" for each run of lost ones
// Exit:   0 nothing lost, nothing twice; 1 something was; 2 wrong usage or no socket
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 22, PATIENCE_MS = 30000, BUFFER = 4 << 20 };
struct echo {
    struct icmphdr header;
    uint32_t number; // the header's is short
};
static unsigned char answers[MOST]; // how often each was answered
static uint32_t sent, answered, twice;
static volatile sig_atomic_t ended;

static void end_now(int number) {
    ended = number;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint16_t checksum(const void *data, size_t length) {
    const uint16_t *words = data;
    uint32_t sum = 0;
    for (size_t i = 0; i < length / 2; i++) sum += words[i];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

// What could not be sent is lost.
static void send_one(int fd, uint16_t id) {
    struct echo e = {.header = {.type = ICMP_ECHO}, .number = sent};
    e.header.un.echo.id = id;
    e.header.un.echo.sequence = htons((uint16_t)sent);
    e.header.checksum = checksum(&e, sizeof e);
    sent++;
    if (send(fd, &e, sizeof e, 0) < 0) perror("send");
}

static void receive(int fd, uint16_t id) {
    unsigned char packet[256];
    ssize_t n;
    while ((n = recv(fd, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
        size_t skip = (packet[0] & 15u) * 4u;
        struct echo e;
        if ((size_t)n < skip + sizeof e) continue;
        memcpy(&e, packet + skip, sizeof e);
        if (e.header.type != ICMP_ECHOREPLY || e.header.un.echo.id != id || e.number >= sent) continue;
        if (answers[e.number]) twice++;
        else answered++;
        answers[e.number] = 1;
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    int pace = argc == 3 ? atoi(argv[2]) : 0;
    if (pace <= 0 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fputs("usage: steadyping ADDRESS MILLISECONDS\n", stderr);
        return 2;
    }
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){BUFFER}, sizeof(int)) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        perror(argv[1]);
        return 2;
    }
    uint16_t id = htons((uint16_t)getpid());
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = end_now}, NULL);
    int64_t due = now_ms(), last = due, longest = 0;
    // One that is late is not made up for: nothing is ever sent in a burst.
    while (!ended && sent < MOST) {
        int64_t now = now_ms();
        if (now >= due) {
            if (now - last > longest) longest = now - last;
            send_one(fd, id);
            last = now;
            due = now - due < pace ? due + pace : now + pace;
        }
        struct pollfd p = {fd, POLLIN, 0};
        if (due > now && poll(&p, 1, (int)(due - now)) <= 0) continue;
        receive(fd, id);
    }
    int64_t heard = now_ms();
    while (answered < sent && now_ms() - heard < PATIENCE_MS) {
        uint32_t before = answered;
        poll(&(struct pollfd){fd, POLLIN, 0}, 1, 100);
        receive(fd, id);
        if (answered != before) heard = now_ms();
    }
    printf("sent %u lost %u twice %u longest-pause-ms %lld\n", sent, sent - answered, twice, (long long)longest);
    for (uint32_t i = 0, first; i < sent; i++) {
        if (answers[i]) continue;
        for (first = i; i + 1 < sent && !answers[i + 1];) i++;
        printf("lost %u %u\n", first, i);
    }
    return answered < sent || twice ? 1 : 0;
}
