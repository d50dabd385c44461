// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/render.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "agent/ctl/json.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

template <typename T>
T From(const char* text) {
  T message;
  if (!google::protobuf::TextFormat::ParseFromString(text, &message)) ADD_FAILURE() << text;
  return message;
}

constexpr char kObjects[] = R"pb(
  objects {
    object { vpc { id: "red" vni: 100 } }
    status { state: OBJECT_STATE_READY generation: 1 }
  }
  objects {
    object { vm { id: "a" uuid: "u" } }
    status { state: OBJECT_STATE_READY generation: 1 }
  }
  objects {
    object {
      port {
        id: "a0"
        vm: "a"
        vpc: "red"
        subnet: "red-1"
        addresses: "10.0.0.5"
        addresses: "10.0.0.6"
        offload: OFFLOAD_WISH_MUST
      }
    }
    status {
      ref { kind: OBJECT_KIND_PORT id: "a0" }
      state: OBJECT_STATE_FAILED
      generation: 3
      observed_generation: 2
      reason: "no free VF"
      step: "vf lease"
      peer_words: "EBUSY"
      permanent: true
      rolled_back: true
      vf: "52:54:00:00:00:01/0"
      vf_pci: "0000:01:00.1"
      mac: "52:54:00:00:02:00"
      lease: 7
      rules_wanted: 4
      rules_observed: 3
      rules_in_hardware: 2
    }
  })pb";

constexpr char kHost[] = R"pb(
  version: "0.1.0"
  store_id: "s1"
  tunnel: "fl-vxlan0 local 192.0.2.1"
  pfs {
    mac: "52:54:00:00:00:01"
    pci: "0000:01:00.0"
    netdev: "pf0"
    driver: "igb"
    total_vfs: 7
    num_vfs: 2
    vfs { index: 0 pci: "0000:01:00.1" state: "leased" port: "a0" lease: 7 iommu_group: 4 }
    vfs { index: 1 pci: "0000:01:00.2" state: "free" iommu_group: -1 }
  })pb";

TEST(Render, PortsAsATable) {
  EXPECT_EQ(RenderObjects(From<v1::GetReply>(kObjects), v1::OBJECT_KIND_PORT),
            "ID  VM  VPC  SUBNET  MAC                ADDRESSES          STATE   VF            "
            "RULES       REASON\n"
            "a0  a   red  red-1   52:54:00:00:02:00  10.0.0.5,10.0.0.6  failed  0000:01:00.1  "
            "3/4 (2 hw)  no free VF\n");
}

TEST(Render, OtherKindsAreLeftOutAndEmptyCellsShown) {
  EXPECT_EQ(RenderObjects(From<v1::GetReply>(kObjects), v1::OBJECT_KIND_VPC),
            "ID   VNI  VLAN  STATE  REASON\nred  100  -     ready  -\n");
}

