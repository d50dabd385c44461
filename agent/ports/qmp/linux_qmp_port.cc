// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/linux_qmp_port.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/qmp/qmp_codec.h"
#include "agent/ports/qmp/qmp_socket.h"

namespace fairlead {
namespace {

using std::chrono::steady_clock;
using Arguments = std::vector<std::pair<std::string, std::string>>;

constexpr size_t kReadSize = 64 * 1024;
// Commands under way at once; a session is used from one lane, so one is usual.
constexpr size_t kMaxPending = 64;
// Before negotiation QEMU sends no events, so nothing but the answer comes.
constexpr int kMaxEarlyMessages = 1000;

class LinuxQmpSession final : public QmpSession {
 public:
  LinuxQmpSession(std::string path, UniqueFd fd, std::function<void(const QmpEvent&)> on_event)
      : path_(std::move(path)), fd_(std::move(fd)), on_event_(std::move(on_event)) {}
  ~LinuxQmpSession() override;

  // Greeting and capabilities; then starts the reader.
  absl::Status Start(SteadyTime until);

  absl::StatusOr<Uuid> QueryUuid(Deadline deadline) override;
  absl::StatusOr<std::string> QueryRunState(Deadline deadline) override;
  absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline deadline) override;
  absl::Status AddVfioDevice(std::string_view id, const PciAddress& host, std::string_view bus,
                             Deadline deadline) override;
  absl::Status RequestRemoval(std::string_view id, Deadline deadline) override;
  bool connected() const override {
    std::lock_guard lock(mutex_);
    return end_.ok();
  }

 private:
  using Result = absl::StatusOr<QmpValue>;
  struct Pending {
    std::string asked;
    std::optional<Result> result;
  };

  absl::StatusOr<std::string> FirstLine(SteadyTime until);
  Result Ask(std::string_view command, const Arguments& arguments, std::string_view asked,
             SteadyTime until);
  absl::StatusOr<std::string> QomGet(const std::string& path, const char* property,
                                     SteadyTime until);
  absl::Status AppendDevices(std::string_view folder, SteadyTime until,
                             std::vector<QmpDevice>* devices);
  void ReadUntilTheEnd();
  absl::Status ReadSome(bool* woken);
  absl::Status Handle(const std::string& line);
  absl::Status HandleReply(QmpMessage message);
  void End(const absl::Status& why);

  const std::string path_;
  const UniqueFd fd_;
  const std::function<void(const QmpEvent&)> on_event_;
  QmpLines lines_;  // Start, then the reader
  std::vector<QmpEvent> early_events_;
  UniqueFd wake_;
  std::thread reader_;

  std::mutex write_mutex_;  // taken before mutex_

  mutable std::mutex mutex_;
  std::condition_variable answered_;
  absl::Status end_;  // OK while the session lives, then why it ended
  uint64_t next_id_ = 1;
  std::map<uint64_t, Pending*> pending_;
};

LinuxQmpSession::~LinuxQmpSession() {
  if (!reader_.joinable()) return;
  const uint64_t one = 1;
  // Cannot fail: the counter is far from its limit.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
  reader_.join();
}

absl::StatusOr<std::string> LinuxQmpSession::FirstLine(SteadyTime until) {
  while (true) {
    if (std::optional<std::string> line = lines_.Next()) return *std::move(line);
    bool woken = false;
    FAIRLEAD_RETURN_IF_ERROR(WaitReadable(fd_.get(), -1, until, &woken));
    FAIRLEAD_ASSIGN_OR_RETURN(const std::string bytes, ReceiveSome(fd_.get(), kReadSize));
    FAIRLEAD_RETURN_IF_ERROR(lines_.Append(bytes));
  }
}

absl::Status LinuxQmpSession::Start(SteadyTime until) {
  const std::string asked = StrCat("connect to the monitor ", path_);
  absl::StatusOr<std::string> greeting = FirstLine(until);
  if (absl::IsDeadlineExceeded(greeting.status())) return NoGreeting(path_);
  if (!greeting.ok()) return Annotate(greeting.status(), asked);
  if (absl::StatusOr<std::string> version = DecodeQmpGreeting(*greeting); !version.ok()) {
    return Annotate(version.status(), asked);
  }

  const uint64_t id = next_id_++;
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string command,
                            EncodeQmpCommand(id, "qmp_capabilities", {}));
  size_t sent = 0;
  if (absl::Status status = SendAll(fd_.get(), command, until, &sent); !status.ok()) {
    return Annotate(status, asked);
  }
  for (int i = 0;; ++i) {
    if (i == kMaxEarlyMessages) {
      return absl::DataLossError(StrCat(asked, ": events, but no answer to qmp_capabilities"));
    }
    absl::StatusOr<std::string> line = FirstLine(until);
    if (!line.ok()) return Annotate(line.status(), asked);
    absl::StatusOr<QmpMessage> message = DecodeQmpMessage(*line);
    if (!message.ok()) return Annotate(message.status(), asked);
    if (message->kind == QmpMessage::Kind::kEvent) early_events_.push_back(message->event);
    if (message->kind == QmpMessage::Kind::kError) {
      return QmpErrorStatus(message->error_class, message->error_desc, asked);
    }
    if (message->kind != QmpMessage::Kind::kReturn) continue;
    if (message->id == id) break;
    return absl::DataLossError(StrCat(asked, ": an answer to something that was not asked"));
  }
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return SystemError(errno, StrCat(asked, ": eventfd"));
  reader_ = std::thread([this] { ReadUntilTheEnd(); });
  return absl::OkStatus();
}

