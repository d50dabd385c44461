// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/watch.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

// One answer after another, the last one stays; one event or silence after
// another, and then a signal. Only silence and sleeping move the clock.
class Script {
 public:
  Script& Answer(const std::string& text) {
    v1::GetReply reply;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &reply)) << text;
    answers_.push_back(reply);
    return *this;
  }
  Script& Refusal() {
    answers_.push_back(absl::FailedPreconditionError("not with me"));
    return *this;
  }
  Script& NoAnswer() {
    answers_.push_back(absl::UnavailableError("nobody there"));
    return *this;
  }
  // No answer, and a signal meanwhile.
  Script& SignalInsteadOfAnswer() {
    answers_.push_back(absl::CancelledError("stopped"));
    return *this;
  }
  Script& Event(uint64_t sequence, const char* id, const char* state, uint64_t start = 1) {
    v1::Event event;
    const std::string text = std::string("time: 1767323045678000000 ") +
                             (state == std::string("GONE") ? "gone: true" : "") +
                             " status { ref { kind: " + "OBJECT_KIND_PORT id: '" + id +
                             "' } state: OBJECT_STATE_" +
                             (state == std::string("GONE") ? "REMOVING" : state) + " }";
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event)) << text;
    event.set_sequence(sequence);
    event.set_agent_start(start);
    return Bytes(event.SerializeAsString());
  }
  Script& Bytes(const std::string& bytes) {
    events_.push_back(std::pair(std::string("topic"), bytes));
    return *this;
  }
  Script& Silence(int times = 1) {
    for (int i = 0; i < times; ++i) events_.push_back(absl::DeadlineExceededError("silence"));
    return *this;
  }
  Script& Trouble(int times) {
    for (int i = 0; i < times; ++i) events_.push_back(absl::InternalError("no socket"));
    return *this;
  }

  WaitResult Run(WatchRequest request = {}) {
    WatchTools tools;
    tools.get_objects = [this](v1::GetReply* out) -> absl::Status {
      auto& answer = answers_[std::min(asked_++, answers_.size() - 1)];
      stopped_ = stopped_ || absl::IsCancelled(answer.status());
      if (!answer.ok()) return answer.status();
      *out = *answer;
      return absl::OkStatus();
    };
    tools.next_event =
        [this](milliseconds time) -> absl::StatusOr<std::pair<std::string, std::string>> {
      if (events_.empty()) {
        stopped_ = true;
        return absl::DeadlineExceededError("the end");
      }
      auto event = events_.front();
      events_.pop_front();
      if (event.status().code() == absl::StatusCode::kDeadlineExceeded) now_ += time;
      return event;
    };
    tools.now = [this] { return now_; };
    tools.wall = [] { return std::chrono::system_clock::time_point(milliseconds(1500)); };
    tools.sleep = [this](milliseconds time) { now_ += time; };
    tools.stopped = [this] { return stopped_; };
    tools.out = &out_;
    return Watch(request, tools);
  }

  std::string text() const { return out_.str(); }
  std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> lines;
    std::istringstream in(out_.str());
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  std::ostringstream out_;
  size_t asked_ = 0;

 private:
  std::deque<absl::StatusOr<v1::GetReply>> answers_;
  std::deque<absl::StatusOr<std::pair<std::string, std::string>>> events_;
  std::chrono::steady_clock::time_point now_{};
  bool stopped_ = false;
};

std::string Port(const char* id, const char* state, bool permanent = false) {
  return std::string("objects { object { port { id: '") + id +
         "' } } status { ref { kind: " + "OBJECT_KIND_PORT id: '" + id +
         "' } state: OBJECT_STATE_" + state + (permanent ? " permanent: true" : "") + " } } ";
}

constexpr char kReadyLine[] =
    "2026-01-02T03:04:05.678Z  port/a0               ready     -                     -\n";

