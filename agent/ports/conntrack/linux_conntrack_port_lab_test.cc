// SPDX-License-Identifier: Apache-2.0
//
// The contract on the lab's kernel. Connections are made by ctnetlink itself, so that no traffic is
// needed.
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <cstdlib>

#include "agent/ports/conntrack/conntrack_contract.h"
#include "agent/ports/conntrack/fake_conntrack.h"
#include "agent/ports/conntrack/linux_conntrack_port.h"
#include "agent/ports/netlink/message.h"
#include "agent/ports/netlink/socket.h"

namespace fairlead {
namespace {

void PutTuple(netlink::Message& message, uint16_t type, const ConnectionTuple& tuple) {
  const bool v4 = tuple.src.is_v4();
  message.Begin(type)
      .Begin(CTA_TUPLE_IP)
      .PutIp(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.src)
      .PutIp(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.dst)
      .End()
      .Begin(CTA_TUPLE_PROTO)
      .PutU8(CTA_PROTO_NUM, tuple.protocol)
      .PutBe16(CTA_PROTO_SRC_PORT, tuple.src_port)
      .PutBe16(CTA_PROTO_DST_PORT, tuple.dst_port)
      .End()
      .End();
}

class KernelEnv final : public ConntrackEnv {
 public:
  std::unique_ptr<ConntrackPort> Open() override {
    auto port = LinuxConntrackPort::Create();
    if (!port.ok()) ADD_FAILURE() << port.status();
    return *std::move(port);
  }
  void Connect(uint16_t zone, const ConnectionTuple& original) override {
    netlink::Message message(static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW),
                             NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    nfgenmsg header{};
    header.nfgen_family = original.src.is_v4() ? AF_INET : AF_INET6;
    message.Header(header);
    PutTuple(message, CTA_TUPLE_ORIG, original);
    PutTuple(message, CTA_TUPLE_REPLY, ReplyOf(original));
    message.PutBe32(CTA_TIMEOUT, 120).PutBe16(CTA_ZONE, zone);
    const auto socket = netlink::RequestSocket::Open(netlink::Protocol::kNetfilter);
    ASSERT_TRUE(socket.ok()) << socket.status();
    const absl::Status made = (*socket)->Transact(message).ToStatus("make a connection");
    ASSERT_TRUE(made.ok()) << made;
  }
};

INSTANTIATE_TEST_SUITE_P(Kernel, ConntrackContract, ::testing::Values(+[] {
                           return std::unique_ptr<ConntrackEnv>(std::make_unique<KernelEnv>());
                         }));

}  // namespace
}  // namespace fairlead
