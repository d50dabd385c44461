// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/random_controller.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

// Its ports have functions that a DPU brings.
constexpr char kOfFunctions[] = "dpu";

// It may be taken when it is sent again.
bool ComesBack(const v1::Rejected& rejected) {
  return rejected.violations_size() == 1 &&
         (rejected.violations(0).code() == v1::Rejected::CODE_STORE ||
          rejected.violations(0).code() == v1::Rejected::CODE_BUSY);
}

}  // namespace

bool RandomController::Ask(v1::Request request) {
  request.set_protocol_version(1);
  request.set_controller_id("sweep");
  request.set_request_id(StrCat("s", ++requests_));
  v1::Reply reply;
  // A storm may hold the store's lane for 200 s (RandomHost::Options).
  const auto patient = [&] { return reply.has_rejected() && on_.storm.rages; };
  for (int i = 0; i < 50 || (patient() && i < 3000); ++i) {
    if (!on_.host.running()) on_.Revive();
    reply = on_.host.Repeat(request);
    if (reply.has_accepted() || reply.has_taken_over()) return true;
    if (reply.has_rejected() && !ComesBack(reply.rejected())) {
      refusal_ = reply.ShortDebugString();
      on_.Say(StrCat("refused: ", refusal_));
      return false;
    }
    on_.host.RunFor(milliseconds(100));
  }
  // A take-over waits for the host to be observed, which a storm may keep from it.
  EXPECT_TRUE(request.has_take_over() && on_.storm.rages)
      << "the agent gave no answer to " << request.ShortDebugString() << " but "
      << reply.ShortDebugString();
  return false;
}

bool RandomController::PutNetwork(const v1::Vpc& vpc) {
  v1::Request request;
  *request.mutable_apply()->add_upsert()->mutable_vpc() = vpc;
  v1::Subnet* subnet = request.mutable_apply()->add_upsert()->mutable_subnet();
  subnet->set_id(vpc.id() + "-1");
  subnet->set_vpc(vpc.id());
  subnet->add_prefixes("10.0.0.0/24");
  if (vpc.vni() != 0) subnet->add_gateways("10.0.0.254");
  return Ask(request);
}

void RandomController::MakeNetworks() {
  const auto make = [&](const std::string& id) -> v1::Vpc& {
    v1::Vpc& vpc = wanted_.networks[id];
    vpc.set_id(id);
    return vpc;
  };
  make("red").set_vni(1000);
  make("blue").set_vni(2000);
  make("lan").set_vlan(100);
  make("plain").set_flat(true);
  if (on_.nics.hotplug) make(kOfFunctions).set_vni(3000);
  for (const auto& [id, vpc] : wanted_.networks) EXPECT_TRUE(PutNetwork(vpc));
}

size_t RandomController::VfPortsOf(const std::string& vm) const {
  return static_cast<size_t>(
      std::count_if(wanted_.ports.begin(), wanted_.ports.end(), [&](const auto& port) {
        return port.first.first == vm && port.first.second != kOfFunctions;
      }));
}

void RandomController::Attach() {
  const std::string vm = dice_.Of(on_.vm_names);
  auto network = wanted_.networks.begin();
  std::advance(network, dice_.Below(wanted_.networks.size()));
  const std::string& vpc = network->first;
  const std::string address = StrCat("10.0.0.", 10 + dice_.Below(3) * 10 + (vm[0] - 'a'));
  v1::Request request = on_.host.AddVmRequest(vm, vpc, address);
  v1::AddVmToVpc* port = request.mutable_add_vm_to_vpc();
  const bool known = wanted_.ports.contains({vm, vpc});
  if (vpc == kOfFunctions) {
    port->set_function(v1::FUNCTION_SOURCE_HOTPLUG);
    port->set_mac(RandomHost::FunctionMac(static_cast<uint8_t>(dice_.Below(RandomHost::kFunctions)))
                      .ToString());
  } else {
    if (!known && VfPortsOf(vm) == 2) return;  // else VFs may run out
    // By MAC and VLAN alone, or, without a MAC, where the VF has one and rules forward.
    if (vpc == "lan" && on_.nics.CanSetMac() && dice_.OneIn(2)) {
      port->set_mac(StrCat("52:54:00:00:cc:0", vm));
    }
    if (on_.nics.eswitch && !on_.nics.igb && dice_.OneIn(3)) {
      port->set_max_tx_mbps(100 * static_cast<uint32_t>(1 + dice_.Below(3)));
    }
  }
  on_.Say(StrCat("attach ", port->ShortDebugString()));
  // What is left out stays as it was.
  const uint32_t cap = known ? wanted_.ports.at({vm, vpc}).max_tx_mbps() : 0;
  if (!Ask(request)) return;
  if (port->max_tx_mbps() == 0) port->set_max_tx_mbps(cap);
  wanted_.ports[{vm, vpc}] = *port;
}

