// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/controller_memory.h"

#include <algorithm>

#include "agent/base/text.h"

namespace fairlead {
namespace {

// fairleadctl's id, if nobody says otherwise.
constexpr char kOperator[] = "fairleadctl";

}  // namespace

void ControllerMemory::Restore(std::vector<ControllerRecord> controllers,
                               std::vector<AnswerRecord> answers) {
  for (ControllerRecord& controller : controllers) {
    controllers_[controller.id] = std::move(controller);
  }
  for (AnswerRecord& answer : answers) {
    answers_[answer.controller].emplace_back(std::move(answer.request_id),
                                             std::move(answer.answer));
  }
}

std::vector<Violation> ControllerMemory::CheckOrder(const v1::Request& request) const {
  const auto it = controllers_.find(request.controller_id());
  if (it == controllers_.end()) {
    // An operator comes in whatever a controller has done, and takes no place.
    const size_t places = controllers_.size() - controllers_.count(kOperator);
    if (places < most_ || request.controller_id() == kOperator) return {};
    return {{"controller_id", ViolationCode::kConflict,
             StrCat(places,
                    " controllers are known already, which is the most; is the id made anew for "
                    "each request? `fairleadctl controller list` shows them, and `fairleadctl "
                    "controller forget` makes room")}};
  }
  const ControllerRecord& known = it->second;
  if (request.epoch() < known.epoch) {
    return {{"epoch", ViolationCode::kStale,
             StrCat("epoch ", request.epoch(), " is older than ", known.epoch,
                    ", under which controller ", request.controller_id(),
                    " has spoken since: another instance took over")}};
  }
  if (request.revision() != 0 && request.epoch() == known.epoch &&
      request.revision() <= known.revision) {
    return {{"revision", ViolationCode::kStale,
             StrCat("revision ", request.revision(), " is not newer than ", known.revision,
                    ", the last one accepted in epoch ", known.epoch)}};
  }
  return {};
}

std::vector<Violation> ControllerMemory::CheckForget(const v1::Request& request) const {
  const v1::ForgetController& forget = request.forget_controller();
  const auto known = controllers_.find(forget.id());
  if (known == controllers_.end()) {
    return {{"forget_controller.id", ViolationCode::kNotFound,
             StrCat("no controller ", Quoted(forget.id()), " is known")}};
  }
  if (forget.id() == request.controller_id()) {
    return {{"forget_controller.id", ViolationCode::kConflict,
             StrCat(forget.id(), " is who asks for it: ask under another id")}};
  }
  if (forget.epoch() != known->second.epoch) {
    return {{"forget_controller.epoch", ViolationCode::kConflict,
             StrCat("controller ", forget.id(), " is in epoch ", known->second.epoch, ", not ",
                    forget.epoch(),
                    ": an epoch that is forgotten fences nobody any more, so the right one has to "
                    "be named, once no instance of the controller runs")}};
  }
  return {};
}

const std::string* ControllerMemory::FindAnswer(const std::string& controller,
                                                const std::string& request) const {
  const auto of = answers_.find(controller);
  if (of == answers_.end()) return nullptr;
  const auto found = std::find_if(of->second.begin(), of->second.end(),
                                  [&](const auto& answer) { return answer.first == request; });
  return found == of->second.end() ? nullptr : &found->second;
}

void ControllerMemory::Learn(const ControllerRecord& controller) {
  const auto [known, is_new] = controllers_.try_emplace(controller.id, controller);
  if (!is_new && known->second.IsOlderThan(controller)) known->second = controller;
}

void ControllerMemory::Remember(const ControllerRecord& controller, const std::string& request,
                                const std::string& answer) {
  Learn(controller);
  auto& answers = answers_[controller.id];
  answers.emplace_back(request, answer);
  if (answers.size() > kAnswersPerController) answers.pop_front();
}

void ControllerMemory::Forget(const std::string& controller) {
  controllers_.erase(controller);
  answers_.erase(controller);
}

v1::Controller ControllerMemory::Show(const std::string& controller) const {
  const ControllerRecord& known = controllers_.at(controller);
  const auto answers = answers_.find(controller);
  v1::Controller shown;
  shown.set_id(known.id);
  shown.set_epoch(known.epoch);
  shown.set_revision(known.revision);
  shown.set_answers(answers == answers_.end() ? 0 : static_cast<uint32_t>(answers->second.size()));
  return shown;
}

v1::Controllers ControllerMemory::ShowAll() const {
  v1::Controllers all;
  for (const auto& [id, known] : controllers_) *all.add_controllers() = Show(id);
  all.set_most(static_cast<uint32_t>(most_));
  return all;
}

}  // namespace fairlead
