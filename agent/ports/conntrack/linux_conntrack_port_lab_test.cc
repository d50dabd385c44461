// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real kernel, as root, in a network namespace of its own for each test: its
// table of connections is its own too. Needs nf_conntrack_netlink, cls_flower, act_ct, act_gact and
// veth.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/unique_fd.h"
#include "agent/ports/conntrack/conntrack_contract.h"
#include "agent/ports/conntrack/linux_conntrack_port.h"
#include "agent/ports/netlink/socket.h"
#include "agent/ports/netlink/test_namespace.h"
#include "agent/ports/tc/linux_tc_port.h"

namespace fairlead {
namespace {

using netlink::Message;
using ::testing::ElementsAre;
using ::testing::SizeIs;

void PutTuple(Message& message, uint16_t type, const ConnectionTuple& tuple) {
  const bool v4 = tuple.src.is_v4(), icmp6 = tuple.protocol == IPPROTO_ICMPV6;
  message.Begin(type).Begin(CTA_TUPLE_IP);
  message.PutIp(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.src);
  message.PutIp(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.dst);
  message.End().Begin(CTA_TUPLE_PROTO).PutU8(CTA_PROTO_NUM, tuple.protocol);
  if (tuple.protocol == IPPROTO_ICMP || icmp6) {
    message.PutBe16(icmp6 ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID, tuple.icmp_id)
        .PutU8(icmp6 ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE, tuple.icmp_type)
        .PutU8(icmp6 ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE, tuple.icmp_code);
  } else {
    message.PutBe16(CTA_PROTO_SRC_PORT, tuple.src_port).PutBe16(CTA_PROTO_DST_PORT, tuple.dst_port);
  }
  message.End().End();
}

// Of a TCP state, in the order of uapi/linux/netfilter/nf_conntrack_tcp.h.
uint8_t NumberOf(const std::string& state) {
  const char* const names[] = {"",           "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
                               "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"};
  return static_cast<uint8_t>(std::find(std::begin(names), std::end(names), state) - names);
}

class LinuxEnv final : public ConntrackEnv {
 public:
  LinuxEnv() {
    netlink::EnterNewNetworkNamespace();
    socket_ = *netlink::RequestSocket::Open(netlink::Protocol::kNetfilter);
    port_ = *LinuxConntrackPort::Create();
  }
  ConntrackPort& port() override { return *port_; }
  void Add(const Connection& connection) override {
    Message message(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
                    NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    const auto family = static_cast<uint8_t>(connection.original.src.is_v4() ? AF_INET : AF_INET6);
    message.Header(nfgenmsg{.nfgen_family = family, .version = NFNETLINK_V0, .res_id = 0});
    PutTuple(message, CTA_TUPLE_ORIG, connection.original);
    PutTuple(message, CTA_TUPLE_REPLY, connection.reply);
    if (connection.zone != 0) message.PutBe16(CTA_ZONE, connection.zone);
    uint32_t status = IPS_CONFIRMED;
    if (connection.seen_reply) status |= IPS_SEEN_REPLY;
    if (connection.assured) status |= IPS_ASSURED;
    message.PutBe32(CTA_STATUS, status).PutBe32(CTA_TIMEOUT, connection.timeout_s);
    if (!connection.tcp_state.empty()) {
      message.Begin(CTA_PROTOINFO).Begin(CTA_PROTOINFO_TCP);
      message.PutU8(CTA_PROTOINFO_TCP_STATE, NumberOf(connection.tcp_state)).End().End();
    }
    const absl::Status added =
        socket_->Transact(message).ToStatus("add " + connection.original.ToString());
    if (!added.ok()) throw std::runtime_error(added.ToString());
  }

 private:
  std::unique_ptr<netlink::RequestSocket> socket_;
  std::unique_ptr<ConntrackPort> port_;
};

INSTANTIATE_TEST_SUITE_P(Linux, ConntrackContract,
                         ::testing::Values([] { return std::make_unique<LinuxEnv>(); }));

// An Ethernet frame with a UDP datagram of IPv4, whose checksum is left out (RFC 768).
std::vector<uint8_t> Datagram(const ConnectionTuple& tuple) {
  std::vector<uint8_t> frame = {0x52, 0x54, 0, 0, 0,  2, 0x52, 0x54, 0, 0,  0,  1, 0x08,
                                0,    0x45, 0, 0, 32, 0, 0,    0,    0, 64, 17, 0, 0};
  frame.insert(frame.end(), tuple.src.bytes().begin(), tuple.src.bytes().end());
  frame.insert(frame.end(), tuple.dst.bytes().begin(), tuple.dst.bytes().end());
  uint32_t sum = 0;
  for (size_t i = ETH_HLEN; i < frame.size(); i += 2) sum += frame[i] << 8 | frame[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~(sum + (sum >> 16)) & 0xffff;
  frame[ETH_HLEN + 10] = static_cast<uint8_t>(sum >> 8);
  frame[ETH_HLEN + 11] = static_cast<uint8_t>(sum);
  const uint16_t udp[] = {tuple.src_port, tuple.dst_port, 12, 0, 0x0102, 0x0304};
  for (const uint16_t word : udp) {
    frame.push_back(static_cast<uint8_t>(word >> 8));
    frame.push_back(static_cast<uint8_t>(word));
  }
  return frame;
}

// What a filter commits is seen here, a reply too; deleted, the next packet begins anew.
TEST(LinuxConntrackPort, SeesAndDeletesWhatFiltersCommit) {
  constexpr uint16_t kZone = 77;
  LinuxEnv env;
  netlink::TestNetwork network;
  const uint32_t device = network.AddEthernet("flcta");
  ASSERT_EQ(std::system("ip link set flcta up"), 0);
  auto tc = *LinuxTcPort::Create();
  ASSERT_TRUE(tc->AddClsact(device, 0).ok());
  TcChange commit;
  commit.at.ifindex = device;
  commit.filter.id = {.chain = 0, .priority = 1, .handle = 1};
  commit.filter.match.ethertype = ETH_P_IP;
  commit.filter.match.ip_proto = IPPROTO_UDP;
  commit.filter.actions = {TcCt{.zone = kZone, .commit = true}, TcGact{}};
  const absl::Status put = tc->Apply({&commit, 1}).front();
  ASSERT_TRUE(put.ok()) << put;

  const UniqueFd guest(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  ConnectionTuple there;
  there.src = *IpAddress::Parse("10.1.0.7");
  there.dst = *IpAddress::Parse("10.1.0.8");
  there.protocol = IPPROTO_UDP;
  there.src_port = 40000;
  there.dst_port = 4000;
  ConnectionTuple back = there;
  std::swap(back.src, back.dst);
  std::swap(back.src_port, back.dst_port);
  const auto send = [&](const ConnectionTuple& tuple) {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(::if_nametoindex("pflcta"));
    const std::vector<uint8_t> frame = Datagram(tuple);
    ASSERT_EQ(::sendto(guest.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to),
                       sizeof(to)),
              static_cast<ssize_t>(frame.size()));
  };
  // The one that is like `wanted`, once it is there; none when it never is.
  const auto wait = [&](const std::function<bool(const Connection&)>& wanted) {
    std::optional<Connection> found;
    for (int i = 0; i < 500; ++i) {
      found = *env.port().Find(kZone, there);
      if (found && wanted(*found)) return found;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return std::optional<Connection>();
  };
  send(there);
  const auto first = wait([](const Connection&) { return true; });
  ASSERT_TRUE(first);
  EXPECT_EQ(first->original, there);
  EXPECT_EQ(first->reply, back);
  EXPECT_TRUE(first->confirmed);
  EXPECT_FALSE(first->seen_reply);
  EXPECT_FALSE(first->in_hardware);
  send(back);
  const auto answered = wait([](const Connection& c) { return c.seen_reply; });
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->id, first->id);
  EXPECT_THAT(*env.port().Dump(kZone), SizeIs(1));
  // What goes on gets into the flow table of the zone.
  std::optional<Connection> passed;
  for (int i = 0; i < 500 && !(passed && passed->offloaded); ++i) {
    send(i % 2 == 0 ? there : back);
    passed = *env.port().Find(kZone, there);
    ASSERT_TRUE(passed);
  }
  EXPECT_TRUE(passed->offloaded);
  EXPECT_FALSE(passed->in_hardware);
  EXPECT_EQ(passed->id, first->id);
  EXPECT_THAT(*env.port().Dump(kZone), ElementsAre(*passed));

  EXPECT_TRUE(env.port().Delete({&*passed, 1}).front().ok());
  EXPECT_FALSE(env.port().Find(kZone, there)->has_value());
  const auto deleted = std::chrono::steady_clock::now();
  std::optional<Connection> second;
  for (int i = 0; i < 500 && !second; ++i) {  // the flow table has let go of it
    send(back);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    second = *env.port().Find(kZone, there);
  }
  ASSERT_TRUE(second);
  RecordProperty("milliseconds_until_anew",
                 static_cast<int>((std::chrono::steady_clock::now() - deleted) /
                                  std::chrono::milliseconds(1)));
  EXPECT_EQ(second->original, back);
  EXPECT_FALSE(second->seen_reply);
}

}  // namespace
}  // namespace fairlead
