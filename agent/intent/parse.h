// SPDX-License-Identifier: Apache-2.0
//
// Purpose: protobuf objects to candidates, each field checked by itself. What a
// field means beside others is agent/intent/check.h.
//
// Threading: pure functions. Errors: as violations.
#pragma once

#include <cstddef>
#include <string>

#include "agent/base/types.h"
#include "agent/intent/draft.h"
#include "agent/intent/violations.h"

namespace google::protobuf {
template <typename T>
class RepeatedPtrField;
}
namespace fairlead::v1 {
class Apply;
class ObjectRef;
class Port;
class SecurityGroup;
class Vm;
}  // namespace fairlead::v1

namespace fairlead {

// Of a port or an endpoint. A fixed bound keeps one object's rules few.
inline constexpr size_t kMaxAddresses = 16;
inline constexpr size_t kMaxAllowedPairs = 32;  // of a port, likewise
inline constexpr size_t kMaxDnsServers = 8;     // of a subnet
inline constexpr size_t kMaxRoutes = 1024;      // of a VPC: each is a rule, offered to each port

inline constexpr size_t kMaxSecurityGroups = 8;   // of a port or an endpoint
inline constexpr size_t kMaxSecurityRules = 128;  // of a group
// Port ranges as masks, of all rules of a group: those that name no remote group, and those that
// do, each of which is a rule a member.
inline constexpr size_t kMaxGroupMasks = 1024;
inline constexpr size_t kMaxMemberMasks = 32;

// True when `id` has the form of an object id; else adds a violation at `path`.
bool CheckId(std::string_view id, const std::string& path, Violations* out);

// What `address` is, of those that nobody can be reached at from elsewhere; null if none.
const char* WhyNotRoutable(const IpAddress& address);

Candidate ParsePort(const v1::Port& port, Origin origin, Violations* out);
Candidate ParseVm(const v1::Vm& vm, Origin origin, Violations* out);
Candidate ParseSecurityGroup(const v1::SecurityGroup& group, Origin origin, Violations* out);
// The groups that an object names, ascending.
std::vector<std::string> ParseGroups(const google::protobuf::RepeatedPtrField<std::string>& texts,
                                     Candidate* candidate, Violations* out);
// A network, or one address without a prefix length.
absl::StatusOr<IpPrefix> ParsePrefixOrAddress(const std::string& text);
Draft ParseApply(const v1::Apply& apply, Violations* out);

}  // namespace fairlead
