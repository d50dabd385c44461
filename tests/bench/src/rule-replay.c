/* SPDX-License-Identifier: Apache-2.0
 *
 * rule-replay record DEVICE BLOCK FILE: until SIGTERM, writes every RTM_NEWTFILTER request for the TC block that anybody
 * sends, as seen by the nlmon device, into FILE. Prints "ready" once it looks, and how many there were at the end.
 * rule-replay play FILE BLOCK: puts these rules into another block: as fast as finished messages can be sent, 64 a system
 * call, each with an acknowledgement that is read. Prints how many were taken, and how many milliseconds it took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

enum { kAtOnce = 64 };

static char buffer[1 << 20];
static char acks[kAtOnce][1024];

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int fail(const char* what) {
  fprintf(stderr, "rule-replay: %s: %s\n", what, strerror(errno));
  return 1;
}

/* The kernel's own news of it has the flags of the request, and the number of who asked. */
static int is_put(const struct nlmsghdr* m) {
  return m->nlmsg_type == RTM_NEWTFILTER && (m->nlmsg_flags & NLM_F_REQUEST) != 0 && m->nlmsg_pid == 0 &&
         m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct tcmsg));
}

static int record(const char* device, unsigned block, const char* path) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), room = 512 << 20;
  unsigned long count = 0;
  sigset_t signals;
  FILE* out = fopen(path, "w");
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(device)};
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  struct pollfd wait[2] = {{fd, POLLIN, 0}, {signalfd(-1, &signals, SFD_CLOEXEC), POLLIN, 0}};
  if (fd < 0 || wait[1].fd < 0 || out == NULL) return fail("open");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) return fail("SO_RCVBUFFORCE");
  if (bind(fd, (struct sockaddr*)&at, sizeof at) != 0) return fail("bind");
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (poll(wait, 2, -1) < 0 && errno != EINTR) return fail("poll");
    if (wait[0].revents) {
      ssize_t left = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (left < 0) continue;
      for (const struct nlmsghdr* m = (const struct nlmsghdr*)buffer; NLMSG_OK(m, (unsigned)left); m = NLMSG_NEXT(m, left)) {
        if (!is_put(m) || ((const struct tcmsg*)NLMSG_DATA(m))->tcm_block_index != block) continue;
        if (fwrite(m, 1, NLMSG_ALIGN(m->nlmsg_len), out) != NLMSG_ALIGN(m->nlmsg_len)) return fail(path);
        ++count;
      }
    } else if (wait[1].revents) { /* all that came before was read */
      struct tpacket_stats stats;
      socklen_t size = sizeof stats;
      if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0) return fail("PACKET_STATISTICS");
      if (stats.tp_drops != 0) errno = ENOBUFS;
      if (stats.tp_drops != 0 || fclose(out) != 0) return fail(path);
      printf("%lu\n", count);
      return 0;
    }
  }
}

/* The acknowledgements of what was sent: how many said yes. */
static long answered(int fd, int sent) {
  struct mmsghdr headers[kAtOnce];
  struct iovec parts[kAtOnce];
  long taken = 0;
  while (sent > 0) {
    memset(headers, 0, sizeof headers);
    for (int i = 0; i < sent; ++i) {
      parts[i] = (struct iovec){acks[i], sizeof acks[i]};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = recvmmsg(fd, headers, (unsigned)sent, MSG_WAITFORONE, NULL);
    if (got < 0) return -1;
    for (int i = 0; i < got; ++i) {
      const struct nlmsghdr* m = (const struct nlmsghdr*)acks[i];
      const struct nlmsgerr* said = NLMSG_DATA(m);
      if (m->nlmsg_type != NLMSG_ERROR) continue;
      --sent;
      if (said->error == 0) ++taken;
      else fprintf(stderr, "rule-replay: refused: %s\n", strerror(-said->error));
    }
  }
  return taken;
}

static int play(const char* path, unsigned block) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), room = 1 << 20, one = 1;
  struct stat about;
  FILE* in = fopen(path, "r");
  if (fd < 0 || in == NULL || fstat(fileno(in), &about) != 0) return fail(path);
  char* tape = malloc((size_t)about.st_size + 1);
  if (tape == NULL || fread(tape, 1, (size_t)about.st_size, in) != (size_t)about.st_size) return fail(path);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  ssize_t left = about.st_size;
  for (struct nlmsghdr* m = (struct nlmsghdr*)tape; NLMSG_OK(m, (unsigned long)left); m = NLMSG_NEXT(m, left)) {
    ((struct tcmsg*)NLMSG_DATA(m))->tcm_block_index = block;
    m->nlmsg_flags = (unsigned short)((m->nlmsg_flags & ~NLM_F_ECHO) | NLM_F_ACK);
    m->nlmsg_pid = 0;
  }
  unsigned long count = 0;
  long taken = 0;
  const double begin = now_ms();
  left = about.st_size;
  for (const struct nlmsghdr* m = (const struct nlmsghdr*)tape; NLMSG_OK(m, (unsigned long)left);) {
    const char* from = (const char*)m;
    int sent = 0;
    for (; sent < kAtOnce && NLMSG_OK(m, (unsigned long)left); ++sent) m = NLMSG_NEXT(m, left);
    if (send(fd, from, (size_t)((const char*)m - from), 0) < 0) return fail("send");
    const long yes = answered(fd, sent);
    if (yes < 0) return fail("receive");
    taken += yes;
    count += (unsigned long)sent;
  }
  const double took = now_ms() - begin;
  printf("%ld %.3f\n", taken, took);
  return (unsigned long)taken == count ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc == 5 && strcmp(argv[1], "record") == 0) return record(argv[2], (unsigned)strtoul(argv[3], NULL, 0), argv[4]);
  if (argc == 4 && strcmp(argv[1], "play") == 0) return play(argv[2], (unsigned)strtoul(argv[3], NULL, 0));
  fprintf(stderr, "usage: rule-replay record DEVICE BLOCK FILE | play FILE BLOCK\n");
  return 2;
}
