// SPDX-License-Identifier: Apache-2.0
//
// Purpose: traffic-control messages as values and back, without a socket: what
// LinuxTcPort sends and how it reads the answers.
//
// Threading: pure functions.
// Errors: requests for something that TC cannot express are kInvalidArgument;
// Decode* answer kDataLoss for a payload that is malformed, and an empty
// optional for a message of no interest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/ports/netlink/message.h"
#include "agent/ports/tc/tc_port.h"

namespace fairlead::netlink {

// Whether `filter` is one that TC can hold: its keys go together, its actions
// end in a verdict, chain, priority and handle are in range. The fake asks too.
absl::Status CheckFilter(const TcFilter& filter);
// What a deletion needs. A handle or priority of 0 would delete all of them.
absl::Status CheckFilterId(const TcFilterId& id);
absl::Status CheckAttachPoint(const TcAttachPoint& at);
// "block 1174405620", "ifindex 12", for messages to people.
std::string Describe(const TcAttachPoint& at);
std::string Describe(const TcAttachPoint& at, const TcFilterId& id);

// RTM_NEWTFILTER that creates or replaces. `echo`: answered by the filter as it then stands, and
// by no acknowledgement; else by that alone.
absl::StatusOr<Message> PutFilterRequest(const TcAttachPoint& at, const TcFilter& filter,
                                         bool exclusive = false, bool echo = false);
absl::StatusOr<Message> DeleteFilterRequest(const TcAttachPoint& at, const TcFilterId& id,
                                            uint16_t ethertype);
absl::StatusOr<Message> GetFilterRequest(const TcFilterRef& ref);
// A terse dump has each flower filter's place, flags and cookie. Of filters of other kinds it
// tells the priority alone (see DecodeFilter), and may end with EMSGSIZE at the first of them
// (net/sched/cls_api.c, tcf_fill_node and tc_dump_tfilter; of a matchall one it does not). A
// kernel before 5.9 knows no terse dump, and makes a full one.
Message DumpFiltersRequest(const TcAttachPoint& at, TcDumpDetail detail);
Message GetClsactRequest(uint32_t ifindex);
Message AddClsactRequest(uint32_t ifindex, uint32_t ingress_block);
Message DeleteClsactRequest(uint32_t ifindex);

struct DecodedFilter {
  TcAttachPoint at;
  TcFilterInfo info;
};
// RTM_NEWTFILTER, RTM_DELTFILTER, from terse and from full dumps. A handle of 0
// stands for all filters of a priority.
absl::StatusOr<DecodedFilter> DecodeFilter(Bytes payload);

// The filters of a dump, taken from its messages as they come.
struct FilterDump {
  void Take(const MessageView& message);

  std::vector<TcFilterInfo> filters;
  bool others = false;  // filters of another kind than flower are there, or only their priority
  absl::Status status;  // of the first message that is malformed; nothing is taken after it
};

// RTM_NEWQDISC. Empty for a qdisc that is not at the ingress; clsact and ingress are.
absl::StatusOr<std::optional<TcQdiscInfo>> DecodeQdisc(Bytes payload);

absl::StatusOr<std::optional<TcPort::Event>> DecodeTcEvent(const MessageView& message);

}  // namespace fairlead::netlink
