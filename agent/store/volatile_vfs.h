// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: a disk in memory, offered to SQLite as a VFS, whose
// power can be cut. What was written and not synced may be lost, whole, in part,
// or not at all; what was synced is never lost. Names behave as SQLite on Linux
// treats them (os_unix.c): the first sync of a log or journal that was just made
// syncs the folder, too; a removal is durable with the next sync of the folder.
// The main database file's entry is durable from the start, because
// OpenSqliteStore makes the file, and syncs the folder, itself.
//
// No shared memory: the store locks its file alone and keeps the index of its log
// on the heap.
//
// Threading: one thread. Ownership: the disk must outlive every connection.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace fairlead {

enum class DiskOp : uint8_t { kCreate, kWrite, kTruncate, kSync, kDelete };

class VolatileDisk {
 public:
  VolatileDisk();
  ~VolatileDisk();
  VolatileDisk(const VolatileDisk&) = delete;
  VolatileDisk& operator=(const VolatileDisk&) = delete;

  // For StoreOptions::vfs.
  const std::string& vfs_name() const;

  // Asked before each operation that changes the disk, with its number (0, 1, ..
  // since the disk was made); a result other than SQLITE_OK is what SQLite gets
  // instead, and nothing is changed.
  using Fault = std::function<int(DiskOp op, uint64_t number)>;
  void set_fault(Fault fault);
  uint64_t operations() const;

  // What becomes of the writes that no sync has covered.
  enum class Unsynced { kLost, kKept, kRandomSectors };
  // The disk as it would be if the power went now and came back; it has no fault.
  // `seed` is for kRandomSectors: each 512-byte sector of each unsynced write, in
  // order, is kept or lost. May be called by the Fault, and while connections are
  // open: this disk does not change.
  std::unique_ptr<VolatileDisk> AfterPowerCut(Unsynced unsynced, uint32_t seed = 0) const;

 private:
  struct Impl;
  friend struct VolatileDiskAccess;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead
