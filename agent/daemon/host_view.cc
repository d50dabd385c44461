// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/host_view.h"

#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/intent/admit.h"

namespace fairlead {

namespace {

void FillVf(const Engine& engine, const PfFacts& pf, const VfFacts& vf, v1::HostState::Vf& out) {
  out.set_index(vf.index);
  out.set_pci(vf.pci.ToString());
  out.set_driver(vf.driver);
  if (vf.mac) out.set_mac(vf.mac->ToString());
  if (vf.settings.vlan) out.set_vlan(*vf.settings.vlan);
  if (vf.settings.spoof_check) out.set_spoof_check(*vf.settings.spoof_check);
  if (vf.settings.trust) out.set_trust(*vf.settings.trust);
  if (vf.settings.max_tx_mbps) out.set_max_tx_mbps(*vf.settings.max_tx_mbps);
  if (vf.settings.min_tx_mbps) out.set_min_tx_mbps(*vf.settings.min_tx_mbps);
  out.set_representor(vf.representor);
  out.set_iommu_group(vf.iommu_group ? static_cast<int32_t>(*vf.iommu_group) : -1);
  if (pf.is_hotplug_port()) {
    out.set_ids(absl::StrFormat("%04x:%04x", vf.vendor, vf.device));
    out.set_netdev(vf.netdev);
  }
  const VfId id{pf.id, vf.index};
  const SanitationRecord* record = engine.SanitationOf(id);
  if (record != nullptr) ToProto(*record, *out.mutable_sanitation());
  const auto lease = engine.attachments().find(id);
  if (lease != engine.attachments().end()) {
    out.set_state("leased");
    out.set_port(lease->second.port);
    out.set_lease(lease->second.lease);
    out.set_detail(vf.leaving ? vf.refused
                   : !vf.unreadable.empty()
                       ? absl::StrCat("it cannot be observed: ", vf.unreadable)
                       : std::string(AttachmentPhaseName(lease->second.phase)));
    return;
  }
  if (record != nullptr && record->verdict == Verdict::kQuarantined) {
    out.set_state("quarantined");
    out.set_detail(record->reason);
    return;
  }
  const std::string why = engine.WhyNotFree(id);
  out.set_state(why.empty()                ? "free"
                : engine.InUseByOthers(id) ? "in use by someone else"
                                           : "not usable");
  out.set_detail(
      why.empty() && !vf.can_reset ? "it offers no reset: given on as its last user left it" : why);
}

void FillEswitch(const EswitchSettings& settings, v1::HostState::Pf::Eswitch& out) {
  if (settings.mode) out.set_mode(std::string(Name(*settings.mode)));
  if (settings.inline_mode) out.set_inline_(std::string(Name(*settings.inline_mode)));
  if (settings.encap_mode) out.set_encap(std::string(Name(*settings.encap_mode)));
}

// Where nobody needs a tunnel, nothing is wrong with it.
std::string TunnelProblemOf(const Engine& engine) {
  return engine.world().HasOverlays() ? engine.tunnel_problem() : "";
}

void FillSlowPath(const Engine& engine, v1::HostState::SlowPath& out) {
  out.set_problem(std::string(engine.slow_path_problem()));
  const SlowPathCounters& counters = engine.slow_path_counters();
  out.set_received(counters.received);
  out.set_answered(counters.answered);
  out.set_over_rate(counters.over_rate);
  out.set_malformed(counters.malformed);
  out.set_spoofed(counters.spoofed);
  out.set_unknown(counters.unknown);
  out.set_not_sent(counters.not_sent);
}

}  // namespace

void ToProto(const SanitationRecord& record, v1::HostState::Vf::Sanitation& out) {
  out.set_verdict(std::string(VerdictName(record.verdict)));
  out.set_reason(record.reason);
  out.set_checked_at(UnixNanoseconds(record.checked_at));
  out.set_lease(record.lease);
  out.set_port(record.port);
  out.set_vm(record.vm);
  out.set_released_by(record.released_by);
  if (!record.released_by.empty()) out.set_released_at(UnixNanoseconds(record.released_at));
  for (const Finding& finding : record.findings) {
    v1::HostState::Vf::Sanitation::Finding* item = out.add_findings();
    item->set_what(finding.what);
    item->set_state(std::string(FindingStateName(finding.state)));
    item->set_value(finding.value);
    item->set_why(finding.why);
  }
}

void ToProto(const absl::StatusOr<Engine::TunnelDrops>& drops, v1::HostState::TunnelDrops& out) {
  if (!drops.ok()) return out.set_problem(std::string(drops.status().message()));
  out.set_unknown_vni(drops->unknown_vni);
  for (const auto& [vpc, packets] : drops->by_vpc) {
    v1::HostState::TunnelDrops::Vpc* item = out.add_vpcs();
    item->set_vpc(vpc);
    item->set_packets(packets);
  }
}

void FillHostState(const Engine& engine, uint32_t store_id, const std::vector<LaneStats>& lanes,
                   const std::string& store_problem, v1::HostState& out) {
  out.set_store_id(absl::StrFormat("%08x", store_id));
  out.set_version(kFairleadVersion);
  for (const auto& [mac, pf] : engine.facts().pfs) {
    v1::HostState::Pf* item = out.add_pfs();
    item->set_mac(mac.ToString());
    item->set_pci(pf.pci.ToString());
    item->set_netdev(pf.netdev);
    item->set_driver(pf.driver);
    item->set_network(pf.network == NetworkKind::kConverged ? v1::NETWORK_KIND_CONVERGED
                                                            : v1::NETWORK_KIND_COMPUTE);
    item->set_total_vfs(pf.total_vfs);
    item->set_num_vfs(pf.num_vfs);
    item->set_can_set_vf_mac(pf.can_set_vf_mac);
    item->set_refused(pf.refused);
    if (pf.eswitch.mode) item->set_eswitch(std::string(Name(*pf.eswitch.mode)));
    item->set_eswitch_problem(engine.eswitch_problem(mac));
    item->set_pool_problem(engine.pool_problem(mac));
    if (!pf.is_hotplug_port()) item->set_hardware_rules(engine.HardwareRulesOf(mac));
    item->set_max_hardware_rules(pf.max_hardware_rules);
    FillEswitch(pf.eswitch, *item->mutable_eswitch_now());
    FillEswitch(pf.wanted_eswitch, *item->mutable_eswitch_wanted());
    if (pf.is_hotplug_port()) {
      item->set_hotplug(pf.identity == FunctionIdentity::kSlot ? "slot" : "mac");
      item->set_name(pf.name);
    }
    for (const VfFacts& vf : pf.vfs) FillVf(engine, pf, vf, *item->add_vfs());
  }
  for (const NicId& mac : engine.missing_pfs()) {
    v1::HostState::Pf* item = out.add_pfs();
    item->set_mac(mac.ToString());
    item->set_refused(engine.pf_error(mac));
  }
  for (const LaneStats& lane : lanes) {
    v1::HostState::Lane* item = out.add_lanes();
    item->set_name(lane.name);
    item->set_queued(static_cast<uint32_t>(lane.queued));
    item->set_running(lane.running);
    item->set_running_ms(static_cast<uint64_t>(lane.running_for.count()));
    item->set_parked(lane.parked);
  }
  if (engine.facts().tunnel) {
    const TunnelFacts& tunnel = *engine.facts().tunnel;
    out.set_tunnel(StrCat(tunnel.device, " ", Name(tunnel.encapsulation), " local ",
                          tunnel.local.ToString(), " port ", tunnel.udp_port, " mtu ", tunnel.mtu));
  }
  out.set_tunnel_problem(TunnelProblemOf(engine));
  out.set_tunnel_note(engine.tunnel_note());
  out.set_store_problem(store_problem);
  for (std::string& problem : engine.problems()) out.add_problems(std::move(problem));
  FillSlowPath(engine, *out.mutable_slow_path());
  const StartReport& start = engine.start_report();
  v1::HostState::Start* report = out.mutable_start();
  report->set_adopted(start.adopted);
  report->set_repaired(start.repaired);
  report->set_removed(start.removed);
  report->set_foreign(start.foreign);
  report->set_complete(start.complete);
  report->set_took_ms(static_cast<uint64_t>(start.took.count()));
  for (const Drift& drift : engine.drifts()) ToProto(drift, out.add_drifts());
  out.set_drifts_noticed(engine.drifts_noticed());
  out.set_drifts_repaired(engine.drifts_repaired());
  for (const ForeignObject& object : engine.Foreign()) {
    v1::HostState::Foreign* item = out.add_foreign();
    item->set_store_id(absl::StrFormat("%08x", object.store));
    item->set_resource(object.resource);
    item->set_detail(object.words);
  }
  uint64_t ready = 0;
  engine.world().ForEach([&](const StoredObject& stored) {
    if (engine.StateOf(stored) == ObjectState::kReady) ++ready;
  });
  out.set_objects_ready(ready);
  out.set_objects_total(engine.world().size());
}

Standing StandingOf(const Engine& engine) {
  std::map<ObjectState, size_t> objects;
  engine.world().ForEach([&](const StoredObject& stored) { ++objects[engine.StateOf(stored)]; });
  std::vector<std::string> states;
  for (const auto& [state, count] : objects) {
    states.push_back(StrCat(count, " ", ObjectStateName(state)));
  }
  size_t vfs = 0;
  for (const auto& [id, pf] : engine.facts().pfs) vfs += pf.vfs.size();
  Standing standing;
  standing.unobserved = StrJoin(engine.unobserved(), ", ");
  standing.counts =
      StrCat(engine.world().size(), " objects", states.empty() ? "" : ": ", StrJoin(states, ", "),
             "; ", engine.attachments().size(), " of ", vfs, " VFs leased");
  if (const std::string_view problem = engine.slow_path_problem(); !problem.empty()) {
    StrAppend(&standing.counts, "; the slow path: ", problem);
  }
  for (const NicId& nic : engine.missing_pfs()) {
    StrAppend(&standing.counts, "; NIC ", nic.ToString(), ": ", engine.pf_error(nic));
  }
  return standing;
}

}  // namespace fairlead
