// SPDX-License-Identifier: Apache-2.0
//
// The whole agent on the fakes, its store on a disk whose power goes: an accepted
// intent survives, a refused one was never there.
#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "agent/store/volatile_vfs.h"
#include "tests/integration/agent_fixture.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Unsynced = VolatileDisk::Unsynced;

class DurabilityTest : public AgentTest {
 protected:
  DurabilityTest() : usual_(sqlite3_vfs_find(nullptr)) {
    disk_ = std::make_unique<VolatileDisk>();
    disk_->set_fault([this](DiskOp op, uint64_t) {
      if (cut_ && after_ == nullptr) after_ = disk_->AfterPowerCut(unsynced_);
      while (op == DiskOp::kSync && hangs_) std::this_thread::sleep_for(milliseconds(1));
      return op == DiskOp::kSync && fail_sync_.exchange(false) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    });
    Use(*disk_);
  }
  void TearDown() override {
    AgentTest::TearDown();  // before its disks
    sqlite3_vfs_register(usual_, /*makeDflt=*/1);
  }

  // The agent's store names no VFS: SQLite's default one is the disk.
  static void Use(const VolatileDisk& disk) {
    sqlite3_vfs_register(sqlite3_vfs_find(disk.vfs_name().c_str()), /*makeDflt=*/1);
  }
  // The power goes before the next operation on the disk. The agent starts again on
  // what is left then.
  void CutThePower(Unsynced unsynced) {
    unsynced_ = unsynced;
    cut_ = true;
    host->Stop();
    if (after_ == nullptr) after_ = disk_->AfterPowerCut(unsynced);
    Use(*after_);
    host->Start();
  }

  sqlite3_vfs* usual_;
  std::unique_ptr<VolatileDisk> disk_, after_;
  std::atomic<bool> cut_ = false, fail_sync_ = false, hangs_ = false;
  Unsynced unsynced_ = Unsynced::kLost;
};

TEST_F(DurabilityTest, AnAcceptedAttachSurvivesAPowerCut) {
  Begin();
  Quiet();
  // Its VM is not there yet, so that nothing but the acceptance is written.
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_request_id("once");
  const v1::Reply accepted = host->Send(request);
  ASSERT_TRUE(accepted.has_accepted()) << accepted.ShortDebugString();
  CutThePower(Unsynced::kLost);
  EXPECT_TRUE(host->PortStatus("a-red"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VM, "a"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VPC, "blue"));
  EXPECT_EQ(host->Send(request).SerializeAsString(), accepted.SerializeAsString())
      << "so does the answer";
  host->AddVm("a");
  EXPECT_EQ(host->WaitReady("a-red").generation(), 1U);
}

TEST_F(DurabilityTest, AnAcceptedRemovalSurvivesAPowerCut) {
  Begin();
  Quiet();
  host->Attach("a", "red", "10.0.0.5");  // its VM is not there
  host->WaitFailed("a-red");
  host->Detach("a", "red");
  CutThePower(Unsynced::kLost);
  EXPECT_FALSE(host->PortStatus("a-red"));
  EXPECT_FALSE(host->Status(v1::OBJECT_KIND_VM, "a"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VPC, "red")) << "nothing but that is gone";
}

// alcor: errors of the host came back as "your intent is wrong".
TEST_F(DurabilityTest, WhatTheDiskDoesNotTakeIsRefusedAndChangesNothing) {
  Begin();
  const std::string before = Quiet();
  v1::Request request = host->AddVmRequest("a", "red", "10.0.0.5");
  request.set_request_id("once");
  fail_sync_ = true;
  const v1::Reply refused = host->Send(request);
  ASSERT_EQ(refused.rejected().violations_size(), 1) << refused.ShortDebugString();
  EXPECT_EQ(refused.rejected().violations(0).code(), v1::Rejected::CODE_STORE);
  EXPECT_THAT(refused.rejected().violations(0).reason(), HasSubstr("nothing was changed"));
  EXPECT_FALSE(fail_sync_);
  EXPECT_NE(host->Host().store_problem(), "") << "the host says so too";
  EXPECT_FALSE(host->PortStatus("a-red"));
  EXPECT_FALSE(host->Status(v1::OBJECT_KIND_VM, "a"));
  EXPECT_EQ(host->Leftovers(), before);
  // Nor does it come back with the power.
  CutThePower(Unsynced::kKept);
  EXPECT_FALSE(host->PortStatus("a-red"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VPC, "red"));
  host->AddVm("a");
  ASSERT_TRUE(host->Send(request).has_accepted()) << "a refusal is not remembered";
  host->WaitReady("a-red");
  EXPECT_EQ(host->Host().store_problem(), "");
}

