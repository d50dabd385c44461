// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sqlite.h"

#include <string.h>

#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {

absl::Status SqliteError(int code, std::string_view asked, std::string_view words) {
  absl::StatusCode status = absl::StatusCode::kInternal;
  std::string hint;
  switch (code & 0xff) {
    case SQLITE_FULL:
      status = absl::StatusCode::kUnavailable;
      hint = "; make room on the file system";
      break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      status = absl::StatusCode::kUnavailable;
      hint = "; does another agent or a sqlite3 shell have it open?";
      break;
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      status = absl::StatusCode::kUnavailable;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      status = absl::StatusCode::kDataLoss;
      break;
    default:
      break;
  }
  return PeerError(status, asked, StrCat(words, " (SQLite ", code, ")", hint));
}

absl::StatusOr<Database> Database::Open(const std::string& path, const std::string& vfs,
                                        bool read_only) {
  Database db;
  db.path_ = path;
  sqlite3* raw = nullptr;
  const int mode = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  const int code = sqlite3_open_v2(path.c_str(), &raw, mode | SQLITE_OPEN_NOMUTEX,
                                   vfs.empty() ? nullptr : vfs.c_str());
  db.db_.reset(raw);  // to be closed after a failure, too
  const std::string asked = StrCat("open the store ", path);
  if (raw == nullptr) return SqliteError(code, asked, sqlite3_errstr(code));
  if (code != SQLITE_OK) return db.Error(code, asked);
  sqlite3_extended_result_codes(raw, 1);
  return db;
}

absl::Status Database::Error(int code, std::string_view asked) const {
  std::string words = sqlite3_errmsg(db_.get());
  // SQLite keeps the errno of an older failure of these two kinds, too.
  const int kind = code & 0xff;
  const int err = sqlite3_system_errno(db_.get());
  if (err != 0 && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN)) {
    const char* name = strerrordesc_np(err);
    if (name != nullptr) StrAppend(&words, ": ", name);
  }
  return SqliteError(code, asked, words);
}

absl::Status Database::Execute(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return Error(code, StrCat("store ", path_, ": ", sql));
  return absl::OkStatus();
}

// Both step to the end: a statement that yields its row first and then fails to
// commit ("PRAGMA journal_mode = ...") did not do what the row says.
absl::StatusOr<int64_t> Database::Integer(const char* sql) {
  FAIRLEAD_ASSIGN_OR_RETURN(Statement statement, Statement::Prepare(*this, sql));
  FAIRLEAD_ASSIGN_OR_RETURN(bool row, statement.Step());
  const int64_t value = row ? static_cast<int64_t>(statement.Integer(0)) : 0;
  while (row) {
    FAIRLEAD_ASSIGN_OR_RETURN(row, statement.Step());
  }
  return value;
}

absl::StatusOr<std::string> Database::Text(const char* sql) {
  FAIRLEAD_ASSIGN_OR_RETURN(Statement statement, Statement::Prepare(*this, sql));
  FAIRLEAD_ASSIGN_OR_RETURN(bool row, statement.Step());
  std::string value = row ? statement.Bytes(0) : std::string();
  while (row) {
    FAIRLEAD_ASSIGN_OR_RETURN(row, statement.Step());
  }
  return value;
}

absl::StatusOr<Statement> Statement::Prepare(const Database& db, const char* sql) {
  Statement statement;
  statement.db_ = &db;
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(db.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  statement.statement_.reset(raw);
  if (code != SQLITE_OK) return db.Error(code, StrCat("store ", db.path(), ": ", sql));
  return statement;
}

Statement& Statement::Bind(int index, uint64_t value) {
  const int code = sqlite3_bind_int64(statement_.get(), index, static_cast<sqlite3_int64>(value));
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::Bind(int index, std::string_view text) {
  const int code = sqlite3_bind_text64(statement_.get(), index, text.empty() ? "" : text.data(),
                                       text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::BindBlob(int index, std::string_view bytes) {
  // An empty blob must not become NULL.
  const int code = sqlite3_bind_blob64(statement_.get(), index, bytes.empty() ? "" : bytes.data(),
                                       bytes.size(), SQLITE_TRANSIENT);
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  const int code = bind_error_ != SQLITE_OK ? bind_error_ : sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return db_->Error(code, StrCat("store ", db_->path(), ": ", sqlite3_sql(statement_.get())));
}

absl::Status Statement::Run() {
  const absl::StatusOr<bool> row = Step();
  Reset();
  return row.status();
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  bind_error_ = SQLITE_OK;
}

uint64_t Statement::Integer(int column) const {
  return static_cast<uint64_t>(sqlite3_column_int64(statement_.get(), column));
}

std::string_view Statement::View(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  if (data == nullptr || size <= 0) return "";
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

}  // namespace fairlead
