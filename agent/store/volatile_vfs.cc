// SPDX-License-Identifier: Apache-2.0
#include "agent/store/volatile_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

namespace fairlead {
namespace {

constexpr size_t kSector = 512;

struct PendingWrite {
  bool truncate = false;
  size_t offset = 0;  // or the new size
  std::string bytes;
};

struct Node {
  std::string now;
  std::string durable;
  std::vector<PendingWrite> pending;
};

using Folder = std::map<std::string, std::shared_ptr<Node>>;

void Apply(std::string& content, const PendingWrite& write) {
  if (write.truncate) {
    content.resize(write.offset);
    return;
  }
  if (content.size() < write.offset + write.bytes.size()) {
    content.resize(write.offset + write.bytes.size());
  }
  content.replace(write.offset, write.bytes.size(), write.bytes);
}

std::vector<PendingWrite> InSectors(const PendingWrite& write) {
  if (write.truncate) return {write};
  std::vector<PendingWrite> parts;
  for (size_t at = 0; at < write.bytes.size();) {
    const size_t offset = write.offset + at;
    const size_t length = std::min(write.bytes.size() - at, kSector - offset % kSector);
    parts.push_back({false, offset, write.bytes.substr(at, length)});
    at += length;
  }
  return parts;
}

}  // namespace

struct VolatileDisk::Impl {
  std::string name;
  sqlite3_vfs vfs{};
  sqlite3_vfs* base = nullptr;
  Folder now;
  Folder durable;
  Fault fault;
  uint64_t operations = 0;

  int Ask(DiskOp op) {
    const uint64_t number = operations++;
    return fault ? fault(op, number) : SQLITE_OK;
  }
};

struct VolatileDiskAccess {
  using Impl = VolatileDisk::Impl;

  // SQLite allocates szOsFile bytes and zeroes them; xClose ends the object.
  struct File {
    sqlite3_file base;
    Impl* disk;
    std::shared_ptr<Node>* node;
    bool sync_folder;  // at its first sync, as os_unix.c does for logs and journals
  };

  static File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
  static Impl* Of(sqlite3_vfs* vfs) { return static_cast<Impl*>(vfs->pAppData); }

  static int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* out, int flags,
                  int* out_flags) {
    Impl* disk = Of(vfs);
    out->pMethods = nullptr;
    if (path == nullptr) return SQLITE_CANTOPEN;  // no temporary files: temp_store is not used
    const auto it = disk->now.find(path);
    const bool create = it == disk->now.end();
    std::shared_ptr<Node> node = create ? std::make_shared<Node>() : it->second;
    if (create) {
      if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        disk->durable[path] = node;  // see the header
      } else if ((flags & SQLITE_OPEN_CREATE) == 0) {
        return SQLITE_CANTOPEN;
      } else if (const int code = disk->Ask(DiskOp::kCreate); code != SQLITE_OK) {
        return code;
      }
      disk->now[path] = node;
    }
    File* file = Of(out);
    file->disk = disk;
    file->node = new std::shared_ptr<Node>(std::move(node));
    file->sync_folder = create;
    file->base.pMethods = &kMethods;
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }

  static int Close(sqlite3_file* file) {
    delete Of(file)->node;
    Of(file)->node = nullptr;
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
    const std::string& bytes = (*Of(file)->node)->now;
    const size_t start = std::min(bytes.size(), static_cast<size_t>(offset));
    const size_t length = std::min(bytes.size() - start, static_cast<size_t>(amount));
    std::memset(out, 0, static_cast<size_t>(amount));
    std::memcpy(out, bytes.data() + start, length);
    return length == static_cast<size_t>(amount) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static int Write(sqlite3_file* file, const void* data, int amount, sqlite3_int64 offset) {
    if (const int code = Of(file)->disk->Ask(DiskOp::kWrite); code != SQLITE_OK) return code;
    PendingWrite write{false, static_cast<size_t>(offset),
                       std::string(static_cast<const char*>(data), static_cast<size_t>(amount))};
    Apply((*Of(file)->node)->now, write);
    (*Of(file)->node)->pending.push_back(std::move(write));
    return SQLITE_OK;
  }

  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (const int code = Of(file)->disk->Ask(DiskOp::kTruncate); code != SQLITE_OK) return code;
    PendingWrite write{true, static_cast<size_t>(size), ""};
    Apply((*Of(file)->node)->now, write);
    (*Of(file)->node)->pending.push_back(std::move(write));
    return SQLITE_OK;
  }

  static int Sync(sqlite3_file* file, int) {
    if (const int code = Of(file)->disk->Ask(DiskOp::kSync); code != SQLITE_OK) return code;
    Node& node = **Of(file)->node;
    node.durable = node.now;
    node.pending.clear();
    if (Of(file)->sync_folder) Of(file)->disk->durable = Of(file)->disk->now;
    Of(file)->sync_folder = false;
    return SQLITE_OK;
  }

  static int Size(sqlite3_file* file, sqlite3_int64* size) {
    *size = static_cast<sqlite3_int64>((*Of(file)->node)->now.size());
    return SQLITE_OK;
  }

  // One connection at a time; that two exclude each other is tested on real files.
  static int Lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int CheckLock(sqlite3_file*, int* reserved) {
    *reserved = 0;
    return SQLITE_OK;
  }
  static int Control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  // What SQLite assumes of a Linux disk (os_unix.c).
  static int SectorSize(sqlite3_file*) { return 4096; }
  static int Characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int Delete(sqlite3_vfs* vfs, const char* path, int sync_folder) {
    Impl* disk = Of(vfs);
    if (!disk->now.contains(path)) return SQLITE_IOERR_DELETE_NOENT;
    if (const int code = disk->Ask(DiskOp::kDelete); code != SQLITE_OK) return code;
    disk->now.erase(path);
    if (sync_folder != 0) disk->durable = disk->now;
    return SQLITE_OK;
  }

  static int Access(sqlite3_vfs* vfs, const char* path, int flags, int* result) {
    const auto it = Of(vfs)->now.find(path);
    const bool there = it != Of(vfs)->now.end();
    // SQLite does not count an empty journal as there (os_unix.c, unixAccess).
    *result = there && (flags != SQLITE_ACCESS_EXISTS || !it->second->now.empty()) ? 1 : 0;
    return SQLITE_OK;
  }

  static int FullPath(sqlite3_vfs*, const char* path, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", path);
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs* vfs, int size, char* out) {
    return Of(vfs)->base->xRandomness(Of(vfs)->base, size, out);
  }
  static int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int Time(sqlite3_vfs* vfs, double* out) {
    return Of(vfs)->base->xCurrentTime(Of(vfs)->base, out);
  }
  static int LastError(sqlite3_vfs*, int, char*) { return 0; }

  static const sqlite3_io_methods kMethods;
};

