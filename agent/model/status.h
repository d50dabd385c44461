// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the agent says about an object: its state, and why.
// Threading: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/model/intent.h"

namespace fairlead {

enum class ObjectState : uint8_t {
  kPending,   // accepted; waits for something that `reason` names
  kApplying,  // operations are under way
  kReady,     // everything wanted was observed
  kDegraded,  // was ready, or works in part; being repaired
  kFailed,    // could not be done and was rolled back
  kRemoving,  // removal accepted; being taken apart
};
std::string_view ObjectStateName(ObjectState state);  // "pending", ...

struct ObjectStatus {
  ObjectRef ref;
  uint64_t generation = 0;           // of the stored object
  uint64_t observed_generation = 0;  // the last one that was ready
  ObjectState state = ObjectState::kPending;
  std::string reason;        // one sentence for a person; "" when ready
  std::string step;          // what failed or is under way: "guest-device create"
  std::string peer_words;    // the kernel's or QEMU's own text, if any
  bool permanent = false;    // failed: waits for a new generation or changed fact
  bool rolled_back = false;  // failed: nothing of the attach is left
  // Ports only; empty or zero until known.
  std::string vf;  // VfId
  std::string vf_pci;
  std::string representor;
  std::string mac;
  uint32_t vlan = 0;  // of a provider network; 0: none
  std::string guest_device;
  std::string guest_bus;
  uint64_t lease = 0;
  // Rules of this object: how many are wanted, observed, observed in hardware.
  uint32_t rules_wanted = 0;
  uint32_t rules_observed = 0;
  uint32_t rules_in_hardware = 0;
  friend bool operator==(const ObjectStatus&, const ObjectStatus&) = default;
};

// What went wrong last with an object, over or not: a status loses its words when the next try
// begins.
struct ErrorRecord {
  std::string reason;  // as of ObjectStatus, like the next three
  std::string step;
  std::string peer_words;
  bool permanent = false;
  uint64_t generation = 0;  // of the object the last time
  uint32_t times = 0;       // in a row with the same step and reason; 0: nothing went wrong yet
  std::chrono::system_clock::time_point first, last;
  std::optional<std::chrono::milliseconds> retry_in;  // it is not over, and tried again then
};

// A resource that stood as wanted and that somebody else changed, or took away.
struct Drift {
  std::string owner;     // whose it is: "port/web-0", "host", "pool/<pf>"
  std::string resource;  // ResourceKey
  std::string change;    // before -> after: "up yes -> no"; "there -> gone"
  std::chrono::system_clock::time_point noticed;
  std::optional<std::chrono::system_clock::time_point> repaired;  // none: not yet, or never
};

// An object of a Fairlead with another store: never touched, until an operator says so.
struct ForeignObject {
  uint32_t store = 0;
  std::string resource;  // ResourceKey; of a guest device "guest-device/<vm>/<id>"
  std::string words;     // what it is, for people
};

// What the agent made of what it found when it started, in resources.
struct StartReport {
  uint64_t adopted = 0;   // found as wanted, and left alone
  uint64_t repaired = 0;  // made, or changed
  uint64_t foreign = 0;   // of other stores, and left alone
  uint64_t removed = 0;   // this store's, and wanted by nobody any more
  bool complete = false;  // all that the store knows was looked at; else these are so far
  std::chrono::milliseconds took{0};  // from the start until then
};

}  // namespace fairlead
