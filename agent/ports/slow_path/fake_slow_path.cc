// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/slow_path/fake_slow_path.h"

#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead {

FakeSlowPath::Entries FakeSlowPath::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

size_t FakeSlowPath::told_all() const {
  const std::lock_guard lock(mutex_);
  return told_all_;
}

size_t FakeSlowPath::told_whole() const {
  const std::lock_guard lock(mutex_);
  return told_whole_;
}

size_t FakeSlowPath::told() const {
  const std::lock_guard lock(mutex_);
  return told_;
}

size_t FakeSlowPath::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

void FakeSlowPath::SetReachable(bool reachable) {
  const std::lock_guard lock(mutex_);
  reachable_ = reachable;
  if (!reachable) connection_ = 0;
}

void FakeSlowPath::Restart() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  connection_ = 0;
  counters_ = {};
}

void FakeSlowPath::SetCounters(const SlowPathCounters& counters) {
  const std::lock_guard lock(mutex_);
  counters_ = counters;
}

void FakeSlowPath::SetDeaf(const std::string& port, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (why.empty()) {
    deaf_.erase(port);
  } else {
    deaf_[port] = why;
  }
}

void FakeSlowPath::SetAbsent(uint32_t ifindex) {
  const std::lock_guard lock(mutex_);
  absent_.insert(ifindex);
}

absl::StatusOr<uint64_t> FakeSlowPath::Connect() {
  const std::lock_guard lock(mutex_);
  if (!reachable_) {
    ++refused_;
    return absl::UnavailableError("connect to the slow path: Connection refused");
  }
  connection_ = ++last_connection_;  // the newest counts
  return connection_;
}

void FakeSlowPath::ForgetBut(std::span<const uint32_t> keep) {
  Entries kept;
  for (const auto& [key, entry] : entries_) {
    const auto* port = std::get_if<SlowPathPort>(&entry);
    if (port == nullptr || std::find(keep.begin(), keep.end(), port->ifindex) == keep.end()) {
      continue;
    }
    kept.emplace(key, entry);
    for (const auto& [of, other] : entries_) {
      if (of.kind != SlowPathKey::Kind::kPort && of.id == port->subnet) kept.emplace(of, other);
    }
  }
  entries_ = std::move(kept);
}

absl::StatusOr<SlowPathReport> FakeSlowPath::Take(uint64_t connection, bool all, bool whole,
                                                  std::span<const SlowPathEntry> put,
                                                  std::span<const SlowPathKey> remove,
                                                  std::span<const uint32_t> keep) {
  const std::lock_guard lock(mutex_);
  if (connection != connection_) {
    return absl::UnavailableError("the slow path has closed the connection");
  }
  if (whole) ForgetBut(keep);
  ++(all ? told_all_ : told_);
  if (whole) ++told_whole_;
  for (const SlowPathKey& key : remove) entries_.erase(key);
  for (const SlowPathEntry& entry : put) {
    if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
      // A netdev is one port's: the newest.
      std::erase_if(entries_, [port](const auto& other) {
        const auto* there = std::get_if<SlowPathPort>(&other.second);
        return there != nullptr && there->ifindex == port->ifindex && there->id != port->id;
      });
    }
    entries_.insert_or_assign(KeyOf(entry), entry);
  }
  SlowPathReport out;
  out.counters = counters_;
  for (const auto& [key, entry] : entries_) {
    const auto* port = std::get_if<SlowPathPort>(&entry);
    if (port == nullptr || out.deaf_ports.size() == kMaxSlowPathTold) continue;
    const auto deaf = deaf_.find(port->id);
    if (deaf == deaf_.end() && !absent_.contains(port->ifindex)) continue;
    out.deaf_ports.push_back(
        StrCat("port ", port->id, ": netdev ", Quoted(port->netdev), ": ",
               deaf == deaf_.end() ? "the netdev is not there" : deaf->second));
  }
  return out;
}

absl::StatusOr<SlowPathReport> FakeSlowPathSocket::TellAll(std::span<const SlowPathEntry> all,
                                                           bool whole,
                                                           std::span<const uint32_t> keep) {
  connection_ = 0;
  for (const SlowPathEntry& entry : all) {
    FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckSlowPathEntry(entry), SlowPathKeyName(KeyOf(entry))));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(connection_, process_->Connect());
  absl::StatusOr<SlowPathReport> report = process_->Take(connection_, true, whole, all, {}, keep);
  if (!report.ok()) connection_ = 0;
  return report;
}

absl::StatusOr<SlowPathReport> FakeSlowPathSocket::Tell(std::span<const SlowPathEntry> put,
                                                        std::span<const SlowPathKey> remove) {
  if (connection_ == 0) {
    return absl::FailedPreconditionError("no connection to the slow path: tell all first");
  }
  for (const SlowPathEntry& entry : put) {
    FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckSlowPathEntry(entry), SlowPathKeyName(KeyOf(entry))));
  }
  for (const SlowPathKey& key : remove) FAIRLEAD_RETURN_IF_ERROR(CheckSlowPathKey(key));
  absl::StatusOr<SlowPathReport> report =
      process_->Take(connection_, false, false, put, remove, {});
  if (!report.ok()) connection_ = 0;
  return report;
}

}  // namespace fairlead
