// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one PF and its VFs: pool, eswitch, VF settings, representors with their
// default drop, driver bindings. Observes and does what it is told; decides nothing.
//
// A representor is what the configuration names for the VF; else the netdev of the
// devlink port of flavour pci_vf with the VF's number, whatever its name.
//
// Threading: blocks; belongs to the PF's lane. Ownership: borrows the ports; devlink
// may be null (a host without).
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/model/sanitation.h"
#include "agent/ports/devlink/devlink_port.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/providers/config.h"
#include "agent/providers/eswitch_provider.h"
#include "agent/providers/vfio_binding.h"

namespace fairlead {

class PfProvider {
 public:
  PfProvider(const ProviderConfig* config, SysfsPort* sysfs, RtnetlinkPort* rtnetlink, TcPort* tc,
             DevlinkPort* devlink)
      : config_(config),
        sysfs_(sysfs),
        rtnetlink_(rtnetlink),
        tc_(tc),
        eswitch_(devlink),
        binding_(config, sysfs) {}

  struct Observation {
    PfFacts facts;
    std::vector<ObservedResource> resources;
  };
  absl::StatusOr<Observation> Observe(const NicId& pf);
  struct OneVf {
    VfFacts facts;  // `gone` when it is not there
    std::vector<ObservedResource> resources;
    std::optional<TrafficCounters> counters;  // of its representor
  };
  absl::StatusOr<OneVf> ObserveVf(const VfId& vf);

  // Each makes the kernel as `wanted` says (create and update are one), and
  // returns what it then reads back.
  absl::StatusOr<ObservedResource> PutPool(const VfPoolSpec& wanted);
  // kUnavailable, and nothing was touched, while a driver serves somebody with one of
  // its VFs. Drivers that serve nobody are unbound from them before the mode changes.
  absl::StatusOr<ObservedResource> PutPf(const PfSpec& wanted);
  absl::StatusOr<ObservedResource> PutVf(const VfSpec& wanted);
  absl::StatusOr<ObservedResource> PutRepresentor(const RepresentorSpec& wanted);
  absl::StatusOr<ObservedResource> PutBinding(const DriverBindingSpec& wanted);
  // A clsact qdisc on the PF's netdev, with a mark if this makes it. kAlreadyExists where
  // somebody else's ingress qdisc has its place, or it shares a block of somebody else's.
  absl::StatusOr<ObservedResource> PutUplink(const UplinkSpec& wanted);
  // Gone is success.
  // `as`: what it has afterwards, a MAC or none; all else is cleared. `did`, if given, is
  // told what was done, also when it fails; nothing while the VF is not there.
  absl::Status DeleteVf(const VfSpec& as, std::optional<VfCleaning>* did = nullptr);
  absl::StatusOr<ObservedResource> TakeDown(const VfId& vf, uint32_t ifindex);
  absl::Status DeleteRepresentor(const VfId& vf);
  absl::Status DeleteBinding(const VfId& vf);
  // Only one that this agent made goes, and only if nobody else's filter hangs on it.
  // kUnavailable: rules of this agent do.
  absl::Status DeleteUplink(const NicId& pf);

 private:
  struct Pf {
    LinkInfo link;
    PciDevice device;
    EswitchProvider::Seen eswitch;
  };
  // Whether the PF's link comes with what it reports of its VFs, which is of all of them.
  enum class WithVfs : bool { kNo, kYes };
  absl::StatusOr<Pf> Find(const NicId& pf, WithVfs with_vfs);
  absl::StatusOr<LinkInfo> PfLink(uint32_t ifindex, WithVfs with_vfs);
  absl::StatusOr<std::optional<PciDevice>> DeviceOf(const LinkInfo& link, const NicId& pf);
  absl::StatusOr<PciAddress> VfAddress(const VfId& vf);
  absl::StatusOr<OneVf> Read(const Pf& pf, const NicId& nic, uint16_t index);
  absl::Status ReadEswitch(Pf& pf);
  // None: the netdev has no clsact qdisc with a block of its own.
  absl::StatusOr<std::optional<ObservedResource>> ReadUplink(const Pf& pf, const NicId& nic);
  absl::Status ReadRepresentor(const Pf& pf, const VfId& id, OneVf& result);
  static absl::StatusOr<DevlinkPortInfo> FindRepresentorPort(const Pf& pf, const VfId& vf);
  // kNotFound: the VF has none that is known, or it is not there.
  absl::StatusOr<LinkInfo> FindRepresentor(const Pf& pf, const VfId& vf);
  // `leaf`: where it is there, the rates are its.
  static VfSettings SettingsOf(const std::optional<VfInfo>& info,
                               const std::optional<DevlinkRate>& leaf);
  // By what the VF's rates are set on a NIC with an eswitch; none: not by devlink.
  static std::optional<DevlinkRate> LeafOf(const Pf& pf, const VfId& vf);
  absl::StatusOr<std::optional<DevlinkRate>> ReadLeaf(Pf& pf, const VfId& vf);
  absl::Status PutRates(const Pf& pf, const DevlinkRate& leaf, const VfSettings& wanted);
  absl::Status ClearRates(Pf& pf, const VfId& vf);
  // None: the PF reports nothing of it.
  static std::optional<VfInfo> InfoOf(const LinkInfo& pf, uint16_t index);
  absl::StatusOr<std::optional<VfInfo>> ReadVf(const Pf& pf, uint16_t index);
  absl::Status CheckUnused(const Pf& pf, const VfId& vf);
  absl::Status ClearVf(const Pf& pf, uint16_t index, const MacAddress& own_mac, VfCleaning& did);
  absl::Status CheckOwner(const LinkInfo& link) const;
  absl::StatusOr<LinkInfo> Representor(const VfId& vf);
  const RepresentorConfig* RepresentorOf(const VfId& vf) const;
  absl::StatusOr<std::vector<LinkInfo>> WithUppers(const Pf& pf);
  absl::StatusOr<std::string> WhyRefused(const Pf& pf, const PfConfig& config);
  std::string WhyNoRepresentor(const LinkInfo& link) const;

  const ProviderConfig* config_;
  SysfsPort* sysfs_;
  RtnetlinkPort* rtnetlink_;
  TcPort* tc_;
  EswitchProvider eswitch_;
  VfioBinding binding_;
  std::map<NicId, uint32_t> ifindices_;  // where each PF was found last
  std::vector<uint32_t> default_links_;  // that carry a default route, sorted; at the last Observe
};

}  // namespace fairlead
