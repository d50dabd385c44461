// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/controller.h"

#include <gtest/gtest.h>

#include <utility>

#include "agent/base/text.h"
#include "tests/integration/fake_machine.h"

namespace fairlead {

v1::Reply Controller::Send(v1::Request request) {
  if (request.protocol_version() == 0) request.set_protocol_version(1);
  if (request.request_id().empty()) request.set_request_id(StrCat("r", next_request_++));
  if (request.controller_id().empty()) request.set_controller_id("test");
  return Call(request);
}

v1::Reply Controller::Apply(const std::function<void(v1::Apply&)>& fill) {
  v1::Request request;
  fill(*request.mutable_apply());
  return Send(std::move(request));
}

void Controller::MakeVpc(const std::string& vpc, uint32_t vni, const std::string& prefix) {
  MakeNetwork(
      vpc, [&](v1::Vpc& v) { v.set_vni(vni); }, prefix);
}

void Controller::MakeVlan(const std::string& vpc, uint32_t vlan, const std::string& prefix) {
  MakeNetwork(
      vpc, [&](v1::Vpc& v) { v.set_vlan(vlan); }, prefix);
}

void Controller::MakeFlat(const std::string& vpc, const std::string& prefix) {
  MakeNetwork(
      vpc, [](v1::Vpc& v) { v.set_flat(true); }, prefix);
}

void Controller::MakeNetwork(const std::string& vpc, const std::function<void(v1::Vpc&)>& segment,
                             const std::string& prefix) {
  const v1::Reply reply = Apply([&](v1::Apply& apply) {
    v1::Vpc* v = apply.add_upsert()->mutable_vpc();
    v->set_id(vpc);
    segment(*v);
    v1::Subnet* s = apply.add_upsert()->mutable_subnet();
    s->set_id(StrCat(vpc, "-1"));
    s->set_vpc(vpc);
    s->add_prefixes(prefix);
    // The last address but one, which no test asks for.
    const IpAddress last = IpPrefix::Parse(prefix)->Last();
    std::vector<uint8_t> gateway(last.bytes().begin(), last.bytes().end());
    --gateway.back();
    if (v->vni() != 0) s->add_gateways(IpAddress::FromBytes(gateway)->ToString());
  });
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

v1::Request Controller::AddVmRequest(const std::string& vm, const std::string& vpc,
                                     const std::string& address) {
  v1::Request request;
  v1::AddVmToVpc* add = request.mutable_add_vm_to_vpc();
  add->mutable_vm()->set_id(vm);
  add->mutable_vm()->set_uuid(FakeMachine::UuidOf(vm));
  add->set_vpc(vpc);
  add->set_port(StrCat(vm, "-", vpc));
  add->add_addresses(address);
  return request;
}

void Controller::Attach(const std::string& vm, const std::string& vpc, const std::string& address) {
  const v1::Reply reply = Send(AddVmRequest(vm, vpc, address));
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

void Controller::Detach(const std::string& vm, const std::string& vpc) {
  v1::Request request;
  request.mutable_remove_vm_from_vpc()->set_vm(vm);
  request.mutable_remove_vm_from_vpc()->set_vpc(vpc);
  const v1::Reply reply = Send(std::move(request));
  ASSERT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
}

std::optional<v1::ObjectWithStatus> Controller::Get(v1::ObjectKind kind, const std::string& id) {
  v1::Request request;
  request.mutable_get()->set_kind(kind);
  request.mutable_get()->set_id(id);
  const v1::Reply reply = Send(std::move(request));
  if (reply.get().objects_size() == 0) return std::nullopt;
  return reply.get().objects(0);
}

std::optional<v1::ObjectStatus> Controller::Status(v1::ObjectKind kind, const std::string& id) {
  std::optional<v1::ObjectWithStatus> object = Get(kind, id);
  if (!object) return std::nullopt;
  return std::move(*object->mutable_status());
}

std::optional<v1::ObjectStatus> Controller::PortStatus(const std::string& port) {
  return Status(v1::OBJECT_KIND_PORT, port);
}

v1::HostState Controller::Host() {
  v1::Request request;
  request.mutable_get_host();
  return Send(std::move(request)).host();
}

std::vector<v1::RuleList::Rule> Controller::Rules(v1::ListRules question) {
  std::vector<v1::RuleList::Rule> rules;
  do {
    v1::Request request;
    *request.mutable_list_rules() = question;
    const v1::Reply reply = Send(std::move(request));
    EXPECT_TRUE(reply.has_rules()) << reply.ShortDebugString();
    rules.insert(rules.end(), reply.rules().rules().begin(), reply.rules().rules().end());
    question.set_after(reply.rules().next());
  } while (!question.after().empty());
  return rules;
}

}  // namespace fairlead
