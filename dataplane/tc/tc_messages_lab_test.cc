// SPDX-License-Identifier: Apache-2.0
//
// For every rule that a network compiles to, the agent's message to the kernel and that of
// iproute2's `tc`, told in its own words to make the same rule, are the same, attribute by
// attribute. Both are seen on the way, by an nlmon device in a network namespace of its own.
// Needs root, `tc` and `ip`, the modules nlmon, cls_flower, vxlan, act_csum, act_gact, act_mirred,
// act_pedit, act_tunnel_key and act_vlan.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_tunnel_key.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/netlink/attributes.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/pipeline/provider.h"
#include "dataplane/tc/lower.h"

namespace fairlead {
namespace {

using netlink::Bytes;
using Lines = std::vector<std::string>;

constexpr uint32_t kStore = 0x01020304;
constexpr char kMac[] = "52:54:00:00:01:04";
constexpr char kFarMac[] = "52:54:00:00:01:05";
constexpr char kPfMac[] = "52:54:00:00:00:01";

std::string Hex(Bytes bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A message as lines, "path = bytes", where what is nested has a path and what is a list keeps
// its order. What says nothing is left out: flags of 0, "no checksum" that is not set, the whole
// mask of a port, which is the kernel's default (fl_set_key_val, net/sched/cls_flower.c), the NUL
// of a text; and the cookies of all actions but the first, where the agent puts its own: `tc`
// gives every later one the same.
class Words {
 public:
  explicit Words(Bytes message) {
    const auto header = *netlink::ReadStruct<nlmsghdr>(message);
    const Bytes payload = netlink::AfterHeader(message, sizeof(nlmsghdr));
    lines_.push_back(absl::StrFormat("type %u flags %#x", header.nlmsg_type,
                                     header.nlmsg_flags & ~unsigned{NLM_F_ACK}));
    const auto tc = *netlink::ReadStruct<tcmsg>(payload);
    lines_.push_back(absl::StrFormat("ifindex %#x handle %#x parent %#x info %#x", tc.tcm_ifindex,
                                     tc.tcm_handle, tc.tcm_parent, tc.tcm_info));
    netlink::ForEachAttribute(netlink::AfterHeader(payload, sizeof(tcmsg)), &error_,
                              [this](uint16_t type, Bytes bytes) {
                                if (type == TCA_OPTIONS) return Flower(bytes);
                                Add(StrCat("filter ", type), bytes, type == TCA_KIND);
                              });
    std::sort(lines_.begin(), lines_.end());
  }
  const Lines& lines() const { return lines_; }
  bool ok() const { return error_.ok(); }

 private:
  void Add(const std::string& path, Bytes bytes, bool text = false) {
    if (text && !bytes.empty() && bytes.back() == 0) bytes = bytes.first(bytes.size() - 1);
    lines_.push_back(StrCat(path, " = ", Hex(bytes)));
  }
  void Flower(Bytes options) {
    netlink::ForEachAttribute(options, &error_, [this](uint16_t type, Bytes bytes) {
      if (type == TCA_FLOWER_ACT) return Actions(bytes);
      if (type == TCA_FLOWER_FLAGS && Hex(bytes) == "00000000") return;
      const bool of_port = type == TCA_FLOWER_KEY_UDP_DST_MASK ||
                           type == TCA_FLOWER_KEY_TCP_DST_MASK ||
                           type == TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK;
      if (of_port && Hex(bytes) == "ffff") return;
      Add(StrCat("flower ", type), bytes, type == TCA_FLOWER_INDEV);
    });
  }
  void Actions(Bytes list) {
    netlink::ForEachAttribute(list, &error_, [this](uint16_t index, Bytes action) {
      const std::string path = StrCat("action ", index, " ");
      netlink::ForEachAttribute(action, &error_, [&](uint16_t type, Bytes bytes) {
        if (type == TCA_ACT_COOKIE && index > 1) return;
        if (type != TCA_ACT_OPTIONS) return Add(StrCat(path, type), bytes, type == TCA_ACT_KIND);
        netlink::ForEachAttribute(bytes, &error_, [&](uint16_t option, Bytes value) {
          // Numbered by each kind of action for itself: of gact, csum, mirred and pedit none is 10.
          if (option == TCA_TUNNEL_KEY_NO_CSUM && Hex(value) == "00") return;
          Add(StrCat(path, "option ", option), value);
        });
      });
    });
  }

  Lines lines_;
  netlink::DecodeError error_;
};

class TcMessagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    netlink::EnterNewNetworkNamespace();
    netlink::TestNetwork network;
    representor_ = network.AddEthernet("flrep");
    other_ = network.AddEthernet("flother");
    uplink_ = network.AddEthernet("flup");
    ASSERT_EQ(
        std::system("ip link set lo up && ip link add flvx type vxlan external dstport 4789 && "
                    "ip link add nlmon0 type nlmon && ip link set nlmon0 up"),
        0);
    port_ = *LinuxTcPort::Create();
    vpc_.vni = *Vni::Make(100);
    vpc_.ordinal = 1;
    vpc_.tunnel.device = "flvx";
    vpc_.tunnel.ifindex = ::if_nametoindex("flvx");
    ASSERT_TRUE(port_->AddClsact(representor_, BlockIndexOf(vpc_.vni)).ok());
    ASSERT_TRUE(port_->AddClsact(vpc_.tunnel.ifindex, 0).ok());
    monitor_ = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex("nlmon0"));
    ASSERT_EQ(::bind(monitor_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }

  // What was asked of the kernel since the last time: to make filters. As nobody listens to such
  // news here, the kernel itself says nothing of the kind.
  std::vector<Lines> Asked() {
    std::vector<Lines> out;
    std::vector<uint8_t> buffer(65536);
    while (true) {
      const ssize_t size = ::recv(monitor_.get(), buffer.data(), buffer.size(), 0);
      if (size <= 0) return out;
      const Bytes message = Bytes(buffer).first(static_cast<size_t>(size));
      const auto header = netlink::ReadStruct<nlmsghdr>(message);
      if (!header || header->nlmsg_type != RTM_NEWTFILTER) continue;
      const Words words(message.first(header->nlmsg_len));
      EXPECT_TRUE(words.ok());
      out.push_back(words.lines());
    }
  }
  // Of the hosts that the tunnel is between: this one, all that may send, and one that is sent to.
  struct Underlay {
    std::string local, network, other, vtep;
  };
  void CompareOverlay(const Underlay& underlay);
  void Compare(const FlowRule& rule, const std::string& words);
  // Each rule with what `tc` is told, by place; there is nothing else in either.
  void CompareAll(const std::vector<FlowRule>& rules,
                  const std::map<std::string, std::string>& words);
  void CompareProvider(std::optional<VlanId> vlan, std::map<std::string, std::string> words);
  BoundPort Port(uint32_t ordinal, uint32_t representor, const char* mac) const;

  VpcContext vpc_;
  uint32_t representor_ = 0, other_ = 0, uplink_ = 0;
  std::unique_ptr<TcPort> port_;
  UniqueFd monitor_;
};

void TcMessagesTest::Compare(const FlowRule& rule, const std::string& words) {
  const auto names = [](uint32_t ifindex) -> std::optional<std::string> {
    char name[IF_NAMESIZE];
    if (::if_indextoname(ifindex, name) == nullptr) return std::nullopt;
    return name;
  };
  const absl::StatusOr<TcFilter> filter = Lower(rule, names, kStore);
  ASSERT_TRUE(filter.ok()) << filter.status();
  const bool of_uplink = rule.location.table.kind == RuleTable::Kind::kUplinkIngress;
  const uint32_t device = of_uplink ? uplink_ : vpc_.tunnel.ifindex;
  TcChange change{TcChange::Verb::kPut, AttachPointOf(rule.location.table, device), *filter,
                  /*exclusive=*/true};
  Asked();
  const bool taken = port_->Apply({&change, 1}).front().ok();
  const std::vector<Lines> ours = Asked();
  change.verb = TcChange::Verb::kDelete;
  ASSERT_TRUE(port_->Apply({&change, 1}).front().ok());

  // The cookie is the first action's: behind its own words.
  const size_t first = words.find("action ") + 7;
  const size_t end = std::min(words.find(" action ", first), words.size());
  const std::string cookie = StrCat(" cookie ", Hex(filter->cookie));
  const std::string command =
      StrCat("tc filter add ",
             change.at.block != 0 ? StrCat("block ", change.at.block)
                                  : StrCat("dev ", of_uplink ? "flup" : "flvx", " ingress"),
             " chain ", rule.location.chain, " prio ", rule.location.priority, " handle ",
             rule.location.handle, " ", words.substr(0, end), cookie, words.substr(end));
  // One for hardware alone is refused here; what was asked is the matter.
  EXPECT_EQ(std::system((command + (taken ? "" : " 2>/dev/null")).c_str()) == 0, taken) << command;
  const std::vector<Lines> theirs = Asked();
  if (taken) ASSERT_TRUE(port_->Apply({&change, 1}).front().ok());
  ASSERT_EQ(ours.size(), 1U);
  ASSERT_EQ(theirs.size(), 1U) << command;
  EXPECT_THAT(ours.front(), ::testing::ContainerEq(theirs.front())) << command;
}

void TcMessagesTest::CompareAll(const std::vector<FlowRule>& rules,
                                const std::map<std::string, std::string>& words) {
  std::set<std::string> compiled;
  for (const FlowRule& rule : rules) {
    const std::string place = rule.location.ToString();
    SCOPED_TRACE(place);
    compiled.insert(place);
    const auto told = words.find(place);
    ASSERT_NE(told, words.end()) << rule.ToString();
    Compare(rule, told->second);
  }
  EXPECT_EQ(compiled.size(), words.size());
}

BoundPort TcMessagesTest::Port(uint32_t ordinal, uint32_t representor, const char* mac) const {
  BoundPort port;
  port.ordinal = ordinal;
  port.vf = {*MacAddress::Parse(kPfMac), static_cast<uint16_t>(ordinal)};
  port.representor_ifindex = representor;
  port.mac = *MacAddress::Parse(mac);
  return port;
}

void TcMessagesTest::CompareOverlay(const Underlay& underlay) {
  vpc_.tunnel.local = *IpAddress::Parse(underlay.local);
  vpc_.peers = {*IpPrefix::Parse(underlay.network),
                IpPrefix::Host(*IpAddress::Parse(underlay.other))};
  Subnet subnet;
  subnet.id = "s";
  subnet.prefix4 = *IpPrefix::Parse("10.0.0.0/24");
  subnet.prefix6 = *IpPrefix::Parse("fd00:1::/64");
  subnet.gateway4 = *IpAddress::Parse("10.0.0.1");
  subnet.gateway6 = *IpAddress::Parse("fd00:1::1");
  const SubnetContext context = ContextOf(subnet, 2);
  BoundPort port = Port(4, representor_, kMac);
  port.addresses = {*IpAddress::Parse("10.0.0.4"), *IpAddress::Parse("fd00:1::4")};
  port.pairs = {{{}, *IpPrefix::Parse("10.9.0.0/16")}};
  port.offload = OffloadWish::kMust;
  BoundPort software = port;
  software.ordinal = 6;
  software.offload = OffloadWish::kOff;
  Endpoint endpoint;
  endpoint.mac = *MacAddress::Parse(kFarMac);
  endpoint.addresses = {*IpAddress::Parse("10.0.0.5"), *IpAddress::Parse("fd00:1::5")};
  endpoint.vtep = *IpAddress::Parse(underlay.vtep);
  const auto route = [](const char* prefix) {
    Route out;
    out.prefix = *IpPrefix::Parse(prefix);
    return out;
  };
  std::vector<FlowRule> rules = {DefaultDropRule({RuleTable::Kind::kVpcBlock, vpc_.vni}),
                                 DefaultDropRule({RuleTable::Kind::kTunnelIngress, {}})};
  for (const auto& more :
       {CompileVpcRules(vpc_), CompileSubnetRules(vpc_, subnet, 2),
        CompilePortRules(vpc_, context, port), CompilePortRules(vpc_, context, software),
        CompileEndpointRules(vpc_, context, endpoint, 5),
        CompileRouteRules(vpc_, route("0.0.0.0/0"), 7, &software),
        CompileRouteRules(vpc_, route("2001:db8::/32"), 8, &endpoint),
        CompileRouteRules(vpc_, route("203.0.113.0/24"), 9, {})}) {
    rules.insert(rules.end(), more.begin(), more.end());
  }

  const std::string outer =
      StrCat(" enc_key_id 100 enc_dst_ip ", underlay.local, " enc_dst_port 4789");
  const std::string from_one = StrCat(outer, " enc_src_ip ", underlay.network, " dst_mac ");
  const std::string from_other = StrCat(outer, " enc_src_ip ", underlay.other, " dst_mac ");
  const std::string to_port = "action mirred egress redirect dev flrep";
  const std::string decap = StrCat(" action tunnel_key unset pipe ", to_port);
  const std::string to_tunnel =
      StrCat("action tunnel_key set src_ip ", underlay.local, " dst_ip ", underlay.vtep,
             " id 100 dst_port 4789 ttl 64 nocsum pipe action mirred egress redirect dev flvx");
  const auto route4 = [](const char* mac) {
    return StrCat("action pedit ex munge eth src set 02:66:6c:00:00:01 munge eth dst set ", mac,
                  " munge ip ttl dec pipe action csum ip4h pipe ");
  };
  const auto route6 = [](const char* mac) {
    return StrCat("action pedit ex munge eth src set 02:66:6c:00:00:01 munge eth dst set ", mac,
                  " munge ip6 hoplimit dec pipe ");
  };
  const std::string from_port = StrCat("indev flrep src_mac ", kMac);
  const std::map<std::string, std::string> words = {
      {"block-100/0/5/1", "protocol 802.1Q flower action drop"},
      {"block-100/0/6/1", "protocol 802.1ad flower action drop"},
      {"block-100/0/10/1", "protocol arp flower action trap"},
      {"block-100/0/11/1", "protocol ipv6 flower ip_proto icmpv6 type 133 action trap"},
      {"block-100/0/12/1", "protocol ipv6 flower ip_proto icmpv6 type 135 action trap"},
      {"block-100/0/13/1", "protocol ipv6 flower ip_proto icmpv6 type 134 action drop"},
      {"block-100/0/14/1", "protocol ipv6 flower ip_proto icmpv6 type 136 action drop"},
      {"block-100/0/15/1", "protocol ipv6 flower ip_proto icmpv6 type 137 action drop"},
      {"block-100/0/20/1",
       "protocol ip flower dst_mac ff:ff:ff:ff:ff:ff ip_proto udp dst_port 67 action trap"},
      {"block-100/0/21/1",
       "protocol ipv6 flower dst_mac 33:33:00:01:00:02 ip_proto udp dst_port 547 action trap"},
      {"block-100/0/22/1", "protocol ip flower ip_proto udp dst_port 68 action drop"},
      {"block-100/0/23/1", "protocol ipv6 flower ip_proto udp dst_port 546 action drop"},
      {"block-100/0/1100/4",
       StrCat("protocol ip flower ", from_port, " src_ip 10.0.0.4 action goto chain 2")},
      {"block-100/0/1101/4",
       StrCat("protocol ip flower ", from_port, " src_ip 10.9.0.0/16 action goto chain 2")},
      {"block-100/0/1200/4",
       StrCat("protocol ipv6 flower ", from_port, " src_ip fd00:1::4 action goto chain 2")},
      {"block-100/0/1100/6",
       StrCat("protocol ip flower skip_hw ", from_port, " src_ip 10.0.0.4 action goto chain 2")},
      {"block-100/0/1101/6",
       StrCat("protocol ip flower skip_hw ", from_port, " src_ip 10.9.0.0/16 action goto chain 2")},
      {"block-100/0/1200/6",
       StrCat("protocol ipv6 flower skip_hw ", from_port, " src_ip fd00:1::4 action goto chain 2")},
      {"block-100/0/65000/1", "protocol all flower action drop"},
      {"block-100/1/2000/1", "protocol ip flower ip_ttl 0/0xfe action trap"},
      {"block-100/1/2001/1", "protocol ipv6 flower ip_ttl 0/0xfe action trap"},
      {"block-100/1/2010/2", "protocol ip flower dst_ip 10.0.0.1 action trap"},
      {"block-100/1/2011/2", "protocol ipv6 flower dst_ip fd00:1::1 action trap"},
      {"block-100/1/2100/4", StrCat("protocol ip flower dst_ip 10.0.0.4 ", route4(kMac), to_port)},
      {"block-100/1/2200/4",
       StrCat("protocol ipv6 flower dst_ip fd00:1::4 ", route6(kMac), to_port)},
      {"block-100/1/2100/6",
       StrCat("protocol ip flower skip_hw dst_ip 10.0.0.4 ", route4(kMac), to_port)},
      {"block-100/1/2200/6",
       StrCat("protocol ipv6 flower skip_hw dst_ip fd00:1::4 ", route6(kMac), to_port)},
      {"block-100/1/2100/5",
       StrCat("protocol ip flower dst_ip 10.0.0.5 ", route4(kFarMac), to_tunnel)},
      {"block-100/1/2200/5",
       StrCat("protocol ipv6 flower dst_ip fd00:1::5 ", route6(kFarMac), to_tunnel)},
      {"block-100/1/2300/2", "protocol ip flower dst_ip 10.0.0.0/24 action drop"},
      {"block-100/1/2301/2", "protocol ipv6 flower dst_ip fd00:1::/64 action drop"},
      {"block-100/1/2408/9", "protocol ip flower dst_ip 203.0.113.0/24 action drop"},
      {"block-100/1/2432/7",
       StrCat("protocol ip flower skip_hw dst_ip 0.0.0.0/0 ", route4(kMac), to_port)},
      {"block-100/1/2596/8",
       StrCat("protocol ipv6 flower dst_ip 2001:db8::/32 ", route6(kFarMac), to_tunnel)},
      {"block-100/1/65000/1", "protocol all flower action drop"},
      {"block-100/2/1000/4", StrCat("protocol all flower dst_mac ", kMac, " ", to_port)},
      {"block-100/2/1000/6", StrCat("protocol all flower skip_hw dst_mac ", kMac, " ", to_port)},
      {"block-100/2/1000/5", StrCat("protocol all flower dst_mac ", kFarMac, " ", to_tunnel)},
      {"block-100/2/1010/2", "protocol ip flower dst_mac 02:66:6c:00:00:01 action goto chain 1"},
      {"block-100/2/1011/2", "protocol ipv6 flower dst_mac 02:66:6c:00:00:01 action goto chain 1"},
      {"block-100/2/60000/4", StrCat("protocol all flower skip_sw dst_mac ", kMac, " action drop")},
      {"block-100/2/65000/2", "protocol all flower action drop"},
      {"tunnel/0/5/1", StrCat("protocol 802.1Q flower", outer, " action drop")},
      {"tunnel/0/6/1", StrCat("protocol 802.1ad flower", outer, " action drop")},
      {"tunnel/0/1000/4", StrCat("protocol all flower", from_one, kMac, decap)},
      {"tunnel/0/1001/4", StrCat("protocol all flower", from_other, kMac, decap)},
      {"tunnel/0/1000/6", StrCat("protocol all flower skip_hw", from_one, kMac, decap)},
      {"tunnel/0/1001/6", StrCat("protocol all flower skip_hw", from_other, kMac, decap)},
      {"tunnel/0/64000/1", StrCat("protocol all flower", outer, " action drop")},
      {"tunnel/0/65000/1", "protocol all flower action drop"},
  };
  CompareAll(rules, words);
}

TEST_F(TcMessagesTest, EveryRuleOverIpv4IsAskedForAsTcDoes) {
  CompareOverlay({"192.0.2.1", "192.0.2.0/24", "198.51.100.7", "192.0.2.2"});
}

TEST_F(TcMessagesTest, EveryRuleOverIpv6IsAskedForAsTcDoes) {
  CompareOverlay({"2001:db8::1", "2001:db8::/64", "2001:db8:7::7", "2001:db8::2"});
}

// Two ports, the second without an address, and what `tc` is told: of each place without its
// table, "~" for the block and "^" for the uplink.
void TcMessagesTest::CompareProvider(std::optional<VlanId> vlan,
                                     std::map<std::string, std::string> words) {
  ProviderContext vpc;
  vpc.vlan = vlan;
  vpc.ordinal = 3;
  vpc.pf = *MacAddress::Parse(kPfMac);
  vpc.uplink_ifindex = uplink_;
  const RuleTable block = BlockOf(vpc);
  for (const uint32_t device : {representor_, other_}) {
    if (device == representor_) ASSERT_TRUE(port_->DeleteClsact(device).ok());
    ASSERT_TRUE(port_->AddClsact(device, BlockIndexOf(block)).ok());
  }
  ASSERT_TRUE(port_->AddClsact(uplink_, 0).ok());
  BoundPort one = Port(4, representor_, kMac);
  one.addresses = {*IpAddress::Parse("10.0.0.4"), *IpAddress::Parse("fd00:1::4")};
  one.pairs = {{{}, *IpPrefix::Parse("10.9.0.0/16")}};
  const BoundPort two = Port(5, other_, kFarMac);
  std::vector<FlowRule> rules = CompileProviderVpcRules(vpc, {&one, &two});
  for (const BoundPort& port : {one, two}) {
    const std::vector<FlowRule> more = CompileProviderPortRules(vpc, port);
    rules.insert(rules.end(), more.begin(), more.end());
  }
  std::map<std::string, std::string> told;
  for (const auto& [place, command] : words) {
    const RuleTable table = place.front() == '~' ? block : UplinkTable(vpc.pf);
    told[StrCat(table.ToString(), place.substr(1))] = command;
  }
  CompareAll(rules, told);
}

constexpr char kToGroup[] = "dst_mac 01:00:00:00:00:00/01:00:00:00:00:00";
constexpr char kToStation[] = "dst_mac 00:00:00:00:00:00/01:00:00:00:00:00";

// What does not depend on the network's tag. `out`: the actions that send a frame out of the NIC.
std::map<std::string, std::string> ProviderWords(const std::string& out) {
  const std::string from1 = StrCat("indev flrep src_mac ", kMac);
  const std::string from2 = StrCat("indev flother src_mac ", kFarMac);
  const std::string deliver = " action goto chain 3";
  std::map<std::string, std::string> words = {
      {"~/0/5/3", "protocol 802.1Q flower action drop"},
      {"~/0/6/3", "protocol 802.1ad flower action drop"},
      {"~/0/13/3", "protocol ipv6 flower ip_proto icmpv6 type 134 action drop"},
      {"~/0/15/3", "protocol ipv6 flower ip_proto icmpv6 type 137 action drop"},
      {"~/0/22/3", "protocol ip flower ip_proto udp dst_port 68 action drop"},
      {"~/0/23/3", "protocol ipv6 flower ip_proto udp dst_port 546 action drop"},
      {"~/0/1400/3", "protocol arp flower action trap"},
      {"~/0/1100/4", StrCat("protocol ip flower ", from1, " src_ip 10.0.0.4", deliver)},
      {"~/0/1101/4", StrCat("protocol ip flower ", from1, " src_ip 10.9.0.0/16", deliver)},
      {"~/0/1200/4", StrCat("protocol ipv6 flower ", from1, " src_ip fd00:1::4", deliver)},
      {"~/0/1300/4",
       StrCat("protocol arp flower skip_hw ", from1, " arp_sip 10.0.0.4 arp_sha ", kMac, deliver)},
      {"~/0/1301/4", StrCat("protocol arp flower skip_hw ", from1, " arp_sip 10.9.0.0/16 arp_sha ",
                            kMac, deliver)},
      {"~/3/1000/4",
       StrCat("protocol all flower dst_mac ", kMac, " action mirred egress redirect dev flrep")},
      {"~/3/1000/5", StrCat("protocol all flower dst_mac ", kFarMac,
                            " action mirred egress redirect dev flother")},
      {"~/3/1600/4", StrCat("protocol all flower indev flrep ", kToGroup,
                            " action mirred egress mirror dev flother pipe ", out)},
      {"~/3/1600/5", StrCat("protocol all flower indev flother ", kToGroup,
                            " action mirred egress mirror dev flrep pipe ", out)},
      {"~/3/1610/3", StrCat("protocol all flower ", kToGroup, " action trap")},
      {"~/3/1620/3", StrCat("protocol all flower ", kToStation, " ", out)},
      {"~/3/65000/3", "protocol all flower action drop"},
  };
  for (const auto& [ordinal, from, mac] :
       {std::tuple(4, from1, kMac), std::tuple(5, from2, kFarMac)}) {
    const std::string own = LinkLocalOf(*MacAddress::Parse(mac)).ToString();
    const auto add = [&, ordinal = ordinal](int priority, const std::string& text) {
      words[StrCat("~/0/", priority, "/", ordinal)] = text;
    };
    add(1290,
        StrCat("protocol arp flower skip_hw ", from, " arp_sip 0.0.0.0 arp_sha ", mac, deliver));
    const auto nd = [&, from = from](int type, std::string_view source) {
      return StrCat("protocol ipv6 flower ", from, " ip_proto icmpv6 type ", type, " src_ip ",
                    source);
    };
    add(1500, StrCat(nd(135, own), deliver));
    add(1501, StrCat(nd(135, "::"), deliver));
    add(1502, StrCat(nd(136, own), deliver));
    add(1503, StrCat(nd(143, own), deliver));
    add(1504, StrCat(nd(133, own), " dst_mac 33:33:00:00:00:02 ", out));
    add(1510, StrCat("protocol ip flower ", from, " dst_mac ff:ff:ff:ff:ff:ff src_ip 0.0.0.0 ",
                     "ip_proto udp dst_port 67 ", out));
    add(1511, StrCat("protocol ipv6 flower ", from, " dst_mac 33:33:00:01:00:02 src_ip ", own,
                     " ip_proto udp dst_port 547 ", out));
  }
  return words;
}

TEST_F(TcMessagesTest, EveryRuleOfAVlanIsAskedForAsTcDoes) {
  auto words = ProviderWords(
      "action vlan push protocol 802.1Q id 30 pipe action mirred egress redirect dev flup");
  const std::string in = "protocol 802.1Q flower vlan_id 30 ";
  const std::string pop = " action vlan pop pipe action mirred egress ";
  words["^/0/17920/4"] = StrCat(in, "dst_mac ", kMac, pop, "redirect dev flrep");
  words["^/0/17920/5"] = StrCat(in, "dst_mac ", kFarMac, pop, "redirect dev flother");
  words["^/0/17921/3"] =
      StrCat(in, kToGroup, pop, "mirror dev flrep pipe action mirred egress redirect dev flother");
  CompareProvider(*VlanId::Make(30), words);
}

TEST_F(TcMessagesTest, EveryRuleOfAFlatNetworkIsAskedForAsTcDoes) {
  auto words = ProviderWords("action mirred egress redirect dev flup");
  int number = 0;
  for (const char* type : {"ip", "ipv6", "arp"}) {
    const std::string in = StrCat("protocol ", type, " flower ");
    const std::string priority = StrCat("^/0/", 17922 + number, "/");
    words[StrCat(priority, 4)] =
        StrCat(in, "dst_mac ", kMac, " action mirred egress redirect dev flrep");
    words[StrCat(priority, 5)] =
        StrCat(in, "dst_mac ", kFarMac, " action mirred egress redirect dev flother");
    words[StrCat("^/0/", 17925 + number, "/3")] =
        StrCat(in, "skip_hw ", kToGroup, " action mirred egress mirror dev flrep pipe ",
               "action mirred egress mirror dev flother pipe action continue");
    ++number;
  }
  CompareProvider(std::nullopt, words);
}

}  // namespace
}  // namespace fairlead
