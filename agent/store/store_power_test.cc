// SPDX-License-Identifier: Apache-2.0
//
// The promise "when Commit returns OK, the batch is on disk whole; on an error,
// none of it is", on a disk whose power goes at every possible moment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "agent/store/sqlite.h"
#include "agent/store/store.h"
#include "agent/store/test_contents.h"
#include "agent/store/volatile_vfs.h"

namespace fairlead {
namespace {

using Unsynced = VolatileDisk::Unsynced;

struct PowerCase {
  const char* name;
  Unsynced unsynced;
};

class StorePowerTest : public ::testing::TestWithParam<PowerCase> {
 protected:
  static constexpr size_t kBatches = 20;

  StorePowerTest() {
    char name[] = "/tmp/fairlead-power-XXXXXX";
    folder_ = ::mkdtemp(name);
    Random random(3);
    states_.emplace_back();
    for (uint32_t number = 0; number < kBatches; ++number) {
      batches_.push_back(RandomBatch(random, states_.back(), number));
      Expected next = states_.back();
      next.Apply(batches_.back());
      states_.push_back(std::move(next));
    }
  }
  ~StorePowerTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<Store>> Open(const VolatileDisk& disk) {
    return OpenSqliteStore({.path = folder_ / "state.db", .vfs = disk.vfs_name()});
  }

  struct Progress {
    bool opened = false;
    uint32_t id = 0;
    size_t acknowledged = 0;
    size_t tried = 0;
  };

  // Opens, commits all batches until the first error, and closes.
  void RunAll(const VolatileDisk& disk, Progress& progress) {
    auto store = Open(disk);
    if (!store.ok()) return;
    progress.opened = true;
    progress.id = (*store)->id();
    for (const StoreBatch& batch : batches_) {
      ++progress.tried;
      const absl::Status status = (*store)->Commit(batch);
      if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
        break;
      }
      ++progress.acknowledged;
    }
  }

  void ExpectWhole(const VolatileDisk& disk, const Progress& progress, const std::string& where) {
    auto store = Open(disk);
    ASSERT_TRUE(store.ok()) << where << ": " << store.status();
    if (progress.opened) {
      EXPECT_EQ((*store)->id(), progress.id) << where;
    }
    auto contents = (*store)->Load();
    ASSERT_TRUE(contents.ok()) << where << ": " << contents.status();
    const Expected found = Expected::From(*contents);
    EXPECT_TRUE(found == states_[progress.acknowledged] || found == states_[progress.tried])
        << where << ": neither the state after batch " << progress.acknowledged << " nor after "
        << progress.tried;
  }

  std::filesystem::path folder_;
  std::vector<StoreBatch> batches_;
  std::vector<Expected> states_;
};

TEST_P(StorePowerTest, WhatWasAcknowledgedSurvivesACutAtAnyOperation) {
  VolatileDisk disk;
  Progress progress;
  size_t cuts = 0;
  size_t in_flight = 0;
  disk.set_fault([&](DiskOp, uint64_t number) {
    if (HasFatalFailure()) return SQLITE_OK;  // one is enough to read
    ++cuts;
    if (progress.tried > progress.acknowledged) ++in_flight;
    const auto seed = static_cast<uint32_t>(number);
    auto cut = disk.AfterPowerCut(GetParam().unsynced, seed);
    // Every third time the power goes again while the journal is being rolled back.
    if (number % 3 == 0) {
      cut->set_fault([number](DiskOp, uint64_t again) {
        return again >= number % 7 ? SQLITE_IOERR : SQLITE_OK;
      });
      (void)Open(*cut);
      cut = cut->AfterPowerCut(GetParam().unsynced, seed + 1);
    }
    ExpectWhole(*cut, progress, StrCat("cut at operation ", number));
    return SQLITE_OK;
  });
  RunAll(disk, progress);
  EXPECT_EQ(progress.acknowledged, kBatches);
  EXPECT_GT(cuts, 10 * kBatches);
  EXPECT_GT(in_flight, cuts / 2);  // the cuts did hit commits
}

// A commit that was refused must not come back with the power either, so long as
// the disk worked again before it went.
TEST_P(StorePowerTest, WhatWasRefusedDoesNotComeBackAfterACut) {
  if (GetParam().unsynced == Unsynced::kLost) GTEST_SKIP() << "nothing unsynced can come back";
  size_t refused = 0;
  uint64_t broken = 0;
  batches_.resize(8);  // every one is run once per operation of all
  for (Progress all; all.acknowledged < batches_.size() && !HasFatalFailure(); ++broken) {
    VolatileDisk disk;
    disk.set_fault([broken](DiskOp op, uint64_t number) {
      if (number != broken) return SQLITE_OK;
      return op == DiskOp::kSync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
    });
    auto store = Open(disk);
    if (!store.ok()) continue;
    Progress progress{true, (*store)->id(), 0, 0};
    for (const StoreBatch& batch : batches_) {
      if (!(*store)->Commit(batch).ok()) {
        ++refused;
        break;
      }
      ++progress.acknowledged;
    }
    progress.tried = progress.acknowledged;
    // The power goes before the store is closed in order.
    const auto cut = disk.AfterPowerCut(GetParam().unsynced, static_cast<uint32_t>(broken));
    ExpectWhole(*cut, progress, StrCat("operation ", broken, " failed"));
    // Past the last operation that can fail.
    if (disk.operations() <= broken) all = progress;
  }
  EXPECT_GT(refused, broken / 3);
}

void PrintTo(const PowerCase& power_case, std::ostream* out) { *out << power_case.name; }

INSTANTIATE_TEST_SUITE_P(Disks, StorePowerTest,
                         ::testing::Values(PowerCase{"Lost", Unsynced::kLost},
                                           PowerCase{"Kept", Unsynced::kKept},
                                           PowerCase{"RandomSectors", Unsynced::kRandomSectors}),
                         [](const auto& info) { return std::string(info.param.name); });

class StoreDiskFullTest : public StorePowerTest {};

TEST_P(StoreDiskFullTest, AFullDiskRefusesAndTheSameStoreGoesOnWhenThereIsRoom) {
  VolatileDisk disk;
  auto store = Open(disk);
  ASSERT_TRUE(store.ok()) << store.status();
  for (size_t i = 0; i < kBatches; ++i) {
    disk.set_fault([](DiskOp op, uint64_t) {
      return op == DiskOp::kWrite || op == DiskOp::kCreate ? SQLITE_FULL : SQLITE_OK;
    });
    const absl::Status full = (*store)->Commit(batches_[i]);
    EXPECT_EQ(full.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(full.message()), ::testing::HasSubstr("full"));
    auto before = (*store)->Load();
    ASSERT_TRUE(before.ok()) << before.status();
    EXPECT_TRUE(Expected::From(*before) == states_[i]);
    disk.set_fault(nullptr);
    const absl::Status again = (*store)->Commit(batches_[i]);
    ASSERT_TRUE(again.ok()) << again;
  }
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_TRUE(Expected::From(*contents) == states_.back());
}

INSTANTIATE_TEST_SUITE_P(Disks, StoreDiskFullTest,
                         ::testing::Values(PowerCase{"Full", Unsynced::kLost}));

}  // namespace
}  // namespace fairlead
