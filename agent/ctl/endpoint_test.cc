// SPDX-License-Identifier: Apache-2.0
//
// Command lines over real ZeroMQ sockets, against an agent of a few lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <thread>

#include "agent/ctl/commands.h"
#include "agent/ctl/fake_agent.h"
#include "agent/ctl/options.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

// A world whose output calls `seen` with all of it after each flush.
class Line {
 public:
  std::function<void(const std::string& all)> seen = [](const std::string&) {};
  std::function<bool()> stopped = [] { return false; };
  std::string out, err;

  int Run(std::vector<std::string> args) {
    class Buffer final : public std::stringbuf {
     public:
      explicit Buffer(Line* line) : line_(*line) {}
      int sync() override {
        line_.seen(str());
        return 0;
      }

     private:
      Line& line_;
    } buffer(this);
    std::ostream o(&buffer);
    std::ostringstream e;
    std::istringstream in;
    CtlWorld world;
    world.in = &in;
    world.out = &o;
    world.err = &e;
    world.connect = [](const std::string& endpoint) { return Client::Connect(endpoint); };
    world.subscribe = [](const std::string& endpoint) { return Subscriber::Connect(endpoint, ""); };
    world.now = &std::chrono::steady_clock::now;
    world.wall = &std::chrono::system_clock::now;
    world.sleep = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
    world.catch_signals = [] {};
    world.stopped = stopped;
    const int code = RunCtl(std::move(args), world);
    out = buffer.str();
    err = e.str();
    return code;
  }
};

TEST(Endpoint, AnswersComeThroughARealSocket) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("a0", v1::OBJECT_STATE_READY);
  Line line;
  EXPECT_EQ(line.Run({"--endpoint", folder.endpoint(), "get", "ports"}), kOk) << line.err;
  EXPECT_THAT(line.out, HasSubstr("a0"));
  EXPECT_EQ(line.Run({"--endpoint", folder.endpoint(), "delete", "port/a0"}), kRejected);
  EXPECT_EQ(line.err, "not today\n");
}

TEST(Endpoint, NobodyThereIsExitCode3) {
  SocketFolder folder;
  Line line;
  for (const char* command : {"status", "watch"}) {
    EXPECT_EQ(line.Run({"--endpoint", folder.endpoint(), "--timeout", "100ms", command}),
              kUnreachable);
    EXPECT_FALSE(line.err.empty());
  }
}

TEST(Endpoint, WatchShowsTheStateAndThenEvents) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("a0", v1::OBJECT_STATE_APPLYING);
  agent.Publish("a0", v1::OBJECT_STATE_DEGRADED, 1);
  agent.Publish("a0", v1::OBJECT_STATE_READY, 2);
  Line line;
  EXPECT_EQ(line.Run({"--endpoint", folder.endpoint(), "watch", "port/a0", "--until", "ready",
                      "--within", "60s"}),
            kOk)
      << line.err;
  EXPECT_THAT(line.out, HasSubstr("ID  VM"));
  EXPECT_THAT(line.out, ::testing::EndsWith("ready\n"));
}

TEST(Endpoint, WatchGoesOnWhenTheAgentIsRestarted) {
  SocketFolder folder;
  auto agent = std::make_unique<FakeAgent>(folder, 1);
  agent->SetPort("a0", v1::OBJECT_STATE_READY);
  agent->Publish("a0", v1::OBJECT_STATE_READY, 1);
  Line line;
  int step = 0;
  bool stop = false;
  line.stopped = [&] { return stop; };
  line.seen = [&](const std::string& all) {
    if (step == 0 && all.find("\"type\":\"event\"") != std::string::npos) {
      step = 1;
      agent = nullptr;
      agent = std::make_unique<FakeAgent>(folder, 2);
      agent->Publish("b0", v1::OBJECT_STATE_READY, 1);
    }
    const size_t restart = all.find("\"note\":\"restart\"");
    stop = restart != std::string::npos &&
           all.find("\"type\":\"synced\"", restart) != std::string::npos;
  };
  EXPECT_EQ(line.Run({"--endpoint", folder.endpoint(), "watch", "-o", "json"}), kOk) << line.err;
  EXPECT_THAT(line.out, HasSubstr("{\"type\":\"gone\",\"ref\":{\"kind\":\"OBJECT_KIND_PORT\","
                                  "\"id\":\"a0\"}}\n"));
}

}  // namespace
}  // namespace fairlead
