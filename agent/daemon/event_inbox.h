// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the kernel and QEMU tell, on its way from the ports' threads to the
// loop. What says the same thing is one entry, so a burst costs one turn of the loop;
// what does not fit any more becomes "something was lost", which has everything observed
// again that the same source tells of.
//
// Threading: Add from any thread; `deliver` runs on the loop thread.
// Ownership: held by shared_ptr, because a port's thread may still be in Add when
// the agent goes; after Close nothing is delivered.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "agent/base/types.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/qmp/qmp_port.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/runtime/lane.h"

namespace fairlead {

class EventInbox : public std::enable_shared_from_this<EventInbox> {
 public:
  // Links, rules or devlink devices that are kept apart at the most; and devices of a VM.
  static constexpr size_t kMost = 4096;
  static constexpr size_t kMostDevices = 64;

  // Sockets of the kernel: what one of them lost, the others have still told.
  enum class Source : uint8_t { kLinks, kRules, kDevlink, kDevices };

  // A place whose filter went away, or where somebody else put one; as in
  // TcPort::Event, 0 stands for any.
  struct RuleTouched {
    TcAttachPoint at;
    TcFilterId id;
    friend auto operator<=>(const RuleTouched&, const RuleTouched&) = default;
  };
  struct VmEvents {
    std::set<std::string> unplug_errors;  // devices that the guest did not let go
    std::set<std::string> deleted;        // devices
    bool disconnected = false;
    bool changed = false;  // something else happened: look at it
  };
  struct Batch {
    std::set<Source> lost;                  // their messages were dropped, by the kernel or here
    bool neighbours = false;                // a neighbour, an address or a route changed
    bool addresses = false;                 // an address or a route did
    std::set<NicId> nics;                   // hot-plug ports behind which something happened
    std::set<PciAddress> drivers;           // functions that were bound or unbound
    std::map<uint32_t, std::string> links;  // by ifindex, the last name seen
    std::set<RuleTouched> rules;
    std::set<DevlinkHandle> devlink;  // that changed, or a port of which did
    std::map<std::string, VmEvents> vms;
  };

  // `store_id`: whose rules are our own.
  EventInbox(uint32_t store_id, Poster post, std::function<void(Batch)> deliver);

  void Add(const RtnetlinkEvent& event);
  void Add(const TcPort::Event& event);
  void Add(const DevlinkPort::Event& event);
  void Add(const std::string& vm, const QmpEvent& event);
  // One that the configuration lists, so there are few.
  void AddNic(const NicId& nic);
  // A function that a driver was bound to, or unbound from.
  void AddPci(const PciAddress& function);
  void AddLost(Source source);
  // On the loop thread.
  void Close();

 private:
  // With the lock held: bounds the batch, and has it fetched.
  void Kept();

  const uint32_t store_id_;
  const Poster post_;
  std::mutex mutex_;
  Batch batch_;
  bool fetching_ = false;
  std::function<void(Batch)> deliver_;  // the loop thread's
};

}  // namespace fairlead
