// SPDX-License-Identifier: Apache-2.0
//
// The contracts on the real kernel, as root, in a network namespace of its own.
// Needs cls_flower, cls_matchall, act_csum, act_ct, act_gact, act_mirred, act_pedit, act_tunnel_key
// and act_vlan, and iproute2's `tc` and `ip`; for hardware, netdevsim of a kernel whose simulated
// hardware takes flower rules (7.2, not 6.12).
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/linux_devlink_port.h"
#include "agent/ports/devlink/test_netdevsim.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "agent/ports/tc/tc_contract.h"
#include "agent/ports/tc/tc_offload_contract.h"

namespace fairlead {
namespace {

class LinuxEnv final : public TcEnv {
 public:
  LinuxEnv() : port_(*LinuxTcPort::Create()) {}
  ~LinuxEnv() override {
    for (const char* name : {"fltca", "fltcb"}) network_.DeleteLink(name);
  }
  TcPort& port() override { return *port_; }
  uint32_t AddEthernet(const std::string& name) override { return network_.AddEthernet(name); }
  void DeleteEthernet(const std::string& name) override { network_.DeleteLink(name); }
  void AddIngressQdisc(uint32_t ifindex) override { network_.AddIngressQdisc(ifindex); }
  void AddMatchall(uint32_t block, uint16_t priority) override {
    network_.AddMatchall(block, priority);
  }
  void Receive(const std::string& name, const MacAddress& to, int frames) override;

 private:
  netlink::TestNetwork network_;
  std::unique_ptr<TcPort> port_;
};

INSTANTIATE_TEST_SUITE_P(Linux, TcContract,
                         ::testing::Values([] { return std::make_unique<LinuxEnv>(); }));

TcPedit Route(bool v6) {
  return {.eth_src = *MacAddress::Parse("02:00:00:00:00:01"),
          .eth_dst = *MacAddress::Parse("52:54:00:00:01:0a"),
          .v6 = v6};
}
constexpr TcGact kTrap{.verdict = TcGact::Verdict::kTrap, .chain = 0};

std::string Shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "it cannot be run";
  std::string out;
  char part[4096];
  for (size_t n; (n = ::fread(part, 1, sizeof(part), pipe)) > 0;) out.append(part, n);
  const int status = ::pclose(pipe);
  return status == 0 ? out : StrCat(command, ": status ", status, ": ", out);
}

class LinuxTcPortTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_ = env_.AddEthernet("fltca");
    b_ = env_.AddEthernet("fltcb");
    ASSERT_EQ(Shell("ip link set fltca up && ip link set fltcb up"), "");
    ASSERT_TRUE(env_.port().AddClsact(a_, 0).ok());
    ASSERT_TRUE(env_.port().AddClsact(b_, 0).ok());
  }
  void Put(uint32_t chain, uint16_t priority, const TcMatch& match, std::vector<TcAction> actions) {
    TcChange change;
    change.at.ifindex = a_;
    change.filter.id = {.chain = chain, .priority = priority, .handle = 7};
    change.filter.match = match;
    change.filter.actions = std::move(actions);
    change.filter.cookie[0] = 0xfa;
    const absl::Status put = env_.port().Apply({&change, 1}).front();
    ASSERT_TRUE(put.ok()) << put;
  }

  LinuxEnv env_;
  uint32_t a_ = 0;
  uint32_t b_ = 0;
};

