// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a call of a wrapped port on its way through the plan; for the wrappers.
// Threading: the caller's.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "agent/base/text.h"
#include "agent/ports/fault/fault_plan.h"

namespace fairlead {

class FaultCalls {
 public:
  FaultCalls(std::string_view port, FaultPlan* plan) : port_(port), plan_(plan) {}

  template <typename Call>
  auto Look(std::string_view method, std::string about, Call call) const {
    return Through({port_, method, std::move(about), false}, call);
  }
  template <typename Call>
  auto Change(std::string_view method, std::string about, Call call) const {
    return Through({port_, method, std::move(about), true}, call);
  }
  // `on_event`, when the plan lets an event pass.
  template <typename Event, typename Handler>
  auto Filtered(Handler on_event) const {
    return [plan = plan_, port = port_, on_event = std::move(on_event)](const Event& event) {
      if (plan->Tells(port)) on_event(event);
    };
  }

 private:
  template <typename Call>
  auto Through(const PortCall& what, Call call) const -> decltype(call()) {
    if (absl::Status before = plan_->Before(what); !before.ok()) return before;
    auto answer = call();
    if (absl::Status after = plan_->After(what); !after.ok()) return after;
    return answer;
  }

  std::string_view port_;  // a literal
  FaultPlan* plan_;
};

}  // namespace fairlead
