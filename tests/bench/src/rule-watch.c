/* SPDX-License-Identifier: Apache-2.0
 *
 * rule-watch: listens to what the kernel tells of TC (RTNLGRP_TC), as an agent does, until SIGTERM. For each block that
 * filters were put into it then prints a line: its index in hexadecimal, how many filters were put, the times of the first
 * and the last of them and of the last one between them and the one before with more than a pause of nothing, how many
 * messages of filters there were in all (deletions too), in milliseconds of CLOCK_MONOTONIC. "lost" first, if any were.
 * Prints "ready" once it listens.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kBlocks = 64 };

struct block {
  unsigned index;
  unsigned long put, messages;
  double first, last;
};

static char buffer[1 << 18];
static struct block blocks[kBlocks];

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int fail(const char* what) {
  fprintf(stderr, "rule-watch: %s: %s\n", what, strerror(errno));
  return 1;
}

/* Of a device's own table: 0. */
static struct block* block_of(const struct tcmsg* tc) {
  const unsigned index = (unsigned)tc->tcm_ifindex == TCM_IFINDEX_MAGIC_BLOCK ? tc->tcm_block_index : 0;
  int i = 0;
  while (i < kBlocks - 1 && blocks[i].messages != 0 && blocks[i].index != index) ++i;
  blocks[i].index = index;
  return &blocks[i];
}

static void take(const struct nlmsghdr* message, double now) {
  if (message->nlmsg_type != RTM_NEWTFILTER && message->nlmsg_type != RTM_DELTFILTER) return;
  struct block* block = block_of(NLMSG_DATA(message));
  ++block->messages;
  if (message->nlmsg_type != RTM_NEWTFILTER) return;
  if (block->put++ == 0) block->first = now;
  block->last = now;
}

int main(void) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  const int group = RTNLGRP_TC, room = 256 << 20;
  int lost = 0;
  sigset_t signals;
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  struct pollfd wait[2] = {{fd, POLLIN, 0}, {signalfd(-1, &signals, SFD_CLOEXEC), POLLIN, 0}};
  if (fd < 0 || wait[1].fd < 0) return fail("open");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) return fail("SO_RCVBUFFORCE");
  if (bind(fd, (struct sockaddr*)&self, sizeof self) != 0) return fail("bind");
  if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) return fail("listen");
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (poll(wait, 2, -1) < 0 && errno != EINTR) return fail("poll");
    if (wait[0].revents) {
      ssize_t left = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      const double now = now_ms();
      if (left < 0 && errno == ENOBUFS) lost = 1;
      if (left < 0) continue;
      for (const struct nlmsghdr* m = (const struct nlmsghdr*)buffer; NLMSG_OK(m, (unsigned)left); m = NLMSG_NEXT(m, left)) {
        take(m, now);
      }
    } else if (wait[1].revents) { /* all that came before was read */
      if (lost) puts("lost");
      for (int i = 0; i < kBlocks && blocks[i].messages != 0; ++i) {
        printf("%x %lu %.3f %.3f %lu\n", blocks[i].index, blocks[i].put, blocks[i].first, blocks[i].last, blocks[i].messages);
      }
      return 0;
    }
  }
}