// Version 1: no shared memory.
const sqlite3_io_methods VolatileDiskAccess::kMethods = {
    1,       Close,     Read,    Write,      Truncate,        Sync,    Size,    Lock,
    Lock,    CheckLock, Control, SectorSize, Characteristics, nullptr, nullptr, nullptr,
    nullptr, nullptr,   nullptr};

VolatileDisk::VolatileDisk() : impl_(std::make_unique<Impl>()) {
  static std::atomic<int> count{0};  // VFS names are SQLite's, process-wide
  impl_->name = "volatile-" + std::to_string(count++);
  impl_->base = sqlite3_vfs_find(nullptr);
  sqlite3_vfs& vfs = impl_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(VolatileDiskAccess::File);
  vfs.mxPathname = 1024;
  vfs.zName = impl_->name.c_str();
  vfs.pAppData = impl_.get();
  vfs.xOpen = VolatileDiskAccess::Open;
  vfs.xDelete = VolatileDiskAccess::Delete;
  vfs.xAccess = VolatileDiskAccess::Access;
  vfs.xFullPathname = VolatileDiskAccess::FullPath;
  vfs.xRandomness = VolatileDiskAccess::Randomness;
  vfs.xSleep = VolatileDiskAccess::Sleep;
  vfs.xCurrentTime = VolatileDiskAccess::Time;
  vfs.xGetLastError = VolatileDiskAccess::LastError;
  sqlite3_vfs_register(&vfs, 0);
}

VolatileDisk::~VolatileDisk() { sqlite3_vfs_unregister(&impl_->vfs); }

const std::string& VolatileDisk::vfs_name() const { return impl_->name; }
void VolatileDisk::set_fault(Fault fault) { impl_->fault = std::move(fault); }
uint64_t VolatileDisk::operations() const { return impl_->operations; }

std::unique_ptr<VolatileDisk> VolatileDisk::AfterPowerCut(Unsynced unsynced, uint32_t seed) const {
  std::mt19937 random(seed);
  const auto survives = [&] {
    switch (unsynced) {
      case Unsynced::kLost:
        return false;
      case Unsynced::kKept:
        return true;
      case Unsynced::kRandomSectors:
        break;
    }
    return (random() & 1U) != 0;
  };
  auto cut = std::make_unique<VolatileDisk>();
  const auto keep = [&](const std::string& path, const Node& node) {
    auto after = std::make_shared<Node>();
    after->durable = node.durable;
    for (const PendingWrite& write : node.pending) {
      for (const PendingWrite& part : InSectors(write)) {
        if (survives()) Apply(after->durable, part);
      }
    }
    after->now = after->durable;
    cut->impl_->now[path] = after;
  };
  // A name that was made or removed since the folder's last sync goes either way.
  for (const auto& [path, node] : impl_->durable) {
    const auto it = impl_->now.find(path);
    if (it != impl_->now.end() && (it->second == node || survives())) {
      keep(path, *it->second);
    } else if (it != impl_->now.end() || !survives()) {
      keep(path, *node);
    }
  }
  for (const auto& [path, node] : impl_->now) {
    if (!impl_->durable.contains(path) && survives()) keep(path, *node);
  }
  cut->impl_->durable = cut->impl_->now;
  return cut;
}

}  // namespace fairlead
