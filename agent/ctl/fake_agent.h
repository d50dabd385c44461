// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests: an agent of a few lines behind real ZeroMQ sockets. It lists
// the objects that it was given, refuses all changes, and publishes events. It can
// hang, too.
//
// Threading: any thread; the sockets live on one of its own. Ownership: owns its
// thread and sockets; a SocketFolder owns the socket files. Errors: as failures of
// the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <zmq.hpp>

#include "fairlead/v1/agent.pb.h"

namespace fairlead {

// A folder for two sockets, gone with its owner.
class SocketFolder {
 public:
  SocketFolder() { EXPECT_NE(::mkdtemp(path_), nullptr); }
  ~SocketFolder() {
    for (const char* name : {"/agent.sock", "/events.sock"}) {
      ::unlink((std::string(path_) + name).c_str());
    }
    ::rmdir(path_);
  }
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;
  std::string endpoint() const { return std::string("ipc://") + path_ + "/agent.sock"; }
  std::string events() const { return std::string("ipc://") + path_ + "/events.sock"; }

 private:
  char path_[32] = "/tmp/fairleadctl-XXXXXX";
};

class FakeAgent {
 public:
  // `start` is its agent_start, in answers and events.
  explicit FakeAgent(const SocketFolder& folder, uint64_t start = 1) : start_(start) {
    requests_.set(zmq::sockopt::linger, 0);
    events_.set(zmq::sockopt::linger, 0);
    requests_.bind(folder.endpoint());
    events_.bind(folder.events());
    thread_ = std::thread([this] { Run(); });
  }
  ~FakeAgent() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    thread_.join();
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  void SetPort(const std::string& id, v1::ObjectState state) {
    const std::lock_guard lock(mutex_);
    ports_[id] = state;
  }

  // From now on nothing is answered, and `heard` called for each question.
  void Hang(std::function<void()> heard) {
    const std::lock_guard lock(mutex_);
    heard_ = std::move(heard);
  }

  // Publishes once somebody listens.
  void Publish(const std::string& port, v1::ObjectState state, uint64_t sequence) {
    v1::Event event;
    event.set_sequence(sequence);
    event.set_agent_start(start_);
    event.mutable_status()->mutable_ref()->set_kind(v1::OBJECT_KIND_PORT);
    event.mutable_status()->mutable_ref()->set_id(port);
    event.mutable_status()->set_state(state);
    const std::lock_guard lock(mutex_);
    ports_[port] = state;
    waiting_.emplace_back("port/" + port, event.SerializeAsString());
  }

 private:
  void Run() {
    bool subscribed = false;
    while (true) {
      std::vector<zmq::pollitem_t> items = {{requests_.handle(), 0, ZMQ_POLLIN, 0},
                                            {events_.handle(), 0, ZMQ_POLLIN, 0}};
      zmq::poll(items, std::chrono::milliseconds(5));
      zmq::message_t message;
      while (events_.recv(message, zmq::recv_flags::dontwait)) {
        subscribed = subscribed || (message.size() > 0 && message.data<char>()[0] == 1);
      }
      Serve();
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      if (!subscribed) continue;
      for (const auto& [topic, payload] : std::exchange(waiting_, {})) {
        events_.send(zmq::buffer(topic), zmq::send_flags::sndmore);
        events_.send(zmq::buffer(payload), zmq::send_flags::none);
      }
    }
  }

  void Serve() {
    while (true) {
      std::vector<std::string> frames;
      zmq::message_t message;
      do {
        if (!requests_.recv(message, zmq::recv_flags::dontwait)) return;
        frames.push_back(message.to_string());
      } while (message.more());
      v1::Request request;
      EXPECT_TRUE(request.ParseFromString(frames.back()));
      if (Hangs()) continue;
      frames.back() = Answer(request).SerializeAsString();
      for (size_t i = 0; i < frames.size(); ++i) {
        requests_.send(zmq::buffer(frames[i]),
                       i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
      }
    }
  }

  bool Hangs() {
    const std::lock_guard lock(mutex_);
    if (heard_) heard_();
    return heard_ != nullptr;
  }

  v1::Reply Answer(const v1::Request& request) {
    const std::lock_guard lock(mutex_);
    v1::Reply reply;
    reply.set_request_id(request.request_id());
    if (!request.has_get()) {
      reply.mutable_rejected()->add_violations()->set_reason("not today");
      return reply;
    }
    reply.mutable_get()->set_agent_start(start_);
    for (const auto& [id, state] : ports_) {
      if (!request.get().id().empty() && request.get().id() != id) continue;
      v1::ObjectWithStatus* item = reply.mutable_get()->add_objects();
      item->mutable_object()->mutable_port()->set_id(id);
      item->mutable_status()->mutable_ref()->set_kind(v1::OBJECT_KIND_PORT);
      item->mutable_status()->mutable_ref()->set_id(id);
      item->mutable_status()->set_state(state);
    }
    return reply;
  }

  const uint64_t start_;
  zmq::context_t context_{1};
  zmq::socket_t requests_{context_, zmq::socket_type::router};
  zmq::socket_t events_{context_, zmq::socket_type::xpub};
  std::mutex mutex_;  // guards what follows
  std::map<std::string, v1::ObjectState> ports_;
  std::vector<std::pair<std::string, std::string>> waiting_;
  std::function<void()> heard_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace fairlead
