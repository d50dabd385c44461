// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/random_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"
#include "agent/model/flow_rule.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"
#include "dataplane/pipeline/pipeline.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

class Check {
 public:
  Check(RandomHost& on, const Wanted& wanted)
      : on_(on), host_(on.host), wanted_(wanted), links_(on.host.network), tc_(on.host.network) {}

  void Run() {
    for (const auto& [id, vm] : host_.vms()) {
      for (const QmpDevice& device : vm->devices()) {
        if (device.host.empty()) continue;
        EXPECT_TRUE(vm_of_function_.emplace(device.host, id).second)
            << device.host << " is in two places";
      }
    }
    std::set<std::string> functions;
    for (const auto& [key, port] : wanted_.ports) {
      SCOPED_TRACE(port.ShortDebugString());
      const auto status = host_.PortStatus(port.port());
      ASSERT_TRUE(status);
      EXPECT_EQ(status->state(), v1::OBJECT_STATE_READY) << status->ShortDebugString();
      functions.insert(status->vf_pci());
      if (status->state() == v1::OBJECT_STATE_READY) ExpectPort(port, *status);
    }
    EXPECT_EQ(functions.size(), wanted_.ports.size()) << "two ports have one VF";
    for (const auto& [function, vm] : vm_of_function_) {
      EXPECT_TRUE(functions.contains(function)) << function << " is left in VM " << vm;
    }
    v1::Request all;
    all.mutable_get();
    const v1::Reply reply = host_.Send(all);
    for (const auto& object : reply.get().objects()) {
      if (object.object().has_route()) {
        ExpectRoute(object, reply.get());
        continue;
      }
      EXPECT_EQ(object.status().state(), v1::OBJECT_STATE_READY) << object.ShortDebugString();
    }
  }

 private:
  void ExpectPort(const v1::AddVmToVpc& port, const v1::ObjectStatus& status) {
    EXPECT_EQ(vm_of_function_[status.vf_pci()], port.vm().id());
    const auto function = host_.pci.Find(*PciAddress::Parse(status.vf_pci()));
    ASSERT_TRUE(function);
    EXPECT_EQ(function->driver, "vfio-pci");
    if (!port.mac().empty()) {
      EXPECT_EQ(status.mac(), port.mac());
    }
    const v1::Vpc& vpc = wanted_.networks.at(port.vpc());
    if (port.function() == v1::FUNCTION_SOURCE_HOTPLUG) return;  // the DPU forwards
    const absl::StatusOr<VfId> vf = VfId::Parse(status.vf());
    ASSERT_TRUE(vf.ok()) << vf.status();
    const uint16_t pf = status.vf() == FakeMachine::VfName(vf->index, 1) ? 1 : 0;
    if (on_.nics.CanSetMac() && (on_.nics.eswitch || pf == 1)) {
      EXPECT_EQ(host_.Vf(vf->index, pf).mac.ToString(), status.mac());
    }
    if (on_.nics.igb && pf == 1) return ExpectVlan(vpc, host_.Vf(vf->index, pf));
    ExpectRules(vpc, status, pf);
    if (on_.nics.eswitch && !on_.nics.igb) ExpectCap(port, vf->index, pf);
  }

  void ExpectCap(const v1::AddVmToVpc& port, uint16_t vf, uint16_t pf) {
    FakeDevlinkPort devlink(host_.devlink);
    const DevlinkHandle nic = FakeMachine::Nic(pf);
    const auto ports = devlink.ListPorts(nic);
    const auto rates = devlink.ListRates(nic);
    ASSERT_TRUE(ports.ok() && rates.ok());
    const auto own = FindVfRepresentor(*ports, {.vf = vf, .pf = {}});
    ASSERT_TRUE(own.ok()) << own.status();
    for (const DevlinkRate& rate : *rates) {
      if (rate.id != DevlinkRateId::Leaf(own->index)) continue;
      EXPECT_EQ(rate.max, uint64_t{port.max_tx_mbps()} * kDevlinkMbit);
      EXPECT_EQ(rate.share, 0U);
    }
  }

  // On a NIC that forwards by MAC and VLAN.
  static void ExpectVlan(const v1::Vpc& vpc, const VfInfo& vf) {
    EXPECT_EQ(vf.vlan, vpc.vlan());
    EXPECT_EQ(vf.spoof_check, true);
    EXPECT_EQ(vf.trust, false);
    EXPECT_FALSE(vf.link_disabled);
  }

