// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/fake_machine.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/test_types.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
PciAddress FakeMachine::PfAddress(uint16_t pf) { return {0, static_cast<uint8_t>(1 + pf), 0, 0}; }
MacAddress FakeMachine::PfMac(uint16_t pf) {
  return *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:01", pf << 4));
}
MacAddress FakeMachine::VfMac(uint16_t index, uint16_t pf) {
  return *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:%02x", pf << 4 | 1, index));
}
std::string FakeMachine::VfName(uint16_t index, uint16_t pf) {
  return StrCat(PfMac(pf).ToString(), "/", index);
}
uint32_t FakeMachine::Representor(uint16_t index, uint16_t pf) { return 20U + 100U * pf + index; }

void FakeMachine::Configure(uint16_t number) {
  PfConfig configured;
  configured.mac = PfMac(number);
  configured.vfs = options_.vfs;
  const bool named = !IsMlx5(number) && !IsIgb(number);
  for (uint16_t i = 0; named && i < options_.vfs; ++i) {
    RepresentorConfig representor;
    representor.vf = i;
    representor.netdev = StrCat("pf", number, "rep", i);
    if (!options_.can_set_vf_mac) representor.mac = VfMac(i, number);
    configured.representors.push_back(representor);
  }
  config.providers.pfs.push_back(configured);
  config.engine.pfs.push_back(configured.mac);
}

void FakeMachine::AddPf(uint16_t number) {
  const NicPlace& place = places_[number];
  const bool igb = IsIgb(number), mlx5 = IsMlx5(number);
  FakePfOptions pf;
  pf.address = place.address;
  pf.netdev = place.netdev;
  pf.total_vfs = options_.vfs;
  pf.driver = igb ? "igb" : mlx5 ? "mlx5_core" : "virtio-pci";
  pf.vf_driver = igb ? "igbvf" : pf.driver;
  pci.AddPf(pf);
  LinkInfo link;
  link.name = place.netdev;
  link.ifindex = place.ifindex;
  link.up = link.carrier = true;
  link.mtu = 9000;
  link.mac = PfMac(number);
  link.permanent_mac = link.mac;
  if (options_.can_set_vf_mac || mlx5 || igb) {
    link.vfs.emplace();
    for (uint16_t i = 0; i < options_.vfs; ++i) {
      VfInfo vf;
      vf.index = i;
      if (mlx5) vf.mac = VfMac(i, number);
      if (igb) {
        vf.spoof_check = true;
        vf.trust = false;
      }
      link.vfs->push_back(vf);
    }
  }
  network->AddLink(link);
  if (igb) network->SetVfDriver(link.ifindex, FakeVfDriver::Igb());
  if (mlx5) {
    FakeDevlinkOptions nic;
    nic.handle = DevlinkHandle::Pci(place.address);
    nic.pf = place.address.function;  // as mlx5 numbers them
    nic.netdev = place.netdev;
    nic.offload = options_.offload_capable;
    nic.mode = *options_.eswitch;
    devlink->AddDevice(nic);
  } else if (!igb) {
    AddRepresentors(number);
  }
}

void FakeMachine::AddRepresentors(uint16_t number) {
  for (uint16_t i = 0; i < options_.vfs; ++i) {
    LinkInfo representor;
    representor.name = StrCat("pf", number, "rep", i);
    representor.ifindex = Representor(i, number);
    representor.mac =
        *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:%02x", number << 4 | 2, i));
    representor.mtu = 1500;
    network->AddLink(representor);
    if (options_.offload_capable) network->SetOffloadCapable(representor.ifindex, true);
  }
}

void FakeMachine::Boot() {
  for (uint16_t pf = 0; pf < options_.pfs; ++pf) AddPf(pf);
  pci.SetVfsChanged([devlink = devlink](const PciAddress& pf, uint16_t count) {
    devlink->SetVfCount(DevlinkHandle::Pci(pf), count).IgnoreError();  // or it has no devlink
  });
  network->AddAddress(places_.at(0).ifindex, Ip(kLocal), *IpPrefix::Parse("192.0.2.0/24"));
  network->SetStation(Ip("192.0.2.2"), MacAddress::Parse("52:54:00:00:00:02").value());
}

