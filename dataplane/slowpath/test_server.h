// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a slow path server on a thread of its own, with netdevs that are socket pairs. Test
// code.
//
// Threading: any thread but the server's. Errors: throws std::runtime_error, which fails the
// test at hand.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/unique_fd.h"
#include "agent/runtime/loop.h"
#include "dataplane/slowpath/packet_socket.h"
#include "dataplane/slowpath/server.h"

namespace fairlead::slowpath {

class FakePacketSockets final : public PacketSockets {
 public:
  // The guest's end of a netdev.
  void GuestSends(uint32_t ifindex, std::span<const uint8_t> frame) {
    const std::lock_guard lock(mutex_);
    (void)!::send(guests_.at(ifindex).get(), frame.data(), frame.size(),
                  MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  std::optional<std::vector<uint8_t>> GuestReceives(
      uint32_t ifindex, std::chrono::milliseconds wait = std::chrono::seconds(20)) {
    int fd = -1;
    {
      const std::lock_guard lock(mutex_);
      fd = guests_.at(ifindex).get();
    }
    pollfd watch{fd, POLLIN, 0};
    if (::poll(&watch, 1, static_cast<int>(wait.count())) != 1) return std::nullopt;
    std::vector<uint8_t> frame(65536);
    const ssize_t size = ::recv(fd, frame.data(), frame.size(), MSG_DONTWAIT);
    if (size <= 0) return std::nullopt;
    frame.resize(static_cast<size_t>(size));
    return frame;
  }
  void SetAbsent(uint32_t ifindex, bool absent) {
    const std::lock_guard lock(mutex_);
    if (absent) {
      absent_.insert(ifindex);
      guests_.erase(ifindex);  // closes it: the socket at the other end is told
    } else {
      absent_.erase(ifindex);
    }
  }
  size_t opened() {
    const std::lock_guard lock(mutex_);
    return opened_;
  }

  absl::StatusOr<std::unique_ptr<PacketSocket>> Open(uint32_t ifindex) override {
    const std::lock_guard lock(mutex_);
    if (absent_.contains(ifindex)) return absl::NotFoundError("the netdev is not there");
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
      throw std::runtime_error("socketpair");
    }
    ++opened_;
    guests_[ifindex] = UniqueFd(fds[0]);
    return std::make_unique<Socket>(UniqueFd(fds[1]));
  }

 private:
  class Socket final : public PacketSocket {
   public:
    explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {}
    int fd() const override { return fd_.get(); }
    absl::StatusOr<Received> Receive(std::span<uint8_t> buffer) override {
      const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (size == 0) return absl::NotFoundError("the netdev is gone");
      if (size < 0) return Received{};
      return Received{Received::Kind::kFrame, static_cast<size_t>(size), false};
    }
    absl::Status Send(std::span<const uint8_t> frame) override {
      if (::send(fd_.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        return absl::UnavailableError("full");
      }
      return absl::OkStatus();
    }
    uint64_t TakeDropped() override { return 1000; }

   private:
    UniqueFd fd_;
  };

  std::mutex mutex_;
  std::map<uint32_t, UniqueFd> guests_;
  std::set<uint32_t> absent_;
  size_t opened_ = 0;
};

class TestServer {
 public:
  // In a folder of its own; without timers of a second.
  TestServer() : TestServer(ServerOptions()) {}
  explicit TestServer(ServerOptions options) : options_(std::move(options)) {
    char folder[] = "/tmp/fairlead-slowpath-XXXXXX";
    if (::mkdtemp(folder) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = folder;
    options_.path = folder_ + "/control.sock";
    options_.tick = std::chrono::milliseconds(5);
    options_.first_retry = std::chrono::milliseconds(10);
    Start();
  }
  ~TestServer() {
    Stop();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    loop_ = std::make_unique<Loop>();
    auto server = Server::Start(options_, loop_.get(), &clock_, &sockets_);
    if (!server.ok()) throw std::runtime_error(server.status().ToString());
    server_ = *std::move(server);
    thread_ = std::thread([this] { loop_->Run(); });
  }
  void Stop() {
    if (!thread_.joinable()) return;
    loop_->poster()([this] { loop_->Stop(); });
    thread_.join();
    server_.reset();
    loop_.reset();
  }
  // On the server's thread.
  void Do(std::function<void(Server&)> fn) {
    std::promise<void> done;
    loop_->poster()([&] {
      fn(*server_);
      done.set_value();
    });
    done.get_future().wait();
  }
  SlowPathReport Report() {
    SlowPathReport out;
    Do([&out](Server& server) { out = server.Report(); });
    return out;
  }
  // Until `good` says so of a report; false after 20 s.
  bool Until(const std::function<bool(const SlowPathReport&)>& good) {
    for (int i = 0; i < 2000; ++i) {
      if (good(Report())) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  const std::string& path() const { return options_.path; }
  const std::string& folder() const { return folder_; }
  FakePacketSockets& netdevs() { return sockets_; }

 private:
  ServerOptions options_;
  std::string folder_;
  SystemClock clock_;
  FakePacketSockets sockets_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

}  // namespace fairlead::slowpath
