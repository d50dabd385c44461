// SPDX-License-Identifier: Apache-2.0
//
// The clsact qdisc of a PF's netdev. The host's own traffic passes there, and others may use it:
// what this agent did not make stays. That it made the qdisc shows in a rule of its own there,
// which does nothing (UplinkMarkRule), so that it shows after a restart too.
#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/model/flow_rule.h"
#include "agent/providers/default_drop.h"
#include "agent/providers/pf_provider.h"
#include "dataplane/tc/lower.h"

namespace fairlead {

absl::StatusOr<std::optional<ObservedResource>> PfProvider::ReadUplink(const Pf& pf,
                                                                       const NicId& nic) {
  FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(pf.link.ifindex));
  if (!qdisc.clsact || qdisc.ingress_block != 0) return std::nullopt;
  ObservedResource uplink;
  uplink.key = UplinkKey(nic);
  FAIRLEAD_ASSIGN_OR_RETURN(uplink.mark, StoreOfUplinkQdisc(*tc_, nic, pf.link.ifindex));
  uplink.spec = UplinkSpec{nic, uplink.mark != 0 && config_->marks->Owns(uplink.mark)};
  uplink.ifindex = pf.link.ifindex;
  return uplink;
}

absl::StatusOr<ObservedResource> PfProvider::PutUplink(const UplinkSpec& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Pf pf, Find(wanted.pf, WithVfs::kNo));
  const uint32_t ifindex = pf.link.ifindex;
  FAIRLEAD_ASSIGN_OR_RETURN(const TcQdiscInfo qdisc, tc_->GetQdisc(ifindex));
  const bool foreign = !qdisc.kind.empty() && !qdisc.clsact;
  if (foreign || qdisc.ingress_block != 0) {
    const std::string what = foreign ? StrCat("the qdisc ", qdisc.kind)
                                     : StrCat("the shared block ", qdisc.ingress_block);
    return absl::AlreadyExistsError(
        StrCat("the uplink ", pf.link.name, " has ", what,
               " of somebody else at its ingress (Open vSwitch makes a qdisc for a port of its "
               "bridges), where rules of provider networks have to hang: take ",
               pf.link.name, " out of whatever uses it"));
  }
  if (!qdisc.clsact) {
    // Nobody would know later whose it is, had it no mark.
    FAIRLEAD_RETURN_IF_ERROR(AddUplinkQdisc(*tc_, wanted.pf, ifindex, *config_->marks));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<ObservedResource> now, ReadUplink(pf, wanted.pf));
  if (!now) {
    return absl::UnavailableError(StrCat("the clsact qdisc of ", pf.link.name, " vanished again"));
  }
  return *std::move(now);
}

absl::Status PfProvider::DeleteUplink(const NicId& nic) {
  const absl::StatusOr<Pf> pf = Find(nic, WithVfs::kNo);
  if (absl::IsNotFound(pf.status())) return absl::OkStatus();
  if (!pf.ok()) return pf.status();
  const uint32_t ifindex = pf->link.ifindex;
  FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<ObservedResource> there, ReadUplink(*pf, nic));
  if (!there || std::get<UplinkSpec>(there->spec).made != true) return absl::OkStatus();
  FAIRLEAD_ASSIGN_OR_RETURN(std::vector<TcFilterInfo> filters, tc_->Dump({.ifindex = ifindex}));
  const RuleLocation mark = UplinkMarkRule(nic).location;
  const TcFilterId mark_id{mark.chain, mark.priority, mark.handle};
  std::erase_if(filters, [&](const TcFilterInfo& filter) { return filter.id == mark_id; });
  const bool own = std::any_of(filters.begin(), filters.end(), [this](const TcFilterInfo& filter) {
    const auto cookie = filter.cookie ? ParseCookie(*filter.cookie) : std::nullopt;
    return cookie && config_->marks->Owns(cookie->store_id);
  });
  if (own) {
    return absl::UnavailableError(
        StrCat("rules of this agent still hang on the uplink ", pf->link.name));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<TcFilterInfo> egress,
                            tc_->Dump({.ifindex = ifindex, .egress = true}));
  if (filters.empty() && egress.empty()) return tc_->DeleteClsact(ifindex);
  // It is theirs from now on.
  TcChange unmark;
  unmark.verb = TcChange::Verb::kDelete;
  unmark.at = {.ifindex = ifindex};
  unmark.filter.id = mark_id;
  unmark.filter.match.ethertype = kEtherAll;
  return tc_->Apply({&unmark, 1}).front();
}

}  // namespace fairlead