void RandomController::Detach() {
  if (wanted_.ports.empty()) return;
  auto it = wanted_.ports.begin();
  std::advance(it, dice_.Below(wanted_.ports.size()));
  Detach(it->first);
}

void RandomController::Detach(const std::pair<std::string, std::string>& port) {
  const auto [vm, vpc] = port;
  on_.Say(StrCat("detach ", vm, " from ", vpc));
  v1::Request request;
  request.mutable_remove_vm_from_vpc()->set_vm(vm);
  request.mutable_remove_vm_from_vpc()->set_vpc(vpc);
  if (Ask(request)) wanted_.ports.erase({vm, vpc});
}

void RandomController::Endpoint() {
  const std::string vpc = AnOverlay();
  const size_t number = dice_.Below(4);
  const std::string id = StrCat(vpc, "-e", number);
  v1::Request request;
  if (wanted_.endpoints.contains(id) && dice_.OneIn(2)) {
    v1::ObjectRef* ref = request.mutable_apply()->add_remove();
    ref->set_kind(v1::OBJECT_KIND_ENDPOINT);
    ref->set_id(id);
    on_.Say(StrCat("remove endpoint ", id));
    if (Ask(request)) wanted_.endpoints.erase(id);
    return;
  }
  v1::Endpoint* endpoint = request.mutable_apply()->add_upsert()->mutable_endpoint();
  endpoint->set_id(id);
  endpoint->set_vpc(vpc);
  endpoint->set_mac(StrCat("52:54:00:00:ee:0", number));
  endpoint->add_addresses(StrCat("10.0.0.", 200 + number));
  endpoint->set_vtep(StrCat("192.0.2.", 2 + dice_.Below(2)));
  on_.Say(StrCat("endpoint ", id, " at ", endpoint->vtep()));
  if (Ask(request)) wanted_.endpoints[id] = *endpoint;
}

// To a prefix of two, by an address that a port or an endpoint may have.
void RandomController::Route() {
  const std::string vpc = AnOverlay();
  const bool all = dice_.OneIn(2);
  const std::string id = StrCat(vpc, all ? "-all" : "-some");
  v1::Request request;
  if (wanted_.routes.contains(id) && dice_.OneIn(3)) {
    v1::ObjectRef* ref = request.mutable_apply()->add_remove();
    ref->set_kind(v1::OBJECT_KIND_ROUTE);
    ref->set_id(id);
    on_.Say(StrCat("remove route ", id));
    if (Ask(request)) wanted_.routes.erase(id);
    return;
  }
  v1::Route* route = request.mutable_apply()->add_upsert()->mutable_route();
  route->set_id(id);
  route->set_vpc(vpc);
  route->set_prefix(all ? "0.0.0.0/0" : "198.51.100.0/24");
  route->set_next_hop(StrCat("10.0.0.", dice_.OneIn(3)
                                            ? 200 + dice_.Below(4)
                                            : 10 + dice_.Below(3) * 10 + dice_.Below(3)));
  on_.Say(StrCat("route ", id, " by ", route->next_hop()));
  if (Ask(request)) wanted_.routes[id] = *route;
}

void RandomController::ChangeVni() {
  v1::Vpc changed = wanted_.networks.at(AnOverlay());
  changed.set_vni((changed.id() == "red" ? 1000 : 2000) + static_cast<uint32_t>(dice_.Below(2)));
  on_.Say(StrCat(changed.id(), " has VNI ", changed.vni()));
  if (PutNetwork(changed)) wanted_.networks[changed.id()] = changed;
}

v1::Reply RandomController::Release(const std::string& vf, bool force) {
  v1::Request request;
  request.mutable_release_vf()->set_vf(vf);
  request.mutable_release_vf()->set_force(force);
  return on_.host.Send(request);
}

void RandomController::ReleaseSomeVf() {
  const auto [vf, pf] = on_.AnyVf();
  const bool force = dice_.OneIn(2);
  on_.Say(StrCat(force ? "by force " : "", "release VF ", vf, " of PF ", pf));
  Release(FakeMachine::VfName(vf, pf), force);
}

int RandomController::ReleaseAll() {
  int found = 0;
  for (const auto& [vf, record] : on_.host.records()) {
    if (record.verdict != Verdict::kQuarantined) continue;
    ++found;
    on_.Say(StrCat(vf.ToString(), " is quarantined: ", record.reason));
  }
  int shown = 0;
  const v1::HostState state = on_.host.Host();
  for (const auto& pf : state.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (vf.state() != "quarantined") continue;
      ++shown;
      const v1::Reply reply = Release(StrCat(pf.mac(), "/", vf.index()), false);
      EXPECT_TRUE(reply.has_vf_released()) << reply.ShortDebugString();
    }
  }
  EXPECT_EQ(found, shown) << "what the store holds is what is shown";
  return found;
}

