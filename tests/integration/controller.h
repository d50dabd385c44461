// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what a controller asks of an agent, in a test's words.
// Threading: the test's thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/v1/agent.pb.h"

namespace fairlead {

class Controller {
 public:
  virtual ~Controller() = default;

  v1::Reply Send(v1::Request request);  // fills in version, ids
  v1::Reply Apply(const std::function<void(v1::Apply&)>& fill);
  // A VPC "red"-like with one subnet "<vpc>-1".
  void MakeVpc(const std::string& vpc, uint32_t vni, const std::string& prefix);
  // The same in a VLAN.
  void MakeVlan(const std::string& vpc, uint32_t vlan, const std::string& prefix);
  void MakeFlat(const std::string& vpc, const std::string& prefix);
  v1::Request AddVmRequest(const std::string& vm, const std::string& vpc,
                           const std::string& address);
  void Attach(const std::string& vm, const std::string& vpc, const std::string& address);
  void Detach(const std::string& vm, const std::string& vpc);
  std::optional<v1::ObjectWithStatus> Get(v1::ObjectKind kind, const std::string& id);
  std::optional<v1::ObjectStatus> PortStatus(const std::string& port);
  std::optional<v1::ObjectStatus> Status(v1::ObjectKind kind, const std::string& id);
  v1::HostState Host();
  // All that are asked for, page by page.
  std::vector<v1::RuleList::Rule> Rules(v1::ListRules question = {});

 protected:
  virtual v1::Reply Call(const v1::Request& request) = 0;

 private:
  void MakeNetwork(const std::string& vpc, const std::function<void(v1::Vpc&)>& segment,
                   const std::string& prefix);

  int next_request_ = 1;
};

}  // namespace fairlead