  void ExpectRules(const v1::Vpc& vpc, const v1::ObjectStatus& status, uint16_t pf) {
    const absl::StatusOr<LinkInfo> representor = links_.GetLink(status.representor());
    ASSERT_TRUE(representor.ok());
    EXPECT_TRUE(representor->up);
    EXPECT_TRUE(representor->addr_gen_none) << representor->name;
    const absl::StatusOr<TcQdiscInfo> qdisc = tc_.GetQdisc(representor->ifindex);
    ASSERT_TRUE(qdisc.ok());
    const bool overlay = vpc.vni() != 0;
    EXPECT_EQ(qdisc->ingress_block,
              overlay ? BlockIndexOf(*Vni::Make(vpc.vni()))
                      : BlockIndexOf(RuleTable{.kind = RuleTable::Kind::kProviderBlock,
                                               .pf = FakeMachine::PfMac(pf),
                                               .vlan = static_cast<uint16_t>(vpc.vlan())}));
    // From its neighbours of this host, and from the others.
    EXPECT_TRUE(SendsTo({.block = qdisc->ingress_block}, representor->ifindex))
        << "no rule of its network leads to " << representor->name;
    const auto tunnel = links_.GetLink("fl-vxlan0");
    const uint32_t outside = overlay ? (tunnel.ok() ? tunnel->ifindex : 0)
                                     : static_cast<uint32_t>(FakeMachine::kPfLink + pf);
    EXPECT_TRUE(SendsTo({.ifindex = outside}, representor->ifindex))
        << "no rule of what comes from outside leads to " << representor->name;
  }

  bool SendsTo(const TcAttachPoint& at, uint32_t ifindex) {
    for (const TcFilter& filter : host_.network->Filters(at)) {
      for (const TcAction& action : filter.actions) {
        const auto* to = std::get_if<TcMirred>(&action);
        if (to != nullptr && to->ifindex == ifindex) return true;
      }
    }
    return false;
  }

  // It leads to whoever has its next hop, and else drops what it covers.
  void ExpectRoute(const v1::ObjectWithStatus& object, const v1::GetReply& all) {
    SCOPED_TRACE(object.ShortDebugString());
    const v1::Route& route = object.object().route();
    const auto has = [&route](const auto& station) {
      const auto& addresses = station.addresses();
      return station.vpc() == route.vpc() &&
             std::find(addresses.begin(), addresses.end(), route.next_hop()) != addresses.end();
    };
    std::string wanted = "drop";
    bool any_port = false;
    for (const auto& other : all.objects()) {
      const v1::Port& port = other.object().port();
      any_port |= other.object().has_port() && port.vpc() == route.vpc();
      if (has(port)) {
        const auto representor = links_.GetLink(other.status().representor());
        ASSERT_TRUE(representor.ok()) << other.ShortDebugString();
        wanted = StrCat("to ", representor->ifindex);
      }
      if (has(other.object().endpoint())) wanted = other.object().endpoint().vtep();
    }
    EXPECT_EQ(object.status().state(),
              wanted == "drop" ? v1::OBJECT_STATE_PENDING : v1::OBJECT_STATE_READY);
    std::string does = "nothing";
    const uint32_t block = BlockIndexOf(*Vni::Make(wanted_.networks.at(route.vpc()).vni()));
    for (const TcFilter& filter : host_.network->Filters({.block = block})) {
      const RulePlace place{filter.id.chain, filter.id.priority, filter.id.handle};
      if (!IsStaticRoute(place) || filter.match.dst_ip->ToString() != route.prefix()) continue;
      EXPECT_EQ(does, "nothing") << "two rules of one route";
      does = "drop";
      for (const TcAction& action : filter.actions) {
        const auto* tunnel = std::get_if<TcTunnelSet>(&action);
        const auto* to = std::get_if<TcMirred>(&action);
        if (tunnel != nullptr) does = tunnel->dst.ToString();
        if (to != nullptr && does == "drop") does = StrCat("to ", to->ifindex);
      }
    }
    EXPECT_EQ(does, any_port ? wanted : "nothing");
  }

  RandomHost& on_;
  SteppedHost& host_;
  const Wanted& wanted_;
  FakeRtnetlinkPort links_;
  FakeTcPort tc_;
  std::map<std::string, std::string> vm_of_function_;
};

}  // namespace

void ExpectAsWanted(RandomHost& on, const Wanted& wanted) { Check(on, wanted).Run(); }

void ExpectNothingToDoAfterARestart(RandomHost& on) {
  const std::string picture = on.host.Picture();
  on.host.Kill();
  on.host.ClearChanges();
  on.Revive();
  EXPECT_TRUE(on.host.Settle(milliseconds(130'000)));
  EXPECT_THAT(on.host.changes(), ::testing::IsEmpty());
  EXPECT_EQ(on.host.Picture(), picture);
}

}  // namespace fairlead
