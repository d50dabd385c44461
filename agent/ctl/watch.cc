// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/watch.h"

#include <algorithm>
#include <map>
#include <ostream>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/render.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kSlice{200};  // how long a signal may go unseen
constexpr milliseconds kSecondAsk{1000};
constexpr milliseconds kAskEvery{10'000};
constexpr milliseconds kAskAgain{500};      // while there is no answer
constexpr milliseconds kMostOverdue{1000};  // while events keep coming
constexpr int kCostShare = 50;              // asking takes at most a 50th of the time
constexpr int kMostErrors = 10;             // in a row

class Watcher {
 public:
  Watcher(const WatchRequest& request, const WatchTools& tools) : r_(request), t_(tools) {}

  WaitResult Run() {
    const auto begin = t_.now();
    if (absl::Status status = Ask(); !status.ok()) {
      if (t_.stopped()) return Stopped();
      return {absl::IsFailedPrecondition(status) ? kRejected : kUnreachable,
              std::string(status.message())};
    }
    PlanAsk(kSecondAsk);
    while (!t_.stopped() && Flush()) {
      if (!r_.until.empty()) {
        WaitResult result;
        if (!away_ && Reached(&result)) {
          if (result.exit_code == kOk && !r_.json) *t_.out << r_.until << "\n";
          return result;
        }
        if (t_.now() - begin >= *r_.within) {
          return NotReached(StrCat("after ", r_.within->count(), " ms"));
        }
      }
      auto event = t_.next_event(Patience(begin));
      if (event.ok()) {
        errors_ = 0;
        Take(event->second);
      } else if (event.status().code() == absl::StatusCode::kDeadlineExceeded) {
        // What was published before the answer was read before it.
        if (t_.now() >= next_ask_) AskAgain();
      } else {
        if (++errors_ > kMostErrors) {
          return {kUnreachable, std::string(event.status().message())};
        }
        Unreadable(StdView(event.status().message()));
        t_.sleep(milliseconds(10));
      }
      if (t_.now() >= next_ask_ + kMostOverdue) AskAgain();
    }
    return Stopped();
  }

 private:
  // How long the next event may take.
  milliseconds Patience(steady_clock::time_point begin) const {
    auto until = std::min(t_.now() + kSlice, next_ask_);
    if (r_.within) until = std::min(until, begin + *r_.within);
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until - t_.now()));
  }

  bool Flush() { return static_cast<bool>(t_.out->flush()); }

  bool Watched(const std::string& ref) const {
    if (r_.items.empty()) return true;
    return std::any_of(r_.items.begin(), r_.items.end(), [&](const WatchedItem& item) {
      return item.id.empty() ? ref.starts_with(item.kind + "/")
                             : ref == StrCat(item.kind, "/", item.id);
    });
  }

  void Note(std::string_view what, std::string_view text) {
    *t_.out << (r_.json ? NoteLine(what, text) : StrCat("-- ", Printable(text), "\n"));
  }

  void Unreadable(std::string_view why) {
    Note("unreadable", StrCat("an event could not be read: ", why, "; asking for the state anew"));
    Resync();
  }

  // Prints all that it finds different from the picture.
  absl::Status Ask() {
    const auto begin = t_.now();
    v1::GetReply reply;
    absl::Status status = t_.get_objects(&reply);
    if (!status.ok()) return status;
    cost_ = std::chrono::ceil<milliseconds>(t_.now() - begin);
    if (std::exchange(away_, false)) Note("back", "the agent answers again");
    if (reply.agent_start() != 0 && IsRestarted(reply.agent_start())) tell_synced_ = true;
    v1::GetReply watched;
    std::map<std::string, v1::ObjectStatus> picture;
    for (auto& item : *reply.mutable_objects()) {
      const std::string ref = RefTextOf(item);
      if (!Watched(ref)) continue;
      picture[ref] = item.status();
      watched.add_objects()->Swap(&item);
    }
    if (first_ && !r_.json) {
      PrintTables(watched);
    } else {
      PrintDifferences(watched, picture);
    }
    picture_ = std::move(picture);
    first_ = false;
    return absl::OkStatus();
  }

  // Takes who speaks, and tells when it is another agent than before.
  bool IsRestarted(uint64_t start) {
    const bool other = start_ && *start_ != start;
    start_ = start;
    if (!other) return false;
    sequence_.reset();
    Note("restart", "the agent was restarted; asking for the state anew");
    return true;
  }

  void PrintTables(const v1::GetReply& watched) {
    for (const int kind : {v1::OBJECT_KIND_VPC, v1::OBJECT_KIND_SUBNET, v1::OBJECT_KIND_VM,
                           v1::OBJECT_KIND_PORT, v1::OBJECT_KIND_ENDPOINT, v1::OBJECT_KIND_ROUTE}) {
      const bool some = std::any_of(
          watched.objects().begin(), watched.objects().end(),
          [&](const auto& item) { return static_cast<int>(item.object().object_case()) == kind; });
      if (some) *t_.out << RenderObjects(watched, kind) << "\n";
    }
    if (watched.objects().empty()) *t_.out << "-- nothing of it is there\n";
  }

  void PrintDifferences(const v1::GetReply& watched,
                        const std::map<std::string, v1::ObjectStatus>& picture) {
    const auto now =
        static_cast<uint64_t>(std::chrono::nanoseconds(t_.wall().time_since_epoch()).count());
    for (const auto& [ref, status] : picture_) {
      if (picture.contains(ref)) continue;
      *t_.out << (r_.json ? GoneLine(status) : RenderChange(now, ref, status, true) + "\n");
    }
    for (const auto& item : watched.objects()) {
      const std::string ref = RefTextOf(item);
      const auto known = picture_.find(ref);
      if (known != picture_.end() &&
          known->second.SerializeAsString() == item.status().SerializeAsString()) {
        continue;
      }
      *t_.out << (r_.json ? StateLine(item) : RenderChange(now, ref, item.status(), false) + "\n");
    }
    if (r_.json && (first_ || tell_synced_)) *t_.out << SyncedLine();
    tell_synced_ = false;
  }

  void PlanAsk(milliseconds least) { next_ask_ = t_.now() + std::max(least, cost_ * kCostShare); }

  // Soon. A host that loses events all the time is not asked all the time.
  void Resync() {
    tell_synced_ = true;
    next_ask_ = t_.now() + cost_;
  }

  void AskAgain() {
    absl::Status status = Ask();
    if (status.ok()) {
      PlanAsk(kAskEvery);
      return;
    }
    if (t_.stopped()) return;
    if (!away_) {
      Note("away", StrCat(StdView(status.message()), "; asking again until it answers"));
    }
    away_ = true;
    tell_synced_ = true;
    next_ask_ = t_.now() + kAskAgain;
  }

  void Take(const std::string& payload) {
    v1::Event event;
    if (!event.ParseFromString(payload) || event.status().ref().id().empty()) {
      Unreadable("it is no fairlead.v1.Event");
      return;
    }
    if (IsRestarted(event.agent_start())) {
      Resync();
    } else if (!sequence_) {
      next_ask_ = t_.now();  // what went by before the first one leaves no gap
    } else if (event.sequence() != *sequence_ + 1) {
      Note("lost", event.sequence() > *sequence_ + 1
                       ? StrCat(event.sequence() - *sequence_ - 1,
                                " events were lost; asking for the state anew")
                       : std::string("the events are out of order; asking for the state anew"));
      Resync();
    }
    sequence_ = event.sequence();
    const std::string ref = RefText(event.status().ref());
    if (!Watched(ref)) return;
    *t_.out << (r_.json ? EventLine(event)
                        : RenderChange(event.time(), ref, event.status(), event.gone()) + "\n");
    if (event.gone()) {
      picture_.erase(ref);
    } else {
      picture_[ref] = event.status();
    }
  }

  // Whether it is as `until` wants it, or never will be.
  bool Reached(WaitResult* result) const {
    if (r_.until == "gone") return picture_.empty();
    bool all = true;
    for (const auto& [ref, status] : picture_) {
      if (IsTroubledForGood(status)) {
        *result = {kFailed, StoryOf(ref, status)};
        return true;
      }
      all = all && status.state() == v1::OBJECT_STATE_READY;
    }
    for (const WatchedItem& item : r_.items) {
      if (!item.id.empty()) all = all && picture_.contains(StrCat(item.kind, "/", item.id));
    }
    return all;
  }

  // What nobody waits for may be ended at any time.
  WaitResult Stopped() const {
    return r_.until.empty() ? WaitResult() : NotReached("when it was stopped");
  }

  WaitResult NotReached(std::string_view when) const {
    std::vector<std::string> waiting;
    for (const auto& [ref, status] : picture_) {
      if (r_.until == "gone" || status.state() != v1::OBJECT_STATE_READY) {
        waiting.push_back(StoryOf(ref, status));
      }
    }
    for (const WatchedItem& item : r_.items) {
      const std::string ref = StrCat(item.kind, "/", item.id);
      if (!first_ && !item.id.empty() && !picture_.contains(ref) && r_.until == "ready") {
        waiting.push_back(ref + " is not there");
      }
    }
    if (away_ || first_) waiting.insert(waiting.begin(), "the agent does not answer");
    return {kTimedOut, StrCat("not ", r_.until, " ", when, ": ", FirstOf(waiting))};
  }

  const WatchRequest& r_;
  const WatchTools& t_;
  std::map<std::string, v1::ObjectStatus> picture_;  // what was printed last, by "port/a0"
  bool first_ = true;
  bool away_ = false;
  bool tell_synced_ = false;
  std::optional<uint64_t> start_;     // of the agent
  std::optional<uint64_t> sequence_;  // of its last event
  int errors_ = 0;
  milliseconds cost_{0};
  steady_clock::time_point next_ask_;
};

}  // namespace

WaitResult Watch(const WatchRequest& request, const WatchTools& tools) {
  return Watcher(request, tools).Run();
}

}  // namespace fairlead
