// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the conversation with controllers: a request in, a reply out. A change
// is admitted against the accepted world, made durable, then acknowledged and
// handed to the engine; one after the other, so that each is judged against what
// really was accepted before it.
//
// Threading: all on the loop thread. Ownership: borrows engine and executor.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/daemon/controller_memory.h"
#include "agent/intent/admit.h"
#include "agent/reconcile/engine.h"
#include "agent/runtime/lane.h"
#include "agent/store/store.h"

namespace fairlead {

struct ServiceOptions {
  size_t queue = 1024;       // changes that wait for their turn; more are refused as busy
  size_t plans = 8;          // dry runs under way; each holds a copy of what is known
  size_t explanations = 4;   // of flows, under way; each reads a table of the kernel
  size_t countings = 32;     // of rules, under way; each reads at most a page of them
  size_t controllers = 256;  // that are remembered; a further one is refused, but an operator
  AdmissionLimits limits;
  uint64_t agent_start = 0;  // unix time in nanoseconds
};

class Service {
 public:
  // Called once with the serialised v1.Reply.
  using Answer = std::function<void(std::string)>;
  // What is asked of the daemon for GetHost. Why the last commit failed; "" = it did not.
  using Lanes = std::function<std::vector<LaneStats>()>;
  using StoreProblem = std::function<std::string()>;

  Service(Engine* engine, Executor* executor, ServiceOptions options, uint32_t store_id,
          Lanes lanes, StoreProblem store_problem);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // What the store remembers of controllers and their answered requests.
  void Restore(std::vector<ControllerRecord> controllers, std::vector<AnswerRecord> answers);

  void Handle(std::string_view frame, Answer answer);
  // Nothing is committed while the store hangs. Changes that wait are refused then, and so is
  // what comes; the one that was handed to it is answered when it answers.
  void OnStoreHangs(bool hangs);

 private:
  struct Pending;
  static void RefuseForStore(const Pending& pending);
  void Next();
  void Process(Pending& pending);
  void Commit(Pending& pending, Change change);
  void CommitAnswered(StoreBatch batch, std::string answer, std::function<void()> durable);
  void DryRunFor(Pending& pending, const Change& change);
  void TakeOverFor(Pending& pending);
  void ForgetFor(Pending& pending);
  void Finish();
  void ReleaseVf(const v1::Request& request, Answer answer);
  void ExplainFlow(const v1::Request& request, Answer answer);
  void ListRules(const v1::Request& request, Answer answer);
  void GetCounted(const v1::Request& request, Answer answer);
  // Why not to count now; none: one more is under way.
  std::optional<Violation> BeginCounting();
  void GetHost(const v1::Request& request, Answer answer);
  // `traffic`: of the port that is asked for; null where it was not.
  std::string GetAnswer(const v1::Request& request,
                        const absl::StatusOr<std::optional<PortTraffic>>* traffic) const;
  // `drops`: null where they were not asked for.
  std::string HostAnswer(const v1::Request& request,
                         const absl::StatusOr<Engine::TunnelDrops>* drops) const;

  Engine* engine_;
  Executor* executor_;
  ServiceOptions options_;
  uint32_t store_id_;
  Lanes lanes_;
  StoreProblem store_problem_;
  ControllerMemory controllers_;                // an answer there follows the hash of its request
  std::deque<std::unique_ptr<Pending>> queue_;  // the first one is under way
  bool busy_ = false;
  bool store_hangs_ = false;
  size_t plans_ = 0;         // dry runs under way
  size_t explanations_ = 0;  // of flows, under way
  size_t countings_ = 0;     // of rules, under way
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead
