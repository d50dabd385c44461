// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the world as a draft would leave it, without a copy of the world:
// every question costs what the draft holds, not what the host holds.
//
// Threading: a plain value on the caller's thread. Ownership: keeps references
// to the world and the draft, which must outlive it and stand still.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "agent/intent/draft.h"
#include "agent/model/world.h"

namespace fairlead {

// A prefix of a subnet in the result.
struct SubnetPrefix {
  IpPrefix prefix;
  const Subnet* subnet = nullptr;
  const Candidate* candidate = nullptr;  // null: the subnet is not in the message
};

class Overlay {
 public:
  // The first of several entries for one object counts.
  Overlay(const World& world, const Draft& draft);

  const World& world() const { return world_; }
  const Candidate* Upserted(const ObjectRef& ref) const;
  const Removal* Removed(const ObjectRef& ref) const;
  // The message says something about it; what the world says no longer counts.
  bool Touched(const ObjectRef& ref) const { return Upserted(ref) || Removed(ref); }
  // True also for an upsert whose other fields are bad.
  bool Exists(const ObjectRef& ref) const;
  // Null when absent, or when its segment could not be read.
  const Vpc* FindVpc(const std::string& id) const;
  // Null when absent, or when its vpc or prefixes could not be read.
  const Subnet* FindSubnet(const std::string& id) const;

  // All prefixes of a VPC's subnets, sorted. Costs the VPC's subnets, once.
  const std::vector<SubnetPrefix>& PrefixesOf(const std::string& vpc);
  // The subnet of the VPC that has this address; null if none.
  const Subnet* SubnetOf(const std::string& vpc, const IpAddress& address);

 private:
  const World& world_;
  const Draft& draft_;
  absl::flat_hash_map<ObjectRef, const Candidate*> upserts_;
  absl::flat_hash_map<ObjectRef, const Removal*> removals_;
  absl::flat_hash_map<std::string, std::vector<SubnetPrefix>> prefixes_;
};

}  // namespace fairlead
