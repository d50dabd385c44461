// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/store/object_codec.h"
#include "agent/store/sqlite.h"
#include "agent/store/store.h"

namespace fairlead {
namespace {

// "FLed", in SQLite's header (sqlite.org/fileformat2.html, offset 68).
constexpr char kBeginAnew[] =
    "move it away with its -journal, let the controller send its intents again, and adopt what the "
    "old one made";
constexpr int64_t kApplicationId = 0x464c6564;
constexpr int kBusyMilliseconds = 2000;

// Numbers of the model are unsigned, SQLite's are signed: a column keeps the 64
// bits, so one above 2^63 shows as negative in a shell.
constexpr char kTables[] = R"sql(
CREATE TABLE meta(
  name TEXT PRIMARY KEY NOT NULL,
  value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE objects(
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  ordinal INTEGER NOT NULL UNIQUE,
  generation INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID;
CREATE TABLE attachments(
  pf TEXT NOT NULL,
  vf INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY(pf, vf)) STRICT, WITHOUT ROWID;
CREATE TABLE sanitation(
  pf TEXT NOT NULL,
  vf INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY(pf, vf)) STRICT, WITHOUT ROWID;
CREATE TABLE controllers(
  id TEXT PRIMARY KEY NOT NULL,
  epoch INTEGER NOT NULL,
  revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE answers(
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  controller TEXT NOT NULL,
  request_id TEXT NOT NULL,
  answer BLOB NOT NULL,
  UNIQUE(controller, request_id)) STRICT;
CREATE INDEX answers_of_controller ON answers(controller, number);
PRAGMA application_id = 1179411812;
PRAGMA user_version = 4;
)sql";
// Grows by one with every change of the tables or of a body that body.proto does not allow.
constexpr int64_t kSchemaVersion = 4;
static_assert(kApplicationId == 1179411812 && kSchemaVersion == 4);  // as kTables says

constexpr char kStoreId[] = "store_id";
constexpr char kNextOrdinal[] = "next_ordinal";
constexpr char kNextLease[] = "next_lease";
constexpr char kNextTransaction[] = "next_transaction";
constexpr char kCommits[] = "commits";  // how many there were
// "taken_over:<store id>": one of the two.
constexpr char kTakenOver[] = "taken_over:";
constexpr uint64_t kKept = 1, kPurged = 2;
// "left_zone:<conntrack zone>": 1.
constexpr char kLeftZone[] = "left_zone:";

// What each SQLite file begins with (sqlite.org/fileformat2.html, section 1.3.1).
constexpr std::string_view kFileHead("SQLite format 3\0", 16);

struct Statements {
  Statement begin, commit, rollback;
  Statement set_meta, get_meta;
  Statement put_object, remove_object, all_objects;
  Statement put_attachment, remove_attachment, all_attachments;
  Statement put_sanitation, all_sanitation;
  Statement put_controller, remove_controller, all_controllers;
  Statement put_answer, prune_answers, remove_answers, all_answers;
  Statement taken_over;
  Statement left_zones, remove_left_zone;
};

absl::StatusOr<Statements> PrepareAll(const Database& db) {
  Statements s;
  const std::pair<Statement*, const char*> all[] = {
      {&s.begin, "BEGIN IMMEDIATE"},
      {&s.commit, "COMMIT"},
      {&s.rollback, "ROLLBACK"},
      {&s.set_meta, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)"},
      {&s.get_meta, "SELECT value FROM meta WHERE name = ?1"},
      {&s.put_object,
       "INSERT INTO objects(kind, id, ordinal, generation, body) VALUES(?1, ?2, ?3, ?4, ?5) "
       "ON CONFLICT(kind, id) DO UPDATE SET ordinal = excluded.ordinal, "
       "generation = excluded.generation, body = excluded.body"},
      {&s.remove_object, "DELETE FROM objects WHERE kind = ?1 AND id = ?2"},
      {&s.all_objects, "SELECT kind, id, ordinal, generation, body FROM objects ORDER BY kind, id"},
      {&s.put_attachment, "INSERT OR REPLACE INTO attachments(pf, vf, body) VALUES(?1, ?2, ?3)"},
      {&s.remove_attachment, "DELETE FROM attachments WHERE pf = ?1 AND vf = ?2"},
      {&s.all_attachments, "SELECT pf, vf, body FROM attachments ORDER BY pf, vf"},
      {&s.put_sanitation, "INSERT OR REPLACE INTO sanitation(pf, vf, body) VALUES(?1, ?2, ?3)"},
      {&s.all_sanitation, "SELECT pf, vf, body FROM sanitation ORDER BY pf, vf"},
      // Numbers above the signed range stand as negative ones.
      {&s.put_controller,
       "INSERT INTO controllers(id, epoch, revision) VALUES(?1, ?2, ?3) "
       "ON CONFLICT(id) DO UPDATE SET epoch = excluded.epoch, revision = excluded.revision "
       "WHERE (epoch < 0, epoch, revision < 0, revision) < "
       "(excluded.epoch < 0, excluded.epoch, excluded.revision < 0, excluded.revision)"},
      {&s.remove_controller, "DELETE FROM controllers WHERE id = ?1"},
      {&s.all_controllers, "SELECT id, epoch, revision FROM controllers ORDER BY id"},
      {&s.put_answer,
       "INSERT OR REPLACE INTO answers(controller, request_id, answer) VALUES(?1, ?2, ?3)"},
      {&s.prune_answers,
       "DELETE FROM answers WHERE controller = ?1 AND number <= (SELECT number FROM answers "
       "WHERE controller = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)"},
      {&s.remove_answers, "DELETE FROM answers WHERE controller = ?1"},
      {&s.taken_over, "SELECT name, value FROM meta WHERE name GLOB 'taken_over:*' ORDER BY name"},
      {&s.left_zones, "SELECT name FROM meta WHERE name GLOB 'left_zone:*' ORDER BY name"},
      {&s.remove_left_zone, "DELETE FROM meta WHERE name = ?1"},
      {&s.all_answers, "SELECT controller, request_id, answer FROM answers ORDER BY number"},
  };
  for (const auto& [statement, sql] : all) {
    FAIRLEAD_ASSIGN_OR_RETURN(*statement, Statement::Prepare(db, sql));
  }
  return s;
}

absl::StatusOr<ObjectKind> KindFromName(std::string_view name) {
  for (const ObjectKind kind : kAllObjectKinds) {
    if (ObjectKindName(kind) == name) return kind;
  }
  return absl::DataLossError(
      StrCat("the store holds an object of kind ", Quoted(name), ", which this version has not"));
}

// SQLite would make the file with the umask's mode, and does not sync its folder.
absl::Status MakeFile(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the store has no path");
  const std::string asked = StrCat("open the store ", path);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid() && errno != EEXIST) {
    const int err = errno;
    if (err == ENOENT) {
      return SystemError(err, StrCat(asked, ": its folder must exist"));
    }
    if (err == ENOSPC || err == EDQUOT || err == EROFS) {  // IsTransient, as the header says
      return PeerError(absl::StatusCode::kUnavailable, asked, strerrordesc_np(err));
    }
    return SystemError(err, asked);
  }
  if (!fd.valid()) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return SystemError(errno, asked);
    if (!S_ISREG(info.st_mode)) {
      return absl::FailedPreconditionError(StrCat(asked, ": it is no regular file"));
    }
    if ((info.st_mode & 0077) != 0 && ::chmod(path.c_str(), 0600) != 0) {
      return SystemError(errno, StrCat(asked, ": set its mode to 0600"));
    }
    return absl::OkStatus();
  }
  std::string folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  UniqueFd folder_fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_fd.valid() || ::fsync(folder_fd.get()) != 0) {
    return PeerError(absl::StatusCode::kUnavailable, StrCat(asked, ": sync its folder"),
                     strerrordesc_np(errno));
  }
  return absl::OkStatus();
}

absl::Status CheckReadable(const std::string& path) {
  const std::string asked = StrCat("open the store ", path);
  struct stat file {
  }, journal{};
  if (::stat(path.c_str(), &file) != 0) return SystemError(errno, asked);
  if (::stat(StrCat(path, "-journal").c_str(), &journal) == 0 && journal.st_size > 0) {
    return absl::FailedPreconditionError(
        StrCat(asked,
               ": its agent was killed in the middle of a change, which its next start takes "
               "back; until then it cannot be read without being changed"));
  }
  return absl::OkStatus();
}

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(Database db) : db_(std::move(db)) {}

