// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/fake_qmp_port.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <thread>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/qmp/qmp_codec.h"

namespace fairlead {

// The events on their way to one session, and whether it is connected. Lives as
// long as the longer of session and VM.
class FakeVm::Mailbox {
 public:
  Mailbox(std::function<void(const QmpEvent&)> on_event, bool own_thread)
      : on_event_(std::move(on_event)), own_thread_(own_thread) {
    if (own_thread) thread_ = std::thread([this] { Run(); });
  }
  ~Mailbox() { Close(); }

  void Post(const QmpEvent& event) {
    std::lock_guard lock(mutex_);
    if (!connected_ || closed_) return;
    if (event.kind == QmpEvent::Kind::kDisconnected) connected_ = false;
    queue_.push_back(event);
    changed_.notify_all();
  }

  bool connected() const {
    std::lock_guard lock(mutex_);
    return connected_;
  }

  // Without a thread: delivers what is queued, unless a delivery is under way
  // (further down this very stack, or on another thread, which will see it).
  void Drain() {
    if (own_thread_) return;
    std::unique_lock lock(mutex_);
    if (delivering_) return;
    while (!queue_.empty() && !closed_) DeliverFront(lock);
  }

  void WaitDelivered() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || (queue_.empty() && !delivering_); });
  }

  // No callback runs after this has returned.
  void Close() {
    {
      std::unique_lock lock(mutex_);
      closed_ = true;
      connected_ = false;
      changed_.notify_all();
      if (!own_thread_) changed_.wait(lock, [&] { return !delivering_; });
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void DeliverFront(std::unique_lock<std::mutex>& lock) {
    const QmpEvent event = std::move(queue_.front());
    queue_.pop_front();
    delivering_ = true;
    lock.unlock();
    if (on_event_) on_event_(event);
    lock.lock();
    delivering_ = false;
    changed_.notify_all();
  }

  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (closed_) return;
      DeliverFront(lock);
    }
  }

  const std::function<void(const QmpEvent&)> on_event_;
  const bool own_thread_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<QmpEvent> queue_;
  bool delivering_ = false;
  bool connected_ = true;
  bool closed_ = false;
  std::thread thread_;
};

class FakeQmpSession final : public QmpSession {
 public:
  FakeQmpSession(std::shared_ptr<FakeVm> vm, std::shared_ptr<FakeVm::Mailbox> mailbox)
      : vm_(std::move(vm)), mailbox_(std::move(mailbox)) {}
  ~FakeQmpSession() override {
    {
      std::lock_guard lock(vm_->mutex_);
      if (vm_->session_ == mailbox_) vm_->session_ = nullptr;
    }
    mailbox_->Close();
  }

  absl::StatusOr<Uuid> QueryUuid(Deadline) override {
    std::lock_guard lock(vm_->mutex_);
    FAIRLEAD_RETURN_IF_ERROR(Enter(QmpMethod::kQueryUuid, "ask for the VM's UUID"));
    return vm_->uuid_;
  }

  absl::StatusOr<std::string> QueryRunState(Deadline) override {
    std::lock_guard lock(vm_->mutex_);
    FAIRLEAD_RETURN_IF_ERROR(Enter(QmpMethod::kQueryRunState, "ask for the VM's run state"));
    return vm_->run_state_;
  }

  absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline) override {
    std::lock_guard lock(vm_->mutex_);
    FAIRLEAD_RETURN_IF_ERROR(Enter(QmpMethod::kListDevices, "list the VM's devices"));
    return vm_->devices_;
  }

  absl::Status AddVfioDevice(std::string_view id, const PciAddress& host, std::string_view bus,
                             Deadline) override {
    FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("device id", id));
    FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("bus", bus));
    const std::string asked = StrCat("add ", host.ToString(), " to the VM as ", id, " on ", bus);
    vm_->RunHook(QmpMethod::kAddVfioDevice, id);
    std::lock_guard lock(vm_->mutex_);
    FAIRLEAD_RETURN_IF_ERROR(Enter(QmpMethod::kAddVfioDevice, asked));
    FAIRLEAD_RETURN_IF_ERROR(vm_->AddVfio(id, host, bus, asked));
    return vm_->AnswerLocked(QmpMethod::kAddVfioDevice);
  }

  absl::Status RequestRemoval(std::string_view id, Deadline) override {
    FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("device id", id));
    const std::string asked = StrCat("ask the guest to let go of ", id);
    vm_->RunHook(QmpMethod::kRequestRemoval, id);
    absl::Status status;
    {
      std::lock_guard lock(vm_->mutex_);
      FAIRLEAD_RETURN_IF_ERROR(Enter(QmpMethod::kRequestRemoval, asked));
      status = vm_->StartRemoval(id, asked);
      if (status.ok()) status = vm_->AnswerLocked(QmpMethod::kRequestRemoval);
    }
    vm_->Deliver();
    return status;
  }

  bool connected() const override { return mailbox_->connected(); }

 private:
  absl::Status Enter(QmpMethod method, std::string_view asked) {
    if (!mailbox_->connected()) {
      return absl::UnavailableError(
          StrCat(asked, ": the session with the monitor is over: it has closed the connection"));
    }
    return vm_->EnterLocked(method);
  }

  const std::shared_ptr<FakeVm> vm_;
  const std::shared_ptr<FakeVm::Mailbox> mailbox_;
};

void FakeVm::AddRootPort(std::string_view id) {
  AddDevice({std::string(id), "pcie-root-port", "pcie.0", ""});
}

void FakeVm::AddDevice(const QmpDevice& device) {
  std::lock_guard lock(mutex_);
  devices_.push_back(device);
}

bool FakeVm::Unplug(std::string_view id) {
  {
    std::lock_guard lock(mutex_);
    if (FindLocked(id) == nullptr) return false;
    DeleteLocked(id);
  }
  Deliver();
  return true;
}

std::vector<QmpDevice> FakeVm::devices() const {
  std::lock_guard lock(mutex_);
  return devices_;
}

std::optional<QmpDevice> FakeVm::Find(std::string_view id) const {
  std::lock_guard lock(mutex_);
  for (const QmpDevice& device : devices_) {
    if (device.id == id) return device;
  }
  return std::nullopt;
}

void FakeVm::SetUuid(Uuid uuid) {
  std::lock_guard lock(mutex_);
  uuid_ = std::move(uuid);
}

void FakeVm::SetRunState(std::string_view state) {
  {
    std::lock_guard lock(mutex_);
    if (run_state_ == state) return;
    run_state_ = std::string(state);
    EmitLocked({QmpEvent::Kind::kRunState, ""});
  }
  Deliver();
}

void FakeVm::SetPeerUid(uint32_t uid) {
  std::lock_guard lock(mutex_);
  peer_uid_ = uid;
}

void FakeVm::SetRemoval(Removal removal) {
  std::lock_guard lock(mutex_);
  removal_ = removal;
}

void FakeVm::CompleteRemovals() {
  {
    std::lock_guard lock(mutex_);
    const std::vector<std::string> due = removing_;
    for (const std::string& id : due) DeleteLocked(id);
  }
  Deliver();
}

void FakeVm::SetHeldByOther(bool held) {
  std::lock_guard lock(mutex_);
  held_by_other_ = held;
}

void FakeVm::SetHostCheck(std::function<absl::Status(const PciAddress&)> check) {
  std::lock_guard lock(mutex_);
  host_check_ = std::move(check);
}