TEST(Watch, PrintsTheStateAndThenALineAnEvent) {
  Script script;
  script.Answer(Port("a0", "APPLYING")).Answer(Port("a0", "READY"));
  script.Event(7, "a0", "READY").Event(8, "a0", "GONE");
  EXPECT_EQ(script.Run().exit_code, kOk);
  EXPECT_THAT(script.text(), HasSubstr("ID  VM  VPC"));
  EXPECT_THAT(script.text(), HasSubstr("a0  -   -    -       -    -          applying"));
  EXPECT_THAT(script.text(), HasSubstr(kReadyLine));
  EXPECT_THAT(script.text(), HasSubstr("port/a0               gone "));
  EXPECT_THAT(script.text(), Not(HasSubstr("--")));
}

TEST(Watch, ShowsOnlyWhatIsWatched) {
  Script script;
  script.Answer(Port("a0", "READY") + Port("b0", "READY") +
                "objects { object { vm { id: 'a' } } }");
  script.Event(1, "b0", "READY").Event(2, "a0", "DEGRADED");
  script.Run({{{"port", "a0"}}, false, "", std::nullopt});
  EXPECT_THAT(script.text(), Not(HasSubstr("b0")));
  EXPECT_THAT(script.text(), Not(HasSubstr("UUID")));
  EXPECT_THAT(script.text(), HasSubstr("port/a0               degraded"));
  Script kind;
  kind.Answer(Port("a0", "READY") + "objects { object { vm { id: 'a' } } }");
  kind.Run({{{"vm", ""}}, false, "", std::nullopt});
  EXPECT_THAT(kind.text(), Not(HasSubstr("a0")));
  EXPECT_THAT(kind.text(), HasSubstr("UUID"));
}

TEST(Watch, AGapInTheSequenceIsToldAndTheStateAskedForAnew) {
  Script script;
  script.Answer(Port("a0", "APPLYING")).Answer(Port("a0", "APPLYING")).Answer(Port("b0", "READY"));
  script.Event(1, "a0", "APPLYING").Silence().Event(5, "a0", "APPLYING").Silence();
  script.Run();
  EXPECT_EQ(script.asked_, 3U);
  EXPECT_THAT(script.text(), HasSubstr("-- 3 events were lost; asking for the state anew\n"));
  EXPECT_THAT(script.text(), HasSubstr("1970-01-01T00:00:01.500Z  port/a0               gone"));
  EXPECT_THAT(script.text(), HasSubstr("1970-01-01T00:00:01.500Z  port/b0               ready"));
}

TEST(Watch, ARestartOfTheAgentIsToldAndTheStateAskedForAnew) {
  Script script;
  script.Answer(Port("a0", "READY"));
  script.Event(9, "a0", "READY", 1).Silence().Event(1, "a0", "READY", 2).Silence();
  script.Run();
  EXPECT_EQ(script.asked_, 3U);
  EXPECT_THAT(script.text(), HasSubstr("-- the agent was restarted; asking for the state anew\n"));
  EXPECT_THAT(script.text(), Not(HasSubstr("lost")));
}

TEST(Watch, ARestartIsToldBeforeTheStateThatTheNewAgentAnswers) {
  Script script;
  script.Answer("agent_start: 1 " + Port("a0", "READY"))
      .Answer("agent_start: 2 " + Port("a0", "PENDING"));
  script.Silence(10).Event(1, "a0", "APPLYING", 2).Silence();
  script.Run();
  const std::string text = script.text();
  const std::string note = "-- the agent was restarted; asking for the state anew\n";
  EXPECT_THAT(text, HasSubstr(note + "1970-01-01T00:00:01.500Z  port/a0               pending"));
  EXPECT_EQ(text.find(note, text.find(note) + 1), std::string::npos) << "told once: " << text;
}

// sonic-swss 3837: what was sent before somebody listened was lost.
TEST(Watch, WhatHappenedBeforeTheFirstEventIsFound) {
  Script script;
  script.Answer(Port("a0", "APPLYING")).Answer(Port("a0", "APPLYING") + Port("b0", "READY"));
  script.Event(5, "a0", "APPLYING").Silence();
  script.Run();
  EXPECT_THAT(script.text(), HasSubstr("port/b0               ready"));
}