void LinuxQmpSession::ReadUntilTheEnd() {
  if (on_event_) {
    for (const QmpEvent& event : early_events_) on_event_(event);
  }
  absl::Status status;
  bool woken = false;
  while (status.ok() && !woken) {
    while (status.ok()) {
      const std::optional<std::string> line = lines_.Next();
      if (!line.has_value()) break;
      status = Handle(*line);
    }
    if (status.ok()) status = ReadSome(&woken);
  }
  if (woken) return;  // the session is being destroyed: nobody is left to be told
  End(status);
  if (on_event_) on_event_(QmpEvent{});
}

absl::Status LinuxQmpSession::ReadSome(bool* woken) {
  FAIRLEAD_RETURN_IF_ERROR(WaitReadable(fd_.get(), wake_.get(), SteadyTime::max(), woken));
  if (*woken) return absl::OkStatus();
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string bytes, ReceiveSome(fd_.get(), kReadSize));
  return lines_.Append(bytes);
}

absl::Status LinuxQmpSession::Handle(const std::string& line) {
  FAIRLEAD_ASSIGN_OR_RETURN(QmpMessage message, DecodeQmpMessage(line));
  switch (message.kind) {
    case QmpMessage::Kind::kEvent:
      if (on_event_) on_event_(message.event);
      return absl::OkStatus();
    case QmpMessage::Kind::kIgnoredEvent:
      return absl::OkStatus();
    case QmpMessage::Kind::kReturn:
    case QmpMessage::Kind::kError:
      return HandleReply(std::move(message));
  }
  return absl::OkStatus();
}

absl::Status LinuxQmpSession::HandleReply(QmpMessage message) {
  std::lock_guard lock(mutex_);
  if (message.id == 0 || message.id >= next_id_) {
    return absl::DataLossError(
        StrCat("the monitor answered request ", message.id, ", which was never made"));
  }
  const auto found = pending_.find(message.id);
  if (found == pending_.end()) return absl::OkStatus();  // its caller gave up waiting
  Pending& pending = *found->second;
  if (message.kind == QmpMessage::Kind::kReturn) {
    pending.result.emplace(std::move(message.value));
  } else {
    pending.result.emplace(QmpErrorStatus(message.error_class, message.error_desc, pending.asked));
  }
  pending_.erase(found);
  answered_.notify_all();
  return absl::OkStatus();
}

void LinuxQmpSession::End(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  if (!end_.ok()) return;
  end_ = Annotate(why, StrCat("the session with the monitor ", path_, " is over"));
  for (const auto& [id, pending] : pending_) {
    pending->result.emplace(Annotate(end_, pending->asked));
  }
  pending_.clear();
  answered_.notify_all();
}

LinuxQmpSession::Result LinuxQmpSession::Ask(std::string_view command, const Arguments& arguments,
                                             std::string_view asked, SteadyTime until) {
  Pending pending;
  pending.asked = std::string(asked);
  uint64_t id = 0;
  {
    std::lock_guard write_lock(write_mutex_);
    {
      std::lock_guard lock(mutex_);
      if (!end_.ok()) return Annotate(end_, asked);
      if (pending_.size() >= kMaxPending) {
        return absl::UnavailableError(StrCat(asked, ": too many requests await the monitor"));
      }
      id = next_id_++;
    }
    FAIRLEAD_ASSIGN_OR_RETURN(const std::string line, EncodeQmpCommand(id, command, arguments));
    {
      std::lock_guard lock(mutex_);
      if (!end_.ok()) return Annotate(end_, asked);
      pending_[id] = &pending;
    }
    size_t sent = 0;
    const absl::Status status = SendAll(fd_.get(), line, until, &sent);
    if (!status.ok()) {
      {
        std::lock_guard lock(mutex_);
        pending_.erase(id);
      }
      // Half a message is in the stream; what follows would be read as its rest.
      if (sent > 0) ::shutdown(fd_.get(), SHUT_RDWR);
      return Annotate(status, asked);
    }
  }
  std::unique_lock lock(mutex_);
  answered_.wait_until(lock, until, [&] { return pending.result.has_value(); });
  if (pending.result.has_value()) return *std::move(pending.result);
  pending_.erase(id);
  return absl::DeadlineExceededError(
      StrCat(asked, ": QEMU has not answered in time; whether it did it is unknown"));
}

