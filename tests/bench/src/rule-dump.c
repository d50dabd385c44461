/* SPDX-License-Identifier: Apache-2.0
 *
 * rule-dump BLOCK: reads all filters of a TC block by one RTM_GETTFILTER dump, with everything that the kernel tells of
 * them, and looks at nothing: as fast as rules can be read. Prints how many there were and how many milliseconds it took.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static char buffer[1 << 20];

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int fail(const char* what) {
  fprintf(stderr, "rule-dump: %s: %s\n", what, strerror(errno));
  return 1;
}

int main(int argc, char** argv) {
  struct {
    struct nlmsghdr header;
    struct tcmsg tc;
  } request;
  const double begin = now_ms();
  unsigned long rules = 0;
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (argc != 2) {
    fprintf(stderr, "usage: rule-dump BLOCK\n");
    return 2;
  }
  if (fd < 0) return fail("socket");
  memset(&request, 0, sizeof request);
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETTFILTER;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.tc.tcm_family = AF_UNSPEC;
  request.tc.tcm_ifindex = (int)TCM_IFINDEX_MAGIC_BLOCK;
  request.tc.tcm_block_index = (unsigned)strtoul(argv[1], NULL, 0);
  if (send(fd, &request, sizeof request, 0) < 0) return fail("send");
  for (;;) {
    ssize_t left = recv(fd, buffer, sizeof buffer, 0);
    const struct nlmsghdr* message = (const struct nlmsghdr*)buffer;
    if (left < 0) return fail("recv");
    for (; NLMSG_OK(message, (unsigned)left); message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) {
        printf("%lu %.1f\n", rules, now_ms() - begin);
        return 0;
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        errno = -((const struct nlmsgerr*)NLMSG_DATA(message))->error;
        return fail("dump");
      }
      const struct tcmsg* tc = NLMSG_DATA(message);
      if (message->nlmsg_type == RTM_NEWTFILTER && tc->tcm_handle != 0) ++rules;
    }
  }
}
