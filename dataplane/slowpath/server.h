// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the slow path's loop: what the agent tells over the control socket, a packet socket
// a port, answers, router advertisements that nobody asked for.
//
// Threading: all on the loop's thread; Start and the destructor too, or while it does not run.
// Ownership: borrows loop, clock and sockets. The control socket's file is made by Start and
// removed by the destructor.
// Errors: Start: the control socket cannot be made. Afterwards nothing ends the server: a port
// without a packet socket is deaf, says so and is tried again; a peer that does not keep to the
// protocol is disconnected.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/clock.h"
#include "agent/base/unique_fd.h"
#include "agent/model/slow_path.h"
#include "agent/runtime/loop.h"
#include "dataplane/slowpath/packet_socket.h"
#include "dataplane/slowpath/tables.h"
#include "dataplane/slowpath/token_bucket.h"

namespace fairlead {
struct SlowPathUpdate;
}

namespace fairlead::slowpath {

struct ServerOptions {
  std::string path;                    // of the control socket; its folder is there
  std::vector<uint32_t> allowed_uids;  // beside root and the process's own
  uint32_t rate = 100, burst = 200;    // frames of one port: a second, and at once; not 0
  // So many times as many of what only passes by the gateway and is looked at for nothing.
  uint32_t passing = 50;
  // A port that sends more is not listened to for so long: what it wastes is bounded.
  std::chrono::milliseconds pause{50};
  std::chrono::milliseconds tick{1000};  // how often deaf ports and advertisements are looked at
  std::chrono::milliseconds first_retry{1000}, last_retry{30'000};  // of a deaf port, doubling
  // RFC 4861 section 6.2.1: between advertisements, at random; a third of the router's lifetime
  // at most.
  std::chrono::milliseconds advertise_min{400'000}, advertise_max{600'000};
  TableLimits limits;
};

class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options, Loop* loop,
                                                       const Clock* clock, PacketSockets* sockets);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const Tables& tables() const { return tables_; }
  SlowPathReport Report() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  // A port's end of its packet socket. Deaf: without one.
  struct Ear {
    Ear(uint64_t serial, uint32_t ifindex, TokenBucket bucket, TokenBucket passing)
        : serial(serial), ifindex(ifindex), bucket(bucket), passing(passing) {}
    uint64_t serial;  // of this ear, for timers that come too late
    uint32_t ifindex;
    TokenBucket bucket, passing;
    std::unique_ptr<PacketSocket> socket;
    Loop::WatchId watch = 0;  // 0: not now
    std::string deaf;         // why
    Time next_try;
    std::chrono::milliseconds backoff{0};
    Time next_advertisement;
    uint64_t advertisements = 0;
  };
  using Ears = std::map<std::string, Ear, std::less<>>;

  Server(ServerOptions options, Loop* loop, const Clock* clock, PacketSockets* sockets);
  absl::Status Listen();
  void Accept();
  bool MayConnect(int fd) const;
  void Disconnect();
  void ReadUpdate();
  // False: not what may come now.
  bool Take(std::string_view message, std::string* reply);
  void Apply(const SlowPathUpdate& update, std::vector<std::string>* problems);
  void MatchEars();
  void Open(const std::string& port, Ear* ear);
  void GoDeaf(const std::string& port, Ear* ear, const absl::Status& why);
  bool Watch(const std::string& port, Ear* ear);
  void Close(Ear* ear);
  void Hear(const std::string& port);
  void Handle(const SlowPathPort& port, Ear* ear, std::span<const uint8_t> frame,
              bool checksum_pending);
  void Send(Ear* ear, std::span<const uint8_t> frame);
  void Pause(const std::string& port, Ear* ear);
  void Tick();
  void Advertise(const std::string& port, Ear* ear, Time now);
  void After(std::chrono::milliseconds delay, std::function<void()> fn);

  const ServerOptions options_;
  Loop* const loop_;
  const Clock* const clock_;
  PacketSockets* const sockets_;
  Tables tables_;
  Ears ears_;
  SlowPathCounters counters_;
  uint64_t last_serial_ = 0;

  UniqueFd listener_;
  Loop::WatchId listener_watch_ = 0;
  bool bound_ = false;
  UniqueFd connection_;
  Loop::WatchId connection_watch_ = 0;
  uint64_t sequence_ = 0;  // of the connection's last message

  std::vector<uint8_t> frame_;  // one at a time
  std::vector<char> message_;   // likewise
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fairlead::slowpath