// What `tc` shows of a filter of the port is what it shows of one that it made itself.
TEST_F(LinuxTcPortTest, TcShowsWhatWasMeant) {
  const TcMirred out{.ifindex = b_};
  const TcTunnelSet set{.key_id = 1000,
                        .src = *IpAddress::Parse("192.0.2.1"),
                        .dst = *IpAddress::Parse("192.0.2.2"),
                        .dst_port = 4789,
                        .ttl = 64,
                        .no_csum = true};
  TcMatch admit, v4, v6, dhcp, ttl, ttl6, solicitation, group, station, arp, tagged, web, fresh,
      unreachable;
  web.ethertype = fresh.ethertype = unreachable.ethertype = ETH_P_IP;
  web.ip_proto = 6;
  web.dst_port = TcPortMask{0x1f80, 0xff80};
  fresh.ct_state = TcCtState{kCtTracked | kCtNew, kCtTracked | kCtNew | kCtRelated | kCtReply};
  unreachable.ip_proto = 1;
  unreachable.icmp_type = 3;
  unreachable.icmp_code = 4;
  group.dst_group = true;
  station.dst_group = false;
  arp.ethertype = ETH_P_ARP;
  arp.arp_sender_mac = *MacAddress::Parse("52:54:00:00:01:0a");
  arp.arp_sender_ip = *IpPrefix::Parse("10.1.0.7/32");
  tagged.ethertype = ETH_P_8021Q;
  tagged.vlan_id = 100;
  tagged.dst_mac = *MacAddress::Parse("52:54:00:00:01:0a");
  admit.ethertype = v4.ethertype = dhcp.ethertype = ttl.ethertype = ETH_P_IP;
  v6.ethertype = ttl6.ethertype = solicitation.ethertype = ETH_P_IPV6;
  admit.indev = "fltca";
  admit.src_mac = *MacAddress::Parse("52:54:00:00:01:0a");
  admit.src_ip = *IpPrefix::Parse("10.1.0.7/32");
  v4.dst_ip = *IpPrefix::Parse("10.1.0.0/16");
  v6.dst_ip = *IpPrefix::Parse("2001:db8:1::/48");
  dhcp.ip_proto = 17;
  dhcp.dst_port = TcPortMask{67};
  ttl.ttl_expiring = ttl6.ttl_expiring = true;
  solicitation.ip_proto = 58;
  solicitation.icmp_type = 135;
  solicitation.src_ip = *IpPrefix::Parse("fe80::7/128");
  const std::string route =
      "action pedit ex munge eth src set 02:00:00:00:00:01 munge eth dst set 52:54:00:00:01:0a "
      "munge ";
  const std::string route4 = route + "ip ttl dec pipe action csum ip4h pipe ";
  const std::string route6 = route + "ip6 hoplimit dec pipe ";
  const std::string encap =
      "action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 id 1000 dst_port 4789 ttl 64 "
      "nocsum pipe ";
  const std::string redirect = "action mirred egress redirect dev fltcb";
  struct Case {
    TcMatch match;
    std::vector<TcAction> actions;
    std::string words;
  };
  const Case cases[] = {
      {admit,
       {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}},
       "protocol ip flower indev fltca src_mac 52:54:00:00:01:0a src_ip 10.1.0.7 "
       "action goto chain 3"},
      {v4,
       {Route(false), TcCsum{}, out},
       "protocol ip flower dst_ip 10.1.0.0/16 " + route4 + redirect},
      {v4,
       {Route(false), TcCsum{}, set, out},
       "protocol ip flower dst_ip 10.1.0.0/16 " + route4 + encap + redirect},
      {v6, {Route(true), out}, "protocol ipv6 flower dst_ip 2001:db8:1::/48 " + route6 + redirect},
      {dhcp, {kTrap}, "protocol ip flower ip_proto udp dst_port 67 action trap"},
      {ttl, {kTrap}, "protocol ip flower ip_ttl 0/0xfe action trap"},
      {ttl6, {kTrap}, "protocol ipv6 flower ip_ttl 0/0xfe action trap"},
      {solicitation,
       {TcGact{}},
       "protocol ipv6 flower src_ip fe80::7 ip_proto icmpv6 type 135 action drop"},
      {group,
       {TcMirror{b_}, TcVlanPush{100}, out},
       "protocol all flower dst_mac 01:00:00:00:00:00/01:00:00:00:00:00 action mirred egress "
       "mirror dev fltcb pipe action vlan push id 100 protocol 802.1q pipe " +
           redirect},
      {station,
       {TcVlanPush{100}, out},
       "protocol all flower dst_mac 00:00:00:00:00:00/01:00:00:00:00:00 action vlan push id 100 "
       "protocol 802.1q pipe " +
           redirect},
      {arp,
       {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}},
       "protocol arp flower arp_sha 52:54:00:00:01:0a arp_sip 10.1.0.7 action goto chain 3"},
      {tagged,
       {TcVlanPop{}, out},
       "protocol 802.1q flower vlan_id 100 dst_mac 52:54:00:00:01:0a action vlan pop pipe " +
           redirect},
      {group,
       {TcMirror{b_}, TcGact{.verdict = TcGact::Verdict::kContinue, .chain = 0}},
       "protocol all flower dst_mac 01:00:00:00:00:00/01:00:00:00:00:00 action mirred egress "
       "mirror dev fltcb pipe action continue"},
      {web,
       {TcCt{.zone = 5}, TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}},
       "protocol ip flower ip_proto tcp dst_port 8064/65408 action ct zone 5 pipe "
       "action goto chain 3"},
      {fresh,
       {TcCt{.zone = 5, .commit = true}, Route(false), TcCsum{}, set, out},
       "protocol ip flower ct_state +trk+new-rel-rpl action ct commit zone 5 pipe " + route4 +
           encap + redirect},
      {unreachable, {TcGact{}}, "protocol ip flower ip_proto icmp type 3 code 4 action drop"},
  };
  // Without what no two filters share, and what `tc` gives none.
  const auto shown = [](const char* device) {
    std::string text;
    for (const auto line :
         absl::StrSplit(Shell(StrCat("tc filter show dev ", device, " ingress")), '\n')) {
      if (absl::StrContains(line, "index ") || absl::StrContains(line, "cookie ")) continue;
      StrAppend(&text, line, "\n");
    }
    return text;
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.words);
    Put(1, 20, c.match, c.actions);
    ASSERT_EQ(Shell(StrCat("tc filter add dev fltcb ingress chain 1 prio 20 handle 7 ", c.words)),
              "");
    const std::string ours = shown("fltca");
    EXPECT_TRUE(absl::StrContains(ours, "flower chain 1 handle 0x7")) << ours;
    EXPECT_EQ(ours, shown("fltcb"));
    for (const char* device : {"fltca", "fltcb"}) {
      ASSERT_EQ(Shell(StrCat("tc filter del dev ", device, " ingress chain 1")), "");
    }
  }
}

