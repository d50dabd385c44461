// SPDX-License-Identifier: Apache-2.0
#include "agent/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "agent/store/sqlite.h"
#include "agent/store/test_contents.h"

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    char name[] = "/tmp/fairlead-store-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = folder_ / "state.db";
  }
  ~StoreTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<Store>> Open() { return OpenSqliteStore({.path = path_}); }
  void Sql(const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  static StoreBatch OneVpc(const std::string& id, uint32_t ordinal) {
    StoreBatch batch;
    batch.change = Change{{{Vpc{id, *Vni::Make(ordinal)}, 1, ordinal}}, {}, ordinal + 1};
    return batch;
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(StoreTest, ANewStoreIsEmptyAndKeepsItsIdOverARestart) {
  uint32_t id = 0;
  {
    auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    id = (*store)->id();
    EXPECT_NE(id, 0U);
    auto contents = (*store)->Load();
    ASSERT_TRUE(contents.ok()) << contents.status();
    EXPECT_TRUE(Expected::From(*contents) == Expected());
  }
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->id(), id);
}

TEST_F(StoreTest, TheFileIsForItsOwnerOnlyWhateverTheUmask) {
  const mode_t before = ::umask(0);
  auto store = Open();
  ::umask(before);
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE((*store)->Commit(OneVpc("a", 1)).ok());
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_EQ(entry.status().permissions(), std::filesystem::perms(0600)) << entry.path();
  }
}

TEST_F(StoreTest, RandomBatchesAreReadBackAsTheyWereWritten) {
  Random random(7);
  Expected expected;
  for (uint32_t number = 0; number < 100;) {
    auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    for (int i = 0; i < 20; ++i, ++number) {
      const StoreBatch batch = RandomBatch(random, expected, number);
      const absl::Status status = (*store)->Commit(batch);
      ASSERT_TRUE(status.ok()) << status;
      expected.Apply(batch);
      auto contents = (*store)->Load();
      ASSERT_TRUE(contents.ok()) << contents.status();
      ASSERT_TRUE(Expected::From(*contents) == expected) << "after batch " << number;
    }
  }
}

TEST_F(StoreTest, NumbersAboveTheSignedRangeSurvive) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  StoreBatch batch;
  batch.controller = ControllerRecord{"c", UINT64_MAX, UINT64_MAX - 1};
  batch.next_lease = UINT64_MAX;
  ASSERT_TRUE((*store)->Commit(batch).ok());
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_EQ(contents->controllers.at(0), *batch.controller);
  EXPECT_EQ(contents->next_lease, UINT64_MAX);
}

TEST_F(StoreTest, AFileThatIsDamagedWhileItIsOpenTakesNothingMore) {
  for (const bool cut : {true, false}) {
    std::filesystem::remove(path_);
    auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->Commit(OneVpc("a", 1)).ok());
    if (cut) {
      std::filesystem::resize_file(path_, 100);
    } else {
      std::fstream(path_, std::ios::in | std::ios::out) << "something else altogether";
    }
    const absl::Status refused = (*store)->Commit(OneVpc("b", 2));
    EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
    EXPECT_THAT(refused.message(), ::testing::HasSubstr(cut ? "to 100 bytes" : "overwritten"));
  }
}

TEST_F(StoreTest, AChangeThatAKillCutShortIsTakenBack) {
  { ASSERT_TRUE((*Open())->Commit(OneVpc("a", 1)).ok()); }
  // As a kill leaves it: pages are in the file already, the journal has what they were.
  const std::string killed = path_ + "-killed";
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
  for (const char* sql :
       {"PRAGMA journal_mode = TRUNCATE", "PRAGMA cache_size = 2", "BEGIN",
        "UPDATE objects SET id = 'other'", "UPDATE meta SET value = 77 WHERE name = 'next_lease'",
        "INSERT INTO answers(controller, request_id, answer) VALUES('c', 'r', zeroblob(400000))"}) {
    ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  }
  std::filesystem::copy_file(path_, killed);
  std::filesystem::copy_file(path_ + "-journal", killed + "-journal");
  sqlite3_close(db);
  const auto content = [](const std::string& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  ASSERT_NE(content(killed), content(path_)) << "nothing of the change is in the file yet";
  path_ = killed;
  const std::string before = content(killed), journal = content(killed + "-journal");
  StoreOptions options;
  options.path = killed;
  options.read_only = true;
  const absl::Status refused = OpenSqliteStore(options).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("killed in the middle of a change"));
  EXPECT_EQ(content(killed), before);
  EXPECT_EQ(content(killed + "-journal"), journal);
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  const auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(std::get<Vpc>(contents->objects.at(0).object).id, "a");
  EXPECT_EQ(contents->next_lease, 1U);
  EXPECT_TRUE(contents->answers.empty());
}

