// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/stepped_host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "agent/base/text.h"
#include "agent/ports/fault/fault_calls.h"
#include "agent/ports/rtnetlink/fake_rtnetlink_port.h"
#include "agent/ports/tc/fake_tc_port.h"

namespace fairlead {
namespace {

class FaultyStore final : public Store {
 public:
  using OnCommitted = std::function<void(const StoreBatch&)>;
  FaultyStore(std::unique_ptr<Store> store, FaultPlan* plan, OnCommitted on_committed)
      : store_(std::move(store)), calls_("store", plan), on_committed_(std::move(on_committed)) {}
  uint32_t id() const override { return store_->id(); }
  absl::StatusOr<StoreContents> Load() override { return store_->Load(); }
  absl::Status Commit(const StoreBatch& batch) override {
    return calls_.Change("Commit", "", [&] {
      absl::Status status = store_->Commit(batch);
      if (status.ok()) on_committed_(batch);
      return status;
    });
  }
  absl::Status CheckInPlace() override { return store_->CheckInPlace(); }
  absl::Status Probe() override { return store_->Probe(); }

 private:
  std::unique_ptr<Store> store_;
  FaultCalls calls_;
  OnCommitted on_committed_;
};

}  // namespace

void SteppedHost::OnCommitted(const StoreBatch& batch) {
  for (const VfId& vf : batch.released) {
    if (vf.pf.is_hotplug_port()) continue;  // whoever brought it has to know
    const bool recorded = std::any_of(batch.sanitation.begin(), batch.sanitation.end(),
                                      [&](const SanitationRecord& r) { return r.vf == vf; });
    EXPECT_TRUE(recorded || !begun_.contains(leases_[vf])) << vf.ToString() << " has no record";
  }
  for (const SanitationRecord& record : batch.sanitation) records_[record.vf] = record;
  for (const Attachment& attachment : batch.attachments) {
    const auto record = records_.find(attachment.vf);
    EXPECT_TRUE(record == records_.end() || record->second.verdict != Verdict::kQuarantined)
        << attachment.vf.ToString() << " is quarantined and port " << attachment.port << " has it";
    leases_[attachment.vf] = attachment.lease;
    if (attachment.phase == AttachmentPhase::kReady ||
        attachment.phase == AttachmentPhase::kRollingBack) {
      begun_.insert(attachment.lease);
    }
  }
}

absl::Status SteppedHost::Watch::Before(const PortCall& call) {
  if (call.changes) changes.push_back(call.ToString());
  return plan == nullptr ? absl::OkStatus() : plan->Before(call);
}

absl::Status SteppedHost::Watch::After(const PortCall& call) {
  return plan == nullptr ? absl::OkStatus() : plan->After(call);
}

SteppedHost::SteppedHost(SteppedHostOptions options)
    : FakeMachine(options.machine, FakeQmpPort::Delivery::kCallingThread),
      options_(std::move(options)),
      faulty_(ports(), &watch_) {
  config.providers.group_close_patience = std::chrono::milliseconds(0);  // it really waits
}

SteppedHost::~SteppedHost() {
  core_.reset();
  scheduler_.reset();
}

void SteppedHost::Start() {
  ASSERT_FALSE(running());
  kill_soon_ = false;
  scheduler_ = std::make_unique<SteppedScheduler>(&clock_, options_.choose, options_.hold);
  auto store = OpenSqliteStore({StrCat(config.state_dir, "/store.sqlite"), disk_->vfs_name()});
  ASSERT_TRUE(store.ok()) << store.status();
  if (stores_.empty() || stores_.back() != (*store)->id()) stores_.push_back((*store)->id());
  auto contents = (*store)->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  auto core = Core::Start(
      scheduler_.get(), &clock_, config, faulty_.ports(),
      std::make_unique<FaultyStore>(*std::move(store), &watch_,
                                    [this](const StoreBatch& batch) { OnCommitted(batch); }),
      *std::move(contents), [](const std::string&, const std::string&) {});
  ASSERT_TRUE(core.ok()) << core.status();
  core_ = *std::move(core);
}

void SteppedHost::Kill() {
  // What was written is there, synced or not: the power stays on. What closing the store would
  // write is not.
  std::unique_ptr<VolatileDisk> left = disk_->AfterPowerCut(VolatileDisk::Unsynced::kKept);
  core_.reset();
  scheduler_.reset();
  disk_ = std::move(left);
}

void SteppedHost::LoseStore() {
  if (running()) Kill();
  disk_ = std::make_unique<VolatileDisk>();
  records_.clear();
  leases_.clear();
  begun_.clear();
}

std::string SteppedHost::StoreId(size_t ago) const {
  return absl::StrFormat("%08x", stores_.at(stores_.size() - 1 - ago));
}

// As the kernel: a VM that has a function holds its VFIO group open.
void SteppedHost::VmsHoldGroups() {
  std::set<std::string> held;
  for (const auto& [id, vm] : vms()) {
    for (const QmpDevice& device : vm->devices()) held.insert(device.host);
  }
  if (held == held_) return;
  std::set<std::string> changed;
  std::set_symmetric_difference(held.begin(), held.end(), held_.begin(), held_.end(),
                                std::inserter(changed, changed.end()));
  for (const std::string& host : changed) {
    const absl::StatusOr<PciAddress> address = PciAddress::Parse(host);
    const std::optional<PciDevice> function = address.ok() ? pci.Find(*address) : std::nullopt;
    if (function && function->iommu_group) {
      pci.SetGroupOpen(*function->iommu_group, held.contains(host));
    }
  }
  held_ = std::move(held);
}

bool SteppedHost::Step() {
  VmsHoldGroups();
  if (kill_soon_) Kill();
  return running() && scheduler_->Step();
}

void SteppedHost::RunFor(std::chrono::milliseconds time) {
  const auto until = clock_.Now() + time;
  while (true) {
    while (Step()) {
    }
    if (kill_soon_) Kill();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock_.Now());
    if (!running() || left.count() <= 0) return;
    scheduler_->Wait(left);
  }
}

