// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "agent/ports/fault/fault_calls.h"
#include "agent/ports/fault/faulty_ports.h"

namespace fairlead {
namespace {

class FaultySysfsPort final : public SysfsPort {
 public:
  FaultySysfsPort(SysfsPort* port, FaultPlan* plan) : port_(port), calls_("sysfs", plan) {}

  absl::StatusOr<PciDevice> Device(const PciAddress& address) override {
    return calls_.Look("Device", address.ToString(), [&] { return port_->Device(address); });
  }
  absl::StatusOr<std::vector<PciAddress>> Behind(const PciAddress& bridge) override {
    return calls_.Look("Behind", bridge.ToString(), [&] { return port_->Behind(bridge); });
  }
  absl::StatusOr<PciAddress> PciOfNetdev(std::string_view netdev) override {
    return calls_.Look("PciOfNetdev", std::string(netdev),
                       [&] { return port_->PciOfNetdev(netdev); });
  }
  absl::StatusOr<std::vector<PciAddress>> IommuGroup(uint32_t group) override {
    return calls_.Look("IommuGroup", StrCat(group), [&] { return port_->IommuGroup(group); });
  }
  absl::Status SetNumVfs(const PciAddress& pf, uint16_t count, Deadline deadline) override {
    return calls_.Change("SetNumVfs", StrCat(pf.ToString(), ", ", count),
                         [&] { return port_->SetNumVfs(pf, count, deadline); });
  }
  absl::Status SetAutoprobe(const PciAddress& pf, bool on) override {
    return calls_.Change("SetAutoprobe", StrCat(pf.ToString(), on ? ", on" : ", off"),
                         [&] { return port_->SetAutoprobe(pf, on); });
  }
  absl::Status SetDriverOverride(const PciAddress& address, std::string_view driver) override {
    return calls_.Change("SetDriverOverride", StrCat(address.ToString(), ", '", driver, "'"),
                         [&] { return port_->SetDriverOverride(address, driver); });
  }
  absl::Status Probe(const PciAddress& address, Deadline deadline) override {
    return calls_.Change("Probe", address.ToString(),
                         [&] { return port_->Probe(address, deadline); });
  }
  absl::Status Unbind(const PciAddress& address, Deadline deadline) override {
    return calls_.Change("Unbind", address.ToString(),
                         [&] { return port_->Unbind(address, deadline); });
  }
  absl::Status Reset(const PciAddress& address, Deadline deadline) override {
    return calls_.Change("Reset", address.ToString(),
                         [&] { return port_->Reset(address, deadline); });
  }
  absl::StatusOr<VfioNode> GetVfioNode(uint32_t group) override {
    return calls_.Look("GetVfioNode", StrCat(group), [&] { return port_->GetVfioNode(group); });
  }
  absl::Status SetVfioNode(uint32_t group, std::optional<uint32_t> uid, std::optional<uint32_t> gid,
                           std::optional<uint32_t> mode) override {
    return calls_.Change("SetVfioNode", StrCat(group),
                         [&] { return port_->SetVfioNode(group, uid, gid, mode); });
  }
  absl::StatusOr<bool> VfioGroupInUse(uint32_t group) override {
    return calls_.Look("VfioGroupInUse", StrCat(group),
                       [&] { return port_->VfioGroupInUse(group); });
  }
  bool Outstanding(const PciAddress& address) override { return port_->Outstanding(address); }

 private:
  SysfsPort* port_;
  FaultCalls calls_;
};

class FaultyQmpSession final : public QmpSession {
 public:
  FaultyQmpSession(std::unique_ptr<QmpSession> session, FaultCalls calls)
      : session_(std::move(session)), calls_(calls) {}

