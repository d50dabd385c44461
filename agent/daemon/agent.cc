// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/agent.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/store/references.h"
#include "agent/store/store.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kStorePause{2000};

std::string Refusal(const std::string& request_id, v1::Rejected::Code code, std::string reason) {
  v1::Reply reply;
  reply.set_protocol_version(kProtocolVersion);
  reply.set_request_id(request_id);
  v1::Rejected::Violation* violation = reply.mutable_rejected()->add_violations();
  violation->set_code(code);
  violation->set_reason(std::move(reason));
  return reply.SerializeAsString();
}

// Whether somebody can mend it while the agent waits: all but a path that is none.
bool MayBeMended(const absl::Status& status) { return !absl::IsInvalidArgument(status); }

}  // namespace

Agent::Agent(Loop* loop, const Clock* clock, DaemonConfig config, Ports ports)
    : loop_(loop), clock_(clock), config_(std::move(config)), ports_(std::move(ports)) {}

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(Loop* loop, const Clock* clock,
                                                    DaemonConfig config, Ports ports) {
  auto agent = std::unique_ptr<Agent>(new Agent(loop, clock, std::move(config), std::move(ports)));
  Agent* self = agent.get();
  // The endpoint is bound before anything is touched: a second agent stops here.
  FAIRLEAD_ASSIGN_OR_RETURN(
      agent->server_,
      Server::Create(loop->context(), agent->config_.server,
                     [self](const ReplyAddress& from, std::string_view payload, bool malformed) {
                       self->OnRequest(from, payload, malformed);
                     }));
  FAIRLEAD_RETURN_IF_ERROR(agent->Begin());
  return agent;
}

absl::Status Agent::Begin() {
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenSqliteStore({StrCat(config_.state_dir, "/store.sqlite")});
  absl::StatusOr<StoreContents> contents;
  if (store.ok()) contents = (*store)->Load();
  if (contents.ok()) {
    if (const absl::Status fit = CheckReferences(contents->objects); !fit.ok()) contents = fit;
  }
  const absl::Status& read = store.ok() ? contents.status() : store.status();
  if (!read.ok()) {
    if (!MayBeMended(read)) return read;
    TryAgainLater(StrCat("its store cannot be used: ", read.message()));
    return absl::OkStatus();
  }
  FAIRLEAD_ASSIGN_OR_RETURN(
      core_, Core::Start(loop_, clock_, config_, ports_, *std::move(store), *std::move(contents),
                         [this](const std::string& topic, const std::string& event) {
                           server_->Publish(topic, event);
                         }));
  if (!problem_.empty()) spdlog::info("the agent can go on");
  problem_.clear();
  return absl::OkStatus();
}

Standing Agent::standing() {
  if (core_ != nullptr) return core_->standing();
  Standing standing;
  standing.counts = StrCat("waits: ", problem_);
  return standing;
}

void Agent::TryAgainLater(const std::string& problem) {
  if (problem != problem_) {
    spdlog::error("the agent waits: {}; nothing is touched and no request taken meanwhile",
                  problem);
    problem_ = problem;
  }
  loop_->After(kStorePause, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    if (const absl::Status status = Begin(); !status.ok()) {
      TryAgainLater(StrCat("it cannot start: ", status.message()));
    }
  });
}

void Agent::OnRequest(const ReplyAddress& from, std::string_view payload, bool malformed) {
  if (malformed) {
    server_->Reply(from, Refusal("", v1::Rejected::CODE_MALFORMED,
                                 "a request is one frame (after an empty one, if any)"));
    return;
  }
  if (core_ == nullptr) {
    v1::Request request;
    (void)DecodeRequest(payload, &request);  // for its id alone
    server_->Reply(from, Refusal(request.request_id(), v1::Rejected::CODE_STORE,
                                 StrCat("the agent waits: ", problem_,
                                        "; what runs on this host stays as it is, and the agent "
                                        "goes on when that is mended")));
    return;
  }
  core_->Handle(payload, [this, from](const std::string& answer) { server_->Reply(from, answer); });
}

}  // namespace fairlead