TEST(Render, GatewaysAndPairsAreShown) {
  const auto all = From<v1::GetReply>(R"pb(
    objects {
      object {
        subnet {
          id: "red-1"
          vpc: "red"
          prefixes: "10.0.0.0/24"
          prefixes: "fd00::/64"
          gateways: "10.0.0.1"
          gateways: "fd00::1"
          dns_servers: "10.0.0.2"
        }
      }
      status { state: OBJECT_STATE_READY generation: 1 }
    }
    objects {
      object { subnet { id: "red-2" vpc: "red" prefixes: "10.0.1.0/24" } }
      status { state: OBJECT_STATE_READY generation: 1 }
    }
    objects {
      object {
        port {
          id: "a0"
          vpc: "red"
          subnet: "red-1"
          allowed_pairs { prefix: "10.0.0.100/32" }
          allowed_pairs { mac: "02:00:5e:00:01:07" prefix: "10.0.9.0/24" }
        }
      }
      status { state: OBJECT_STATE_PENDING generation: 1 }
    })pb");
  EXPECT_EQ(RenderObjects(all, v1::OBJECT_KIND_SUBNET),
            "ID     VPC  PREFIXES               GATEWAYS          STATE  REASON\n"
            "red-1  red  10.0.0.0/24,fd00::/64  10.0.0.1,fd00::1  ready  -\n"
            "red-2  red  10.0.1.0/24            -                 ready  -\n");
  EXPECT_EQ(RenderObjects(all, v1::OBJECT_KIND_SUBNET, /*wide=*/true),
            "ID     VPC  PREFIXES               GATEWAYS          DNS       STATE  REASON\n"
            "red-1  red  10.0.0.0/24,fd00::/64  10.0.0.1,fd00::1  10.0.0.2  ready  -\n"
            "red-2  red  10.0.1.0/24            -                 -         ready  -\n");
  EXPECT_THAT(RenderObjects(all, v1::OBJECT_KIND_PORT), Not(HasSubstr("10.0.0.100")));
  EXPECT_THAT(RenderObjects(all, v1::OBJECT_KIND_PORT, /*wide=*/true),
              AllOf(HasSubstr("ADDRESSES  PAIRS"),
                    HasSubstr("10.0.0.100/32,10.0.9.0/24 from 02:00:5e:00:01:07  pending")));
  EXPECT_THAT(
      DescribeObject(all.objects(0), all),
      AllOf(HasSubstr("Gateways:     10.0.0.1, fd00::1\n"), HasSubstr("DNS servers:  10.0.0.2\n")));
  EXPECT_THAT(DescribeObject(all.objects(1), all), Not(HasSubstr("Gateways")));
  EXPECT_THAT(DescribeObject(all.objects(2), all),
              HasSubstr("May send as:    10.0.0.100/32, 10.0.9.0/24 from 02:00:5e:00:01:07\n"));
}

TEST(Render, ShowsRoutesAndThatTheyBelongToTheirVpc) {
  const auto all = From<v1::GetReply>(R"pb(
    objects {
      object { vpc { id: "red" vni: 100 } }
      status { state: OBJECT_STATE_READY generation: 1 }
    }
    objects {
      object { route { id: "out" vpc: "red" prefix: "0.0.0.0/0" next_hop: "10.0.0.6" } }
      status { state: OBJECT_STATE_PENDING generation: 1 reason: "nobody has it" }
    })pb");
  EXPECT_EQ(RenderObjects(all, v1::OBJECT_KIND_ROUTE),
            "ID   VPC  PREFIX     NEXT-HOP  STATE    REASON\n"
            "out  red  0.0.0.0/0  10.0.0.6  pending  nobody has it\n");
  EXPECT_THAT(DescribeObject(all.objects(1), all),
              AllOf(HasSubstr("route/out\n"), HasSubstr("0.0.0.0/0\n"), HasSubstr("10.0.0.6\n")));
  EXPECT_THAT(DescribeObject(all.objects(0), all), HasSubstr("route/out pending: nobody has it\n"));
}

TEST(Render, DescribesAPortWithTheLastErrorsWords) {
  auto all = From<v1::GetReply>(kObjects);
  EXPECT_EQ(DescribeObject(all.objects(2), all),
            "port/a0\n"
            "  VM:                a\n"
            "  VPC:               red\n"
            "  Subnet:            red-1\n"
            "  MAC asked for:     the VF's own\n"
            "  Addresses:         10.0.0.5, 10.0.0.6\n"
            "  Network:           compute\n"
            "  Offload:           must\n"
            "  State:             failed\n"
            "  Reason:            no free VF\n"
            "  Step:              vf lease\n"
            "  In its own words:  EBUSY\n"
            "  Permanent:         yes, tried again when the object or the host changes\n"
            "  Rolled back:       yes, nothing of it is left\n"
            "  What next:         correct what the reason names, in the object (apply or attach it "
            "again) or on the host; the agent notices both and tries again\n"
            "  Generation:        3, last ready 2\n"
            "  VF:                52:54:00:00:00:01/0\n"
            "  VF PCI:            0000:01:00.1\n"
            "  VF MAC:            52:54:00:00:02:00\n"
            "  Lease:             7\n"
            "  Rules:             4 wanted, 3 there, 2 in hardware\n");
}