void RandomController::SendVms() {
  v1::Request request;
  for (const std::string& name : on_.vm_names) {
    v1::Vm* vm = request.mutable_apply()->add_upsert()->mutable_vm();
    vm->set_id(name);
    vm->set_uuid(FakeMachine::UuidOf(name));
  }
  EXPECT_TRUE(Ask(request));
}

void RandomController::SendAllAgain() {
  for (const auto& [id, vpc] : wanted_.networks) EXPECT_TRUE(PutNetwork(vpc));
  SendVms();
  for (const auto& [id, endpoint] : wanted_.endpoints) {
    v1::Request request;
    *request.mutable_apply()->add_upsert()->mutable_endpoint() = endpoint;
    EXPECT_TRUE(Ask(request));
  }
  for (const auto& [key, port] : wanted_.ports) {
    v1::Request request;
    *request.mutable_add_vm_to_vpc() = port;
    EXPECT_TRUE(Ask(request));
  }
  for (const auto& [id, route] : wanted_.routes) {
    v1::Request request;
    *request.mutable_apply()->add_upsert()->mutable_route() = route;
    EXPECT_TRUE(Ask(request));
  }
}

bool RandomController::TakeOver(v1::TakeOver::Mode mode, const std::string& store) {
  on_.Say(StrCat(mode == v1::TakeOver::MODE_ADOPT ? "adopt " : "purge ", store));
  v1::Request request;
  request.mutable_take_over()->set_mode(mode);
  request.mutable_take_over()->set_store_id(store);
  return Ask(request);
}

void RandomController::LoseStore() {
  const std::string lost = on_.host.StoreId();
  lost_.insert(lost);
  on_.LoseStore();
  SendAllAgain();
  if (dice_.OneIn(2)) on_.host.RunFor(milliseconds(dice_.Below(3000)));
  TakeOver(dice_.OneIn(3) ? v1::TakeOver::MODE_PURGE : v1::TakeOver::MODE_ADOPT, lost);
}

std::set<std::string> RandomController::ListedStores() {
  std::set<std::string> stores;
  const v1::HostState state = on_.host.Host();
  for (const auto& object : state.foreign()) {
    on_.Say(StrCat("foreign: ", object.ShortDebugString()));
    if (object.store_id() != RandomHost::kOthersStore) stores.insert(object.store_id());
  }
  return stores;
}

void RandomController::EndLostStores() {
  // What is in a VM whose monitor did not answer the take-over is in no list; its answer said so.
  std::set<std::string> stores = ListedStores();
  stores.insert(lost_.begin(), lost_.end());
  lost_.clear();
  if (stores.empty()) return;
  SendVms();
  for (const std::string& store : stores) {
    if (ListedStores().contains(store) && dice_.OneIn(2)) {
      // Two objects may have had one number in the two stores.
      EXPECT_TRUE(TakeOver(v1::TakeOver::MODE_ADOPT, store) ||
                  refusal_.find("under the number") != std::string::npos)
          << refusal_;
      on_.host.RunFor(milliseconds(dice_.Below(3000)));
    }
    TakeOver(v1::TakeOver::MODE_PURGE, store);  // refused where nothing was left
  }
}

void RandomController::RemoveAll() {
  while (!wanted_.ports.empty()) Detach(wanted_.ports.begin()->first);
  v1::Request request;
  const auto remove = [&](v1::ObjectKind kind, const std::string& id) {
    v1::ObjectRef* ref = request.mutable_apply()->add_remove();
    ref->set_kind(kind);
    ref->set_id(id);
  };
  for (const auto& [id, route] : wanted_.routes) remove(v1::OBJECT_KIND_ROUTE, id);
  for (const auto& [id, endpoint] : wanted_.endpoints) remove(v1::OBJECT_KIND_ENDPOINT, id);
  for (const auto& [id, vpc] : wanted_.networks) {
    remove(v1::OBJECT_KIND_SUBNET, id + "-1");
    remove(v1::OBJECT_KIND_VPC, id);
  }
  for (const std::string& vm : on_.vm_names) {
    const auto found = on_.host.Get(v1::OBJECT_KIND_VM, vm);
    if (found && found->status().state() != v1::OBJECT_STATE_REMOVING) {
      remove(v1::OBJECT_KIND_VM, vm);
    }
  }
  EXPECT_TRUE(Ask(request));
  wanted_ = {};
}

}  // namespace fairlead
