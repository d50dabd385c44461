// SPDX-License-Identifier: Apache-2.0
//
// Purpose: VMs in memory, behind monitors at paths, with QEMU's answers and
// words (of QEMU 11.1), and faults on demand.
//
// Threading: safe from any thread. Events are delivered, one at a time and in
// order, as the FakeQmpPort was told:
//   kOwnThread      on a thread of each session's own, as the real port does;
//                   FakeVm::WaitDelivered makes a test wait for it
//   kCallingThread  before the call that caused it returns, on its thread and
//                   with no lock held; for tests of one thread
// With either, an event callback must not destroy its session.
// Ownership: port, VMs and sessions hold each other up (shared_ptr); the order
// of their ends does not matter.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ports/qmp/qmp_port.h"

namespace fairlead {

enum class QmpMethod : uint8_t {
  kConnect,
  kQueryUuid,
  kQueryRunState,
  kListDevices,
  kAddVfioDevice,
  kRequestRemoval,
};

class FakeQmpSession;

// One QEMU process.
class FakeVm {
 public:
  // What the guest does when it is asked to let go of a device.
  enum class Removal : uint8_t {
    kImmediate,   // gone at once
    kWhenTold,    // gone at CompleteRemovals
    kNever,       // no answer, as a guest without hot-plug or one that boots
    kGuestError,  // DEVICE_UNPLUG_GUEST_ERROR; the device stays
  };

  explicit FakeVm(Uuid uuid) : uuid_(std::move(uuid)) {}

  // A pcie-root-port on pcie.0.
  void AddRootPort(std::string_view id);
  // Any device, as it stands and without checks.
  void AddDevice(const QmpDevice& device);
  // Vanishes from the list with a DEVICE_DELETED that nobody asked for, as when
  // a booting guest turns a hot-add into an unplug. False when there is none.
  bool Unplug(std::string_view id);
  std::vector<QmpDevice> devices() const;
  std::optional<QmpDevice> Find(std::string_view id) const;

  void SetUuid(Uuid uuid);
  // Emits kRunState when it changes.
  void SetRunState(std::string_view state);
  void SetPeerUid(uint32_t uid);  // 0 at first
  void SetRemoval(Removal removal);
  void CompleteRemovals();
  // Another client has the monitor: Connect gets no greeting. (A session of the
  // fake's own holds it too.)
  void SetHeldByOther(bool held);
  // Asked before a host device is added; for "not bound to vfio-pci" and the like.
  void SetHostCheck(std::function<absl::Status(const PciAddress&)> check);
  // Runs at the start of kAddVfioDevice and kRequestRemoval, without a lock: it may
  // block the caller. `device`: its QEMU id.
  void SetHook(std::function<void(QmpMethod method, std::string_view device)> hook);

  void Emit(const QmpEvent& event);
  // Ends the session, if there is one, with kDisconnected; the monitor stays.
  void Disconnect();
  bool has_session() const;

  // The next call of `method` fails with `status` and does nothing. Several
  // queue up. For a lost answer see LoseAnswerNext.
  void FailNext(QmpMethod method, absl::Status status);
  // The next call of `method` takes effect and returns kDeadlineExceeded.
  void LoseAnswerNext(QmpMethod method);
  int Calls(QmpMethod method) const;
  // Waits until every event so far has been handed to its callback and that has
  // returned. Not from an event callback.
  void WaitDelivered();

 private:
  friend class FakeQmpPort;
  friend class FakeQmpSession;

  void RunHook(QmpMethod method, std::string_view device);
  absl::Status EnterLocked(QmpMethod method);
  // OK, or kDeadlineExceeded when the answer to `method` shall be lost.
  absl::Status AnswerLocked(QmpMethod method);
  absl::Status AddVfio(std::string_view id, const PciAddress& host, std::string_view bus,
                       std::string_view asked);
  absl::Status StartRemoval(std::string_view id, std::string_view asked);
  QmpDevice* FindLocked(std::string_view id);
  void DeleteLocked(std::string_view id);
  void EmitLocked(const QmpEvent& event);
  // Delivers on this thread where that is the way; no lock may be held.
  void Deliver();

  mutable std::mutex mutex_;
  Uuid uuid_;
  std::string run_state_ = "running";
  uint32_t peer_uid_ = 0;
  Removal removal_ = Removal::kImmediate;
  bool held_by_other_ = false;
  std::vector<QmpDevice> devices_;
  std::vector<std::string> removing_;
  std::function<absl::Status(const PciAddress&)> host_check_;
  std::function<void(QmpMethod, std::string_view)> hook_;
  std::vector<std::pair<QmpMethod, absl::Status>> failures_;
  std::vector<QmpMethod> lost_answers_;
  std::map<QmpMethod, int> calls_;
  // The events of the session that holds the monitor, see the .cc file.
  class Mailbox;
  std::shared_ptr<Mailbox> session_;
  std::weak_ptr<Mailbox> last_session_;
};

class FakeQmpPort final : public QmpPort {
 public:
  enum class Delivery : uint8_t { kOwnThread, kCallingThread };
  explicit FakeQmpPort(Delivery delivery = Delivery::kOwnThread) : delivery_(delivery) {}

  // A QEMU starts to listen at `path`. One that was there ends (kDisconnected).
  std::shared_ptr<FakeVm> AddVm(const std::string& path, const Uuid& uuid);
  // It ends; nothing listens there any more.
  void RemoveVm(const std::string& path);
  std::shared_ptr<FakeVm> Find(const std::string& path) const;
  // Asked, without a lock, for the VM of a path where none was added; null: there is none.
  void SetFinder(std::function<std::shared_ptr<FakeVm>(const std::string& path)> finder);

  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline deadline,
      std::function<void(const QmpEvent&)> on_event) override;

 private:
  const Delivery delivery_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<FakeVm>> vms_;
  std::function<std::shared_ptr<FakeVm>(const std::string&)> finder_;
};

}  // namespace fairlead