TEST(Render, DescribesTheLastErrorWhenTheStatusHasLostItsWords) {
  const auto described = [](const char* text) {
    const auto all = From<v1::GetReply>(text);
    const std::string out = DescribeObject(all.objects(0), all);
    return out.substr(out.find("  Last error:"));
  };
  EXPECT_EQ(described(R"pb(
              objects {
                object { vpc { id: "red" vni: 100 } }
                status { state: OBJECT_STATE_READY generation: 2 }
                last_error {
                  reason: "add a rule: EBUSY"
                  step: "flow-rule create"
                  peer_words: "EBUSY"
                  generation: 1
                  times: 3
                  first_time: 1767323045678000000
                  last_time: 1767323046000000000
                }
              })pb"),
            "  Last error:          add a rule: EBUSY\n"
            "    step:              flow-rule create\n"
            "    in its own words:  EBUSY\n"
            "    seen:              3 times in a row, first 2026-01-02T03:04:05.678Z, last "
            "2026-01-02T03:04:06.000Z\n"
            "    of generation:     1\n"
            "    now:               over: the object is ready\n");
  EXPECT_EQ(described(R"pb(
              objects {
                object { vpc { id: "red" vni: 100 } }
                status { state: OBJECT_STATE_DEGRADED reason: "add a rule: EBUSY" }
                last_error {
                  reason: "add a rule: EBUSY"
                  times: 1
                  last_time: 1767323046000000000
                  retry_in_ms: 1001
                }
              })pb"),
            "  Last error:  the reason above\n"
            "    seen:      once, 2026-01-02T03:04:06.000Z\n"
            "    now:       tried again in 2 s\n");
}

TEST(Render, TellsWhatWasAskedApartFromThePeersWords) {
  const auto status = [](const char* text) { return From<v1::ObjectStatus>(text); };
  EXPECT_EQ(AskedOf(status("reason: 'bind 0000:01:00.1 to vfio-pci: EBUSY (Device or resource "
                           "busy)' peer_words: 'EBUSY'")),
            "bind 0000:01:00.1 to vfio-pci");
  EXPECT_EQ(AskedOf(status("reason: 'no free VF' peer_words: 'EBUSY'")), "");
  EXPECT_EQ(AskedOf(status("reason: 'no free VF'")), "");
}

TEST(Render, SaysWhatAPersonMayDoNext) {
  const auto next = [](const char* text) {
    return NextStep("port/a0", From<v1::ObjectStatus>(text));
  };
  EXPECT_THAT(next("state: OBJECT_STATE_FAILED permanent: true"), HasSubstr("apply or attach"));
  EXPECT_THAT(next("state: OBJECT_STATE_FAILED"), HasSubstr("by itself"));
  EXPECT_THAT(next("state: OBJECT_STATE_PENDING"), HasSubstr("`fairleadctl watch port/a0`"));
  EXPECT_EQ(next("state: OBJECT_STATE_READY"), "");
}

TEST(Render, AChangeIsOneLine) {
  auto all = From<v1::GetReply>(kObjects);
  EXPECT_EQ(RenderChange(1'767'323'045'678'000'000, "port/a0", all.objects(2).status(), false),
            "2026-01-02T03:04:05.678Z  port/a0               failed    vf lease              "
            "no free VF (EBUSY)");
  EXPECT_EQ(RenderChange(0, "port/a\n", v1::ObjectStatus(), true),
            "1970-01-01T00:00:00.000Z  port/a\\x0a            gone      -                     -");
  EXPECT_FALSE(RenderChange(UINT64_MAX, "port/a", v1::ObjectStatus(), false).empty());
}

TEST(Render, OfManyOnlyTheFirstAreTold) {
  EXPECT_EQ(FirstOf({"a", "b"}), "a; b");
  EXPECT_EQ(FirstOf({"a", "b", "c", "d", "e", "f", "g"}), "a; b; c; d; e; and 2 more");
}

TEST(Render, DescribesAVmWithItsPorts) {
  auto all = From<v1::GetReply>(kObjects);
  EXPECT_THAT(DescribeObject(all.objects(1), all),
              HasSubstr("  Holds:\n    port/a0 failed: no free VF\n"));
}

