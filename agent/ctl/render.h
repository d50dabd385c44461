// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the agent answers, for people. Pure: message in, text out.
// Threading: pure functions. Errors: none; what is missing is shown as "-".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::v1 {
class Accepted;
class Counters;
class Drift;
class GetReply;
class HostState;
class HostState_Foreign;
class HostState_Pf;
class HostState_Pf_Eswitch;
class HostState_Vf;
class Object;
class ObjectRef;
class ObjectStatus;
class ObjectWithStatus;
class Plan;
class Port;
class Rejected;
class RuleList;
class TakenOver;
class VfReleased;
}  // namespace fairlead::v1

namespace fairlead {

// "port/web-0", "ready".
std::string RefText(const v1::ObjectRef& ref);
std::string StateText(int object_state);
// The object's own reference, which an object without status has too.
std::string RefTextOf(const v1::Object& object);
// Of an object that is being removed, which may be known by its status only, too.
std::string RefTextOf(const v1::ObjectWithStatus& item);

// "port/a0 is failed: no free VF (what the kernel said)". Not yet Printable.
std::string StoryOf(std::string_view ref, const v1::ObjectStatus& status);
// The reason, and the peer's own words where it does not have them.
std::string ReasonWithWords(const v1::ObjectStatus& status);
// A few of many, "; " between, and how many more there are.
std::string FirstOf(const std::vector<std::string>& stories);
std::string TimeText(uint64_t unix_ns);  // "2026-01-02T03:04:05.678Z"
// "2026-01-02T03:04:05.678Z  port/a0  ready  -  reason", in columns, without the
// newline. `unix_ns` is the time; `gone` stands in for the state.
std::string RenderChange(uint64_t unix_ns, std::string_view ref, const v1::ObjectStatus& status,
                         bool gone);

// "apply.upsert[0].port.mac: reason", a line each; `describe`, if given, says a path in
// the user's terms.
using DescribePath = std::function<std::string(const std::string& path)>;
std::string RenderRejected(const v1::Rejected& rejected, const DescribePath& describe = nullptr);
std::string RenderAccepted(const v1::Accepted& accepted);
std::string RenderPlan(const v1::Plan& plan);
std::string RenderTakenOver(const v1::TakenOver& taken_over);
std::string RenderReleased(const v1::VfReleased& released);

// `kind` is a v1.ObjectKind; objects of other kinds are left out. `wide`: subnets with their DNS
// servers, ports with what else they may send from.
std::string RenderObjects(const v1::GetReply& reply, int kind, bool wide = false);
// "10.0.0.100/32", "10.0.9.0/24 from 02:00:5e:00:01:07".
std::vector<std::string> PairTexts(const v1::Port& port);
// With an id (PF: MAC, netdev or PCI address; VF: such a PF/index or PCI address; drift,
// foreign object: part of its place or owner), only those.
// `wide`: with what its eswitch is, and is to be.
std::string RenderPfs(const v1::HostState& host, std::string_view id, bool wide = false);
std::string RenderVfs(const v1::HostState& host, std::string_view id);
// `counters`: with those; without, the list of one that reads none.
std::string RenderRules(const v1::RuleList& list, bool counters);
// "120 packets, 9840 bytes; 0 packets, 0 bytes of that in hardware".
std::string CountersText(const v1::Counters& counters);
std::string RenderDrifts(const v1::HostState& host, std::string_view id);
std::string RenderForeign(const v1::HostState& host, std::string_view id);
// "mode switchdev, encap basic"; "" of one that says nothing.
std::string EswitchText(const v1::HostState_Pf_Eswitch& eswitch);
// What such an id means; "" fits all.
bool MatchesPf(const v1::HostState_Pf& pf, std::string_view id);
bool MatchesVf(const v1::HostState_Pf& pf, const v1::HostState_Vf& vf, std::string_view id);
bool MatchesDrift(const v1::Drift& drift, std::string_view id);
bool MatchesForeign(const v1::HostState_Foreign& object, std::string_view id);
int FreeVfs(const v1::HostState_Pf& pf);
// What is set on it beside MAC and VLAN, as far as its PF reports it.
std::string VfSettingsText(const v1::HostState_Vf& vf);

// The whole story of one object. `all` is where its relatives are found. What is
// said of a failure is what the status has; NextStep is what it means for a person.
std::string DescribeObject(const v1::ObjectWithStatus& object, const v1::GetReply& all);
std::string NextStep(std::string_view ref, const v1::ObjectStatus& status);  // "" when ready
// What was asked of the peer that refused, where the reason shows it; "" else.
std::string AskedOf(const v1::ObjectStatus& status);
// Whether `child` names the VPC, subnet or VM `parent`.
bool Belongs(const v1::Object& child, const v1::Object& parent);
// "" when the host has no such PF or VF.
std::string DescribePf(const v1::HostState& host, std::string_view id);
std::string DescribeVf(const v1::HostState& host, std::string_view id);

struct Health {
  std::string text;
  // An object failed or is degraded, a PF cannot be used, a VF is quarantined, or a lane is
  // parked.
  bool troubled = false;
};
Health RenderStatus(const v1::HostState& host, const v1::GetReply& all);

}  // namespace fairlead
