// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/service.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "agent/base/text.h"
#include "agent/daemon/host_view.h"
#include "agent/daemon/replies.h"
#include "agent/intent/kinds.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

// Of the hash that stands before a kept answer.
constexpr size_t kHashBytes = 16;

// Who asked, as it is recorded.
ControllerRecord ControllerOf(const v1::Request& request) {
  return {request.controller_id(), request.epoch(), request.revision()};
}

std::optional<ObjectRef> RefOfProto(const v1::Object& object) {
  switch (object.object_case()) {
    case v1::Object::kVpc:
      return ObjectRef{ObjectKind::kVpc, object.vpc().id()};
    case v1::Object::kSubnet:
      return ObjectRef{ObjectKind::kSubnet, object.subnet().id()};
    case v1::Object::kVm:
      return ObjectRef{ObjectKind::kVm, object.vm().id()};
    case v1::Object::kPort:
      return ObjectRef{ObjectKind::kPort, object.port().id()};
    case v1::Object::kEndpoint:
      return ObjectRef{ObjectKind::kEndpoint, object.endpoint().id()};
    case v1::Object::kRoute:
      return ObjectRef{ObjectKind::kRoute, object.route().id()};
    case v1::Object::kSecurityGroup:
      return ObjectRef{ObjectKind::kSecurityGroup, object.security_group().id()};
    case v1::Object::OBJECT_NOT_SET:
      break;
  }
  return std::nullopt;
}

using Generations = std::map<ObjectRef, uint64_t>;

// What the change stores, and with 0 what it removes.
Generations GenerationsOf(const Change& change) {
  Generations items;
  for (const StoredObject& stored : change.upserts) items[RefOf(stored.object)] = stored.generation;
  for (const ObjectRef& ref : change.removes) items[ref] = 0;
  return items;
}

void ToProto(const Generations& items, v1::Accepted& out) {
  for (const auto& [ref, generation] : items) {
    v1::Accepted::Item* item = out.add_items();
    item->mutable_ref()->set_kind(KindToProto(ref.kind));
    item->mutable_ref()->set_id(ref.id);
    item->set_generation(generation);
  }
}

// What was asked about, with the generation that it has, or gets by the change.
std::string Acceptance(const v1::Request& request, const Change& change, const World& world) {
  v1::Reply reply = ReplyTo(request);
  Generations items = GenerationsOf(change);
  for (const v1::Object& object : request.apply().upsert()) {
    const std::optional<ObjectRef> ref = RefOfProto(object);
    if (!ref || items.contains(*ref)) continue;
    if (const StoredObject* stored = world.Find(*ref)) items[*ref] = stored->generation;
  }
  ToProto(items, *reply.mutable_accepted());
  return Serialise(reply);
}

bool IsChange(const v1::Request& request) {
  return request.has_apply() || request.has_add_vm_to_vpc() || request.has_remove_vm_from_vpc() ||
         request.has_take_over() || request.has_forget_controller();
}

// The store that is meant; what is wrong with the request otherwise.
std::variant<uint32_t, std::vector<Violation>> StoreOf(const v1::TakeOver& take_over) {
  uint32_t store = 0;
  if (take_over.mode() != v1::TakeOver::MODE_ADOPT &&
      take_over.mode() != v1::TakeOver::MODE_PURGE) {
    return std::vector<Violation>{
        {"take_over.mode", ViolationCode::kInvalid, "is neither MODE_ADOPT nor MODE_PURGE"}};
  }
  const std::string& id = take_over.store_id();
  const bool digits = id.size() == 8 && std::all_of(id.begin(), id.end(), absl::ascii_isxdigit);
  if (!digits || !absl::SimpleHexAtoi(id, &store) || store == 0) {
    return std::vector<Violation>{
        {"take_over.store_id", ViolationCode::kInvalid,
         StrCat(Quoted(id), " is no store id, which is eight hexadecimal digits and not 0")}};
  }
  return store;
}

}  // namespace

struct Service::Pending {
  v1::Request request;
  std::string hash;  // of the frame; kHashBytes characters
  Answer answer;
};

Service::Service(Engine* engine, Executor* executor, ServiceOptions options, uint32_t store_id,
                 Lanes lanes, StoreProblem store_problem)
    : engine_(engine),
      executor_(executor),
      options_(options),
      store_id_(store_id),
      lanes_(std::move(lanes)),
      store_problem_(std::move(store_problem)),
      controllers_(options_.controllers) {}