TEST(Render, AHotplugPortIsShownAsOneWithTheFunctionsThatAreThere) {
  auto host = From<v1::HostState>(R"pb(
    pfs {
      mac: "0000:00:04.0"
      pci: "0000:00:04.0"
      name: "dpu0"
      hotplug: "mac"
      num_vfs: 1
      vfs { pci: "0000:02:00.0" state: "free" ids: "1af4:1041" netdev: "eth1" }
    })pb");
  EXPECT_EQ(RenderPfs(host, "dpu0"),
            "MAC   PCI           NETDEV  DRIVER    NETWORK  VFS  FREE  VF-MAC  PROBLEM\n"
            "dpu0  0000:00:04.0  -       hot-plug  compute  1    1     fixed   -\n");
  EXPECT_THAT(DescribePf(host, "dpu0"), HasSubstr("1 there now"));
  EXPECT_THAT(DescribeVf(host, "0000:02:00.0"),
              AllOf(HasSubstr("dpu0 0000:00:04.0"), HasSubstr("1af4:1041"), HasSubstr("eth1")));
  EXPECT_THAT(RenderStatus(host, {}).text, HasSubstr("dpu0 0000:00:04.0 compute, 1 functions"));
}

TEST(Render, ThePortsTrafficIsDescribedWithHardwaresShare) {
  auto port = From<v1::ObjectWithStatus>(R"pb(
    object { port { id: "a0" } }
    traffic {
      sent { packets: 7 bytes: 588 hardware_packets: 2 hardware_bytes: 168 }
      received {}
    })pb");
  const std::string text = DescribeObject(port, {});
  EXPECT_THAT(text, HasSubstr("7 packets, 588 bytes; 2 packets, 168 bytes of that in hardware\n"));
  EXPECT_THAT(text, HasSubstr("0 packets, 0 bytes; 0 packets, 0 bytes of that in hardware\n"));
  port.mutable_traffic()->Clear();
  port.mutable_traffic()->set_problem("late");
  EXPECT_THAT(DescribeObject(port, {}), HasSubstr("not known: late\n"));
  port.clear_traffic();
  EXPECT_THAT(DescribeObject(port, {}), Not(HasSubstr("packets")));
}

TEST(Render, PfsAndVfsCanBePicked) {
  auto host = From<v1::HostState>(kHost);
  EXPECT_EQ(RenderPfs(host, ""),
            "MAC                PCI           NETDEV  DRIVER  NETWORK  VFS  FREE  VF-MAC  PROBLEM\n"
            "52:54:00:00:00:01  0000:01:00.0  pf0     igb     compute  2/7  1     fixed   -\n");
  EXPECT_THAT(RenderPfs(host, "pf9"), Not(HasSubstr("pf0")));
  EXPECT_THAT(RenderVfs(host, "0000:01:00.2"), HasSubstr("52:54:00:00:00:01/1"));
  EXPECT_THAT(RenderVfs(host, "0000:01:00.2"), Not(HasSubstr("52:54:00:00:00:01/0")));
  EXPECT_THAT(DescribeVf(host, "52:54:00:00:00:01/0"), HasSubstr("IOMMU group:  4"));
  EXPECT_THAT(DescribePf(host, "pf0"), HasSubstr("cannot be set by this NIC"));
  EXPECT_EQ(DescribePf(host, "pf1"), "");
}

TEST(Render, AVfIsNamedByItsPfInAnyFormAndItsNumber) {
  auto host = From<v1::HostState>(kHost);
  for (const char* id : {"52:54:00:00:00:01/1", "pf0/1", "0000:01:00.0/1", "0000:01:00.2"}) {
    EXPECT_THAT(DescribeVf(host, id), HasSubstr("vf/52:54:00:00:00:01/1\n")) << id;
  }
  for (const char* id : {"/1", "1", "pf0/", "pf0/7", "pf1/1", "pf0"}) {
    EXPECT_EQ(DescribeVf(host, id), "") << id;
  }
}

