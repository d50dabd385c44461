// SPDX-License-Identifier: Apache-2.0
//
// What strangers do to what is the agent's.
#include <gtest/gtest.h>

#include <set>

#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "tests/sweep/random_host.h"

namespace fairlead {

std::optional<LinkInfo> RandomHost::Representor(uint16_t vf, uint16_t pf) const {
  if (pf == 1 && (nics.igb || vf == 2)) return std::nullopt;
  return Named(StrCat("pf", pf, nics.eswitch ? "r" : "rep", vf));
}

void RandomHost::Stranger() {
  FakeTcPort tc(host.network);
  FakeRtnetlinkPort links(host.network);
  const auto [vf, pf] = AnyVf();
  const std::optional<LinkInfo> representor = Representor(vf, pf);
  switch (dice.Below(15)) {
    case 0:
    case 1:
      return DeleteARule();
    case 2:
      if (representor) TakeRepresentorDown(*representor);
      return;
    case 3:
      if (!representor) return;
      Say(StrCat("a stranger deletes the clsact of ", representor->name));
      return tc.DeleteClsact(representor->ifindex).IgnoreError();
    case 4: {
      const std::optional<LinkInfo> tunnel = Named("fl-vxlan0");
      if (!tunnel) return;
      Say("a stranger deletes the tunnel");
      return links.DeleteLink(tunnel->ifindex).IgnoreError();
    }
    case 5:
      return UnplugADevice();
    case 6:
      if (!representor) return;
      Say(StrCat("a stranger lets ", representor->name, " make a link-local address"));
      return links.SetAddrGenNone(representor->ifindex, false).IgnoreError();
    case 7:
      return ChangeAVf();
    case 8:
      return RebindAVf();
    case 9:
      if (representor && dice.OneIn(2)) return Rename(*representor);
      if (const auto link = links.GetLink(FakeMachine::kPfLink + pf); link.ok()) Rename(*link);
      return;
    case 10:
      if (const auto tunnel = Named("fl-vxlan0")) Rename(*tunnel);
      return;
    case 11:
      if (representor && !nics.eswitch) RecreateRepresentor(pf, *representor);
      return;
    case 12:
      if (nics.eswitch && (pf == 0 || !nics.igb)) {
        SwitchEswitch(pf, dice.OneIn(2) ? EswitchMode::kLegacy : EswitchMode::kSwitchdev);
      }
      return;
    case 13:
      Say("a stranger deletes the clsact of pf0");
      return tc.DeleteClsact(FakeMachine::kPfLink).IgnoreError();
    default:
      Say("messages of the kernel are lost");
      host.network->LoseLinkEvents();
      host.devlink->LoseEvents();
      host.uevents.Lose();
      return host.network->LoseRuleEvents();
  }
}

void RandomHost::DeleteARule() {
  FakeRtnetlinkPort links(host.network);
  FakeTcPort tc(host.network);
  std::set<TcAttachPoint> places;
  for (const LinkInfo& link : links.ListLinks().value_or(std::vector<LinkInfo>{})) {
    const auto qdisc = tc.GetQdisc(link.ifindex);
    if (!qdisc.ok() || !qdisc->clsact) continue;
    places.insert(qdisc->ingress_block != 0 ? TcAttachPoint{.block = qdisc->ingress_block}
                                            : TcAttachPoint{.ifindex = link.ifindex});
  }
  std::vector<std::pair<TcAttachPoint, TcFilter>> rules;
  for (const TcAttachPoint& at : places) {
    for (TcFilter& filter : host.network->Filters(at)) {
      // Who takes away the mark of a qdisc makes it his own.
      if (at.block == 0 && at.ifindex < FakeMachine::kPfLink + 2 && filter.id.chain != 0) continue;
      rules.emplace_back(at, std::move(filter));
    }
  }
  if (rules.empty()) return;
  const auto& [at, filter] = dice.Of(rules);
  Say(StrCat("a stranger deletes rule ", at.ifindex, " ", at.block, "/", filter.id.chain, "/",
             filter.id.priority, "/", filter.id.handle));
  const TcChange change{.verb = TcChange::Verb::kDelete, .at = at, .filter = filter};
  ASSERT_TRUE(tc.Apply(std::span(&change, 1)).front().ok());
}

void RandomHost::TakeRepresentorDown(const LinkInfo& representor) {
  Say(StrCat("a stranger takes down ", representor.name));
  FakeRtnetlinkPort(host.network).SetLinkUp(representor.ifindex, false).IgnoreError();
}

void RandomHost::UnplugADevice() {
  const std::string vm = dice.Of(vm_names);
  if (!host.vms().contains(vm)) return;
  for (const QmpDevice& device : host.vms().at(vm)->devices()) {
    if (device.host.empty()) continue;
    Say(StrCat("a stranger unplugs ", device.id, " of ", vm));
    host.vms().at(vm)->Unplug(device.id);
    return;
  }
}

// Of a port that is ready: what is not yet, or no more, the agent's is not for it to mend.
void RandomHost::ChangeAVf() {
  std::vector<std::pair<uint16_t, uint16_t>> ready;
  for (const auto& [vf, pf] : Leased()) {
    FakeRtnetlinkPort links(host.network);
    const auto link = links.GetLinkWithVfs(FakeMachine::kPfLink + pf);
    if (!link.ok() || !link->vfs) continue;
    v1::Request all;
    all.mutable_get()->set_kind(v1::OBJECT_KIND_PORT);
    const v1::Reply reply = host.Send(all);
    for (const auto& object : reply.get().objects()) {
      if (object.status().vf() == FakeMachine::VfName(vf, pf) &&
          object.status().state() == v1::OBJECT_STATE_READY) {
        ready.push_back({vf, pf});
      }
    }
  }
  if (ready.empty()) return;
  const auto [vf, pf] = dice.Of(ready);
  const size_t what = dice.Below(4);
  Say(StrCat("a stranger changes VF ", vf, " of PF ", pf, ": ", what));
  host.ChangeVf(vf, pf, [&](VfInfo& info) {
    if (what == 0) info.mac = *MacAddress::Parse("52:54:00:00:bb:0b");
    if (what == 1) info.vlan = info.vlan == 7 ? 8 : 7;
    if (what == 2) info.spoof_check = false;
    if (what == 3) info.trust = true;
  });
}

// Its native driver gets it, or none; not while a VM has it open: that write would hang.
void RandomHost::RebindAVf() {
  std::vector<PciAddress> idle;
  for (const auto& [vf, pf] : Leased()) {
    const PciAddress address = host.VfAddress(vf, pf);
    const std::optional<PciDevice> function = host.pci.Find(address);
    const auto open = host.pci.VfioGroupInUse(*function->iommu_group);
    if (open.ok() && !*open) idle.push_back(address);
  }
  if (idle.empty()) return;
  const PciAddress vf = dice.Of(idle);
  const bool native = dice.OneIn(2);
  Say(StrCat("a stranger unbinds ", vf.ToString(),
             native ? " and binds it to its own driver" : ""));
  if (host.pci.Find(vf)->driver != "") host.pci.Unbind(vf).IgnoreError();
  if (!native) return;
  host.pci.SetDriverOverride(vf, "").IgnoreError();
  host.pci.Probe(vf).IgnoreError();
  rebound_.insert(vf);
}

void RandomHost::Rename(const LinkInfo& link) {
  const std::string name = StrCat("x", link.ifindex);
  if (link.name == name) return;
  Say(StrCat("a stranger renames ", link.name, " to ", name));
  renamed_.emplace(link.ifindex, link.name);
  for (uint16_t pf = 0; pf < 2; ++pf) {
    if (link.ifindex == FakeMachine::kPfLink + pf) {
      host.pci.SetNetdevs(FakeMachine::PfAddress(pf), {name});
    }
  }
  host.network->ChangeLink(link.ifindex, [&](LinkInfo& changed) { changed.name = name; });
}

// As when its driver is loaded anew: a netdev of the same name, without anything on it.
void RandomHost::RecreateRepresentor(uint16_t pf, const LinkInfo& old) {
  Say(StrCat("representor ", old.name, " of PF ", pf, " is another netdev"));
  LinkInfo anew;
  anew.name = old.name;
  anew.mac = old.mac;
  anew.mtu = 1500;
  anew.ifindex = next_link_ += 1000;
  host.network->RemoveLink(old.ifindex);
  host.network->AddLink(anew);
  if (nics.offload) host.network->SetOffloadCapable(anew.ifindex, true);
}

void RandomHost::SwitchEswitch(uint16_t pf, EswitchMode mode) {
  FakeDevlinkPort devlink(host.devlink);
  const auto now = devlink.GetEswitch(FakeMachine::Nic(pf));
  if (now.ok() && now->mode == mode) return;
  EswitchSettings wanted;
  wanted.mode = mode;
  const absl::Status set = devlink.SetEswitch(FakeMachine::Nic(pf), wanted);
  Say(StrCat("a stranger sets mode ", static_cast<int>(mode), " of PF ", pf, ": ", set.ToString()));
}

}  // namespace fairlead