void FakeMachine::Reboot(std::vector<NicPlace> places) {
  while (!vms_.empty()) RemoveVm(vms_.begin()->first);
  for (const NicPlace& place : places_) {
    const std::optional<PciDevice> nic = pci.Find(place.address);
    for (const PciAddress& vf : nic->virtfns) {
      pci.SetGroupOpen(*pci.Find(vf)->iommu_group, false);  // with the VM that had it
    }
    pci.RemoveDevice(place.address);
  }
  network = std::make_shared<FakeNetwork>();
  devlink = std::make_shared<FakeDevlink>(network);
  places_ = std::move(places);
  Boot();
}

FakeMachine::FakeMachine(FakeMachineOptions options, FakeQmpPort::Delivery events)
    : qmp(events), options_(options) {
  char name[] = "/tmp/fairlead-test-XXXXXX";
  folder_ = ::mkdtemp(name);
  for (uint16_t pf = 0; pf < options.pfs; ++pf) {
    places_.push_back({PfAddress(pf), StrCat("pf", pf), kPfLink + pf});
    Configure(pf);
  }
  Boot();
  if (options.hotplug_port) {
    pci.AddBridge(kHotplugPort);
    HotplugPortConfig port;
    port.port = kHotplugPort;
    port.name = "dpu0";
    config.providers.hotplug_ports.push_back(port);
    config.engine.pfs.push_back(kHotplugPort);
  }
  config.state_dir = folder_;
  config.server.requests = StrCat("ipc://", folder_, "/agent.sock");
  config.server.events = StrCat("ipc://", folder_, "/events.sock");
  config.providers.tunnel.local = Ip(kLocal);
  config.providers.hypervisor.monitor = "/vms/{vm}.qmp";
  config.providers.hypervisor.root_ports = {"rp*"};
  config.providers.group_close_patience = std::chrono::milliseconds(50);
  config.engine.compile.tunnel.local = Ip(kLocal);
  config.engine.retry_first = std::chrono::milliseconds(20);
  config.engine.retry_most = std::chrono::milliseconds(200);
  config.engine.removal_patience = std::chrono::milliseconds(50);
  config.engine.replug_after = std::chrono::milliseconds(20);
}

FakeMachine::~FakeMachine() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Ports FakeMachine::ports() {
  Ports ports;
  ports.sysfs = &sysfs_;
  ports.qmp = &qmp;
  ports.uevent = &uevent_;
  ports.rtnetlink = [this] {
    return absl::StatusOr<std::unique_ptr<RtnetlinkPort>>(
        std::make_unique<FakeRtnetlinkPort>(network));
  };
  ports.tc = [this] {
    return absl::StatusOr<std::unique_ptr<TcPort>>(std::make_unique<FakeTcPort>(network));
  };
  ports.conntrack = [this] {
    return absl::StatusOr<std::unique_ptr<ConntrackPort>>(
        std::make_unique<FakeConntrackPort>(&conntrack));
  };
  ports.slow_path = [this](const std::string& /*path*/) {
    return absl::StatusOr<std::unique_ptr<SlowPathSocket>>(
        std::make_unique<FakeSlowPathSocket>(&slow_path));
  };
  if (options_.eswitch) {
    ports.devlink = [this] {
      return absl::StatusOr<std::unique_ptr<DevlinkPort>>(
          std::make_unique<FakeDevlinkPort>(devlink));
    };
  }
  return ports;
}

std::string FakeMachine::UuidOf(const std::string& id) {
  return absl::StrFormat("00000000-0000-4000-8000-%012x", StableHash(id) & 0xffffffffffff);
}

