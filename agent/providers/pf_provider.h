// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one PF and its VFs: pool, VF settings, representors with their default
// drop, driver bindings. Observes and does what it is told; decides nothing.
//
// Threading: blocks; belongs to the PF's lane. Ownership: borrows the ports.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/resource.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/ports/sysfs/sysfs_port.h"
#include "agent/ports/tc/tc_port.h"
#include "agent/providers/config.h"

namespace fairlead {

class PfProvider {
 public:
  PfProvider(const ProviderConfig* config, SysfsPort* sysfs, RtnetlinkPort* rtnetlink, TcPort* tc)
      : config_(config), sysfs_(sysfs), rtnetlink_(rtnetlink), tc_(tc) {}

  struct Observation {
    PfFacts facts;
    std::vector<ObservedResource> resources;
  };
  absl::StatusOr<Observation> Observe(const MacAddress& pf);
  struct OneVf {
    VfFacts facts;
    std::vector<ObservedResource> resources;
  };
  absl::StatusOr<OneVf> ObserveVf(const VfId& vf);

  // Each makes the kernel as `wanted` says (create and update are one), and
  // returns what it then reads back.
  absl::StatusOr<ObservedResource> PutPool(const VfPoolSpec& wanted);
  absl::StatusOr<ObservedResource> PutVf(const VfSpec& wanted);
  absl::StatusOr<ObservedResource> PutRepresentor(const RepresentorSpec& wanted);
  absl::StatusOr<ObservedResource> PutBinding(const DriverBindingSpec& wanted);
  // Gone is success.
  absl::Status DeletePool(const MacAddress& pf);
  absl::Status DeleteVf(const VfId& vf);
  absl::Status DeleteRepresentor(const VfId& vf);
  absl::Status DeleteBinding(const VfId& vf);

 private:
  struct Pf {
    LinkInfo link;
    PciDevice device;
    std::vector<LinkInfo> all_links;  // of the host
  };
  absl::StatusOr<Pf> Find(const MacAddress& pf);
  absl::StatusOr<PciAddress> VfAddress(const VfId& vf);
  absl::StatusOr<OneVf> Read(const Pf& pf, const MacAddress& mac, uint16_t index);
  absl::Status ReadRepresentor(const VfId& id, OneVf& result);
  absl::Status CheckIdle(const PciAddress& vf);
  absl::Status CheckOwner(const LinkInfo& link) const;
  absl::StatusOr<LinkInfo> Representor(const VfId& vf);
  const RepresentorConfig* RepresentorOf(const VfId& vf) const;
  static std::vector<LinkInfo> WithUppers(const Pf& pf);
  std::string WhyRefused(const Pf& pf, const PfConfig& config);

  const ProviderConfig* config_;
  SysfsPort* sysfs_;
  RtnetlinkPort* rtnetlink_;
  TcPort* tc_;
};

}  // namespace fairlead
