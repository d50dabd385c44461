// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what lab tests make on a real kernel around the port under test:
// a network namespace of their own, Ethernet pairs, addresses. Test code.
//
// Threading: the calling thread's namespace.
// Errors: throws std::runtime_error, which fails the test at hand.
#pragma once

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "agent/base/types.h"
#include "agent/ports/netlink/socket.h"

namespace fairlead::netlink {

// Must come before anything touches the network: nothing of the host's own
// namespace is ever seen or changed by what follows on this thread.
inline void EnterNewNetworkNamespace() {
  if (::unshare(CLONE_NEWNET) != 0) {
    throw std::runtime_error(std::string("unshare(CLONE_NEWNET): ") + std::strerror(errno) +
                             "; run as root");
  }
}

class TestNetwork {
 public:
  TestNetwork() : socket_(*RequestSocket::Open()) {}

  // `name` is down, its peer "p<name>" up.
  uint32_t AddEthernet(const std::string& name) {
    Message message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    message.Header(ifinfomsg{})
        .PutString(IFLA_IFNAME, name)
        .Begin(IFLA_LINKINFO)
        .PutString(IFLA_INFO_KIND, "veth")
        .Begin(IFLA_INFO_DATA)
        .Begin(VETH_INFO_PEER)
        .Header(ifinfomsg{})
        .PutString(IFLA_IFNAME, "p" + name)
        .End()
        .End()
        .End();
    Do(message, "add veth " + name);
    Message up(RTM_NEWLINK, NLM_F_ACK);
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(::if_nametoindex(("p" + name).c_str()));
    header.ifi_flags = IFF_UP;
    header.ifi_change = IFF_UP;
    up.Header(header);
    Do(up, "set the peer up");
    return ::if_nametoindex(name.c_str());
  }

  void DeleteLink(const std::string& name) {
    const uint32_t ifindex = ::if_nametoindex(name.c_str());
    if (ifindex == 0) return;
    Message message(RTM_DELLINK, NLM_F_ACK);
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(ifindex);
    message.Header(header);
    Do(message, "delete " + name);
  }

  void AddAddress(uint32_t ifindex, const IpAddress& address, const IpPrefix& network) {
    Message message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE);
    ifaddrmsg header{};
    header.ifa_family = Family(address);
    header.ifa_prefixlen = static_cast<uint8_t>(network.length());
    header.ifa_index = ifindex;
    if (address.is_v6()) header.ifa_flags = IFA_F_NODAD;  // it is there at once
    message.Header(header).PutIp(IFA_LOCAL, address).PutIp(IFA_ADDRESS, address);
    Do(message, "add address " + address.ToString());
  }

  void AddPermanentNeighbour(uint32_t ifindex, const IpAddress& address, const MacAddress& mac) {
    Message message(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE);
    ndmsg header{};
    header.ndm_family = Family(address);
    header.ndm_ifindex = static_cast<int>(ifindex);
    header.ndm_state = NUD_PERMANENT;
    message.Header(header).PutIp(NDA_DST, address).Put(NDA_LLADDR, mac.bytes());
    Do(message, "add neighbour " + address.ToString());
  }

  void AddIngressQdisc(uint32_t ifindex) {
    Message message(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    tcmsg header{};
    header.tcm_ifindex = static_cast<int>(ifindex);
    header.tcm_parent = TC_H_INGRESS;
    header.tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
    message.Header(header).PutString(TCA_KIND, "ingress");
    Do(message, "add an ingress qdisc");
  }

  void AddMatchall(uint32_t block, uint16_t priority) {
    Message message(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    tcmsg header{};
    header.tcm_ifindex = static_cast<int>(TCM_IFINDEX_MAGIC_BLOCK);
    header.tcm_block_index = block;
    header.tcm_info = TC_H_MAKE(uint32_t{priority} << 16, htons(ETH_P_ALL));
    message.Header(header).PutString(TCA_KIND, "matchall").Begin(TCA_OPTIONS).End();
    Do(message, "add a matchall filter");
  }

  void AddDefaultRoute(uint32_t ifindex, const IpAddress& gateway) {
    Message message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE);
    rtmsg header{};
    header.rtm_family = Family(gateway);
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_protocol = RTPROT_STATIC;
    header.rtm_type = RTN_UNICAST;
    message.Header(header).PutIp(RTA_GATEWAY, gateway).PutU32(RTA_OIF, ifindex);
    Do(message, "add a default route");
  }

 private:
  static uint8_t Family(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }
  void Do(Message& message, const std::string& asked) {
    const absl::Status status = socket_->Transact(message).ToStatus(asked);
    if (!status.ok()) throw std::runtime_error(status.ToString());
  }

  std::unique_ptr<RequestSocket> socket_;
};

}  // namespace fairlead::netlink