absl::StatusOr<Uuid> LinuxQmpSession::QueryUuid(Deadline deadline) {
  FAIRLEAD_ASSIGN_OR_RETURN(const QmpValue value, Ask("query-uuid", {}, "ask for the VM's UUID",
                                                      steady_clock::now() + deadline));
  return DecodeQueryUuid(value);
}

absl::StatusOr<std::string> LinuxQmpSession::QueryRunState(Deadline deadline) {
  FAIRLEAD_ASSIGN_OR_RETURN(
      const QmpValue value,
      Ask("query-status", {}, "ask for the VM's run state", steady_clock::now() + deadline));
  return DecodeQueryStatus(value);
}

absl::StatusOr<std::string> LinuxQmpSession::QomGet(const std::string& path, const char* property,
                                                    SteadyTime until) {
  FAIRLEAD_ASSIGN_OR_RETURN(const QmpValue value,
                            Ask("qom-get", {{"path", path}, {"property", property}},
                                StrCat("read ", property, " of ", Quoted(path)), until));
  return DecodeQomString(value);
}

absl::Status LinuxQmpSession::AppendDevices(std::string_view folder, SteadyTime until,
                                            std::vector<QmpDevice>* devices) {
  FAIRLEAD_ASSIGN_OR_RETURN(const QmpValue value, Ask("qom-list", {{"path", std::string(folder)}},
                                                      StrCat("list ", folder), until));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<QomChild> children, DecodeQomChildren(value));
  for (const QomChild& child : children) {
    const std::string path = StrCat(folder, "/", child.name);
    const absl::StatusOr<std::string> bus = QomGet(path, "parent_bus", until);
    // It may have been removed since it was listed.
    if (absl::IsNotFound(bus.status())) continue;
    QmpDevice device;
    device.id = folder == kQmpPeripheral ? child.name : path;
    device.type = child.type;
    // GenericError: an object without that property, which sits on no bus.
    if (!bus.ok() && !absl::IsFailedPrecondition(bus.status())) return bus.status();
    if (bus.ok()) device.bus = QmpBusOfPath(*bus);
    // "vfio-pci" and its variants ("vfio-pci-nohotplug").
    if (child.type.starts_with("vfio-pci")) {
      absl::StatusOr<std::string> host = QomGet(path, "host", until);
      if (absl::IsNotFound(host.status())) continue;
      if (!host.ok()) return host.status();
      device.host = *std::move(host);
    }
    devices->push_back(std::move(device));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<QmpDevice>> LinuxQmpSession::ListDevices(Deadline deadline) {
  const SteadyTime until = steady_clock::now() + deadline;
  std::vector<QmpDevice> devices;
  FAIRLEAD_RETURN_IF_ERROR(AppendDevices(kQmpPeripheral, until, &devices));
  FAIRLEAD_RETURN_IF_ERROR(AppendDevices(kQmpAnonymous, until, &devices));
  return devices;
}

absl::Status LinuxQmpSession::AddVfioDevice(std::string_view id, const PciAddress& host,
                                            std::string_view bus, Deadline deadline) {
  FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("device id", id));
  FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("bus", bus));
  return Ask("device_add",
             {{"driver", "vfio-pci"},
              {"id", std::string(id)},
              {"host", host.ToString()},
              {"bus", std::string(bus)}},
             StrCat("add ", host.ToString(), " to the VM as ", id, " on ", bus),
             steady_clock::now() + deadline)
      .status();
}

absl::Status LinuxQmpSession::RequestRemoval(std::string_view id, Deadline deadline) {
  FAIRLEAD_RETURN_IF_ERROR(CheckQmpId("device id", id));
  absl::Status status =
      Ask("device_del", {{"id", std::string(id)}}, StrCat("ask the guest to let go of ", id),
          steady_clock::now() + deadline)
          .status();
  // "Device x is already in the process of unplug" (system/qdev-monitor.c).
  if (absl::IsFailedPrecondition(status) &&
      PeerWords(status).ends_with("is already in the process of unplug")) {
    return absl::OkStatus();
  }
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<QmpSession>> LinuxQmpPort::Connect(
    const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline deadline,
    std::function<void(const QmpEvent&)> on_event) {
  const SteadyTime until = steady_clock::now() + deadline;
  FAIRLEAD_ASSIGN_OR_RETURN(UniqueFd fd, ConnectMonitor(path, until));
  FAIRLEAD_RETURN_IF_ERROR(CheckPeer(fd.get(), path, allowed_uids));
  auto session = std::make_unique<LinuxQmpSession>(path, std::move(fd), std::move(on_event));
  FAIRLEAD_RETURN_IF_ERROR(session->Start(until));
  return std::unique_ptr<QmpSession>(std::move(session));
}

}  // namespace fairlead
