// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what is to be done with the objects of another store, when an operator says so.
// Adopt: who of the accepted objects is whose, so that the numbers and leases of the found
// ones become theirs, and nothing on the host changes. Purge: the tenancies that are to be
// taken apart.
//
// A store that was lost took the names along. What is left tells a port by its VM, its
// network and its MAC, and every other object by what its rules match.
//
// Threading: pure functions.
// Errors: kFailedPrecondition, with what to do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/compile/compile.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/model/world.h"

namespace fairlead {

// What carries the store's mark and belongs to no tenancy of this agent, as observed.
struct FoundObjects {
  uint32_t store = 0;
  std::map<VfId, RepresentorSpec> representors;
  struct Device {
    std::string vm;
    Uuid vm_uuid;
    std::string id;
    PciAddress host;
    std::string bus;
  };
  std::vector<Device> devices;
  struct Rule {
    RuleLocation location;
    uint32_t match_hash = 0;
  };
  std::vector<Rule> rules;
  std::vector<NicId> uplinks;          // with a qdisc of its agent
  std::optional<TunnelFacts> tunnel;   // that its rules name
  std::vector<std::string> not_asked;  // "VM web: <why>"
};

struct TakeOver {
  Change change;                        // the objects that get another number
  std::vector<Attachment> attachments;  // new ones
  Lease next_lease = 1;
  uint64_t next_transaction = 1;
  std::vector<std::string> taken;  // for people: "port/web-0: VF 52:54:00:00:00:01/3 of VM web"
  std::vector<std::string> left;   // what stays as it is, and why
};

struct OwnState {
  const World* world = nullptr;
  const HostFacts* facts = nullptr;
  const std::map<VfId, Attachment>* attachments = nullptr;
  Lease next_lease = 1;
  uint64_t next_transaction = 1;
};

// The device of the port's VM that may be this port's, should its store be adopted; null: none.
const FoundObjects::Device* FindDeviceFor(const Port& port, const FoundObjects& found,
                                          const OwnState& own);
// kUnavailable: an attach is under way that adoption would cross; it ends by itself.
absl::StatusOr<TakeOver> PlanAdoption(const FoundObjects& found, const OwnState& own);
absl::StatusOr<TakeOver> PlanPurge(const FoundObjects& found, const OwnState& own);

}  // namespace fairlead