TEST(Render, AQuarantinedVfSaysWhatWasFoundAndWhatToDo) {
  auto host = From<v1::HostState>(kHost);
  v1::HostState::Vf& vf = *host.mutable_pfs(0)->mutable_vfs(1);
  EXPECT_THAT(DescribeVf(host, "pf0/1"), Not(HasSubstr("Checked")));
  vf.set_state("quarantined");
  vf.set_detail("trust is on: should be off");
  *vf.mutable_sanitation() = From<v1::HostState::Vf::Sanitation>(R"pb(
    verdict: "quarantined"
    reason: "trust is on: should be off"
    checked_at: 1767323045678000000
    lease: 7
    port: "a0"
    vm: "a"
    findings { what: "mac" state: "clean" value: "none" }
    findings { what: "trust" state: "dirty" value: "on" why: "should be off" }
    findings { what: "guid" state: "unprovable" why: "this version reads no GUIDs" })pb");
  EXPECT_THAT(
      DescribeVf(host, "pf0/1"),
      AllOf(HasSubstr("port/a0 of vm/a, lease 7\n"), HasSubstr("2026-01-02T03:04:05.678Z\n"),
            HasSubstr("trust is on: should be off\n"), HasSubstr("fairleadctl vf release"),
            HasSubstr("clean, none\n"), HasSubstr("dirty, on: should be off\n"),
            HasSubstr("unprovable: this version reads no GUIDs\n")));
  EXPECT_THAT(RenderVfs(host, "pf0/1"), HasSubstr("quarantined"));
  const Health health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text,
              HasSubstr("vf/52:54:00:00:00:01/1 quarantined: trust is on: should be off\n"));
  vf.mutable_sanitation()->set_verdict("released");
  vf.mutable_sanitation()->set_released_by("eve");
  EXPECT_THAT(DescribeVf(host, "pf0/1"),
              AllOf(HasSubstr("by eve"), HasSubstr("as it was"), HasSubstr("Was quarantined for"),
                    Not(HasSubstr("What next"))));
}

TEST(Render, AnEswitchIsShownAndInWhatItIsNotAsConfigured) {
  auto host = From<v1::HostState>(kHost);
  v1::HostState::Pf& pf = *host.mutable_pfs(0);
  EXPECT_FALSE(RenderStatus(host, v1::GetReply()).troubled);
  pf.mutable_eswitch_now()->set_mode("legacy");
  pf.mutable_eswitch_now()->set_encap("basic");
  pf.mutable_eswitch_wanted()->set_mode("switchdev");
  pf.mutable_eswitch_wanted()->set_inline_("link");
  pf.set_eswitch_problem("mode legacy, wanted switchdev; VF 0 is leased to port a0");
  EXPECT_THAT(RenderPfs(host, ""), AllOf(HasSubstr("PROBLEM"), Not(HasSubstr("ESWITCH-WANTED")),
                                         HasSubstr("eswitch mode legacy, wanted switchdev; VF 0")));
  EXPECT_THAT(RenderPfs(host, "", /*wide=*/true),
              AllOf(HasSubstr("ESWITCH                   ESWITCH-WANTED"),
                    HasSubstr("mode legacy, encap basic  mode switchdev, inline link")));
  EXPECT_THAT(DescribePf(host, "pf0"),
              AllOf(HasSubstr("mode legacy, encap basic"), HasSubstr("mode switchdev, inline link"),
                    HasSubstr("VF 0 is leased to port a0")));
  const Health health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, HasSubstr("ESWITCH mode legacy, wanted switchdev"));
}

TEST(Render, WhatRulesTakeOfANicIsShownWithItsLimit) {
  auto host = From<v1::HostState>(kHost);
  EXPECT_THAT(DescribePf(host, "pf0"), Not(HasSubstr("Hardware rules")));
  host.mutable_pfs(0)->set_hardware_rules(1234);
  EXPECT_THAT(DescribePf(host, "pf0"), HasSubstr("1234\n"));
  host.mutable_pfs(0)->set_max_hardware_rules(5000);
  EXPECT_THAT(DescribePf(host, "pf0"), HasSubstr("1234 of 5000"));
}