  absl::Status Start(const StoreOptions& options);

  uint32_t id() const override { return id_; }
  absl::StatusOr<StoreContents> Load() override;
  absl::Status Commit(const StoreBatch& batch) override;
  absl::Status CheckInPlace() override;
  absl::Status Probe() override;

 private:
  absl::StatusOr<bool> CheckWhoseFile();
  absl::Status MakeTables();
  absl::Status FirstNumbers();
  absl::Status CheckIntegrity();
  absl::StatusOr<uint64_t> Meta(std::string_view name, uint64_t least, uint64_t most);
  absl::Status SetMeta(std::string_view name, uint64_t value);
  absl::Status LoadObjects(StoreContents& contents);
  absl::Status LoadAttachments(StoreContents& contents);
  absl::Status LoadSanitation(StoreContents& contents);
  absl::Status LoadControllers(StoreContents& contents);
  absl::Status LoadAnswers(StoreContents& contents);
  absl::Status LoadTakenOver(StoreContents& contents);
  absl::Status LoadLeftZones(StoreContents& contents);
  absl::Status Write(const StoreBatch& batch);
  absl::Status WriteChange(const Change& change);
  absl::Status WriteAttachment(const Attachment& attachment);
  absl::Status WriteSanitation(const SanitationRecord& record);
  void Rollback();
  absl::Status Confirm(const absl::Status& failed);
  absl::Status CommitNothing();