Service::~Service() = default;

void Service::Restore(std::vector<ControllerRecord> controllers,
                      std::vector<AnswerRecord> answers) {
  controllers_.Restore(std::move(controllers), std::move(answers));
}

void Service::Handle(std::string_view frame, Answer answer) {
  auto pending = std::make_unique<Pending>();
  const std::vector<Violation> violations = DecodeRequest(frame, &pending->request);
  if (!violations.empty()) {
    answer(Rejection(pending->request, violations));
    return;
  }
  const v1::Request& request = pending->request;
  if (request.has_get() && request.get().counters()) return GetCounted(request, std::move(answer));
  if (request.has_get()) return answer(GetAnswer(request, nullptr));
  if (request.has_get_host()) return GetHost(request, std::move(answer));
  if (request.has_get_controllers()) {
    v1::Reply reply = ReplyTo(request);
    *reply.mutable_controllers() = controllers_.ShowAll();
    return answer(Serialise(reply));
  }
  if (request.has_release_vf()) return ReleaseVf(request, std::move(answer));
  if (request.has_explain_flow()) return ExplainFlow(request, std::move(answer));
  if (request.has_list_rules()) return ListRules(request, std::move(answer));
  if (!IsChange(request)) {
    answer(Rejection(
        request, {{"", ViolationCode::kUnsupported, "this agent does not know what is asked"}}));
    return;
  }
  if (queue_.size() >= options_.queue) {
    answer(Rejection(request, {{"", ViolationCode::kBusy,
                                StrCat(queue_.size(),
                                       " changes wait already; send it again "
                                       "later")}}));
    return;
  }
  pending->hash = absl::StrFormat("%016x", StableHash(frame));
  pending->answer = std::move(answer);
  if (store_hangs_ && !request.dry_run()) return RefuseForStore(*pending);
  queue_.push_back(std::move(pending));
  Next();
}

void Service::OnStoreHangs(bool hangs) {
  store_hangs_ = hangs;
  while (hangs && queue_.size() > (busy_ ? 1U : 0U)) {
    RefuseForStore(*queue_.back());
    queue_.pop_back();
  }
}

void Service::RefuseForStore(const Pending& pending) {
  pending.answer(Rejection(
      pending.request, {{"", ViolationCode::kStore,
                         "nothing was changed: the agent's store does not answer, as when its disk "
                         "hangs; send it again later"}}));
}

void Service::Next() {
  while (!busy_ && !queue_.empty()) {
    busy_ = true;
    Process(*queue_.front());
  }
}

// The one that is under way was answered; the next one's turn.
void Service::Finish() {
  queue_.pop_front();
  busy_ = false;
}

void Service::Process(Pending& pending) {
  const v1::Request& request = pending.request;
  if (!request.dry_run()) {
    const std::string* known =
        controllers_.FindAnswer(request.controller_id(), request.request_id());
    if (known != nullptr) {
      if (known->substr(0, kHashBytes) == pending.hash) {
        pending.answer(known->substr(kHashBytes));
      } else {
        pending.answer(Rejection(request, {{"request_id", ViolationCode::kConflict,
                                            "another request was accepted under this id; each "
                                            "change needs an id of its own"}}));
      }
      return Finish();
    }
  }
  std::vector<Violation> violations = controllers_.CheckOrder(request);
  if (violations.empty() && request.has_take_over()) return TakeOverFor(pending);
  if (violations.empty() && request.has_forget_controller()) return ForgetFor(pending);
  Change change;
  if (violations.empty()) {
    HostKnowledge host;
    if (engine_->observed_once()) host.facts = &engine_->facts();
    host.port_with_mac = [this](const std::string& vpc, const MacAddress& mac) {
      return engine_->PortWithMac(vpc, mac);
    };
    std::variant<Change, std::vector<Violation>> admitted =
        Admit(request, engine_->world(), host, options_.limits);
    if (auto* refused = std::get_if<std::vector<Violation>>(&admitted)) {
      violations = std::move(*refused);
    } else {
      change = std::move(std::get<Change>(admitted));
    }
  }
  if (!violations.empty()) {
    pending.answer(Rejection(request, violations));
    return Finish();
  }
  if (request.dry_run()) return DryRunFor(pending, change);
  Commit(pending, std::move(change));
}

void Service::Commit(Pending& pending, Change change) {
  StoreBatch batch;
  batch.change = change;
  CommitAnswered(std::move(batch), Acceptance(pending.request, change, engine_->world()),
                 [this, change] { engine_->OnChange(change); });
}