TEST(Render, VfsThatCouldNotBeMadeAreTrouble) {
  auto host = From<v1::HostState>(kHost);
  v1::HostState::Pf& pf = *host.mutable_pfs(0);
  pf.set_pool_problem("write 4 to sriov_numvfs: Cannot allocate memory");
  const std::string told = "VFs: write 4 to sriov_numvfs: Cannot allocate memory";
  EXPECT_THAT(RenderPfs(host, ""), HasSubstr(told));
  EXPECT_THAT(DescribePf(host, "pf0"), HasSubstr("Cannot allocate memory"));
  const Health health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, HasSubstr(told));
  pf.set_eswitch_problem("mode legacy, wanted switchdev");
  EXPECT_THAT(RenderPfs(host, ""),
              AllOf(HasSubstr("eswitch mode legacy, wanted switchdev; " + told)));
}

TEST(Render, StatusSaysWhatIsNotWell) {
  auto all = From<v1::GetReply>(kObjects);
  Health health = RenderStatus(From<v1::HostState>(kHost), all);
  EXPECT_TRUE(health.troubled);
  EXPECT_EQ(health.text,
            "Agent:         0.1.0\n"
            "Store:         s1\n"
            "At its start:  still looking at what was there\n"
            "Tunnel:        fl-vxlan0 local 192.0.2.1\n"
            "Objects:       2 ready, 1 failed\n"
            "PF:            pf0 0000:01:00.0 compute, 2 VFs, 1 free\n"
            "Not well:\n"
            "  port/a0 failed: no free VF\n");
  EXPECT_FALSE(RenderStatus(From<v1::HostState>(kHost), v1::GetReply()).troubled);
}

TEST(Render, StatusTellsWhatTheTunnelDroppedAndWhatIsWrongWithItsMtu) {
  auto host = From<v1::HostState>(kHost);
  auto* drops = host.mutable_tunnel_drops();
  drops->set_unknown_vni(3);
  for (const auto& [vpc, packets] : {std::pair("blue", 0U), std::pair("red", 12U)}) {
    drops->add_vpcs()->set_vpc(vpc);
    drops->mutable_vpcs()->rbegin()->set_packets(packets);
  }
  host.set_tunnel_note("8950 is used");
  Health health = RenderStatus(host, v1::GetReply());
  EXPECT_THAT(health.text, AllOf(HasSubstr("3 of an unknown VNI, 12 in vpc red: for nobody here"),
                                 HasSubstr("Tunnel MTU:"), HasSubstr("8950 is used")));
  EXPECT_FALSE(health.troubled);
  host.set_tunnel_problem("carries 1450");
  drops->set_problem("the lane is held up");
  health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, AllOf(HasSubstr("TUNNEL MTU:"), HasSubstr("carries 1450"),
                                 HasSubstr("not known: the lane is held up")));
}

TEST(Render, StatusTellsWhatOfTheHostsOwnCouldNotBeDone) {
  auto host = From<v1::HostState>(kHost);
  host.add_problems("host: tunnel delete: delete fl-vxlan0: Device or resource busy");
  const Health health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, HasSubstr("NOT DONE:      host: tunnel delete: delete fl-vxlan0"));
}

TEST(Render, StatusTellsTheStartWhatOthersChangedAndWhatIsOthers) {
  auto host = From<v1::HostState>(kHost);
  host.mutable_start()->set_complete(true);
  host.mutable_start()->set_adopted(12);
  host.mutable_start()->set_repaired(1);
  host.mutable_start()->set_took_ms(40);
  host.set_drifts_noticed(3);
  host.set_drifts_repaired(2);
  auto* drift = host.add_drifts();
  drift->set_owner("port/a0");
  drift->set_resource("representor/52:54:00:00:00:01/0");
  drift->set_change("up yes -> no");
  auto* foreign = host.add_foreign();
  foreign->set_store_id("0badcafe");
  foreign->set_resource("tunnel/host");
  const std::string text = RenderStatus(host, v1::GetReply()).text;
  EXPECT_THAT(text, HasSubstr("12 adopted, 1 repaired, 0 removed, 0 of other stores left alone; "
                              "took 40 ms"));
  EXPECT_THAT(text, HasSubstr("3 noticed, 2 repaired since the start"));
  EXPECT_THAT(text, HasSubstr("1 objects, left alone (fairleadctl get foreign)"));
  EXPECT_THAT(RenderDrifts(host, "port/a0"),
              AllOf(HasSubstr("up yes -> no"), HasSubstr("not yet")));
  EXPECT_THAT(RenderDrifts(host, "port/b0"), Not(HasSubstr("up yes")));
  EXPECT_THAT(RenderForeign(host, "0badcafe"), HasSubstr("tunnel/host"));
}

