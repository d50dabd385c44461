// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/wait.h"

#include <algorithm>
#include <vector>

#include "agent/base/text.h"
#include "agent/ctl/options.h"
#include "agent/ctl/render.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{500};

// Takes an object (null: not there) and says whether it is done, or sets the result.
using Check = std::function<bool(const std::string& ref, uint64_t generation,
                                 const v1::ObjectWithStatus* object, WaitResult* result)>;

WaitResult Wait(const Generations& wanted, std::chrono::milliseconds timeout,
                const WaitTools& tools, const Check& check) {
  if (wanted.empty()) return {};
  const auto deadline = tools.now() + timeout;
  std::chrono::milliseconds pause = kFirstPause;
  std::string last;
  while (true) {
    v1::GetReply reply;
    const absl::Status status = tools.get_objects(&reply);
    std::string story;
    if (!status.ok()) {
      story = StrCat("no answer from the agent: ", status.message());
    } else {
      std::map<std::string, const v1::ObjectWithStatus*> there;
      for (const auto& item : reply.objects()) there[RefTextOf(item)] = &item;
      std::vector<std::string> waiting;
      for (const auto& [ref, generation] : wanted) {
        auto it = there.find(ref);
        const v1::ObjectWithStatus* object = it == there.end() ? nullptr : it->second;
        WaitResult result;
        if (check(ref, generation, object, &result)) continue;
        if (result.exit_code != kOk) return result;
        waiting.push_back(object == nullptr ? ref + " is not there yet"
                                            : StoryOf(ref, object->status()));
      }
      if (waiting.empty()) return {};
      story = FirstOf(waiting);
    }
    if (story != last) tools.progress(story);
    last = story;
    const auto now = tools.now();
    if (now >= deadline) return {kTimedOut, last};
    tools.sleep(std::min(pause, std::chrono::ceil<std::chrono::milliseconds>(deadline - now)));
    pause = std::min(pause * 2, kLongestPause);
  }
}

// Without a last error there is nothing older to take it for.
bool IsOfOlder(uint64_t generation, const v1::ObjectWithStatus& object) {
  return object.has_last_error() && object.last_error().generation() < generation;
}

bool CheckReady(const std::string& ref, uint64_t generation, const v1::ObjectWithStatus* object,
                WaitResult* result) {
  if (object == nullptr) {
    *result = {kFailed, ref + " was removed by somebody"};
    return false;
  }
  const v1::ObjectStatus& status = object->status();
  // What is said of an older generation is not about this change.
  if (status.generation() < generation) return false;
  if (IsTroubledForGood(status) && !IsOfOlder(generation, *object)) {
    *result = {kFailed, StoryOf(ref, status)};
  }
  if (status.state() == v1::OBJECT_STATE_REMOVING) {
    *result = {kFailed, StrCat(StoryOf(ref, status), "; somebody removed it")};
  }
  return status.state() == v1::OBJECT_STATE_READY;
}

bool CheckGone(const std::string& ref, uint64_t, const v1::ObjectWithStatus* object,
               WaitResult* result) {
  if (object != nullptr && IsTroubledForGood(object->status())) {
    *result = {kFailed, StoryOf(ref, object->status())};
  }
  return object == nullptr;
}

}  // namespace

bool IsTroubledForGood(const v1::ObjectStatus& status) {
  return status.permanent() &&
         (status.state() == v1::OBJECT_STATE_FAILED || status.state() == v1::OBJECT_STATE_DEGRADED);
}

WaitResult WaitReady(const Generations& wanted, std::chrono::milliseconds timeout,
                     const WaitTools& tools) {
  return Wait(wanted, timeout, tools, &CheckReady);
}

WaitResult WaitGone(const Generations& wanted, std::chrono::milliseconds timeout,
                    const WaitTools& tools) {
  return Wait(wanted, timeout, tools, &CheckGone);
}

}  // namespace fairlead
