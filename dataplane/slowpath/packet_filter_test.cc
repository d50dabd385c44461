// SPDX-License-Identifier: Apache-2.0
//
// The kernel's filter, run by the kernel: on a pair of Unix sockets, which need no rights.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "agent/base/unique_fd.h"
#include "dataplane/slowpath/packet_socket.h"
#include "dataplane/slowpath/test_frames.h"

namespace fairlead::slowpath {
namespace {

class QuestionFilterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    in_ = UniqueFd(fds[0]);
    out_ = UniqueFd(fds[1]);
    const auto filter = QuestionFilter();
    sock_fprog program{};
    program.len = static_cast<unsigned short>(filter.size());
    program.filter = const_cast<sock_filter*>(filter.data());
    ASSERT_EQ(::setsockopt(out_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
  }
  bool Passes(const Octets& frame) {
    // Sending to a filter that refuses fails or does not, by the kernel's version.
    (void)!::send(in_.get(), frame.data(), frame.size(), 0);
    Octets got(65536);
    const ssize_t size = ::recv(out_.get(), got.data(), got.size(), 0);
    if (size < 0) return false;
    EXPECT_EQ(static_cast<size_t>(size), frame.size());  // whole
    return true;
  }
  UniqueFd in_, out_;
};

TEST_F(QuestionFilterTest, EveryQuestionPasses) {
  for (const Octets& frame : AllQuestions()) EXPECT_TRUE(Passes(frame)) << ToHex(frame);
  EXPECT_TRUE(Passes(
      Dhcp4(DhcpOption(53, {3}),
            {.client = kGuest4, .from = kGuest4, .to = "10.0.0.1", .to_mac = kGatewayText})));
}

TEST_F(QuestionFilterTest, OtherFramesDoNot) {
  const auto four = [](std::string_view to_mac, uint8_t protocol, const Octets& payload,
                       const Ip4Options& options = {}) {
    return EthernetFrame(to_mac, kGuestMac, 0x0800,
                         Ip4Packet(kGuest4, "192.0.2.1", protocol, payload, options));
  };
  const Octets dhcp = U16(68) + U16(67) + Octets(300), dns = U16(4000) + U16(53) + Octets(40);
  EXPECT_FALSE(Passes(four(kOtherMac, 17, dhcp)));
  EXPECT_FALSE(Passes(four(kAllMac, 17, dns)));
  EXPECT_FALSE(Passes(four(kAllMac, 6, dhcp)));
  EXPECT_FALSE(Passes(four(kAllMac, 17, dhcp, {.fragment = 1})));
  EXPECT_FALSE(Passes(four(kGatewayText, 17, dns)));
  EXPECT_FALSE(Passes(four(kGatewayText, 6, Octets(40))));
  EXPECT_FALSE(Passes(four(kGatewayText, 1, Hex("0000[6]"))));  // an echo's reply
  EXPECT_FALSE(Passes(four("02:66:6c:00:00:02", 1, Hex("0800[6]"))));
  EXPECT_FALSE(Passes(four("ff:ff:ff:ff:00:01", 17, dhcp)));

  const auto six = [](std::string_view to_mac, uint8_t next, const Octets& payload) {
    return EthernetFrame(to_mac, kGuestMac, 0x86dd,
                         Ip6Packet(kGuest6, "2001:db8:9::9", next, payload));
  };
  const Octets dhcp6 = U16(546) + U16(547) + Octets(40);
  EXPECT_FALSE(Passes(six(kOtherMac, 17, dhcp6)));
  EXPECT_FALSE(Passes(six("33:33:00:01:00:02", 17, dns)));
  EXPECT_FALSE(Passes(six("33:33:00:01:00:02", 6, dhcp6)));
  EXPECT_FALSE(Passes(six("33:33:00:01:00:03", 17, dhcp6)));
  EXPECT_FALSE(Passes(six(kGatewayText, 17, dhcp6)));
  EXPECT_FALSE(Passes(six(kGatewayText, 58, Hex("8100[6]"))));
  EXPECT_FALSE(Passes(six(kOtherMac, 58, Hex("8000[6]"))));
  EXPECT_FALSE(Passes(six("33:33:00:00:00:01", 58, Hex("8800[30]"))));  // an advertisement

  EXPECT_FALSE(Passes(EthernetFrame(kAllMac, kGuestMac, 0x8100, Octets(60))));
  EXPECT_FALSE(Passes(EthernetFrame(kAllMac, kGuestMac, 0x88cc, Octets(60))));
}

TEST_F(QuestionFilterTest, CutFramesDoNoHarm) {
  for (const Octets& frame : AllQuestions()) {
    for (size_t size = 1; size < std::min<size_t>(frame.size(), 60); ++size) {
      Octets cut(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size));
      Passes(cut);
    }
  }
}

}  // namespace
}  // namespace fairlead::slowpath
