// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/status/statusor.h"
#include "agent/ctl/options.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Shows one picture after another; the last one stays. Sleeping moves the clock.
class Script {
 public:
  Script& Show(v1::ObjectState state, uint64_t generation, bool permanent = false) {
    v1::GetReply reply;
    auto* item = reply.add_objects();
    item->mutable_object()->mutable_port()->set_id("p");
    v1::ObjectStatus* status = item->mutable_status();
    status->mutable_ref()->set_kind(v1::OBJECT_KIND_PORT);
    status->mutable_ref()->set_id("p");
    status->set_state(state);
    status->set_generation(generation);
    status->set_permanent(permanent);
    status->set_reason("because");
    status->set_peer_words("EPERM said the kernel");
    steps_.push_back(reply);
    return *this;
  }
  // Of what was shown last.
  Script& LastError(uint64_t generation) {
    steps_.back()->mutable_objects(0)->mutable_last_error()->set_generation(generation);
    return *this;
  }
  Script& Nothing() {
    steps_.push_back(v1::GetReply());
    return *this;
  }
  Script& NoAnswer() {
    steps_.push_back(absl::UnavailableError("nobody there"));
    return *this;
  }
  WaitTools Tools() {
    WaitTools tools;
    tools.get_objects = [this](v1::GetReply* out) -> absl::Status {
      auto& step = steps_[std::min(at_++, steps_.size() - 1)];
      if (!step.ok()) return step.status();
      *out = *step;
      return absl::OkStatus();
    };
    tools.now = [this] { return now_; };
    tools.sleep = [this](milliseconds time) { now_ += time; };
    tools.progress = [this](const std::string& story) { progress_.push_back(story); };
    return tools;
  }
  std::vector<std::string> progress_;
  size_t at_ = 0;

 private:
  std::vector<absl::StatusOr<v1::GetReply>> steps_;
  std::chrono::steady_clock::time_point now_{};
};

TEST(WaitReady, WaitsThroughARestartOfTheAgentAndOlderGenerations) {
  Script script;
  script.Show(v1::OBJECT_STATE_READY, 1)
      .NoAnswer()
      .Show(v1::OBJECT_STATE_APPLYING, 2)
      .Show(v1::OBJECT_STATE_READY, 2);
  EXPECT_EQ(WaitReady({{"port/p", 2}}, milliseconds(10000), script.Tools()).exit_code, kOk);
  EXPECT_EQ(script.at_, 4U);
  EXPECT_THAT(script.progress_, ::testing::Contains(HasSubstr("nobody there")));
}

TEST(WaitReady, AFailureForGoodEndsItWithTheKernelsWords) {
  Script script;
  script.Show(v1::OBJECT_STATE_APPLYING, 1).Show(v1::OBJECT_STATE_FAILED, 1, true);
  WaitResult result = WaitReady({{"port/p", 1}}, milliseconds(10000), script.Tools());
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_EQ(result.reason, "port/p is failed: because (EPERM said the kernel)");
}

TEST(WaitReady, APortThatServedAndIsDegradedForGoodEndsItToo) {
  Script script;
  script.Show(v1::OBJECT_STATE_READY, 1)
      .Show(v1::OBJECT_STATE_DEGRADED, 2, true)
      .LastError(2)
      .Show(v1::OBJECT_STATE_READY, 2);
  const WaitResult result = WaitReady({{"port/p", 2}}, milliseconds(10000), script.Tools());
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_EQ(result.reason, "port/p is degraded: because (EPERM said the kernel)");
}

// The status has the new generation from the moment it is accepted, and the old error
// until the new one was tried.
TEST(WaitReady, TroubleOfAnOlderGenerationIsNoAnswer) {
  for (const v1::ObjectState state : {v1::OBJECT_STATE_DEGRADED, v1::OBJECT_STATE_FAILED}) {
    Script script;
    script.Show(state, 2, true).LastError(1).Show(v1::OBJECT_STATE_READY, 2).LastError(1);
    EXPECT_EQ(WaitReady({{"port/p", 2}}, milliseconds(10000), script.Tools()).exit_code, kOk);
  }
}

TEST(WaitReady, TroubleThatIsTriedAgainDoesNot) {
  Script script;
  script.Show(v1::OBJECT_STATE_FAILED, 1, false)
      .Show(v1::OBJECT_STATE_DEGRADED, 1, false)
      .Show(v1::OBJECT_STATE_READY, 1);
  EXPECT_EQ(WaitReady({{"port/p", 1}}, milliseconds(10000), script.Tools()).exit_code, kOk);
}

TEST(WaitReady, TimesOutWithTheLastReason) {
  Script script;
  script.Show(v1::OBJECT_STATE_PENDING, 1);
  WaitResult result = WaitReady({{"port/p", 1}}, milliseconds(2000), script.Tools());
  EXPECT_EQ(result.exit_code, kTimedOut);
  EXPECT_THAT(result.reason, HasSubstr("pending: because"));
  EXPECT_EQ(script.progress_.size(), 1U);  // the same story is told once
}

TEST(WaitReady, APortThatIsTakenAwayMeanwhileFails) {
  Script gone;
  gone.Show(v1::OBJECT_STATE_APPLYING, 1).Nothing();
  EXPECT_EQ(WaitReady({{"port/p", 1}}, milliseconds(10000), gone.Tools()).exit_code, kFailed);
  Script removing;
  removing.Show(v1::OBJECT_STATE_REMOVING, 1);
  EXPECT_EQ(WaitReady({{"port/p", 1}}, milliseconds(10000), removing.Tools()).exit_code, kFailed);
}

TEST(WaitReady, NothingToWaitForIsDoneAtOnce) {
  Script script;
  EXPECT_EQ(WaitReady({}, milliseconds(1000), script.Tools()).exit_code, kOk);
  EXPECT_EQ(script.at_, 0U);
}

TEST(WaitGone, EndsWhenThePortIsNoLongerShown) {
  Script script;
  script.Show(v1::OBJECT_STATE_REMOVING, 1).NoAnswer().Nothing();
  EXPECT_EQ(WaitGone({{"port/p", 0}}, milliseconds(10000), script.Tools()).exit_code, kOk);
  EXPECT_EQ(script.at_, 3U);
}

TEST(WaitGone, TimesOutWhileItIsStillBeingTakenApart) {
  Script script;
  script.Show(v1::OBJECT_STATE_REMOVING, 1);
  EXPECT_EQ(WaitGone({{"port/p", 0}}, milliseconds(1000), script.Tools()).exit_code, kTimedOut);
}

}  // namespace
}  // namespace fairlead