void FakeVm::SetHook(std::function<void(QmpMethod, std::string_view)> hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void FakeVm::RunHook(QmpMethod method, std::string_view device) {
  std::function<void(QmpMethod, std::string_view)> hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (hook) hook(method, device);
}

void FakeVm::Emit(const QmpEvent& event) {
  {
    std::lock_guard lock(mutex_);
    EmitLocked(event);
  }
  Deliver();
}

void FakeVm::Disconnect() {
  std::shared_ptr<Mailbox> session;
  {
    std::lock_guard lock(mutex_);
    session = std::exchange(session_, nullptr);
  }
  if (session == nullptr) return;
  session->Post(QmpEvent{});
  session->Drain();
}

bool FakeVm::has_session() const {
  std::lock_guard lock(mutex_);
  return session_ != nullptr;
}

void FakeVm::FailNext(QmpMethod method, absl::Status status) {
  std::lock_guard lock(mutex_);
  failures_.emplace_back(method, std::move(status));
}

void FakeVm::LoseAnswerNext(QmpMethod method) {
  std::lock_guard lock(mutex_);
  lost_answers_.push_back(method);
}

int FakeVm::Calls(QmpMethod method) const {
  std::lock_guard lock(mutex_);
  const auto found = calls_.find(method);
  return found == calls_.end() ? 0 : found->second;
}

void FakeVm::WaitDelivered() {
  std::shared_ptr<Mailbox> session;
  {
    std::lock_guard lock(mutex_);
    session = last_session_.lock();  // kDisconnected is waited for too
  }
  if (session != nullptr) session->WaitDelivered();
}

absl::Status FakeVm::EnterLocked(QmpMethod method) {
  ++calls_[method];
  const auto found = std::find_if(failures_.begin(), failures_.end(),
                                  [&](const auto& entry) { return entry.first == method; });
  if (found == failures_.end()) return absl::OkStatus();
  absl::Status status = std::move(found->second);
  failures_.erase(found);
  return status;
}

absl::Status FakeVm::AnswerLocked(QmpMethod method) {
  const auto found = std::find(lost_answers_.begin(), lost_answers_.end(), method);
  if (found == lost_answers_.end()) return absl::OkStatus();
  lost_answers_.erase(found);
  return absl::DeadlineExceededError("QEMU has not answered in time; whether it did it is unknown");
}

QmpDevice* FakeVm::FindLocked(std::string_view id) {
  const auto found = std::find_if(devices_.begin(), devices_.end(),
                                  [&](const QmpDevice& device) { return device.id == id; });
  return found == devices_.end() ? nullptr : &*found;
}

// In QEMU's order (qdev_device_add, then realize), so that the same mistake
// gets the same words.
absl::Status FakeVm::AddVfio(std::string_view id, const PciAddress& host, std::string_view bus,
                             std::string_view asked) {
  const auto refuse = [&](const std::string& words) {
    return QmpErrorStatus("GenericError", words, asked);
  };
  if (FindLocked(bus) == nullptr) return refuse(StrCat("Bus '", bus, "' not found"));
  if (FindLocked(id) != nullptr) return refuse(StrCat("Duplicate device ID '", id, "'"));
  for (const QmpDevice& device : devices_) {
    if (device.bus != bus) continue;
    return refuse(StrCat("PCI: slot 0 function 0 already occupied by ", device.type,
                         ", new func vfio-pci cannot be exposed to guest."));
  }
  for (const QmpDevice& device : devices_) {
    if (device.host != host.ToString()) continue;
    return refuse(StrCat("vfio ", host.ToString(), ": device is already attached"));
  }
  if (host_check_ != nullptr) {
    if (absl::Status status = host_check_(host); !status.ok()) {
      return refuse(StrCat("vfio ", host.ToString(), ": ", status.message()));
    }
  }
  devices_.push_back({std::string(id), "vfio-pci", std::string(bus), host.ToString()});
  return absl::OkStatus();
}

absl::Status FakeVm::StartRemoval(std::string_view id, std::string_view asked) {
  if (FindLocked(id) == nullptr) {
    return QmpErrorStatus("DeviceNotFound", StrCat("Device '", id, "' not found"), asked);
  }
  // Asked already: success, and not asked again, as in the real port.
  if (std::find(removing_.begin(), removing_.end(), id) != removing_.end()) {
    return absl::OkStatus();
  }
  switch (removal_) {
    case Removal::kImmediate:
      DeleteLocked(id);
      break;
    case Removal::kWhenTold:
      removing_.emplace_back(id);
      break;
    case Removal::kNever:
      break;
    case Removal::kGuestError:
      EmitLocked({QmpEvent::Kind::kUnplugGuestError, std::string(id)});
      break;
  }
  return absl::OkStatus();
}

void FakeVm::DeleteLocked(std::string_view id) {
  const std::string gone(id);  // `id` may be a part of what is erased
  std::erase_if(devices_, [&](const QmpDevice& device) { return device.id == gone; });
  std::erase(removing_, gone);
  EmitLocked({QmpEvent::Kind::kDeviceDeleted, gone});
}

void FakeVm::EmitLocked(const QmpEvent& event) {
  if (session_ != nullptr) session_->Post(event);
}

void FakeVm::Deliver() {
  std::shared_ptr<Mailbox> session;
  {
    std::lock_guard lock(mutex_);
    session = session_;
  }
  if (session != nullptr) session->Drain();
}

std::shared_ptr<FakeVm> FakeQmpPort::AddVm(const std::string& path, const Uuid& uuid) {
  RemoveVm(path);
  auto vm = std::make_shared<FakeVm>(uuid);
  std::lock_guard lock(mutex_);
  vms_[path] = vm;
  return vm;
}

void FakeQmpPort::RemoveVm(const std::string& path) {
  std::shared_ptr<FakeVm> vm;
  {
    std::lock_guard lock(mutex_);
    const auto found = vms_.find(path);
    if (found == vms_.end()) return;
    vm = std::move(found->second);
    vms_.erase(found);
  }
  vm->Disconnect();
}

std::shared_ptr<FakeVm> FakeQmpPort::Find(const std::string& path) const {
  std::lock_guard lock(mutex_);
  const auto found = vms_.find(path);
  return found == vms_.end() ? nullptr : found->second;
}

void FakeQmpPort::SetFinder(std::function<std::shared_ptr<FakeVm>(const std::string&)> finder) {
  std::lock_guard lock(mutex_);
  finder_ = std::move(finder);
}

absl::StatusOr<std::unique_ptr<QmpSession>> FakeQmpPort::Connect(
    const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline,
    std::function<void(const QmpEvent&)> on_event) {
  std::shared_ptr<FakeVm> vm = Find(path);
  if (vm == nullptr) {
    std::function<std::shared_ptr<FakeVm>(const std::string&)> finder;
    {
      std::lock_guard lock(mutex_);
      finder = finder_;
    }
    if (finder) vm = finder(path);
  }
  if (vm == nullptr) {
    return absl::UnavailableError(
        StrCat("connect to the monitor ", path,
               ": is the VM running, and has it a monitor at that path?"));
  }
  std::lock_guard lock(vm->mutex_);
  FAIRLEAD_RETURN_IF_ERROR(vm->EnterLocked(QmpMethod::kConnect));
  if (!allowed_uids.empty() &&
      std::find(allowed_uids.begin(), allowed_uids.end(), vm->peer_uid_) == allowed_uids.end()) {
    return absl::FailedPreconditionError(
        StrCat("the monitor ", path, " is served by user ", vm->peer_uid_,
               ", and the configuration allows only ", StrJoin(allowed_uids, ", ")));
  }
  if (vm->held_by_other_ || vm->session_ != nullptr) {
    return absl::DeadlineExceededError(
        StrCat("the monitor ", path,
               " takes the connection but sends no greeting: another client holds it"));
  }
  vm->session_ =
      std::make_shared<FakeVm::Mailbox>(std::move(on_event), delivery_ == Delivery::kOwnThread);
  vm->last_session_ = vm->session_;
  return std::unique_ptr<QmpSession>(std::make_unique<FakeQmpSession>(vm, vm->session_));
}

}  // namespace fairlead