  absl::StatusOr<Uuid> QueryUuid(Deadline deadline) override {
    return calls_.Look("QueryUuid", "", [&] { return session_->QueryUuid(deadline); });
  }
  absl::StatusOr<std::string> QueryRunState(Deadline deadline) override {
    return calls_.Look("QueryRunState", "", [&] { return session_->QueryRunState(deadline); });
  }
  absl::StatusOr<std::vector<QmpDevice>> ListDevices(Deadline deadline) override {
    return calls_.Look("ListDevices", "", [&] { return session_->ListDevices(deadline); });
  }
  absl::Status AddVfioDevice(std::string_view id, const PciAddress& host, std::string_view bus,
                             Deadline deadline) override {
    return calls_.Change("AddVfioDevice", StrCat(id, ", ", host.ToString(), ", ", bus),
                         [&] { return session_->AddVfioDevice(id, host, bus, deadline); });
  }
  absl::Status RequestRemoval(std::string_view id, Deadline deadline) override {
    return calls_.Change("RequestRemoval", std::string(id),
                         [&] { return session_->RequestRemoval(id, deadline); });
  }
  bool connected() const override { return session_->connected(); }

 private:
  std::unique_ptr<QmpSession> session_;
  FaultCalls calls_;
};

class FaultyQmpPort final : public QmpPort {
 public:
  FaultyQmpPort(QmpPort* port, FaultPlan* plan) : port_(port), calls_("qmp", plan) {}

  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(
      const std::string& path, const std::vector<uint32_t>& allowed_uids, Deadline deadline,
      std::function<void(const QmpEvent&)> on_event) override {
    auto session = calls_.Look("Connect", path, [&] {
      return port_->Connect(path, allowed_uids, deadline,
                            calls_.Filtered<QmpEvent>(std::move(on_event)));
    });
    if (!session.ok()) return session.status();
    return std::make_unique<FaultyQmpSession>(*std::move(session), calls_);
  }

 private:
  QmpPort* port_;
  FaultCalls calls_;
};

class FaultyUeventPort final : public UeventPort {
 public:
  FaultyUeventPort(UeventPort* port, FaultPlan* plan) : port_(port), calls_("uevent", plan) {}

  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(Handler handler) override {
    return port_->Subscribe(calls_.Filtered<Uevent>(std::move(handler)));
  }

 private:
  UeventPort* port_;
  FaultCalls calls_;
};

class FaultySlowPathSocket final : public SlowPathSocket {
 public:
  FaultySlowPathSocket(std::unique_ptr<SlowPathSocket> port, FaultPlan* plan)
      : port_(std::move(port)), calls_("slow path", plan) {}

  // Not changes: each start tells again what is known already.
  absl::StatusOr<SlowPathReport> TellAll(std::span<const SlowPathEntry> all, bool whole,
                                         std::span<const uint32_t> keep) override {
    return calls_.Look("TellAll", StrCat(all.size(), whole ? ", whole" : ""),
                       [&] { return port_->TellAll(all, whole, keep); });
  }
  absl::StatusOr<SlowPathReport> Tell(std::span<const SlowPathEntry> put,
                                      std::span<const SlowPathKey> remove) override {
    return calls_.Look("Tell", StrCat(put.size(), ", ", remove.size()),
                       [&] { return port_->Tell(put, remove); });
  }

 private:
  std::unique_ptr<SlowPathSocket> port_;
  FaultCalls calls_;
};

}  // namespace

std::unique_ptr<SysfsPort> WithFaults(SysfsPort* port, FaultPlan* plan) {
  return std::make_unique<FaultySysfsPort>(port, plan);
}
std::unique_ptr<QmpPort> WithFaults(QmpPort* port, FaultPlan* plan) {
  return std::make_unique<FaultyQmpPort>(port, plan);
}
std::unique_ptr<UeventPort> WithFaults(UeventPort* port, FaultPlan* plan) {
  return std::make_unique<FaultyUeventPort>(port, plan);
}

std::unique_ptr<SlowPathSocket> WithFaults(std::unique_ptr<SlowPathSocket> port, FaultPlan* plan) {
  return std::make_unique<FaultySlowPathSocket>(std::move(port), plan);
}

}  // namespace fairlead