  Database db_;
  Statements statements_;
  uint32_t id_ = 0;
  int64_t size_seen_ = 0;  // of the file, in bytes; it never shrinks
  uint64_t commits_ = 0;
  bool read_only_ = false;
};

// Whether it is a store of this version; else it is new and empty.
absl::StatusOr<bool> SqliteStore::CheckWhoseFile() {
  const absl::StatusOr<int64_t> read = db_.Integer("PRAGMA application_id");
  if (!read.ok() && absl::IsDataLoss(read.status())) {
    return absl::Status(read.status().code(), StrCat(read.status().message(), "; ", kBeginAnew));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const int64_t application, read);
  FAIRLEAD_ASSIGN_OR_RETURN(const int64_t version, db_.Integer("PRAGMA user_version"));
  FAIRLEAD_ASSIGN_OR_RETURN(const int64_t tables,
                            db_.Integer("SELECT count(*) FROM sqlite_schema"));
  if (application == 0 && version == 0 && tables == 0) return false;
  if (application != kApplicationId) {
    return absl::FailedPreconditionError(
        StrCat("store ", db_.path(), ": this SQLite file is not Fairlead's (application id ",
               application, "); it is left alone, give the agent another path"));
  }
  if (version == kSchemaVersion) return true;
  return absl::FailedPreconditionError(
      StrCat("store ", db_.path(), ": it has schema version ", version,
             " and this agent knows version ", kSchemaVersion, " alone; ",
             version > kSchemaVersion ? "install a newer agent" : "install the agent that wrote it",
             ", or ", kBeginAnew));
}

