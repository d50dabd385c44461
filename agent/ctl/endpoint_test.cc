// SPDX-License-Identifier: Apache-2.0
//
// fairleadctl over a real ZeroMQ socket, against an agent of a few lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include <sstream>
#include <thread>

#include "agent/ctl/commands.h"
#include "agent/ctl/options.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

// A folder for a socket, gone with its owner.
class SocketFolder {
 public:
  SocketFolder() { EXPECT_NE(::mkdtemp(path_), nullptr); }
  ~SocketFolder() {
    ::unlink((std::string(path_) + "/s").c_str());
    ::rmdir(path_);
  }
  std::string endpoint() const { return std::string("ipc://") + path_ + "/s"; }

 private:
  char path_[32] = "/tmp/fairleadctl-XXXXXX";
};

// Answers `count` requests: a Get with one port, all else with a rejection.
class TinyAgent {
 public:
  TinyAgent(const std::string& endpoint, int count) : context_(zmq_ctx_new()) {
    socket_ = zmq_socket(context_, ZMQ_ROUTER);
    EXPECT_EQ(zmq_bind(socket_, endpoint.c_str()), 0) << zmq_strerror(zmq_errno());
    thread_ = std::thread([this, count] {
      for (int i = 0; i < count; ++i) Serve();
    });
  }
  ~TinyAgent() {
    thread_.join();
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }

 private:
  void Serve() {
    std::vector<std::string> frames;
    int more = 1;
    while (more != 0) {
      zmq_msg_t message;
      zmq_msg_init(&message);
      if (zmq_msg_recv(&message, socket_, 0) < 0) {
        zmq_msg_close(&message);
        return;
      }
      frames.emplace_back(static_cast<char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
      more = zmq_msg_more(&message);
      zmq_msg_close(&message);
    }
    v1::Request request;
    EXPECT_TRUE(request.ParseFromString(frames.back()));
    v1::Reply reply;
    reply.set_request_id(request.request_id());
    if (request.has_get()) {
      reply.mutable_get()->add_objects()->mutable_object()->mutable_port()->set_id("a0");
    } else {
      reply.mutable_rejected()->add_violations()->set_reason("not today");
    }
    frames.back() = reply.SerializeAsString();
    for (size_t i = 0; i < frames.size(); ++i) {
      zmq_send(socket_, frames[i].data(), frames[i].size(),
               i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
    }
  }

  void* context_;
  void* socket_;
  std::thread thread_;
};

int RunLine(std::vector<std::string> args, std::string* out, std::string* err) {
  std::istringstream in;
  std::ostringstream o, e;
  CtlWorld world;
  world.in = &in;
  world.out = &o;
  world.err = &e;
  world.connect = &Client::Connect;
  world.now = &std::chrono::steady_clock::now;
  world.sleep = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
  const int code = RunCtl(std::move(args), world);
  *out = o.str();
  *err = e.str();
  return code;
}

TEST(Endpoint, AnswersComeThroughARealSocket) {
  SocketFolder folder;
  TinyAgent agent(folder.endpoint(), 2);
  std::string out, err;
  EXPECT_EQ(RunLine({"--endpoint", folder.endpoint(), "get", "ports"}, &out, &err), kOk) << err;
  EXPECT_THAT(out, HasSubstr("a0"));
  EXPECT_EQ(RunLine({"--endpoint", folder.endpoint(), "delete", "port/a0"}, &out, &err), kRejected);
  EXPECT_EQ(err, "not today\n");
}

TEST(Endpoint, NobodyThereIsExitCode3) {
  SocketFolder folder;
  std::string out, err;
  EXPECT_EQ(RunLine({"--endpoint", folder.endpoint(), "--timeout", "100ms", "status"}, &out, &err),
            kUnreachable);
  EXPECT_FALSE(err.empty());
}

}  // namespace
}  // namespace fairlead
