// SPDX-License-Identifier: Apache-2.0
#include "agent/base/connection.h"

#include <netinet/in.h>

#include "agent/base/text.h"

namespace fairlead {
namespace {

std::string End(const IpAddress& address, uint16_t port) {
  return address.is_v4() ? StrCat(address.ToString(), ":", port)
                         : StrCat("[", address.ToString(), "]:", port);
}

}  // namespace

std::string ConnectionTuple::ToString() const {
  std::string name;
  switch (protocol) {
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      return StrCat(protocol == IPPROTO_ICMP ? "ICMP " : "ICMPv6 ", src.ToString(), " -> ",
                    dst.ToString(), " type ", icmp_type, " code ", icmp_code, " id ", icmp_id);
    case IPPROTO_TCP:
      name = "TCP";
      break;
    case IPPROTO_UDP:
      name = "UDP";
      break;
    case IPPROTO_SCTP:
      name = "SCTP";
      break;
    default:
      name = StrCat("protocol ", protocol);
      if (src_port == 0 && dst_port == 0) {
        return StrCat(name, " ", src.ToString(), " -> ", dst.ToString());
      }
  }
  return StrCat(name, " ", End(src, src_port), " -> ", End(dst, dst_port));
}

}  // namespace fairlead
