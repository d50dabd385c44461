// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a host of two NICs in a storm, with three VMs, with what is somebody else's, and with
// strangers who lay hands on what is the agent's. A seed chooses its NICs and all that happens.
//
// Threading: one thread. Ownership: owns the host and the agent on it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sweep/random_storm.h"
#include "tests/sweep/stepped_host.h"

namespace fairlead {

// Drawn from the seed's number, so that any run of seeds has all of them.
struct RandomNics {
  explicit RandomNics(uint64_t seed)
      : eswitch(seed % 3 == 0), igb(seed % 2 == 0), hotplug(seed % 5 < 2), offload(seed % 4 < 2) {}
  const bool eswitch;  // as mlx5_core drives them, configured to be in switchdev mode
  const bool igb;      // the second one forwards by itself (legacy mode, VLANs)
  const bool hotplug;  // a DPU brings functions
  const bool offload;
  // A VF whose MAC can be set.
  bool CanSetMac() const { return eswitch || igb; }
};

class RandomHost {
 public:
  RandomHost(uint64_t seed, bool aloud);

  void Say(const std::string& what) const;
  // Starts the agent; opening the store and binding is not part of the storm.
  void Revive();
  void Die();
  // The agent is killed, and the next one has an empty store.
  void LoseStore();

  // Somebody else's: before the agent's first start, and once there are VFs.
  void PutForeignThings();
  void TakeAVfByHand();
  void ExpectByHand();
  // The id of a store that is nobody's here.
  static constexpr char kOthersStore[] = "0badcafe";

  // One thing, by chance.
  void VmEvent();
  void BreakOrMendReset();
  void Stranger();
  void Dpu();

  // What is broken is mended, what a stranger took away that is not the agent's to bring is back.
  void MakeRight();
  // No port is left. A VF that a stranger gave to its own driver is his to take back. And what was
  // known to a store alone that is lost, an administrator puts right: which MAC a VF came with, and
  // whose a VF is of a NIC without representors that no VM has any more.
  void TakeBack();

  // In no order, without what comes and goes with the pool if so asked.
  std::string Picture(bool with_vfs = true) const;
  std::pair<uint16_t, uint16_t> AnyVf();
  static constexpr uint16_t kVfs = 6;  // of each PF: as many as three VMs with two ports each need

  static MacAddress FunctionMac(uint8_t n) { return MacAddress({0x52, 0x54, 0, 0, 4, n}); }
  static constexpr uint8_t kFunctions = 2;

  const RandomNics nics;
  const std::vector<std::string> vm_names{"a", "b", "c"};
  Dice dice;
  Storm storm;
  SteppedHost host;

 private:
  SteppedHostOptions Options();
  void AddVm(const std::string& vm);
  void PlugMissingFunctions();
  std::set<std::string> HeldByVms() const;  // PCI addresses
  // The VFs that the agent says are leased: (index, PF).
  std::vector<std::pair<uint16_t, uint16_t>> Leased();
  // Of a VF; none: it has none, or somebody else has it.
  std::optional<LinkInfo> Representor(uint16_t vf, uint16_t pf) const;
  std::optional<LinkInfo> Named(const std::string& name) const;

  void DeleteARule();
  void TakeRepresentorDown(const LinkInfo& representor);
  void UnplugADevice();
  void ChangeAVf();
  void RebindAVf();
  void Rename(const LinkInfo& link);
  void RecreateRepresentor(uint16_t pf, const LinkInfo& old);
  void SwitchEswitch(uint16_t pf, EswitchMode mode);
  void Plug(uint8_t n);
  void Pull(uint8_t n);

  const bool aloud_;
  bool lost_ = false;  // a store
  int resets_ = 0;     // of the VF that somebody else has
  uint32_t next_link_ = 1000;
  std::map<uint32_t, std::string> renamed_;  // links, to how they were called
  std::set<PciAddress> rebound_;             // by a stranger
};

}  // namespace fairlead