// A disk whose fsync does not come back for a while is no disk that failed.
TEST_F(DurabilityTest, WhileTheDiskHangsChangesAreRefusedAndTheOneInItIsAnsweredAfterwards) {
  Begin();
  Quiet();
  const auto other = Client::Connect(host->config.server.requests);
  ASSERT_TRUE(other.ok()) << other.status();
  hangs_ = true;
  v1::Request first = host->AddVmRequest("a", "red", "10.0.0.5");
  first.set_protocol_version(1);
  first.set_controller_id("other");
  first.set_request_id("first");
  auto answer = std::async(std::launch::async, [&] {
    return (*other)->Call(first.SerializeAsString(), milliseconds(60'000));
  });
  host->WaitUntil("it is said", [&] {
    return host->Host().store_problem().find("has not answered") != std::string::npos;
  });
  const v1::Reply refused = host->Send(host->AddVmRequest("b", "red", "10.0.0.6"));
  ASSERT_EQ(refused.rejected().violations_size(), 1) << refused.ShortDebugString();
  EXPECT_EQ(refused.rejected().violations(0).code(), v1::Rejected::CODE_STORE);
  EXPECT_THAT(refused.rejected().violations(0).reason(), HasSubstr("does not answer"));
  EXPECT_TRUE(host->Status(v1::OBJECT_KIND_VPC, "red")) << "what is known can be read";
  hangs_ = false;
  const absl::StatusOr<std::string> late = answer.get();
  ASSERT_TRUE(late.ok()) << late.status();
  v1::Reply reply;
  ASSERT_TRUE(reply.ParseFromString(*late));
  EXPECT_TRUE(reply.has_accepted()) << reply.ShortDebugString();
  EXPECT_TRUE(host->PortStatus("a-red"));
  host->WaitUntil("it takes changes again", [&] {
    return host->Send(host->AddVmRequest("b", "red", "10.0.0.6")).has_accepted();
  });
  EXPECT_EQ(host->Host().store_problem(), "");
}

// On a real disk, where files can go.
class ReplacedStoreTest : public AgentTest {};

TEST_F(ReplacedStoreTest, AFileThatIsNotThereAnyMoreIsSaidBeforeAChangeIsRefused) {
  Begin();
  const std::string path = host->config.state_dir + "/store.sqlite";
  std::filesystem::rename(path, path + ".away");
  host->WaitUntil("it is said", [&] {
    return host->Host().store_problem().find("removed or replaced") != std::string::npos;
  });
  std::filesystem::rename(path + ".away", path);
  host->WaitUntil("all is well", [&] { return host->Host().store_problem().empty(); });
}

TEST_F(ReplacedStoreTest, WhatWouldGoIntoAFileThatIsNotThereAnyMoreIsRefused) {
  Begin();
  const std::string path = host->config.state_dir + "/store.sqlite";
  std::filesystem::rename(path, path + ".away");
  const v1::Reply refused = host->Send(host->AddVmRequest("a", "red", "10.0.0.5"));
  ASSERT_EQ(refused.rejected().violations_size(), 1) << refused.ShortDebugString();
  EXPECT_EQ(refused.rejected().violations(0).code(), v1::Rejected::CODE_STORE);
  EXPECT_THAT(refused.rejected().violations(0).reason(), HasSubstr("removed or replaced"));
  std::filesystem::rename(path + ".away", path);
  Attached("a", "red", "10.0.0.5");
}

}  // namespace
}  // namespace fairlead