bool SteppedHost::Settle(std::chrono::milliseconds quiet) {
  const auto until = clock_.Now() + std::chrono::minutes(10);
  while (clock_.Now() < until) {
    const size_t before = watch_.changes.size();
    RunFor(quiet);
    if (!running()) return true;
    if (watch_.changes.size() == before) return true;
  }
  return false;
}

v1::Reply SteppedHost::Call(const v1::Request& request) {
  v1::Reply reply;
  auto answer = std::make_shared<std::string>();
  auto answered = std::make_shared<bool>(false);
  core_->Handle(request.SerializeAsString(), [answer, answered](std::string bytes) {
    *answer = std::move(bytes);
    *answered = true;
  });
  const auto until = clock_.Now() + std::chrono::minutes(10);
  while (!*answered && running() && clock_.Now() < until) {
    if (!Step() && running()) scheduler_->Wait(std::chrono::milliseconds(100));
  }
  // A killed agent's answer never left it.
  if (running() && !kill_soon_ && *answered) {
    EXPECT_TRUE(reply.ParseFromString(*answer));
  }
  return reply;
}

std::string SteppedHost::Picture() const {
  std::string text = Leftovers();
  FakeRtnetlinkPort links(network);
  FakeTcPort tc(network);
  std::set<TcAttachPoint> places;
  for (const LinkInfo& link : links.ListLinks().value_or(std::vector<LinkInfo>{})) {
    const auto qdisc = tc.GetQdisc(link.ifindex);
    if (!qdisc.ok() || !qdisc->clsact) continue;
    places.insert(qdisc->ingress_block != 0 ? TcAttachPoint{.block = qdisc->ingress_block}
                                            : TcAttachPoint{.ifindex = link.ifindex});
  }
  for (const TcAttachPoint& at : places) {
    for (const TcFilter& filter : network->Filters(at)) {
      StrAppend(&text, "rule ", at.ifindex, " ", at.block, " ", filter.id.chain, " ",
                filter.id.priority, " ", filter.id.handle, ":");
      for (const TcAction& action : filter.actions) {
        StrAppend(&text, " ", action.index());
        if (const auto* to = std::get_if<TcMirred>(&action))
          StrAppend(&text, "(", to->ifindex, ")");
      }
      text += '\n';
    }
  }
  for (const auto& [key, entry] : slow_path.entries()) {
    StrAppend(&text, "slow path ", key.id, " ", key.address.ToString());
    if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
      StrAppend(&text, " port ", port->ifindex, " ", port->mac.ToString());
    } else if (const auto* neighbour = std::get_if<SlowPathNeighbour>(&entry)) {
      StrAppend(&text, " is at ", neighbour->mac.ToString());
    }
    text += '\n';
  }
  for (const auto& [id, vm] : vms()) {
    for (const QmpDevice& device : vm->devices()) {
      StrAppend(&text, "vm ", id, " ", device.type, " on ", device.bus, " ", device.host, "\n");
    }
  }
  for (size_t i = 0; i < stores_.size(); ++i) {
    absl::StrReplaceAll({{absl::StrFormat("%08x", stores_[i]), StrCat("STORE", i)}}, &text);
  }
  return text;
}

}  // namespace fairlead