// In one transaction: a cut leaves the file empty.
absl::Status SqliteStore::MakeTables() {
  FAIRLEAD_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
  FAIRLEAD_RETURN_IF_ERROR(db_.Execute(kTables));
  FAIRLEAD_RETURN_IF_ERROR(FirstNumbers());
  return db_.Execute("COMMIT");
}

absl::Status SqliteStore::FirstNumbers() {
  uint32_t id = 0;
  while (id == 0) {
    if (::getrandom(&id, sizeof(id), 0) != static_cast<ssize_t>(sizeof(id)) && errno != EINTR) {
      return SystemError(errno, "draw a random number for the store's id");
    }
  }
  FAIRLEAD_ASSIGN_OR_RETURN(
      Statement insert, Statement::Prepare(db_, "INSERT INTO meta(name, value) VALUES(?1, ?2)"));
  const std::pair<const char*, uint64_t> first[] = {
      {kStoreId, id}, {kNextOrdinal, 1}, {kNextLease, 1}, {kNextTransaction, 1}, {kCommits, 0}};
  for (const auto& [name, value] : first) {
    FAIRLEAD_RETURN_IF_ERROR(insert.Bind(1, std::string_view(name)).Bind(2, value).Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::CheckIntegrity() {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string found, db_.Text("PRAGMA quick_check(1)"));
  if (found == "ok") return absl::OkStatus();
  return PeerError(absl::StatusCode::kDataLoss,
                   StrCat("store ", db_.path(), ": it is damaged; ", kBeginAnew),
                   found.substr(found.rfind('\n') + 1));  // "*** in database main ***" before it
}

absl::Status SqliteStore::Start(const StoreOptions& options) {
  read_only_ = options.read_only;
  sqlite3_busy_timeout(db_.get(), kBusyMilliseconds);
  sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // Two agents on one store would hand out the same VF twice.
  FAIRLEAD_RETURN_IF_ERROR(db_.Execute("PRAGMA locking_mode = EXCLUSIVE"));
  // Before anything is written: the file may be somebody else's.
  FAIRLEAD_ASSIGN_OR_RETURN(const bool made, CheckWhoseFile());
  if (!made && read_only_) {
    return absl::NotFoundError(StrCat("store ", db_.path(), ": nothing was ever stored in it"));
  }
  FAIRLEAD_RETURN_IF_ERROR(db_.Execute("PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON"));
  if (!read_only_) {
    FAIRLEAD_ASSIGN_OR_RETURN(const std::string mode, db_.Text("PRAGMA journal_mode = TRUNCATE"));
    if (mode != "truncate") {
      return absl::FailedPreconditionError(
          StrCat("store ", db_.path(), ": SQLite cannot keep a journal here (it stays in mode '",
                 mode, "'); put it on a local file system"));
    }
    if (!made) FAIRLEAD_RETURN_IF_ERROR(MakeTables());
  }
  FAIRLEAD_RETURN_IF_ERROR(CheckIntegrity());
  FAIRLEAD_ASSIGN_OR_RETURN(statements_, PrepareAll(db_));
  FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t id, Meta(kStoreId, 1, UINT32_MAX));
  id_ = static_cast<uint32_t>(id);
  FAIRLEAD_ASSIGN_OR_RETURN(commits_, Meta(kCommits, 0, UINT64_MAX));
  FAIRLEAD_RETURN_IF_ERROR(CheckInPlace());
  if (read_only_) return absl::OkStatus();
  // Takes the lock now, not at the first intent.
  FAIRLEAD_RETURN_IF_ERROR(statements_.begin.Run());
  return statements_.rollback.Run();
}

absl::StatusOr<uint64_t> SqliteStore::Meta(std::string_view name, uint64_t least, uint64_t most) {
  Statement& get = statements_.get_meta;
  absl::StatusOr<bool> row = get.Bind(1, name).Step();
  const uint64_t value = row.ok() && *row ? get.Integer(0) : 0;
  get.Reset();
  FAIRLEAD_RETURN_IF_ERROR(row.status());
  if (!*row) return absl::DataLossError(StrCat("store ", db_.path(), ": it has no ", name));
  if (value < least || value > most) {
    return absl::DataLossError(
        StrCat("store ", db_.path(), ": its ", name, " is ", value, ", out of range"));
  }
  return value;
}

absl::Status SqliteStore::SetMeta(std::string_view name, uint64_t value) {
  return statements_.set_meta.Bind(1, name).Bind(2, value).Run();
}

absl::StatusOr<StoreContents> SqliteStore::Load() {
  StoreContents contents;
  FAIRLEAD_ASSIGN_OR_RETURN(const uint64_t ordinal, Meta(kNextOrdinal, 1, UINT32_MAX));
  contents.next_ordinal = static_cast<uint32_t>(ordinal);
  FAIRLEAD_ASSIGN_OR_RETURN(contents.next_lease, Meta(kNextLease, 1, UINT64_MAX));
  FAIRLEAD_ASSIGN_OR_RETURN(contents.next_transaction, Meta(kNextTransaction, 1, UINT64_MAX));
  FAIRLEAD_RETURN_IF_ERROR(LoadObjects(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadAttachments(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadSanitation(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadControllers(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadAnswers(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadTakenOver(contents));
  FAIRLEAD_RETURN_IF_ERROR(LoadLeftZones(contents));
  return contents;
}

// Calls `row` for every row of `statement`.
template <typename Row>
absl::Status ForEachRow(Statement& statement, const Row& row) {
  absl::Status status;
  while (status.ok()) {
    const absl::StatusOr<bool> more = statement.Step();
    status = more.status();
    if (!status.ok() || !*more) break;
    status = row(statement);
  }
  statement.Reset();
  return status;
}

absl::Status SqliteStore::LoadObjects(StoreContents& contents) {
  FAIRLEAD_ASSIGN_OR_RETURN(const int64_t count, db_.Integer("SELECT count(*) FROM objects"));
  contents.objects.reserve(static_cast<size_t>(count));
  return ForEachRow(statements_.all_objects, [&](const Statement& row) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(const ObjectKind kind, KindFromName(row.View(0)));
    const std::string_view id = row.View(1);
    const uint64_t ordinal = row.Integer(2);
    const uint64_t generation = row.Integer(3);
    if (ordinal < 1 || ordinal > kMaxOrdinal || generation < 1) {
      return absl::DataLossError(StrCat("stored ", ObjectRef{kind, std::string(id)}.ToString(),
                                        " has ordinal ", ordinal, " and generation ", generation,
                                        ", out of range"));
    }
    FAIRLEAD_ASSIGN_OR_RETURN(Object object, DecodeObject(kind, id, row.View(4)));
    contents.objects.push_back({std::move(object), generation, static_cast<uint32_t>(ordinal)});
    return absl::OkStatus();
  });
}

// The first two columns of a row.
absl::StatusOr<VfId> VfOf(const Statement& row, std::string_view what) {
  const absl::StatusOr<NicId> pf = NicId::Parse(row.View(0));
  const uint64_t index = row.Integer(1);
  if (pf.ok() && index <= UINT16_MAX) return VfId{*pf, static_cast<uint16_t>(index)};
  return absl::DataLossError(
      StrCat("a stored ", what, " names no VF: PF ", Quoted(row.View(0)), ", index ", index));
}

absl::Status SqliteStore::LoadAttachments(StoreContents& contents) {
  return ForEachRow(statements_.all_attachments, [&](const Statement& row) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(const VfId vf, VfOf(row, "attachment"));
    FAIRLEAD_ASSIGN_OR_RETURN(Attachment attachment, DecodeAttachment(vf, row.View(2)));
    contents.attachments.push_back(std::move(attachment));
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::LoadSanitation(StoreContents& contents) {
  return ForEachRow(statements_.all_sanitation, [&](const Statement& row) -> absl::Status {
    FAIRLEAD_ASSIGN_OR_RETURN(const VfId vf, VfOf(row, "record"));
    FAIRLEAD_ASSIGN_OR_RETURN(SanitationRecord record, DecodeSanitation(vf, row.View(2)));
    contents.sanitation.push_back(std::move(record));
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::LoadControllers(StoreContents& contents) {
  return ForEachRow(statements_.all_controllers, [&](const Statement& row) {
    contents.controllers.push_back({row.Bytes(0), row.Integer(1), row.Integer(2)});
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::LoadAnswers(StoreContents& contents) {
  return ForEachRow(statements_.all_answers, [&](const Statement& row) {
    contents.answers.push_back({row.Bytes(0), row.Bytes(1), row.Bytes(2)});
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::LoadTakenOver(StoreContents& contents) {
  constexpr std::string_view kHead = kTakenOver;
  return ForEachRow(statements_.taken_over, [&](const Statement& row) -> absl::Status {
    const std::string name = row.Bytes(0);
    TakenOverStore store;
    const uint64_t mode = row.Integer(1);
    if (!absl::SimpleAtoi(name.substr(kHead.size()), &store.id) || store.id == 0 ||
        (mode != kKept && mode != kPurged)) {
      return absl::DataLossError(StrCat("store ", db_.path(), ": its ", name, " is ", mode));
    }
    store.keep = mode == kKept;
    contents.taken_over.push_back(store);
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::LoadLeftZones(StoreContents& contents) {
  constexpr std::string_view kHead = kLeftZone;
  return ForEachRow(statements_.left_zones, [&](const Statement& row) -> absl::Status {
    const std::string name = row.Bytes(0);
    uint32_t zone = 0;
    if (!absl::SimpleAtoi(name.substr(kHead.size()), &zone) || zone < 1 || zone > UINT16_MAX) {
      return absl::DataLossError(StrCat("store ", db_.path(), ": ", Quoted(name), " is no zone"));
    }
    contents.left_zones.insert(static_cast<uint16_t>(zone));
    return absl::OkStatus();
  });
}

absl::Status SqliteStore::WriteChange(const Change& change) {
  const auto remove = [&](const ObjectRef& ref) {
    return statements_.remove_object.Bind(1, ObjectKindName(ref.kind)).Bind(2, ref.id).Run();
  };
  // As World::Apply: all that goes is gone before anything comes, so an ordinal
  // may pass from one object to another.
  for (const ObjectRef& ref : change.removes) FAIRLEAD_RETURN_IF_ERROR(remove(ref));
  for (const StoredObject& stored : change.upserts) {
    FAIRLEAD_RETURN_IF_ERROR(remove(RefOf(stored.object)));
  }
  for (const StoredObject& stored : change.upserts) {
    const ObjectRef ref = RefOf(stored.object);
    const std::string body = EncodeObject(stored.object);
    // What could not be read back must not get in: it would stop the next start.
    const absl::StatusOr<Object> again = DecodeObject(ref.kind, ref.id, body);
    if (!again.ok() || *again != stored.object || stored.ordinal < 1 ||
        stored.ordinal > kMaxOrdinal || stored.generation < 1) {
      return absl::InternalError(StrCat(
          "refuse to store ", ref.ToString(), ": ",
          again.ok() ? "it would be read back as something else" : again.status().message()));
    }
    FAIRLEAD_RETURN_IF_ERROR(statements_.put_object.Bind(1, ObjectKindName(ref.kind))
                                 .Bind(2, ref.id)
                                 .Bind(3, uint64_t{stored.ordinal})
                                 .Bind(4, stored.generation)
                                 .BindBlob(5, body)
                                 .Run());
  }
  for (const uint16_t zone : change.left_zones) {
    FAIRLEAD_RETURN_IF_ERROR(SetMeta(StrCat(kLeftZone, zone), 1));
  }
  return SetMeta(kNextOrdinal, change.next_ordinal);
}

absl::Status SqliteStore::WriteAttachment(const Attachment& attachment) {
  const std::string body = EncodeAttachment(attachment);
  const absl::StatusOr<Attachment> again = DecodeAttachment(attachment.vf, body);
  if (!again.ok() || *again != attachment) {
    return absl::InternalError(
        StrCat("refuse to store the attachment of VF ", attachment.vf.ToString(), ": ",
               again.ok() ? "it would be read back as something else" : again.status().message()));
  }
  return statements_.put_attachment.Bind(1, attachment.vf.pf.ToString())
      .Bind(2, uint64_t{attachment.vf.index})
      .BindBlob(3, body)
      .Run();
}

absl::Status SqliteStore::WriteSanitation(const SanitationRecord& record) {
  const std::string body = EncodeSanitation(record);
  const absl::StatusOr<SanitationRecord> again = DecodeSanitation(record.vf, body);
  if (!again.ok() || *again != record) {
    return absl::InternalError(
        StrCat("refuse to store the record of VF ", record.vf.ToString(), ": ",
               again.ok() ? "it would be read back as something else" : again.status().message()));
  }
  return statements_.put_sanitation.Bind(1, record.vf.pf.ToString())
      .Bind(2, uint64_t{record.vf.index})
      .BindBlob(3, body)
      .Run();
}

absl::Status SqliteStore::Write(const StoreBatch& batch) {
  FAIRLEAD_RETURN_IF_ERROR(SetMeta(kCommits, commits_ + 1));
  if (batch.change) FAIRLEAD_RETURN_IF_ERROR(WriteChange(*batch.change));
  for (const VfId& vf : batch.released) {
    FAIRLEAD_RETURN_IF_ERROR(
        statements_.remove_attachment.Bind(1, vf.pf.ToString()).Bind(2, uint64_t{vf.index}).Run());
  }
  for (const Attachment& attachment : batch.attachments) {
    FAIRLEAD_RETURN_IF_ERROR(WriteAttachment(attachment));
  }
  for (const SanitationRecord& record : batch.sanitation) {
    FAIRLEAD_RETURN_IF_ERROR(WriteSanitation(record));
  }
  if (batch.next_lease) FAIRLEAD_RETURN_IF_ERROR(SetMeta(kNextLease, *batch.next_lease));
  if (batch.next_transaction) {
    FAIRLEAD_RETURN_IF_ERROR(SetMeta(kNextTransaction, *batch.next_transaction));
  }
  for (const uint16_t zone : batch.emptied_zones) {
    FAIRLEAD_RETURN_IF_ERROR(statements_.remove_left_zone.Bind(1, StrCat(kLeftZone, zone)).Run());
  }
  if (batch.taken_over) {
    FAIRLEAD_RETURN_IF_ERROR(SetMeta(StrCat(kTakenOver, batch.taken_over->id),
                                     batch.taken_over->keep ? kKept : kPurged));
  }
  if (batch.forgotten_controller) {
    for (Statement* remove : {&statements_.remove_controller, &statements_.remove_answers}) {
      FAIRLEAD_RETURN_IF_ERROR(remove->Bind(1, *batch.forgotten_controller).Run());
    }
  }
  if (batch.controller) {
    FAIRLEAD_RETURN_IF_ERROR(statements_.put_controller.Bind(1, batch.controller->id)
                                 .Bind(2, batch.controller->epoch)
                                 .Bind(3, batch.controller->revision)
                                 .Run());
  }
  if (batch.answer) {
    FAIRLEAD_RETURN_IF_ERROR(statements_.put_answer.Bind(1, batch.answer->controller)
                                 .Bind(2, batch.answer->request_id)
                                 .BindBlob(3, batch.answer->answer)
                                 .Run());
    FAIRLEAD_RETURN_IF_ERROR(statements_.prune_answers.Bind(1, batch.answer->controller)
                                 .Bind(2, uint64_t{kAnswersPerController})
                                 .Run());
  }
  return absl::OkStatus();
}

// SQLite goes on in a file that was removed, replaced or damaged, which the next start would not
// find, or not take.
absl::Status SqliteStore::CheckInPlace() {
  const auto lost = [this](std::string_view how) {
    return absl::DataLossError(
        StrCat("store ", db_.path(), ": the file was ", how, " while the agent has it open; ",
               "put it back, or start the agent again to go on with what is there now"));
  };
  int moved = 0;
  if (sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
      moved != 0) {
    return lost("removed or replaced");
  }
  sqlite3_file* file = nullptr;
  sqlite3_int64 size = 0;
  std::array<char, kFileHead.size()> head{};
  if (sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xFileSize(file, &size) != SQLITE_OK) {
    return absl::OkStatus();  // SQLite says itself what is wrong with it
  }
  if (size < size_seen_) return lost(StrCat("cut from ", size_seen_, " to ", size, " bytes"));
  if (file->pMethods->xRead(file, head.data(), head.size(), 0) == SQLITE_OK &&
      std::string_view(head.data(), head.size()) != kFileHead) {
    return lost("overwritten");
  }
  size_seen_ = size;
  return absl::OkStatus();
}

absl::Status SqliteStore::Commit(const StoreBatch& batch) {
  if (read_only_) return absl::FailedPreconditionError("the store was opened to be read");
  FAIRLEAD_RETURN_IF_ERROR(CheckInPlace());
  FAIRLEAD_RETURN_IF_ERROR(statements_.begin.Run());
  if (absl::Status status = Write(batch); !status.ok()) {
    Rollback();
    return status;
  }
  absl::Status status = statements_.commit.Run();
  if (!status.ok()) {
    Rollback();
    return Confirm(status);
  }
  ++commits_;
  return status;
}

absl::Status SqliteStore::Probe() {
  if (read_only_) return absl::FailedPreconditionError("the store was opened to be read");
  FAIRLEAD_RETURN_IF_ERROR(CheckInPlace());
  return CommitNothing();
}

// Some failures make SQLite roll back by itself.
void SqliteStore::Rollback() {
  if (sqlite3_get_autocommit(db_.get()) == 0) (void)statements_.rollback.Run();
}

// A COMMIT that failed at its very end, the sync of the journal that it has emptied, is in the file
// and may or may not survive a power cut. Another one after it, which does not fail, makes it sure.
absl::Status SqliteStore::Confirm(const absl::Status& failed) {
  const absl::StatusOr<uint64_t> commits = Meta(kCommits, 0, UINT64_MAX);
  if (commits.ok() && *commits == commits_) return failed;
  if (commits.ok()) {
    commits_ = *commits;
    if (CommitNothing().ok()) return absl::OkStatus();
  }
  return Annotate(failed, "it may have been stored nevertheless");
}

absl::Status SqliteStore::CommitNothing() {
  FAIRLEAD_RETURN_IF_ERROR(statements_.begin.Run());
  absl::Status status = SetMeta(kCommits, commits_ + 1);
  if (status.ok()) status = statements_.commit.Run();
  if (!status.ok()) {
    Rollback();
    return status;
  }
  ++commits_;
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const StoreOptions& options) {
  if (options.read_only) {
    FAIRLEAD_RETURN_IF_ERROR(CheckReadable(options.path));
  } else {
    FAIRLEAD_RETURN_IF_ERROR(MakeFile(options.path));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(Database db,
                            Database::Open(options.path, options.vfs, options.read_only));
  auto store = std::make_unique<SqliteStore>(std::move(db));
  FAIRLEAD_RETURN_IF_ERROR(store->Start(options));
  return store;
}

}  // namespace fairlead