// Or older news would be told after newer.
TEST(Watch, EventsThatAreThereAreReadBeforeTheStateIsAskedFor) {
  Script script;
  script.Answer(Port("a0", "PENDING")).Answer(Port("a0", "READY"));
  script.Event(1, "a0", "APPLYING").Event(2, "a0", "READY").Silence();
  script.Run();
  EXPECT_EQ(script.asked_, 2U);
  EXPECT_THAT(script.text(), Not(HasSubstr("1970")));
}

TEST(Watch, AnEventThatIsLostBeforeALongSilenceIsFound) {
  Script script;
  script.Answer(Port("a0", "APPLYING")).Answer(Port("a0", "READY"));
  script.Silence(10);
  script.Run();
  EXPECT_GE(script.asked_, 2U);
  EXPECT_THAT(script.text(), HasSubstr("port/a0               ready"));
  EXPECT_THAT(script.text(), Not(HasSubstr("--")));
}

TEST(Watch, AnAgentThatGoesAwayIsToldOnceAndAskedAgain) {
  Script script;
  script.Answer(Port("a0", "READY")).NoAnswer().NoAnswer().NoAnswer().Answer(Port("a0", "FAILED"));
  script.Silence(30);
  EXPECT_EQ(script.Run().exit_code, kOk);
  const std::string text = script.text();
  const size_t away = text.find("-- nobody there; asking again until it answers\n");
  ASSERT_NE(away, std::string::npos) << text;
  EXPECT_EQ(text.find("nobody", away + 10), std::string::npos) << text;
  EXPECT_THAT(
      text,
      HasSubstr(
          "-- the agent answers again\n1970-01-01T00:00:01.500Z  port/a0               failed "));
}

TEST(Watch, NoFirstAnswerIsUnreachable) {
  Script script;
  script.NoAnswer();
  const WaitResult result = script.Run();
  EXPECT_EQ(result.exit_code, kUnreachable);
  EXPECT_EQ(result.reason, "nobody there");
}

TEST(Watch, ARefusalIsToldAsSuch) {
  Script script;
  script.Refusal();
  const WaitResult result = script.Run();
  EXPECT_EQ(result.exit_code, kRejected);
  EXPECT_EQ(result.reason, "not with me");
}

TEST(Watch, ASignalWhileAnAnswerIsAwaitedEndsItInOrder) {
  Script first;
  first.SignalInsteadOfAnswer().Silence();
  EXPECT_EQ(first.Run().exit_code, kOk);
  EXPECT_EQ(first.text(), "");
  Script later;
  later.Answer(Port("a0", "READY")).SignalInsteadOfAnswer().Silence(30);
  EXPECT_EQ(later.Run().exit_code, kOk);
  EXPECT_EQ(later.asked_, 2U);
  EXPECT_THAT(later.text(), Not(HasSubstr("--")));
}

TEST(Watch, EventsThatCannotBeHadEndIt) {
  Script script;
  script.Answer("").Trouble(100);
  EXPECT_EQ(script.Run().exit_code, kUnreachable);
}

TEST(Watch, AnEventThatIsNoneIsToldAndTheStateAskedForAnew) {
  Script script;
  script.Answer("").Bytes("\xff").Silence();
  EXPECT_EQ(script.Run().exit_code, kOk);
  EXPECT_THAT(script.text(), HasSubstr("it is no fairlead.v1.Event"));
  EXPECT_EQ(script.asked_, 2U);
}