TEST_F(StoreTest, ToReadChangesNothing) {
  StoreOptions options;
  options.path = path_;
  options.read_only = true;
  EXPECT_TRUE(absl::IsNotFound(OpenSqliteStore(options).status())) << "none is made";
  EXPECT_FALSE(std::filesystem::exists(path_));
  std::ofstream(path_).flush();
  EXPECT_TRUE(absl::IsNotFound(OpenSqliteStore(options).status())) << "an empty one stays so";
  EXPECT_EQ(std::filesystem::file_size(path_), 0U);
  {
    auto store = Open();
    ASSERT_TRUE((*store)->Commit(OneVpc("a", 1)).ok());
    EXPECT_TRUE(absl::IsUnavailable(OpenSqliteStore(options).status())) << "its agent runs";
  }
  const auto content = [this] {
    std::ifstream in(path_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string before = content();
  const auto files = [this] {
    const std::filesystem::directory_iterator all(folder_);
    return std::distance(begin(all), end(all));
  };
  const auto count = files();
  {
    auto store = OpenSqliteStore(options);
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ((*store)->Load()->objects.size(), 1U);
    EXPECT_FALSE((*store)->Commit(OneVpc("b", 2)).ok());
    EXPECT_FALSE((*store)->Probe().ok());
  }
  EXPECT_EQ(content(), before);
  EXPECT_EQ(files(), count);
}

TEST_F(StoreTest, AnEmptiedFileTakesNothingMore) {
  for (const int size : {0, 1}) {
    std::filesystem::remove(path_);
    auto store = Open();
    ASSERT_TRUE((*store)->Commit(OneVpc("a", 1)).ok());
    std::filesystem::resize_file(path_, static_cast<uintmax_t>(size));
    EXPECT_TRUE(absl::IsDataLoss((*store)->CheckInPlace())) << size;
    EXPECT_TRUE(absl::IsDataLoss((*store)->Commit(OneVpc("b", 2)))) << size;
    store = absl::UnknownError("closed");
  }
}

TEST_F(StoreTest, WhatAControllerSaidNeverGoesBack) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  const uint64_t high = uint64_t{1} << 63;
  const std::pair<uint64_t, uint64_t> said[] = {{7, 3},    {7, 2},        {6, 9},
                                                {8, 0},    {8, high},     {8, high - 1},
                                                {high, 1}, {high - 1, 5}, {high, 0}};
  std::pair<uint64_t, uint64_t> newest = {0, 0};
  for (const auto& [epoch, revision] : said) {
    StoreBatch batch;
    batch.controller = ControllerRecord{"c", epoch, revision};
    ASSERT_TRUE((*store)->Commit(batch).ok());
    newest = std::max(newest, {epoch, revision});
    const auto contents = (*store)->Load();
    ASSERT_TRUE(contents.ok());
    EXPECT_EQ(contents->controllers.at(0), (ControllerRecord{"c", newest.first, newest.second}))
        << "after epoch " << epoch << ", revision " << revision;
  }
}

TEST_F(StoreTest, AForgottenControllerIsGoneWithItsAnswersAndBeginsAnew) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  for (const char* id : {"gone", "stays"}) {
    StoreBatch batch;
    batch.controller = ControllerRecord{id, 7, 3};
    batch.answer = AnswerRecord{id, "r", "yes"};
    ASSERT_TRUE((*store)->Commit(batch).ok());
  }
  StoreBatch forget;
  forget.forgotten_controller = "gone";
  forget.controller = ControllerRecord{"operator"};
  forget.answer = AnswerRecord{"operator", "r", "forgotten"};
  ASSERT_TRUE((*store)->Commit(forget).ok());
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_THAT(contents->controllers,
              ::testing::ElementsAre(*forget.controller, ControllerRecord{"stays", 7, 3}));
  EXPECT_THAT(contents->answers,
              ::testing::ElementsAre(AnswerRecord{"stays", "r", "yes"}, *forget.answer));
  StoreBatch again;
  again.controller = ControllerRecord{"gone", 1, 0};
  ASSERT_TRUE((*store)->Commit(again).ok());
  contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_EQ(contents->controllers.front(), *again.controller);
}

