// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what must survive: objects, attachments (leases and their journal), what is
// known of VFs that were given back, controllers' epochs, answered requests. SQLite, with
// synchronous=FULL: when Commit returns OK, the batch is on disk whole; on an error, none of it is.
//
// Threading: blocks (fsync); one instance belongs to one thread at a time, the
// store's lane. Errors: kUnavailable for a full or read-only disk or a busy
// file (try again), kDataLoss for a corrupt file or an object that does not
// parse (the message names it), kFailedPrecondition for a schema of another
// version; each with SQLite's own words.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/model/facts.h"
#include "agent/model/sanitation.h"
#include "agent/model/world.h"

namespace fairlead {

// The newest that a controller has said.
struct ControllerRecord {
  std::string id;
  uint64_t epoch = 0;
  uint64_t revision = 0;  // last accepted within the epoch
  // Of the same controller: said before `other`, in an older epoch or in the same one.
  bool IsOlderThan(const ControllerRecord& other) const {
    return std::pair(epoch, revision) < std::pair(other.epoch, other.revision);
  }
  friend bool operator==(const ControllerRecord&, const ControllerRecord&) = default;
};

// The answer that an accepted request got, kept so that a repetition gets the
// same one. The newest kAnswersPerController of each controller are kept.
struct AnswerRecord {
  std::string controller;
  std::string request_id;
  std::string answer;  // opaque bytes
  friend bool operator==(const AnswerRecord&, const AnswerRecord&) = default;
};
inline constexpr size_t kAnswersPerController = 256;

// Another store whose marks count as this agent's own.
struct TakenOverStore {
  uint32_t id = 0;
  // What nobody wants of it is kept (it was adopted) or taken away (it was purged).
  bool keep = false;
  friend bool operator==(const TakenOverStore&, const TakenOverStore&) = default;
};

struct StoreContents {
  uint32_t next_ordinal = 1;
  Lease next_lease = 1;
  uint64_t next_transaction = 1;
  std::vector<StoredObject> objects;
  std::vector<Attachment> attachments;
  std::vector<SanitationRecord> sanitation;
  std::vector<ControllerRecord> controllers;
  std::vector<AnswerRecord> answers;  // oldest first
  std::vector<TakenOverStore> taken_over;
  std::set<uint16_t> left_zones;  // World::left_zones
};

// One transaction.
struct StoreBatch {
  std::optional<Change> change;
  std::vector<Attachment> attachments;            // inserted or replaced, by VF
  std::vector<VfId> released;                     // attachments to remove
  std::vector<SanitationRecord> sanitation = {};  // inserted or replaced, by VF
  std::optional<Lease> next_lease;
  std::optional<uint64_t> next_transaction;
  // Goes with its answers, before what follows.
  std::optional<std::string> forgotten_controller = {};
  std::optional<ControllerRecord>
      controller;  // one that is older than what is known changes nothing
  std::optional<AnswerRecord> answer;
  std::optional<TakenOverStore> taken_over;  // inserted or replaced, by id
  std::vector<uint16_t> emptied_zones = {};  // left zones that may be used again
};

class Store {
 public:
  virtual ~Store() = default;
  // A random number that was drawn when the store was made; shows in rule
  // cookies whose objects are whose.
  virtual uint32_t id() const = 0;
  virtual absl::StatusOr<StoreContents> Load() = 0;
  virtual absl::Status Commit(const StoreBatch& batch) = 0;
  // Whether what is committed is where the next start looks for it; writes nothing. kDataLoss: the
  // file was removed, replaced, cut or overwritten.
  virtual absl::Status CheckInPlace() = 0;
  // Whether it takes changes, tried by one that changes nothing that Load tells of.
  virtual absl::Status Probe() = 0;
};

struct StoreOptions {
  std::string path;      // of the database file; its folder must exist
  std::string vfs = "";  // SQLite VFS by name; "" = the default
  // Only to be read: nothing of its files is changed, and Commit and Probe are refused. kNotFound:
  // there is none, or nothing was ever stored in it. kFailedPrecondition: its agent was killed in
  // the middle of a change.
  bool read_only = false;
};
// Makes the file (mode 0600) if there is none. Holds it alone until destroyed: a
// second agent, or a sqlite3 shell, finds it locked.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const StoreOptions& options);

}  // namespace fairlead
