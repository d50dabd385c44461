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

std::string Story(const v1::ObjectStatus& status) {
  std::string text = StrCat(RefText(status.ref()), " is ", StateText(status.state()));
  if (!status.reason().empty()) StrAppend(&text, ": ", status.reason());
  if (!status.peer_words().empty() &&
      status.reason().find(status.peer_words()) == std::string::npos) {
    StrAppend(&text, " (", status.peer_words(), ")");
  }
  return text;
}

// `left` holds what is still waited for; `check` takes a port's status (null:
// not there) and says whether it is done, or sets the result.
using Check = std::function<bool(const std::string& id, uint64_t generation,
                                 const v1::ObjectStatus* status, WaitResult* result)>;

WaitResult Wait(const PortGenerations& ports, std::chrono::milliseconds timeout,
                const WaitTools& tools, const Check& check) {
  const auto deadline = tools.now() + timeout;
  std::chrono::milliseconds pause = kFirstPause;
  std::string last;
  while (true) {
    v1::GetReply reply;
    absl::Status status = tools.get_ports(&reply);
    std::string story;
    if (!status.ok()) {
      story = StrCat("no answer from the agent: ", status.message());
    } else {
      std::map<std::string, const v1::ObjectStatus*> there;
      for (const auto& item : reply.objects()) {
        if (item.object().has_port()) there[item.object().port().id()] = &item.status();
      }
      std::vector<std::string> waiting;
      for (const auto& [id, generation] : ports) {
        auto it = there.find(id);
        const v1::ObjectStatus* port = it == there.end() ? nullptr : it->second;
        WaitResult result;
        if (check(id, generation, port, &result)) continue;
        if (result.exit_code != kOk) return result;
        waiting.push_back(port == nullptr ? StrCat("port/", id, " is not there yet")
                                          : Story(*port));
      }
      if (waiting.empty()) return {};
      story = StrJoin(waiting, "; ");
    }
    if (story != last) tools.progress(story);
    last = story;
    const auto now = tools.now();
    if (now >= deadline) return {kTimedOut, last};
    tools.sleep(std::min(pause, std::chrono::ceil<std::chrono::milliseconds>(deadline - now)));
    pause = std::min(pause * 2, kLongestPause);
  }
}

}  // namespace

WaitResult WaitReady(const PortGenerations& ports, std::chrono::milliseconds timeout,
                     const WaitTools& tools) {
  return Wait(ports, timeout, tools,
              [](const std::string& id, uint64_t generation, const v1::ObjectStatus* status,
                 WaitResult* result) {
                if (status == nullptr) {
                  *result = {kFailed, StrCat("port/", id, " was removed by somebody")};
                  return false;
                }
                // What is said of an older generation is not about this change.
                if (status->generation() < generation) return false;
                if (status->state() == v1::OBJECT_STATE_FAILED && status->permanent()) {
                  *result = {kFailed, Story(*status)};
                }
                if (status->state() == v1::OBJECT_STATE_REMOVING) {
                  *result = {kFailed, StrCat(Story(*status), "; somebody removed it")};
                }
                return status->state() == v1::OBJECT_STATE_READY;
              });
}

WaitResult WaitGone(const PortGenerations& ports, std::chrono::milliseconds timeout,
                    const WaitTools& tools) {
  return Wait(ports, timeout, tools,
              [](const std::string&, uint64_t, const v1::ObjectStatus* status, WaitResult* result) {
                if (status != nullptr && status->state() == v1::OBJECT_STATE_FAILED &&
                    status->permanent()) {
                  *result = {kFailed, Story(*status)};
                }
                return status == nullptr;
              });
}

}  // namespace fairlead
