// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/fake_host.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>

#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/ports/devlink/fake_devlink_port.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPoll{5};

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

}  // namespace

PciAddress FakeHost::PfAddress(uint16_t pf) { return {0, static_cast<uint8_t>(1 + pf), 0, 0}; }
MacAddress FakeHost::PfMac(uint16_t pf) {
  return *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:01", pf << 4));
}
MacAddress FakeHost::VfMac(uint16_t index, uint16_t pf) {
  return *MacAddress::Parse(absl::StrFormat("52:54:00:00:%02x:%02x", pf << 4 | 1, index));
}
std::string FakeHost::VfName(uint16_t index, uint16_t pf) {
  return StrCat(PfMac(pf).ToString(), "/", index);
}
uint32_t FakeHost::Representor(uint16_t index, uint16_t pf) { return 20U + 100U * pf + index; }

void FakeHost::AddPf(uint16_t number) {
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

void FakeHost::AddRepresentors(uint16_t number, PfConfig& configured) {
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

FakeHost::FakeHost(FakeHostOptions options) : options_(options) {
  char name[] = "/tmp/fairlead-test-XXXXXX";
  folder_ = ::mkdtemp(name);
  for (uint16_t pf = 0; pf < options.pfs; ++pf) AddPf(pf);
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

FakeHost::~FakeHost() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void FakeHost::Start() {
  std::promise<absl::Status> started;
  std::future<absl::Status> result = started.get_future();
  loop_ = std::make_unique<Loop>();
  thread_ = std::thread([this, &started] {
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
    absl::StatusOr<std::unique_ptr<Agent>> agent =
        Agent::Start(loop_.get(), &clock_, config, ports);
    started.set_value(agent.status());
    if (agent.ok()) loop_->Run();
  });
  const absl::Status status = result.get();
  ASSERT_TRUE(status.ok()) << status;
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(config.server.requests);
  ASSERT_TRUE(client.ok()) << client.status();
  client_ = *std::move(client);
}

void FakeHost::Stop() {
  if (!thread_.joinable()) return;
  client_.reset();
  loop_->Stop();
  thread_.join();
  loop_.reset();
}

std::string FakeHost::UuidOf(const std::string& id) {
  return absl::StrFormat("00000000-0000-4000-8000-%012x", StableHash(id) & 0xffffffffffff);
}

std::shared_ptr<FakeVm> FakeHost::AddVm(const std::string& id, int root_ports) {
  std::shared_ptr<FakeVm> vm = qmp.AddVm(StrCat("/vms/", id, ".qmp"), *Uuid::Parse(UuidOf(id)));
  for (int i = 0; i < root_ports; ++i) vm->AddRootPort(StrCat("rp", i));
  return vm;
}

void FakeHost::RemoveVm(const std::string& id) { qmp.RemoveVm(StrCat("/vms/", id, ".qmp")); }

PciAddress FakeHost::VfAddress(uint16_t index, uint16_t pf) const {
  return pci.Find(PfAddress(pf))->virtfns.at(index);
}

v1::Reply FakeHost::SendBytes(std::string_view bytes) {
  v1::Reply reply;
  const absl::StatusOr<std::string> answer = client_->Call(bytes, kPatience);
  EXPECT_TRUE(answer.ok()) << answer.status();
  if (answer.ok()) {
    EXPECT_TRUE(reply.ParseFromString(*answer));
  }
  return reply;
}

v1::Reply FakeHost::Send(v1::Request request) {
  if (request.protocol_version() == 0) request.set_protocol_version(1);
  if (request.request_id().empty()) request.set_request_id(StrCat("r", next_request_++));
  if (request.controller_id().empty()) request.set_controller_id("test");
  return SendBytes(request.SerializeAsString());
}

v1::Reply FakeHost::Apply(const std::function<void(v1::Apply&)>& fill) {
  v1::Request request;
  fill(*request.mutable_apply());
  return Send(std::move(request));
}

void FakeHost::MakeVpc(const std::string& vpc, uint32_t vni, const std::string& prefix) {
  MakeNetwork(
      vpc, [&](v1::Vpc& v) { v.set_vni(vni); }, prefix);
}

void FakeHost::MakeVlan(const std::string& vpc, uint32_t vlan, const std::string& prefix) {
  MakeNetwork(
      vpc, [&](v1::Vpc& v) { v.set_vlan(vlan); }, prefix);
}

void FakeHost::MakeNetwork(const std::string& vpc, const std::function<void(v1::Vpc&)>& segment,
                           const std::string& prefix) {
  const v1::Reply reply = Apply([&](v1::Apply& apply) {
    v1::Vpc* v = apply.add_upsert()->mutable_vpc();
    v->set_id(vpc);
    segment(*v);
    v1::Subnet* s = apply.add_upsert()->mutable_subnet();
    s->set_id(StrCat(vpc, "-1"));
    s->set_vpc(vpc);
    s->add_prefixes(prefix);
  });
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

v1::Request FakeHost::AddVmRequest(const std::string& vm, const std::string& vpc,
                                   const std::string& address) {
  v1::Request request;
  v1::AddVmToVpc* add = request.mutable_add_vm_to_vpc();
  add->mutable_vm()->set_id(vm);
  add->mutable_vm()->set_uuid(UuidOf(vm));
  add->set_vpc(vpc);
  add->set_port(StrCat(vm, "-", vpc));
  add->add_addresses(address);
  return request;
}

void FakeHost::Attach(const std::string& vm, const std::string& vpc, const std::string& address) {
  const v1::Reply reply = Send(AddVmRequest(vm, vpc, address));
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

void FakeHost::Detach(const std::string& vm, const std::string& vpc) {
  v1::Request request;
  request.mutable_remove_vm_from_vpc()->set_vm(vm);
  request.mutable_remove_vm_from_vpc()->set_vpc(vpc);
  const v1::Reply reply = Send(std::move(request));
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

std::optional<v1::ObjectWithStatus> FakeHost::Get(v1::ObjectKind kind, const std::string& id) {
  v1::Request request;
  request.mutable_get()->set_kind(kind);
  request.mutable_get()->set_id(id);
  const v1::Reply reply = Send(std::move(request));
  if (reply.get().objects_size() == 0) return std::nullopt;
  return reply.get().objects(0);
}

std::optional<v1::ObjectStatus> FakeHost::Status(v1::ObjectKind kind, const std::string& id) {
  std::optional<v1::ObjectWithStatus> object = Get(kind, id);
  if (!object) return std::nullopt;
  return std::move(*object->mutable_status());
}

std::optional<v1::ObjectStatus> FakeHost::PortStatus(const std::string& port) {
  return Status(v1::OBJECT_KIND_PORT, port);
}

void FakeHost::WaitUntil(const std::string& what, const std::function<bool()>& done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= until) {
      ADD_FAILURE() << "it did not come to this: " << what;
      return;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::optional<v1::ObjectStatus> FakeHost::WaitPort(
    const std::string& port,
    const std::function<bool(const std::optional<v1::ObjectStatus>&)>& done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    std::optional<v1::ObjectStatus> status = PortStatus(port);
    if (done(status)) return status;
    if (std::chrono::steady_clock::now() >= until) {
      ADD_FAILURE() << port << " did not come to what was waited for: "
                    << (status ? status->ShortDebugString() : "it is gone");
      return status;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

v1::ObjectStatus FakeHost::WaitReady(const std::string& port) {
  return WaitPort(port, [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_READY; })
      .value_or(v1::ObjectStatus());
}

v1::ObjectStatus FakeHost::WaitFailed(const std::string& port) {
  return WaitPort(port,
                  [](const auto& s) {
                    return s && s->state() == v1::OBJECT_STATE_FAILED && s->rolled_back();
                  })
      .value_or(v1::ObjectStatus());
}

void FakeHost::WaitGone(const std::string& port) {
  WaitPort(port, [](const auto& s) { return !s; });
}

v1::HostState FakeHost::Host(bool rules) {
  v1::Request request;
  request.mutable_get_host()->set_rules(rules);
  return Send(std::move(request)).host();
}

std::string FakeHost::Leftovers() const {
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

VfInfo FakeHost::Vf(uint16_t index, uint16_t pf) const {
  FakeRtnetlinkPort links(network);
  const absl::StatusOr<LinkInfo> link = links.GetLinkWithVfs(kPfLink + pf);
  return link.ok() && link->vfs ? link->vfs->at(index) : VfInfo{};
}

void FakeHost::ChangeVf(uint16_t index, uint16_t pf, const std::function<void(VfInfo&)>& change) {
  network->ChangeLink(kPfLink + pf, [&](LinkInfo& link) { change(link.vfs->at(index)); });
}

bool FakeHost::HasItsVfs() {
  const v1::HostState host = Host();
  int ready = 0;
  for (const v1::HostState::Pf& pf : host.pfs()) {
    if (pf.num_vfs() == options_.vfs && pf.vfs_size() == options_.vfs) ++ready;
  }
  return ready == options_.pfs;
}

}  // namespace fairlead