std::shared_ptr<FakeVm> FakeMachine::AddVm(const std::string& id, int root_ports) {
  std::shared_ptr<FakeVm> vm = qmp.AddVm(StrCat("/vms/", id, ".qmp"), *Uuid::Parse(UuidOf(id)));
  for (int i = 0; i < root_ports; ++i) vm->AddRootPort(StrCat("rp", i));
  vms_[id] = vm;
  return vm;
}

void FakeMachine::RemoveVm(const std::string& id) {
  qmp.RemoveVm(StrCat("/vms/", id, ".qmp"));
  vms_.erase(id);
}

PciAddress FakeMachine::VfAddress(uint16_t index, uint16_t pf) const {
  return pci.Find(NicAddress(pf))->virtfns.at(index);
}

std::string FakeMachine::Leftovers() const {
  std::string text;
  FakeRtnetlinkPort links(network);
  FakeTcPort tc(network);
  const absl::StatusOr<std::vector<LinkInfo>> all = links.ListLinks();
  for (const LinkInfo& link : all.value_or(std::vector<LinkInfo>{})) {
    StrAppend(&text, "link ", link.name, link.up ? " up" : " down", " alias '", link.alias, "'",
              link.addr_gen_none ? " no-link-local" : "");
    const absl::StatusOr<TcQdiscInfo> qdisc = tc.GetQdisc(link.ifindex);
    if (qdisc.ok() && qdisc->clsact) StrAppend(&text, " clsact block ", qdisc->ingress_block);
    StrAppend(&text, "\n");
  }
  const auto own = links.ListOwnNeighbours();
  for (const NeighbourInfo& neighbour : own.value_or(std::vector<NeighbourInfo>{})) {
    StrAppend(&text, "neighbour ", neighbour.address.ToString(), "\n");
  }
  for (uint16_t number = 0; number < options_.pfs; ++number) {
    const std::optional<PciDevice> pf = pci.Find(NicAddress(number));
    for (const PciAddress& address : pf->virtfns) {
      const std::optional<PciDevice> vf = pci.Find(address);
      StrAppend(&text, "vf ", address.ToString(), " driver '", vf->driver, "' override '",
                vf->driver_override, "'\n");
    }
    const auto rates = devlink->ListRates(DevlinkHandle::Pci(NicAddress(number)));
    for (const DevlinkRate& rate : rates.value_or(std::vector<DevlinkRate>{})) {
      if (rate.share == 0 && rate.max == 0 && rate.parent.empty()) continue;
      StrAppend(&text, "rate of pf", number, " ", rate.id.ToString(), " ", rate.share, " ",
                rate.max, " below '", rate.parent, "'\n");
    }
    const absl::StatusOr<LinkInfo> link = links.GetLinkWithVfs(places_[number].ifindex);
    for (const VfInfo& vf : link.ok() && link->vfs ? *link->vfs : std::vector<VfInfo>{}) {
      StrAppend(&text, "vf ", vf.index, " of pf", number, " mac ", vf.mac.ToString(), " vlan ",
                vf.vlan, vf.spoof_check.value_or(true) ? "" : " spoof check off",
                vf.trust.value_or(false) ? " trusted" : "",
                vf.link_disabled ? " link disabled" : "", " rates ", vf.max_tx_mbps, " ",
                vf.min_tx_mbps, "\n");
    }
  }
  return text;
}

VfInfo FakeMachine::Vf(uint16_t index, uint16_t pf) const {
  FakeRtnetlinkPort links(network);
  const absl::StatusOr<LinkInfo> link = links.GetLinkWithVfs(places_.at(pf).ifindex);
  return link.ok() && link->vfs ? link->vfs->at(index) : VfInfo{};
}

void FakeMachine::ChangeVf(uint16_t index, uint16_t pf,
                           const std::function<void(VfInfo&)>& change) {
  network->ChangeLink(places_.at(pf).ifindex, [&](LinkInfo& link) { change(link.vfs->at(index)); });
}

}  // namespace fairlead