using Frame = std::vector<uint8_t>;

MacAddress Station(uint8_t number) { return MacAddress({0x52, 0x54, 0, 0, 1, number}); }

// RFC 1071: 0 over a header that has its checksum.
uint16_t Checksum(const uint8_t* bytes, size_t size) {
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i += 2) sum += uint32_t{bytes[i]} << 8 | bytes[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

constexpr size_t kIp = ETH_HLEN;  // where the IP header begins

struct Packet {
  MacAddress from = Station(1);
  uint8_t source = 7;  // the last byte of the address
  uint8_t ttl = 64;
  uint16_t port = 9;
  uint16_t fragment = 0;  // flags and offset (RFC 791 section 3.1)
  bool v6 = false;
};

// A UDP datagram from 10.1.0.N to 10.2.0.1, or from fd00::N to fd01::1. `mark` is its source port.
Frame Make(const Packet& packet, uint16_t mark) {
  Frame frame;
  const auto put = [&](std::initializer_list<int> bytes) {
    for (const int byte : bytes) frame.push_back(static_cast<uint8_t>(byte));
  };
  const auto mac = [&](const MacAddress& address) {
    frame.insert(frame.end(), address.bytes().begin(), address.bytes().end());
  };
  mac(Station(0xfe));
  mac(packet.from);
  if (packet.v6) {
    put({0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, packet.ttl});
    put({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, packet.source});
    put({0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  } else {
    put({0x08,
         0x00,
         0x45,
         0,
         0,
         32,
         0,
         0,
         packet.fragment >> 8,
         packet.fragment & 0xff,
         packet.ttl,
         17,
         0,
         0,
         10,
         1,
         0,
         packet.source,
         10,
         2,
         0,
         1});
    const uint16_t sum = Checksum(&frame[kIp], 20);
    frame[kIp + 10] = static_cast<uint8_t>(sum >> 8);
    frame[kIp + 11] = static_cast<uint8_t>(sum & 0xff);
  }
  put({mark >> 8, mark & 0xff, packet.port >> 8, packet.port & 0xff, 0, 12, 0, 0, 1, 2, 3, 4});
  return frame;
}

constexpr uint16_t kFirstMark = 0xf000;

// 0: none of Make's.
uint16_t MarkOf(const Frame& frame) {
  if (frame.size() < kIp + 20) return 0;
  const bool v6 = frame[kIp] >> 4 == 6;
  const size_t udp = kIp + (v6 ? 40 : 20);
  if (frame.size() < udp + 2 || frame[kIp + (v6 ? 6 : 9)] != 17) return 0;
  return static_cast<uint16_t>(frame[udp] << 8 | frame[udp + 1]);
}

// Sends and hears Ethernet frames of one device.
class Tap {
 public:
  explicit Tap(const char* device) : fd_(::socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(device));
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Tap() { ::close(fd_); }
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  void Send(const Frame& frame) {
    EXPECT_EQ(::send(fd_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
  }
  // The next of Make's that came in; empty when none does for long.
  Frame Next() {
    for (;;) {
      pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, /*timeout=*/20'000) <= 0) return {};
      Frame frame(2048);
      sockaddr_ll from{};
      socklen_t size = sizeof(from);
      const ssize_t got =
          ::recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
      frame.resize(static_cast<size_t>(got));
      if (MarkOf(frame) >= kFirstMark) return frame;  // the kernel sends some of its own
    }
  }

 private:
  const int fd_;
};

void LinuxEnv::Receive(const std::string& name, const MacAddress& to, int frames) {
  EXPECT_EQ(Shell(StrCat("ip link set ", name, " up")), "");
  Frame frame(60);
  std::copy(to.bytes().begin(), to.bytes().end(), frame.begin());
  frame[6] = 2;  // some sender
  frame[12] = 0x88;
  frame[13] = 0xb5;  // an EtherType for experiments (IEEE 802)
  Tap beyond(StrCat("p", name).c_str());
  for (int i = 0; i < frames; ++i) beyond.Send(frame);
}

// Frames that a guest sends come in at fltca; what is sent on is heard behind fltcb.
class LinuxTcPacketTest : public LinuxTcPortTest {
 protected:
  void SetUp() override {
    LinuxTcPortTest::SetUp();
    guest_.emplace("pfltca");
    slow_path_.emplace("fltca");
    beyond_.emplace("pfltcb");
    TcMatch match;
    match.indev = "fltca";
    match.src_mac = Station(1);
    match.ethertype = ETH_P_IP;
    match.src_ip = *IpPrefix::Parse("10.1.0.7/32");
    Put(0, 10, match, {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}});
    match.ethertype = ETH_P_IPV6;
    match.src_ip = *IpPrefix::Parse("fd00::7/128");
    Put(0, 11, match, {TcGact{.verdict = TcGact::Verdict::kGotoChain, .chain = 3}});
    Put(0, 100, {}, {TcGact{}});
    uint16_t priority = 0;
    for (const bool v6 : {false, true}) {
      TcMatch on_path;
      on_path.ethertype = v6 ? ETH_P_IPV6 : ETH_P_IP;
      TcMatch expiring = on_path, dhcp = on_path;
      expiring.ttl_expiring = true;
      dhcp.ip_proto = 17;
      dhcp.dst_port = TcPortMask{static_cast<uint16_t>(v6 ? 547 : 67)};
      on_path.dst_ip = *IpPrefix::Parse(v6 ? "fd01::/16" : "10.2.0.0/16");
      Put(3, ++priority, dhcp, {kTrap});
      Put(3, ++priority, expiring, {kTrap});
      if (v6) {
        Put(3, ++priority, on_path, {Route(true), TcMirred{.ifindex = b_}});
      } else {
        Put(3, ++priority, on_path, {Route(false), TcCsum{}, TcMirred{.ifindex = b_}});
      }
    }
    Put(3, 100, {}, {TcGact{}});
  }
  void Send(const Packet& packet) {
    sent_ = Make(packet, ++mark_);
    guest_->Send(sent_);
    // A packet socket sees all that comes in, whatever becomes of it.
    EXPECT_EQ(slow_path_->Next(), sent_);
  }
  // As it came out behind fltcb; empty when it did not.
  Frame SentOn(const Packet& packet) {
    Send(packet);
    const uint16_t mark = mark_;
    const Frame sent = sent_;
    Send({});  // when this has passed, the one before has or never will
    Frame result;
    for (;;) {
      const Frame frame = beyond_->Next();
      EXPECT_FALSE(frame.empty());
      if (frame.empty() || MarkOf(frame) == mark_) break;
      if (MarkOf(frame) == mark) result = frame;
    }
    sent_ = sent;
    return result;
  }

  std::optional<Tap> guest_, slow_path_, beyond_;
  Frame sent_;
  uint16_t mark_ = kFirstMark;
};

TEST_F(LinuxTcPacketTest, ARouterChangesMacsTtlAndChecksum) {
  for (const uint8_t ttl : {2, 64, 255}) {
    for (const bool v6 : {false, true}) {
      SCOPED_TRACE(StrCat(v6 ? "IPv6" : "IPv4", " ", ttl));
      Frame got = SentOn({.ttl = ttl, .v6 = v6});
      ASSERT_EQ(got.size(), sent_.size());
      Frame want = sent_;
      const std::array<uint8_t, 6> to = Route(v6).eth_dst.bytes(), from = Route(v6).eth_src.bytes();
      std::copy(to.begin(), to.end(), want.begin());
      std::copy(from.begin(), from.end(), want.begin() + 6);
      --want[kIp + (v6 ? 7 : 8)];
      if (!v6) {
        EXPECT_EQ(Checksum(&got[kIp], 20), 0);
        std::copy_n(&got[kIp + 10], 2, &want[kIp + 10]);
      }
      EXPECT_EQ(got, want);
    }
  }
}

TEST_F(LinuxTcPacketTest, WhatIsTrappedGoesNowhereElse) {
  for (const bool v6 : {false, true}) {
    SCOPED_TRACE(v6 ? "IPv6" : "IPv4");
    for (const uint8_t ttl : {0, 1}) {
      EXPECT_TRUE(SentOn({.ttl = ttl, .v6 = v6}).empty()) << int{ttl};
    }
    const uint16_t port = v6 ? 547 : 67;
    EXPECT_TRUE(SentOn({.port = port, .v6 = v6}).empty());
    EXPECT_FALSE(SentOn({.port = static_cast<uint16_t>(port + 1), .v6 = v6}).empty());
  }
}

TEST_F(LinuxTcPacketTest, OnlyWhatIsAdmittedGetsAnywhere) {
  for (const bool v6 : {false, true}) {
    SCOPED_TRACE(v6 ? "IPv6" : "IPv4");
    EXPECT_FALSE(SentOn({.v6 = v6}).empty());
    EXPECT_TRUE(SentOn({.from = Station(2), .v6 = v6}).empty());
    EXPECT_TRUE(SentOn({.source = 8, .v6 = v6}).empty());
  }
}

// The kernel's flower finds no ports in a fragment, not even in the first, which has them
// (FLOW_DISSECTOR_F_PARSE_1ST_FRAG is not set, net/sched/cls_flower.c).
TEST_F(LinuxTcPacketTest, AFragmentHasNoPorts) {
  EXPECT_FALSE(SentOn({.port = 67, .fragment = 0x2000}).empty());
  EXPECT_FALSE(SentOn({.port = 67, .fragment = 0x0001}).empty());
}

class NetdevsimEnv final : public TcOffloadEnv {
 public:
  NetdevsimEnv() : port_(*LinuxTcPort::Create()), representors_(MakeRepresentors(&netdevsim_, 2)) {}
  ~NetdevsimEnv() override { network_.DeleteLink("fltcplain"); }
  TcPort& port() override { return *port_; }
  uint32_t Representor(uint16_t vf) override { return representors_.at(vf); }
  uint32_t AddEthernet(const std::string& name) override { return network_.AddEthernet(name); }

 private:
  netlink::TestNetwork network_;
  std::unique_ptr<TcPort> port_;
  TestNetdevsim netdevsim_;
  const std::vector<uint32_t> representors_;
};

std::unique_ptr<TcOffloadEnv> MakeNetdevsim() {
  return TestNetdevsim::Available() ? std::make_unique<NetdevsimEnv>() : nullptr;
}

// None on a kernel whose netdevsim is known to take no flower rule.
std::vector<TcOffloadEnvMaker> Makers() {
  if (TestNetdevsim::Available() && !TestNetdevsim::TakesFlower()) return {};
  return {MakeNetdevsim};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TcOffloadContract);
INSTANTIATE_TEST_SUITE_P(Netdevsim, TcOffloadContract, ::testing::ValuesIn(Makers()));

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  fairlead::netlink::EnterNewNetworkNamespace();
  return RUN_ALL_TESTS();
}
