// SPDX-License-Identifier: Apache-2.0
//
// Purpose: SQLite's handles as owners that clean up, and its errors as Fairlead's.
//
// Threading: as the store that uses them; one thread at a time.
// Errors: see SqliteError. A Statement remembers the first failure of its binds
// and reports it at Step, so that a row reads as a list of values.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fairlead {

// `code` is an extended result code; `words` SQLite's own text. FULL, READONLY,
// IOERR, BUSY, LOCKED, CANTOPEN, PERM: kUnavailable. CORRUPT, NOTADB: kDataLoss.
// Else kInternal.
absl::Status SqliteError(int code, std::string_view asked, std::string_view words);

class Database {
 public:
  // The file must exist; `vfs` "" = the default.
  static absl::StatusOr<Database> Open(const std::string& path, const std::string& vfs,
                                       bool read_only);

  // One or several statements without results.
  absl::Status Execute(const char* sql);
  // First column of the first row of a statement without parameters.
  absl::StatusOr<int64_t> Integer(const char* sql);
  absl::StatusOr<std::string> Text(const char* sql);

  sqlite3* get() const { return db_.get(); }
  const std::string& path() const { return path_; }
  // The status of the call that just failed on this database.
  absl::Status Error(int code, std::string_view asked) const;

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
  std::string path_;
};

class Statement {
 public:
  Statement() = default;
  // Keeps a pointer to `db`, which must stay where it is.
  static absl::StatusOr<Statement> Prepare(const Database& db, const char* sql);

  // SQLite's integers are signed; an unsigned one keeps its 64 bits.
  Statement& Bind(int index, uint64_t value);
  Statement& Bind(int index, std::string_view text);
  Statement& BindBlob(int index, std::string_view bytes);

  // True: a row is there. False: done. Does not reset.
  absl::StatusOr<bool> Step();
  // Steps a statement that yields no rows, and makes it ready for the next use.
  absl::Status Run();
  // Makes it ready for the next use; forgets parameters.
  void Reset();

  uint64_t Integer(int column) const;
  // A view lives until the next Step or Reset.
  std::string_view View(int column) const;
  std::string Bytes(int column) const { return std::string(View(column)); }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  const Database* db_ = nullptr;
  int bind_error_ = SQLITE_OK;
};

}  // namespace fairlead