TEST_F(StoreTest, AnOrdinalMayPassToAnotherObjectWithinOneChange) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE((*store)->Commit(OneVpc("a", 1)).ok());
  StoreBatch batch = OneVpc("b", 1);
  batch.change->removes = {{ObjectKind::kVpc, "a"}};
  const absl::Status status = (*store)->Commit(batch);
  EXPECT_TRUE(status.ok()) << status;
}

// A zone that no VPC has any more is nobody else's before it was emptied, over restarts too.
TEST_F(StoreTest, AConntrackZoneThatIsLeftIsRememberedUntilItWasEmptied) {
  StoreBatch batch = OneVpc("a", 1);
  std::get<Vpc>(batch.change->upserts[0].object).ct_zone = kFirstCtZone;
  batch.change->left_zones = {kFirstCtZone + 1, kFirstCtZone + 2};
  ASSERT_TRUE((*Open())->Commit(batch).ok());
  {
    auto store = Open();
    const auto contents = (*store)->Load();
    ASSERT_TRUE(contents.ok()) << contents.status();
    EXPECT_EQ(std::get<Vpc>(contents->objects.at(0).object).ct_zone, kFirstCtZone);
    EXPECT_EQ(contents->left_zones, (std::set<uint16_t>{kFirstCtZone + 1, kFirstCtZone + 2}));
    StoreBatch emptied;
    emptied.emptied_zones = {kFirstCtZone + 1};
    ASSERT_TRUE((*store)->Commit(emptied).ok());
  }
  EXPECT_EQ((*Open())->Load()->left_zones, std::set<uint16_t>{kFirstCtZone + 2});
}

TEST_F(StoreTest, TheNewestAnswersOfEachControllerAreKept) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  StoreBatch other;
  other.answer = AnswerRecord{"quiet", "r", "old"};
  ASSERT_TRUE((*store)->Commit(other).ok());
  for (size_t i = 0; i < kAnswersPerController + 10; ++i) {
    StoreBatch batch;
    batch.answer = AnswerRecord{"busy", StrCat("r", i), std::string("\0x", 2)};
    ASSERT_TRUE((*store)->Commit(batch).ok());
  }
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  ASSERT_EQ(contents->answers.size(), kAnswersPerController + 1);
  EXPECT_EQ(contents->answers.front(), *other.answer);
  EXPECT_EQ(contents->answers[1].request_id, "r10");
  EXPECT_EQ(contents->answers[1].answer, std::string("\0x", 2));
  EXPECT_EQ(contents->answers.back().request_id, StrCat("r", kAnswersPerController + 9));
}

TEST_F(StoreTest, WhatCouldNotBeReadBackIsNotStored) {
  auto store = Open();
  ASSERT_TRUE(store.ok());
  StoreBatch batch = OneVpc("a", 1);
  batch.change->upserts.push_back({Vpc{"../b", Vni()}, 1, 2});
  const absl::Status status = (*store)->Commit(batch);
  EXPECT_THAT(std::string(status.message()), HasSubstr("refuse to store vpc/../b"));
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_TRUE(contents->objects.empty());
}

