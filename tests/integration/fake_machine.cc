// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/fake_machine.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

}  // namespace

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

void FakeMachine::AddPf(uint16_t number) {
  const std::string name = StrCat("pf", number);
  FakePfOptions pf;
  pf.address = PfAddress(number);
  pf.netdev = name;
  pf.total_vfs = options_.vfs;
  const bool igb = number >= options_.first_igb;
  const bool mlx5 = options_.eswitch && !igb;
  pf.driver = igb ? "igb" : mlx5 ? "mlx5_core" : "virtio-pci";
  pf.vf_driver = igb ? "igbvf" : pf.driver;
  pci.AddPf(pf);
  LinkInfo link;
  link.name = name;
  link.ifindex = kPfLink + number;
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

  PfConfig configured;
  configured.mac = PfMac(number);
  configured.vfs = options_.vfs;
  if (mlx5) {
    FakeDevlinkOptions nic;
    nic.handle = Nic(number);
    nic.netdev = name;
    nic.offload = options_.offload_capable;
    nic.mode = *options_.eswitch;
    devlink->AddDevice(nic);
  } else if (!igb) {
    AddRepresentors(number, configured);
  }
  config.providers.pfs.push_back(configured);
  config.engine.pfs.push_back(configured.mac);
}

void FakeMachine::AddRepresentors(uint16_t number, PfConfig& configured) {
  for (uint16_t i = 0; i < options_.vfs; ++i) {
    LinkInfo representor;
    representor.name = StrCat("pf", number, "rep", i);
    representor.ifindex = Representor(i, number);
    representor.mac =
        *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:%02x", number << 4 | 2, i));
    representor.mtu = 1500;
    network->AddLink(representor);
    if (options_.offload_capable) network->SetOffloadCapable(representor.ifindex, true);
    RepresentorConfig named;
    named.vf = i;
    named.netdev = representor.name;
    if (!options_.can_set_vf_mac) named.mac = VfMac(i, number);
    configured.representors.push_back(named);
  }
}

FakeMachine::FakeMachine(FakeMachineOptions options, FakeQmpPort::Delivery events)
    : qmp(events), options_(options) {
  char name[] = "/tmp/fairlead-test-XXXXXX";
  folder_ = ::mkdtemp(name);
  for (uint16_t pf = 0; pf < options.pfs; ++pf) AddPf(pf);
  if (options.hotplug_port) {
    pci.AddBridge(kHotplugPort);
    HotplugPortConfig port;
    port.port = kHotplugPort;
    port.name = "dpu0";
    config.providers.hotplug_ports.push_back(port);
    config.engine.pfs.push_back(kHotplugPort);
  }
  pci.SetVfsChanged([devlink = devlink](const PciAddress& pf, uint16_t count) {
    devlink->SetVfCount(DevlinkHandle::Pci(pf), count).IgnoreError();  // or it has no devlink
  });
  network->AddAddress(kPfLink, Ip(kLocal), *IpPrefix::Parse("192.0.2.0/24"));
  network->SetStation(Ip("192.0.2.2"), MacAddress::Parse("52:54:00:00:00:02").value());
  config.state_dir = folder_;
  config.server.requests = StrCat("ipc://", folder_, "/agent.sock");
  config.server.events = StrCat("ipc://", folder_, "/events.sock");
  config.providers.tunnel.local = Ip(kLocal);
  config.providers.hypervisor.monitor = "/vms/{vm}.qmp";
  config.providers.hypervisor.root_ports = {"rp*"};
  config.providers.group_close_patience = std::chrono::milliseconds(50);
  config.engine.compile.tunnel_local = Ip(kLocal);
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
  return pci.Find(PfAddress(pf))->virtfns.at(index);
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
    const std::optional<PciDevice> pf = pci.Find(PfAddress(number));
    for (const PciAddress& address : pf->virtfns) {
      const std::optional<PciDevice> vf = pci.Find(address);
      StrAppend(&text, "vf ", address.ToString(), " driver '", vf->driver, "' override '",
                vf->driver_override, "'\n");
    }
    const absl::StatusOr<LinkInfo> link = links.GetLinkWithVfs(kPfLink + number);
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
  const absl::StatusOr<LinkInfo> link = links.GetLinkWithVfs(kPfLink + pf);
  return link.ok() && link->vfs ? link->vfs->at(index) : VfInfo{};
}

void FakeMachine::ChangeVf(uint16_t index, uint16_t pf,
                           const std::function<void(VfInfo&)>& change) {
  network->ChangeLink(kPfLink + pf, [&](LinkInfo& link) { change(link.vfs->at(index)); });
}

}  // namespace fairlead
