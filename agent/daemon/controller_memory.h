// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the agent remembers of controllers: the newest epoch and revision of each under
// which something was accepted, and its answers to their newest changes. The store holds the same.
//
// Threading: one thread, the loop's.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/intent/admit.h"
#include "agent/store/store.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

class ControllerMemory {
 public:
  // `most` are remembered, and fairleadctl beside; a further one is refused.
  explicit ControllerMemory(size_t most) : most_(most) {}

  void Restore(std::vector<ControllerRecord> controllers, std::vector<AnswerRecord> answers);

  // Epoch, revision, and whether there is room; empty when in order.
  std::vector<Violation> CheckOrder(const v1::Request& request) const;
  // Whether what is asked to be forgotten may be; empty when so.
  std::vector<Violation> CheckForget(const v1::Request& request) const;
  // What was kept for an accepted request; null: nothing.
  const std::string* FindAnswer(const std::string& controller, const std::string& request) const;

  void Learn(const ControllerRecord& controller);
  // With the newest of its answers; kAnswersPerController are kept.
  void Remember(const ControllerRecord& controller, const std::string& request,
                const std::string& answer);
  // With all its answers.
  void Forget(const std::string& controller);

  // Of one that is remembered.
  v1::Controller Show(const std::string& controller) const;
  v1::Controllers ShowAll() const;

 private:
  const size_t most_;
  std::map<std::string, ControllerRecord> controllers_;
  // (request id, answer), newest last.
  std::map<std::string, std::deque<std::pair<std::string, std::string>>> answers_;
};

}  // namespace fairlead
