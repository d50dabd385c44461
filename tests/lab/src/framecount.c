// SPDX-License-Identifier: Apache-2.0
//
// Counts the Ethernet frames that an interface receives (not those it sends), by content: source, destination,
// ethertype, and for ARP and IPv4 the addresses. The interface is promiscuous meanwhile, so nothing is missed.
//
// Usage:  framecount IFACE SECONDS [DST-MAC-PREFIX|any]     the prefix in hex, e.g. 5254 or 52:54
//         SIGTERM ends it early, with its output
// Output: one line a kind, "COUNT SRC DST ETHERTYPE [DETAIL]", then "COUNT total"
// Exit:   0; 2 on wrong usage or when the interface cannot be read
#include <arpa/inet.h>
#include <ctype.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { KINDS = 512, KEY = 128 };
static struct {
    char key[KEY];
    unsigned long count;
} kinds[KINDS];
static int used;
static volatile sig_atomic_t ended;

static void end_now(int number) {
    ended = number;
}

static void describe(const unsigned char *f, long len, char *out) {
    unsigned type = (unsigned)f[12] << 8 | f[13];
    int n = snprintf(out, KEY, "%02x:%02x:%02x:%02x:%02x:%02x %02x:%02x:%02x:%02x:%02x:%02x %04x", f[6], f[7], f[8],
                     f[9], f[10], f[11], f[0], f[1], f[2], f[3], f[4], f[5], type);
    if (type == 0x0806 && len >= 42)
        snprintf(out + n, KEY - (size_t)n, " arp-%s %u.%u.%u.%u>%u.%u.%u.%u", f[21] == 1 ? "request" : "reply", f[28],
                 f[29], f[30], f[31], f[38], f[39], f[40], f[41]);
    else if (type == 0x0800 && len >= 34)
        snprintf(out + n, KEY - (size_t)n, " ip%u %u.%u.%u.%u>%u.%u.%u.%u", f[23], f[26], f[27], f[28], f[29], f[30],
                 f[31], f[32], f[33]);
}

static void count(const char *key) {
    int i = 0;
    while (i < used && strcmp(kinds[i].key, key) != 0) i++;
    if (i == used) {
        if (used == KINDS) i--, key = "(other)";
        else used++;
        strcpy(kinds[i].key, key);
    }
    kinds[i].count++;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: framecount IFACE SECONDS [DST-MAC-PREFIX|any]\n", stderr);
        return 2;
    }
    char prefix[13] = "";
    if (argc > 3 && strcmp(argv[3], "any") != 0)
        for (const char *c = argv[3]; *c && strlen(prefix) < 12; c++)
            if (isxdigit((unsigned char)*c)) strncat(prefix, &(char){(char)tolower((unsigned char)*c)}, 1);

    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    at.sll_ifindex = (int)if_nametoindex(argv[1]);
    struct packet_mreq promisc = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd < 0 || !at.sll_ifindex || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof promisc) != 0) {
        perror(argv[1]);
        return 2;
    }
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = end_now}, NULL);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double end = (double)now.tv_sec + (double)now.tv_nsec / 1e9 + atof(argv[2]);
    unsigned long total = 0;
    while (!ended) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        double left = end - ((double)now.tv_sec + (double)now.tv_nsec / 1e9);
        if (left <= 0) break;
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, (int)(left * 1000) + 1) <= 0) continue;
        unsigned char f[2048];
        struct sockaddr_ll from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(fd, f, sizeof f, 0, (struct sockaddr *)&from, &from_len);
        if (n < 14 || from.sll_pkttype == PACKET_OUTGOING) continue;
        char dst[13], key[KEY];
        snprintf(dst, sizeof dst, "%02x%02x%02x%02x%02x%02x", f[0], f[1], f[2], f[3], f[4], f[5]);
        if (strncmp(dst, prefix, strlen(prefix)) != 0) continue;
        describe(f, n, key);
        count(key);
        total++;
    }
    for (int i = 0; i < used; i++) printf("%lu %s\n", kinds[i].count, kinds[i].key);
    printf("%lu total\n", total);
    return 0;
}
