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
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPoll{5};

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

}  // namespace

FakeHost::FakeHost(FakeHostOptions options) : options_(options) {
  char name[] = "/tmp/fairlead-test-XXXXXX";
  folder_ = ::mkdtemp(name);
  pf_mac = *MacAddress::Parse("52:54:00:00:00:01");

  FakePfOptions pf;
  pf.address = pf_address;
  pf.netdev = "pf0";
  pf.total_vfs = options.vfs;
  pf.driver = pf.vf_driver = "virtio-pci";
  pci.AddPf(pf);
  LinkInfo link;
  link.name = "pf0";
  link.ifindex = kPfLink;
  link.up = link.carrier = true;
  link.mtu = 9000;
  link.mac = pf_mac;
  link.permanent_mac = pf_mac;
  if (options.can_set_vf_mac) {
    link.vfs.emplace();
    for (uint16_t i = 0; i < options.vfs; ++i) {
      VfInfo vf;
      vf.index = i;
      link.vfs->push_back(vf);
    }
  }
  network->AddLink(link);
  network->AddAddress(kPfLink, Ip(kLocal), *IpPrefix::Parse("192.0.2.0/24"));
  network->SetStation(Ip("192.0.2.2"), MacAddress::Parse("52:54:00:00:00:02").value());

  PfConfig configured;
  configured.mac = pf_mac;
  configured.vfs = options.vfs;
  for (uint16_t i = 0; i < options.vfs; ++i) {
    LinkInfo representor;
    representor.name = StrCat("pf0rep", i);
    representor.ifindex = Representor(i);
    representor.mac = *MacAddress::Parse(absl::StrFormat("52:54:00:00:02:%02x", i));
    representor.mtu = 1500;
    network->AddLink(representor);
    if (options.offload_capable) network->SetOffloadCapable(Representor(i), true);
    RepresentorConfig named;
    named.vf = i;
    named.netdev = representor.name;
    if (!options.can_set_vf_mac) {
      named.mac = *MacAddress::Parse(absl::StrFormat("52:54:00:00:01:%02x", i));
    }
    configured.representors.push_back(named);
  }
  config.state_dir = folder_;
  config.server.requests = StrCat("ipc://", folder_, "/agent.sock");
  config.server.events = StrCat("ipc://", folder_, "/events.sock");
  config.providers.pfs = {configured};
  config.providers.tunnel.local = Ip(kLocal);
  config.providers.hypervisor.monitor = "/vms/{vm}.qmp";
  config.providers.hypervisor.root_ports = {"rp*"};
  config.providers.group_close_patience = std::chrono::milliseconds(50);
  config.engine.pfs = {pf_mac};
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
    ports.rtnetlink = [this] {
      return absl::StatusOr<std::unique_ptr<RtnetlinkPort>>(
          std::make_unique<FakeRtnetlinkPort>(network));
    };
    ports.tc = [this] {
      return absl::StatusOr<std::unique_ptr<TcPort>>(std::make_unique<FakeTcPort>(network));
    };
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

PciAddress FakeHost::VfAddress(uint16_t index) const {
  const std::optional<PciDevice> pf = pci.Find(pf_address);
  return pf->virtfns.at(index);
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
  const v1::Reply reply = Apply([&](v1::Apply& apply) {
    v1::Vpc* v = apply.add_upsert()->mutable_vpc();
    v->set_id(vpc);
    v->set_vni(vni);
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

std::optional<v1::ObjectStatus> FakeHost::PortStatus(const std::string& port) {
  v1::Request request;
  request.mutable_get()->set_kind(v1::OBJECT_KIND_PORT);
  request.mutable_get()->set_id(port);
  const v1::Reply reply = Send(std::move(request));
  if (reply.get().objects_size() == 0) return std::nullopt;
  return reply.get().objects(0).status();
}

std::optional<v1::ObjectStatus> FakeHost::WaitPort(
    const std::string& port,
    const std::function<bool(const std::optional<v1::ObjectStatus>&)>& done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  std::optional<v1::ObjectStatus> status;
  while (std::chrono::steady_clock::now() < until) {
    status = PortStatus(port);
    if (done(status)) return status;
    std::this_thread::sleep_for(kPoll);
  }
  ADD_FAILURE() << port << " did not come to what was waited for: "
                << (status ? status->ShortDebugString() : "it is gone");
  return status;
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
  const std::optional<PciDevice> pf = pci.Find(pf_address);
  for (const PciAddress& address : pf->virtfns) {
    const std::optional<PciDevice> vf = pci.Find(address);
    StrAppend(&text, "vf ", address.ToString(), " driver '", vf->driver, "' override '",
              vf->driver_override, "'\n");
  }
  return text;
}

}  // namespace fairlead
