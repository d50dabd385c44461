// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the agent answers, for people. Pure: message in, text out.
// Threading: pure functions. Errors: none; what is missing is shown as "-".
#pragma once

#include <string>
#include <string_view>

namespace fairlead::v1 {
class Accepted;
class GetReply;
class HostState;
class Object;
class ObjectRef;
class ObjectStatus;
class ObjectWithStatus;
class Plan;
class Rejected;
}  // namespace fairlead::v1

namespace fairlead {

// "port/web-0", "ready".
std::string RefText(const v1::ObjectRef& ref);
std::string StateText(int object_state);
// The object's own reference, which an object without status has too.
std::string RefTextOf(const v1::Object& object);

// "apply.upsert[0].port.mac: reason", a line each.
std::string RenderRejected(const v1::Rejected& rejected);
std::string RenderAccepted(const v1::Accepted& accepted);
std::string RenderPlan(const v1::Plan& plan);

// `kind` is a v1.ObjectKind; objects of other kinds are left out.
std::string RenderObjects(const v1::GetReply& reply, int kind);
// With an id (PF: MAC, netdev or PCI address; VF: PF/index or PCI address; rule:
// part of its location or owner), only those.
std::string RenderPfs(const v1::HostState& host, std::string_view id);
std::string RenderVfs(const v1::HostState& host, std::string_view id);
std::string RenderRules(const v1::HostState& host, std::string_view id);

// The whole story of one object. `all` is where its relatives are found.
std::string DescribeObject(const v1::ObjectWithStatus& object, const v1::GetReply& all);
// "" when the host has no such PF or VF.
std::string DescribePf(const v1::HostState& host, std::string_view id);
std::string DescribeVf(const v1::HostState& host, std::string_view id);

struct Health {
  std::string text;
  // An object failed or is degraded, a PF cannot be used, or a lane is parked.
  bool troubled = false;
};
Health RenderStatus(const v1::HostState& host, const v1::GetReply& all);

}  // namespace fairlead