TEST_F(StoreTest, ASecondAgentIsRefused) {
  auto first = Open();
  ASSERT_TRUE(first.ok());
  auto second = Open();
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another agent"));
}

TEST_F(StoreTest, AnotherSchemaIsRefusedAndLeftAlone) {
  uint32_t id = 0;
  {
    auto store = Open();
    ASSERT_TRUE(store.ok());
    id = (*store)->id();
    ASSERT_TRUE((*store)->Commit(OneVpc("web", 1)).ok());
  }
  const auto refusal = [&](const char* version) {
    Sql(version);
    const absl::Status status = Open().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal("PRAGMA user_version = 5"),
              AllOf(HasSubstr("schema version 5"), HasSubstr("install a newer agent")));
  for (const char* version : {"PRAGMA user_version = 3", "PRAGMA user_version = 1"}) {
    EXPECT_THAT(refusal(version),
                AllOf(HasSubstr("install the agent that wrote it"), HasSubstr("adopt")));
  }
  Sql("PRAGMA user_version = 4");
  auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->id(), id);
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok());
  EXPECT_EQ(contents->objects.size(), 1U);
}

TEST_F(StoreTest, ADamagedRecordOfAVfIsNamed) {
  Random random(12);
  {
    auto store = Open();
    ASSERT_TRUE(store.ok());
    StoreBatch batch;
    batch.sanitation.push_back(RandomSanitation(random, 3));
    ASSERT_TRUE((*store)->Commit(batch).ok());
  }
  Sql("UPDATE sanitation SET body = x''");
  auto store = Open();
  ASSERT_TRUE(store.ok());
  const absl::Status status = (*store)->Load().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("record of VF 52:54:00:00:00:01/3"));
}

TEST_F(StoreTest, SomebodyElsesDatabaseIsRefusedAndLeftAlone) {
  Sql("CREATE TABLE theirs(x); PRAGMA journal_mode = DELETE");
  auto store = Open();
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("is not Fairlead's"));
  EXPECT_FALSE(std::filesystem::exists(path_ + "-journal"));
}

TEST_F(StoreTest, AFileThatIsNoDatabaseIsDataLoss) {
  std::ofstream(path_) << std::string(5000, 'x');
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(StoreTest, DamagedPagesAreFoundAtOpen) {
  {
    auto store = Open();
    ASSERT_TRUE(store.ok());
    for (uint32_t i = 1; i < 300; ++i) {
      ASSERT_TRUE((*store)->Commit(OneVpc(StrCat("vpc-", i), i)).ok());
    }
  }
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);  // all pages but the first, which holds schema and header
  const auto size = std::filesystem::file_size(path_);
  file << std::string(size - 4096, '\xee');
  file.close();
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST_F(StoreTest, ADamagedObjectIsNamed) {
  {
    auto store = Open();
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->Commit(OneVpc("web", 1)).ok());
  }
  Sql("UPDATE objects SET body = x'0800'");
  auto store = Open();
  ASSERT_TRUE(store.ok());
  const absl::Status status = (*store)->Load().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("vpc/web has 'vni' = 0"));
}

TEST_F(StoreTest, WhereThereIsNoJournalThereIsNoStore) {
  path_ = ":memory:";  // SQLite keeps its journal in memory, too
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  const absl::Status status = Open().status();
  std::filesystem::current_path(before);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'memory'"));
}

TEST_F(StoreTest, AMissingFolderIsSaid) {
  path_ = folder_ / "no" / "state.db";
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("its folder must exist"));
}

TEST(SqliteErrors, HaveTheClassThatTheCallerActsOn) {
  EXPECT_EQ(SqliteError(SQLITE_FULL, "a", "w").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SqliteError(SQLITE_IOERR_FSYNC, "a", "w").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SqliteError(SQLITE_READONLY, "a", "w").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SqliteError(SQLITE_BUSY, "a", "w").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SqliteError(SQLITE_CORRUPT_INDEX, "a", "w").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(SqliteError(SQLITE_NOTADB, "a", "w").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(SqliteError(SQLITE_CONSTRAINT, "a", "w").code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace fairlead