TEST(Render, AParkedLaneOrAPfThatCannotBeUsedIsTrouble) {
  auto host = From<v1::HostState>(kHost);
  auto* lane = host.add_lanes();
  lane->set_name("pf0");
  lane->set_running("create 4 VFs");
  lane->set_parked(true);
  Health health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, HasSubstr("PARKED"));
  host = From<v1::HostState>(kHost);
  host.mutable_pfs(0)->set_refused("carries the default route");
  health = RenderStatus(host, v1::GetReply());
  EXPECT_TRUE(health.troubled);
  EXPECT_THAT(health.text, HasSubstr("NOT USED: carries the default route"));
}

TEST(Render, RejectedPlanAndAcceptedAsLines) {
  EXPECT_EQ(RenderRejected(From<v1::Rejected>(
                "violations { path: 'apply' reason: 'no' } violations { reason: 'bad\\nbytes' }")),
            "apply: no\nbad\\x0abytes\n");
  EXPECT_EQ(RenderPlan(From<v1::Plan>("steps { verb: 'create' resource: 'vf/x' detail: 'd' "
                                      "owner: 'port/p' } blocked { ref { kind: OBJECT_KIND_VM "
                                      "id: 'v' } reason: 'r' }")),
            "create vf/x: d  (port/p)\nblocked vm/v: r\n");
  EXPECT_EQ(
      RenderPlan(From<v1::Plan>("accepted { items { ref { kind: OBJECT_KIND_VPC id: 'v' } "
                                "generation: 1 } items { ref { kind: OBJECT_KIND_PORT id: 'p' "
                                "} } }")),
      "would store vpc/v\nwould remove port/p\nnothing to do on the host\n");
  EXPECT_EQ(RenderPlan(v1::Plan()), "nothing would be done\n");
  EXPECT_EQ(RenderAccepted(From<v1::Accepted>("items { ref { kind: OBJECT_KIND_VM id: 'v' } "
                                              "generation: 2 } items { ref { kind: "
                                              "OBJECT_KIND_PORT id: 'p' } }")),
            "vm/v accepted, generation 2\nport/p removed\n");
}

TEST(Render, NothingFromOutsideReachesTheTerminalRaw) {
  EXPECT_EQ(Printable("a\x1b[31m\x7f\xc2\x9b\xc3\xbc\n"), "a\\x1b[31m\\x7f\\xc2\x9b\xc3\xbc\\x0a");
}

TEST(Json, KeepsFieldNamesAndShowsEveryField) {
  const std::string json = ToJson(From<v1::Accepted>("items { generation: 5 ref { id: 'p' } }"));
  EXPECT_EQ(json,
            "{\n  \"items\": [\n    {\n      \"ref\": {\n        \"kind\": "
            "\"OBJECT_KIND_UNSPECIFIED\",\n        \"id\": \"p\"\n      },\n      "
            "\"generation\": \"5\"\n    }\n  ]\n}\n");
  EXPECT_THAT(ToJson(From<v1::GetReply>(kObjects)), HasSubstr("\"rules_in_hardware\": 2"));
}

TEST(Json, YamlHasTheSameStructureAndQuotesWhatIsNoPlainWord) {
  EXPECT_EQ(JsonToYaml(R"({"a": [{"b": "off", "c": 1}, []], "d": {}, "e": "x:y", "f": true,
                           "g": "word", "h": "\u001b"})"),
            "a:\n  -\n    b: \"off\"\n    c: 1\n  - []\nd: {}\ne: \"x:y\"\nf: true\ng: word\n"
            "h: \"\\u001b\"\n");
  EXPECT_EQ(JsonToYaml("[]"), "[]\n");
  EXPECT_EQ(WithMember("{\"a\": 1}", "b", "[2]"), "{\n  \"a\": 1,\n  \"b\": [\n    2\n  ]\n}\n");
}

}  // namespace
}  // namespace fairlead
