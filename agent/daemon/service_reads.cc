// SPDX-License-Identifier: Apache-2.0
//
// What is asked without changing anything.
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "agent/base/text.h"
#include "agent/daemon/host_view.h"
#include "agent/daemon/replies.h"
#include "agent/daemon/service.h"
#include "agent/intent/flow_question.h"
#include "agent/intent/kinds.h"
#include "agent/intent/rule_question.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

// Beside the changes, as any reading; but it waits for the kernel.
void Service::ExplainFlow(const v1::Request& request, Answer answer) {
  const std::variant<FlowQuestion, std::vector<Violation>> question =
      ParseFlowQuestion(request.explain_flow());
  if (const auto* bad = std::get_if<std::vector<Violation>>(&question)) {
    return answer(Rejection(request, *bad));
  }
  if (explanations_ >= options_.explanations) {
    return answer(Rejection(
        request,
        {{"", ViolationCode::kBusy,
          StrCat(explanations_, " flows are being explained already; send it again later")}}));
  }
  ++explanations_;
  engine_->ExplainFlow(
      std::get<FlowQuestion>(question),
      [this, alive = std::weak_ptr<bool>(alive_), request,
       answer = std::move(answer)](const absl::StatusOr<FlowExplanation>& result) {
        if (alive.expired()) return;
        --explanations_;
        if (const absl::Status& status = result.status(); !status.ok()) {
          const bool of_sender = absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
          const char* sender = request.explain_flow().port().empty() ? ".vtep" : ".port";
          const ViolationCode code = absl::IsNotFound(status)             ? ViolationCode::kNotFound
                                     : absl::IsFailedPrecondition(status) ? ViolationCode::kConflict
                                     : absl::IsInvalidArgument(status)    ? ViolationCode::kInvalid
                                     : absl::IsUnimplemented(status) ? ViolationCode::kUnsupported
                                                                     : ViolationCode::kBusy;
          return answer(Rejection(request, {{StrCat("explain_flow", of_sender ? sender : ""), code,
                                             std::string(status.message())}}));
        }
        v1::Reply reply = ReplyTo(request);
        ToProto(*result, reply.mutable_flow());
        answer(Serialise(reply));
      });
}

std::optional<Violation> Service::BeginCounting() {
  if (countings_ >= options_.countings) {
    return Violation{"", ViolationCode::kBusy,
                     StrCat(countings_, " askers wait for counters already; send it again later")};
  }
  ++countings_;
  return std::nullopt;
}

void Service::ListRules(const v1::Request& request, Answer answer) {
  const std::variant<RuleQuestion, std::vector<Violation>> parsed =
      ParseRuleQuestion(request.list_rules());
  if (const auto* bad = std::get_if<std::vector<Violation>>(&parsed)) {
    return answer(Rejection(request, *bad));
  }
  const RuleQuestion& question = std::get<RuleQuestion>(parsed);
  if (question.counters) {
    if (const auto busy = BeginCounting()) return answer(Rejection(request, {*busy}));
  }
  engine_->ListRules(question, [this, alive = std::weak_ptr<bool>(alive_), request,
                                answer = std::move(answer)](const absl::StatusOr<RuleList>& list) {
    if (alive.expired()) return;
    if (request.list_rules().counters()) --countings_;
    if (!list.ok()) {
      return answer(Rejection(request, {{"list_rules.port", ViolationCode::kNotFound,
                                         std::string(list.status().message())}}));
    }
    v1::Reply reply = ReplyTo(request);
    ToProto(*list, reply.mutable_rules());
    answer(Serialise(reply));
  });
}

// Counters are read for one port, beside the changes.
void Service::GetCounted(const v1::Request& request, Answer answer) {
  const v1::Get& get = request.get();
  if (get.kind() != v1::OBJECT_KIND_PORT || get.id().empty()) {
    return answer(Rejection(request, {{"get.counters", ViolationCode::kUnsupported,
                                       "are those of one port: kind and id have to name it"}}));
  }
  if (const auto busy = BeginCounting()) return answer(Rejection(request, {*busy}));
  engine_->CountPort(
      get.id(), [this, alive = std::weak_ptr<bool>(alive_), request, answer = std::move(answer)](
                    const absl::StatusOr<std::optional<PortTraffic>>& traffic) {
        if (alive.expired()) return;
        --countings_;
        answer(GetAnswer(request, &traffic));
      });
}

std::string Service::GetAnswer(const v1::Request& request,
                               const absl::StatusOr<std::optional<PortTraffic>>* traffic) const {
  v1::Reply reply = ReplyTo(request);
  v1::GetReply* out = reply.mutable_get();
  out->set_agent_start(options_.agent_start);
  const v1::Get& get = request.get();
  const std::optional<ObjectKind> kind = KindFromProto(get.kind());
  std::multimap<std::string, const Drift*> drifts;  // by owner
  for (const Drift& drift : engine_->drifts()) drifts.emplace(drift.owner, &drift);
  const auto add = [&](const ObjectRef& ref, const StoredObject* stored) {
    if (kind && ref.kind != *kind) return;
    if (!get.id().empty() && ref.id != get.id()) return;
    const std::optional<ObjectStatus> status = engine_->StatusOf(ref);
    if (stored == nullptr && !status) return;
    v1::ObjectWithStatus* item = out->add_objects();
    const Object* removed = engine_->RemovedObject(ref);
    if (stored != nullptr) {
      ToProto(stored->object, item->mutable_object());
    } else if (removed != nullptr) {
      ToProto(*removed, item->mutable_object());
    }
    if (status) ToProto(*status, item->mutable_status());
    if (const std::optional<ErrorRecord> error = engine_->LastErrorOf(ref)) {
      ToProto(*error, item->mutable_last_error());
    }
    const auto [first, last] = drifts.equal_range(ref.ToString());
    for (auto drift = first; drift != last; ++drift) ToProto(*drift->second, item->add_drifts());
    if (traffic != nullptr && !traffic->ok()) {
      item->mutable_traffic()->set_problem(std::string(traffic->status().message()));
    } else if (traffic != nullptr && traffic->value()) {
      ToProto(*traffic->value(), item->mutable_traffic());
    }
  };
  if (kind && !get.id().empty()) {
    const ObjectRef ref{*kind, get.id()};
    add(ref, engine_->world().Find(ref));
    return Serialise(reply);
  }
  engine_->world().ForEach([&](const StoredObject& stored) { add(RefOf(stored.object), &stored); });
  for (const ObjectStatus& removing : engine_->Removing()) add(removing.ref, nullptr);
  return Serialise(reply);
}

// What is counted in the kernel is read for it, beside the changes.
void Service::GetHost(const v1::Request& request, Answer answer) {
  if (!request.get_host().tunnel_drops()) return answer(HostAnswer(request, nullptr));
  if (const auto busy = BeginCounting()) return answer(Rejection(request, {*busy}));
  engine_->CountTunnelDrops(
      [this, alive = std::weak_ptr<bool>(alive_), request,
       answer = std::move(answer)](const absl::StatusOr<Engine::TunnelDrops>& drops) {
        if (alive.expired()) return;
        --countings_;
        answer(HostAnswer(request, &drops));
      });
}

std::string Service::HostAnswer(const v1::Request& request,
                                const absl::StatusOr<Engine::TunnelDrops>* drops) const {
  v1::Reply reply = ReplyTo(request);
  FillHostState(*engine_, store_id_, lanes_(), store_problem_(), *reply.mutable_host());
  if (drops != nullptr) ToProto(*drops, *reply.mutable_host()->mutable_tunnel_drops());
  return Serialise(reply);
}

}  // namespace fairlead
