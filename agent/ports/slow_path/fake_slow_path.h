// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a slow path's process in memory, and the port to it. For tests and the simulated
// host.
//
// Threading: FakeSlowPath from any thread. Ownership: a FakeSlowPathSocket borrows its process.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agent/ports/slow_path/slow_path_port.h"

namespace fairlead {

class FakeSlowPath {
 public:
  using Entries = std::map<SlowPathKey, SlowPathEntry>;

  // What it answers by.
  Entries entries() const;
  // Calls of TellAll, of those with `whole`, and of Tell, that it has taken.
  size_t told_all() const;
  size_t told_whole() const;
  size_t told() const;
  // Connections that were tried while it was not reachable.
  size_t refused() const;

  // While it is not, nobody reaches it; it goes on with what it knows.
  void SetReachable(bool reachable);
  // Ends and is started anew: it knows nothing, and connections are gone.
  void Restart();
  void SetCounters(const SlowPathCounters& counters);
  // No netdev has that index: a port that names it is deaf.
  void SetAbsent(uint32_t ifindex);
  // A port that has no packet socket, and why; "" = it has one.
  void SetDeaf(const std::string& port, const std::string& why);

 private:
  friend class FakeSlowPathSocket;
  absl::StatusOr<uint64_t> Connect();  // the connection's number
  absl::StatusOr<SlowPathReport> Take(uint64_t connection, bool all, bool whole,
                                      std::span<const SlowPathEntry> put,
                                      std::span<const SlowPathKey> remove,
                                      std::span<const uint32_t> keep);
  void ForgetBut(std::span<const uint32_t> keep);  // with mutex_ held

  mutable std::mutex mutex_;
  Entries entries_;
  bool reachable_ = true;
  uint64_t last_connection_ = 0, connection_ = 0;  // 0: none
  size_t told_all_ = 0, told_whole_ = 0, told_ = 0, refused_ = 0;
  SlowPathCounters counters_;
  std::map<std::string, std::string> deaf_;  // by port
  std::set<uint32_t> absent_;
};

class FakeSlowPathSocket final : public SlowPathSocket {
 public:
  explicit FakeSlowPathSocket(FakeSlowPath* process) : process_(process) {}
  absl::StatusOr<SlowPathReport> TellAll(std::span<const SlowPathEntry> all, bool whole,
                                         std::span<const uint32_t> keep) override;
  absl::StatusOr<SlowPathReport> Tell(std::span<const SlowPathEntry> put,
                                      std::span<const SlowPathKey> remove) override;

 private:
  FakeSlowPath* process_;
  uint64_t connection_ = 0;
};

}  // namespace fairlead