// Of the change that is under way. `durable` runs when it is, before the next one is judged.
void Service::CommitAnswered(StoreBatch batch, std::string answer, std::function<void()> durable) {
  const Pending& pending = *queue_.front();
  const ControllerRecord controller = ControllerOf(pending.request);
  const std::string record = StrCat(pending.hash, answer);
  batch.controller = controller;
  batch.answer = AnswerRecord{controller.id, pending.request.request_id(), record};
  executor_->Commit(
      std::move(batch), [this, alive = std::weak_ptr<bool>(alive_), controller, record, answer,
                         durable = std::move(durable)](absl::Status status) {
        if (alive.expired()) return;
        Pending& pending = *queue_.front();
        if (!status.ok()) {
          pending.answer(Rejection(
              pending.request,
              {{"", ViolationCode::kStore,
                StrCat("nothing was changed: the store did not take it: ", status.message())}}));
        } else {
          controllers_.Remember(controller, pending.request.request_id(), record);
          pending.answer(answer);
          durable();
        }
        Finish();
        Next();
      });
}

void Service::ForgetFor(Pending& pending) {
  const v1::Request& request = pending.request;
  const std::string id = request.forget_controller().id();
  std::vector<Violation> violations = controllers_.CheckForget(request);
  if (request.dry_run()) {
    violations.push_back(
        {"dry_run", ViolationCode::kUnsupported, "there is no dry run of forgetting a controller"});
  }
  if (request.revision() != 0) {
    violations.push_back({"revision", ViolationCode::kUnsupported,
                          "the forgetting of a controller has no revision"});
  }
  if (!violations.empty()) {
    pending.answer(Rejection(request, violations));
    return Finish();
  }
  v1::Reply reply = ReplyTo(request);
  *reply.mutable_controller_forgotten()->mutable_controller() = controllers_.Show(id);
  StoreBatch batch;
  batch.forgotten_controller = id;
  CommitAnswered(std::move(batch), Serialise(reply), [this, id] { controllers_.Forget(id); });
}

// Others wait meanwhile: what is taken over is given to what was accepted before it.
void Service::TakeOverFor(Pending& pending) {
  const v1::Request& request = pending.request;
  const std::variant<uint32_t, std::vector<Violation>> store = StoreOf(request.take_over());
  std::vector<Violation> violations;
  if (const auto* bad = std::get_if<std::vector<Violation>>(&store)) violations = *bad;
  if (request.revision() != 0) {
    violations.push_back(
        {"revision", ViolationCode::kUnsupported, "an adoption or purge has no revision"});
  }
  if (!violations.empty()) {
    pending.answer(Rejection(request, violations));
    return Finish();
  }
  const auto answer = [](const v1::Request& request, const TakeOver& taken) {
    v1::Reply reply = ReplyTo(request);
    for (const std::string& text : taken.taken) reply.mutable_taken_over()->add_taken(text);
    for (const std::string& text : taken.left) reply.mutable_taken_over()->add_left(text);
    reply.mutable_taken_over();
    return Serialise(reply);
  };
  const bool adopt = request.take_over().mode() == v1::TakeOver::MODE_ADOPT;
  const ControllerRecord controller = ControllerOf(request);
  engine_->TakeOverStore(
      std::get<uint32_t>(store),
      adopt ? Engine::TakeOverMode::kAdopt : Engine::TakeOverMode::kPurge, request.dry_run(),
      [this, answer, controller](const TakeOver& plan, StoreBatch& batch) {
        const Pending& pending = *queue_.front();
        batch.controller = controller;
        batch.answer = AnswerRecord{controller.id, pending.request.request_id(),
                                    StrCat(pending.hash, answer(pending.request, plan))};
      },
      [this, answer, controller,
       alive = std::weak_ptr<bool>(alive_)](const absl::StatusOr<TakeOver>& result) {
        if (alive.expired()) return;
        const Pending& pending = *queue_.front();
        if (result.ok()) {
          const std::string reply = answer(pending.request, *result);
          if (!pending.request.dry_run()) {
            controllers_.Remember(controller, pending.request.request_id(),
                                  StrCat(pending.hash, reply));
          }
          pending.answer(reply);
        } else {
          const absl::Status& status = result.status();
          const ViolationCode code = absl::IsNotFound(status)      ? ViolationCode::kNotFound
                                     : absl::IsUnavailable(status) ? ViolationCode::kBusy
                                     : absl::IsAborted(status)     ? ViolationCode::kStore
                                                                   : ViolationCode::kConflict;
          pending.answer(Rejection(
              pending.request,
              {{"take_over", code, StrCat("nothing was changed: ", result.status().message())}}));
        }
        Finish();
        Next();
      });
}