TEST(Watch, AsJsonItIsAnObjectALine) {
  Script script;
  script.Answer(Port("a0", "APPLYING") + Port("b0", "READY"))
      .Answer(Port("a0", "APPLYING") + Port("b0", "READY"))
      .Answer(Port("b0", "READY"));
  script.Event(1, "a0", "APPLYING").Silence().Event(3, "b0", "READY").Silence();
  script.Run({{}, true, "", std::nullopt});
  const auto lines = script.lines();
  std::vector<std::string> types;
  for (const auto& line : lines) types.push_back(line["type"]);
  EXPECT_THAT(types, ::testing::ElementsAre("state", "state", "synced", "event", "note", "event",
                                            "gone", "synced"));
  EXPECT_EQ(lines[0]["object"]["port"]["id"], "a0");
  EXPECT_EQ(lines[3]["sequence"], "1");
  EXPECT_EQ(lines[3]["status"]["state"], "OBJECT_STATE_APPLYING");
  EXPECT_EQ(lines[4]["note"], "lost");
  EXPECT_EQ(lines[6]["ref"]["id"], "a0");
}

WatchRequest Until(const char* state) {
  return {{{"port", "a0"}}, false, state, milliseconds(2000)};
}

TEST(Watch, UntilReadyEndsWithTheEventThatSaysSo) {
  Script script;
  script.Answer("").Answer(Port("a0", "APPLYING"));
  script.Silence().Event(1, "a0", "APPLYING").Event(2, "a0", "READY").Trouble(100);
  EXPECT_EQ(script.Run(Until("ready")).exit_code, kOk);
  EXPECT_THAT(script.text(), ::testing::EndsWith("ready\n"));
}

TEST(Watch, UntilGoneIsTrueOfWhatWasNeverThere) {
  Script script;
  script.Answer("").Trouble(100);
  EXPECT_EQ(script.Run(Until("gone")).exit_code, kOk);
}

TEST(Watch, UntilReadyEndsWithTroubleForGood) {
  Script failed;
  failed.Answer(Port("a0", "FAILED", true)).Trouble(100);
  WaitResult result = failed.Run(Until("ready"));
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_EQ(result.reason, "port/a0 is failed");
  Script degraded;
  degraded.Answer(Port("a0", "DEGRADED", true)).Trouble(100);
  result = degraded.Run(Until("ready"));
  EXPECT_EQ(result.exit_code, kFailed);
  EXPECT_EQ(result.reason, "port/a0 is degraded");
}

TEST(Watch, UntilTimesOutAndSaysWhatItWaitsFor) {
  Script script;
  script.Answer(Port("a0", "PENDING")).Silence(100);
  WaitResult result = script.Run(Until("ready"));
  EXPECT_EQ(result.exit_code, kTimedOut);
  EXPECT_EQ(result.reason, "not ready after 2000 ms: port/a0 is pending");
  Script nothing;
  nothing.Answer("").Silence(100);
  EXPECT_EQ(nothing.Run(Until("ready")).reason, "not ready after 2000 ms: port/a0 is not there");
}

// A signal, or nobody that reads.
TEST(Watch, UntilThatIsStoppedBeforeItIsReachedIsNoSuccess) {
  Script script;
  script.Answer(Port("a0", "PENDING"));
  WaitResult result = script.Run(Until("gone"));
  EXPECT_EQ(result.exit_code, kTimedOut);
  EXPECT_EQ(result.reason, "not gone when it was stopped: port/a0 is pending");
  Script unanswered;
  unanswered.SignalInsteadOfAnswer();
  result = unanswered.Run(Until("ready"));
  EXPECT_EQ(result.exit_code, kTimedOut);
  EXPECT_EQ(result.reason, "not ready when it was stopped: the agent does not answer");
  Script unread;
  unread.Answer(Port("a0", "PENDING")).Silence(1000);
  unread.out_.setstate(std::ios::badbit);
  EXPECT_EQ(unread.Run(Until("ready")).exit_code, kTimedOut);
}

TEST(Watch, EndsWhenItsOutputFails) {
  Script script;
  script.Answer("").Silence(1000).Trouble(100);
  script.out_.setstate(std::ios::badbit);
  EXPECT_EQ(script.Run().exit_code, kOk);
  EXPECT_EQ(script.asked_, 1U);
}

}  // namespace
}  // namespace fairlead
