// SPDX-License-Identifier: Apache-2.0
#include "agent/store/references.h"

#include <string_view>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

class References {
 public:
  explicit References(std::span<const StoredObject> objects) {
    for (const StoredObject& stored : objects) {
      const ObjectKind kind = KindOf(stored.object);
      // Endpoints are what there is most of, and nothing names one.
      if (kind != ObjectKind::kEndpoint) there_.insert({kind, IdOf(stored.object)});
      if (const auto* subnet = std::get_if<Subnet>(&stored.object)) {
        vpc_of_subnet_[subnet->id] = subnet->vpc;
      } else if (const auto* group = std::get_if<SecurityGroup>(&stored.object)) {
        vpc_of_group_[group->id] = group->vpc;
      }
    }
  }

  absl::Status Check(const Object& object) const {
    if (const auto* subnet = std::get_if<Subnet>(&object)) return CheckVpc(object, subnet->vpc);
    if (const auto* route = std::get_if<Route>(&object)) return CheckVpc(object, route->vpc);
    if (const auto* group = std::get_if<SecurityGroup>(&object)) return CheckGroup(*group);
    if (const auto* endpoint = std::get_if<Endpoint>(&object)) {
      FAIRLEAD_RETURN_IF_ERROR(CheckGroups(object, endpoint->vpc, endpoint->security_groups));
      return CheckSubnet(object, endpoint->vpc, endpoint->subnet);
    }
    const auto* port = std::get_if<Port>(&object);
    if (port == nullptr) return absl::OkStatus();
    FAIRLEAD_RETURN_IF_ERROR(CheckGroups(object, port->vpc, port->security_groups));
    if (!port->vm.empty() && !there_.contains({ObjectKind::kVm, port->vm})) {
      return Dangling(object, ObjectKind::kVm, port->vm);
    }
    return CheckSubnet(object, port->vpc, port->subnet);
  }

 private:
  using Key = std::pair<ObjectKind, std::string_view>;

  static absl::Status Dangling(const Object& object, ObjectKind kind, std::string_view id) {
    return absl::DataLossError(StrCat("stored ", RefOf(object).ToString(), " names ",
                                      ObjectRef{kind, std::string(id)}.ToString(),
                                      ", which is not stored"));
  }
  absl::Status CheckVpc(const Object& object, std::string_view vpc) const {
    if (there_.contains({ObjectKind::kVpc, vpc})) return absl::OkStatus();
    return Dangling(object, ObjectKind::kVpc, vpc);
  }
  absl::Status CheckSubnet(const Object& object, std::string_view vpc,
                           std::string_view subnet) const {
    const auto of = vpc_of_subnet_.find(subnet);
    if (of == vpc_of_subnet_.end()) return Dangling(object, ObjectKind::kSubnet, subnet);
    if (of->second == vpc) return CheckVpc(object, vpc);
    return absl::DataLossError(StrCat("stored ", RefOf(object).ToString(), " is in vpc/",
                                      std::string(vpc), ", and its subnet/", std::string(subnet),
                                      " in vpc/", std::string(of->second)));
  }

  absl::Status CheckGroups(const Object& object, std::string_view vpc,
                           const std::vector<std::string>& groups) const {
    for (const std::string& group : groups) {
      const auto of = vpc_of_group_.find(std::string_view(group));
      if (of == vpc_of_group_.end()) return Dangling(object, ObjectKind::kSecurityGroup, group);
      if (of->second == vpc) continue;
      return absl::DataLossError(StrCat("stored ", RefOf(object).ToString(), " is in vpc/",
                                        std::string(vpc), ", and its security-group/", group,
                                        " in vpc/", std::string(of->second)));
    }
    return absl::OkStatus();
  }
  absl::Status CheckGroup(const SecurityGroup& group) const {
    for (const SecurityRule& rule : group.rules) {
      if (rule.remote_group.empty()) continue;
      FAIRLEAD_RETURN_IF_ERROR(CheckGroups(group, group.vpc, {rule.remote_group}));
    }
    return CheckVpc(group, group.vpc);
  }

  absl::flat_hash_set<Key> there_;
  absl::flat_hash_map<std::string_view, std::string_view> vpc_of_group_;
  absl::flat_hash_map<std::string_view, std::string_view> vpc_of_subnet_;
};

}  // namespace

absl::Status CheckReferences(std::span<const StoredObject> objects) {
  const References references(objects);
  for (const StoredObject& stored : objects) {
    if (absl::Status status = references.Check(stored.object); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace fairlead