void Service::DryRunFor(Pending& pending, const Change& change) {
  // A dry run changes nothing, so it need not keep others waiting while VMs are
  // being asked.
  std::shared_ptr<Pending> own = std::make_shared<Pending>(std::move(pending));
  Finish();
  if (plans_ >= options_.plans) {
    own->answer(Rejection(own->request, {{"", ViolationCode::kBusy,
                                          StrCat(plans_,
                                                 " dry runs are under way already; send it "
                                                 "again later")}}));
    return;
  }
  ++plans_;
  v1::Accepted accepted;
  ToProto(GenerationsOf(change), accepted);
  engine_->PlanFor(change, [this, alive = std::weak_ptr<bool>(alive_), own,
                            accepted](const absl::StatusOr<Engine::DryRun>& result) {
    if (alive.expired()) return;
    --plans_;
    if (!result.ok()) {
      own->answer(Rejection(own->request,
                            {{"", ViolationCode::kBusy,
                              StrCat("the plan could not be made: ", result.status().message())}}));
      return;
    }
    const Engine::DryRun& run = *result;
    v1::Reply reply = ReplyTo(own->request);
    v1::Plan* plan = reply.mutable_plan();
    *plan->mutable_accepted() = accepted;
    for (const Engine::PlannedStep& step : run.steps) {
      v1::Plan::Step* out = plan->add_steps();
      out->set_verb(std::string(VerbName(step.operation.verb)));
      out->set_resource(step.operation.resource.key.ToString());
      out->set_detail(step.operation.detail);
      out->set_owner(step.owner);
    }
    for (const ObjectStatus& status : run.blocked) ToProto(status, plan->add_blocked());
    own->answer(Serialise(reply));
  });
}

// Beside the changes: it may take its time, and none of them depends on it.
void Service::ReleaseVf(const v1::Request& request, Answer answer) {
  const v1::ReleaseVf& release = request.release_vf();
  std::vector<Violation> violations = controllers_.CheckOrder(request);
  const absl::StatusOr<VfId> vf = VfId::Parse(release.vf());
  if (!vf.ok()) {
    violations.push_back(
        {"release_vf.vf", ViolationCode::kInvalid, std::string(vf.status().message())});
  }
  if (request.dry_run()) {
    violations.push_back(
        {"dry_run", ViolationCode::kUnsupported, "there is no dry run of a VF's release"});
  }
  if (request.revision() != 0) {
    violations.push_back(
        {"revision", ViolationCode::kUnsupported, "the release of a VF has no revision"});
  }
  if (!violations.empty()) return answer(Rejection(request, violations));
  engine_->ReleaseVf(
      *vf, release.force(), request.controller_id(),
      [request](StoreBatch& batch) { batch.controller = ControllerOf(request); },
      [this, alive = std::weak_ptr<bool>(alive_), request,
       answer = std::move(answer)](const absl::StatusOr<SanitationRecord>& record) {
        if (alive.expired()) return;
        if (record.ok()) controllers_.Learn(ControllerOf(request));
        const auto refuse = [&](ViolationCode code, std::string why) {
          answer(Rejection(request, {{"release_vf.vf", code, std::move(why)}}));
        };
        if (const absl::Status& status = record.status(); !status.ok()) {
          return refuse(absl::IsNotFound(status)             ? ViolationCode::kNotFound
                        : absl::IsFailedPrecondition(status) ? ViolationCode::kConflict
                        : absl::IsAborted(status)            ? ViolationCode::kStore
                                                             : ViolationCode::kBusy,
                        std::string(status.message()));
        }
        if (record->verdict == Verdict::kQuarantined) {
          return refuse(
              ViolationCode::kConflict,
              StrCat("VF ", record->vf.ToString(),
                     " was cleaned and checked again and stays quarantined: ", record->reason));
        }
        v1::Reply reply = ReplyTo(request);
        reply.mutable_vf_released()->set_vf(record->vf.ToString());
        ToProto(*record, *reply.mutable_vf_released()->mutable_sanitation());
        answer(Serialise(reply));
      });
}

}  // namespace fairlead
