// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/vm_provider.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent/base/error.h"

namespace fairlead {

absl::StatusOr<std::string> MonitorPath(const std::string& monitor, const std::string& vm,
                                        const Uuid& uuid) {
  if (monitor.find("{vm}") == std::string::npos && monitor.find("{uuid}") == std::string::npos) {
    return absl::InvalidArgumentError(
        "hypervisor.monitor must hold {vm} or {uuid}: each VM has a monitor of its own");
  }
  FAIRLEAD_RETURN_IF_ERROR(CheckObjectId(vm));
  return absl::StrReplaceAll(monitor, {{"{vm}", vm}, {"{uuid}", uuid.ToString()}});
}

bool RootPortAllowed(const std::vector<std::string>& patterns, std::string_view id) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    if (!pattern.empty() && pattern.back() == '*') {
      return id.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
    }
    return id == pattern;
  });
}

bool NaturalLess(std::string_view a, std::string_view b) {
  auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      const size_t i0 = i, j0 = j;
      while (i < a.size() && digit(a[i])) ++i;
      while (j < b.size() && digit(b[j])) ++j;
      std::string_view x = a.substr(i0, i - i0), y = b.substr(j0, j - j0);
      while (x.size() > 1 && x[0] == '0') x.remove_prefix(1);
      while (y.size() > 1 && y[0] == '0') y.remove_prefix(1);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

absl::Status VmProvider::EnsureSession(const Uuid& uuid) {
  if (session_ != nullptr && session_->connected() && session_uuid_ == uuid) {
    return absl::OkStatus();
  }
  session_.reset();
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string path,
                            MonitorPath(config_->hypervisor.monitor, vm_, uuid));
  FAIRLEAD_ASSIGN_OR_RETURN(session_, qmp_->Connect(path, config_->hypervisor.peer_uids,
                                                    config_->qmp_deadline, listener_));
  const absl::StatusOr<Uuid> found = session_->QueryUuid(config_->qmp_deadline);
  if (!found.ok()) {
    session_.reset();
    return found.status();
  }
  if (*found != uuid) {
    session_.reset();  // somebody else's monitor is not kept busy
    return absl::FailedPreconditionError(absl::StrCat("the VM at ", path, " has the UUID ",
                                                      found->ToString(), ", not ", uuid.ToString(),
                                                      " as VM ", vm_, " should"));
  }
  session_uuid_ = uuid;
  return absl::OkStatus();
}

absl::StatusOr<VmProvider::Observation> VmProvider::Observe(const Uuid& uuid) {
  FAIRLEAD_RETURN_IF_ERROR(EnsureSession(uuid));
  Observation result;
  result.facts.vm = vm_;
  result.facts.uuid = uuid;
  FAIRLEAD_ASSIGN_OR_RETURN(result.facts.run_state, session_->QueryRunState(config_->qmp_deadline));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<QmpDevice> devices,
                            session_->ListDevices(config_->qmp_deadline));
  for (const QmpDevice& device : devices) {
    if (device.type == "pcie-root-port" &&
        RootPortAllowed(config_->hypervisor.root_ports, device.id)) {
      result.facts.root_ports.push_back({device.id, ""});
    }
    if (device.id.starts_with(kGuestDevicePrefix)) {
      // What does not parse is not what we plugged in, whatever its name.
      const absl::StatusOr<PciAddress> host = PciAddress::Parse(device.host);
      if (host.ok()) result.devices.push_back({device.id, *host, device.bus});
    }
  }
  for (VmFacts::RootPort& port : result.facts.root_ports) {
    for (const QmpDevice& device : devices) {
      if (device.bus == port.id) port.occupant = device.id;
    }
  }
  std::sort(result.facts.root_ports.begin(), result.facts.root_ports.end(),
            [](const auto& a, const auto& b) { return NaturalLess(a.id, b.id); });
  return result;
}

absl::StatusOr<std::optional<VmProvider::Device>> VmProvider::FindDevice(const std::string& id) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<QmpDevice> devices,
                            session_->ListDevices(config_->qmp_deadline));
  for (const QmpDevice& device : devices) {
    if (device.id != id) continue;
    FAIRLEAD_ASSIGN_OR_RETURN(const PciAddress host, PciAddress::Parse(device.host));
    return Device{device.id, host, device.bus};
  }
  return std::nullopt;
}

absl::StatusOr<ObservedResource> VmProvider::PutDevice(const GuestDeviceSpec& wanted) {
  FAIRLEAD_RETURN_IF_ERROR(EnsureSession(wanted.uuid));
  FAIRLEAD_RETURN_IF_ERROR(session_->AddVfioDevice(wanted.device_id, wanted.host, wanted.bus,
                                                   config_->device_add_deadline));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<Device> device, FindDevice(wanted.device_id));
  if (!device) {
    return absl::UnavailableError(
        absl::StrCat("QEMU took ", wanted.device_id, " into VM ", vm_, " and it is gone again"));
  }
  ObservedResource observed;
  observed.key = GuestDeviceKey(vm_, wanted.port);
  observed.spec =
      GuestDeviceSpec{vm_, wanted.uuid, wanted.port, device->id, device->host, device->bus};
  return observed;
}

absl::StatusOr<std::optional<ObservedResource>> VmProvider::DeleteDevice(
    const GuestDeviceSpec& there) {
  FAIRLEAD_RETURN_IF_ERROR(EnsureSession(there.uuid));
  const absl::Status asked = session_->RequestRemoval(there.device_id, config_->qmp_deadline);
  if (absl::IsNotFound(asked)) return std::nullopt;
  FAIRLEAD_RETURN_IF_ERROR(asked);
  FAIRLEAD_ASSIGN_OR_RETURN(const std::optional<Device> device, FindDevice(there.device_id));
  if (!device) return std::nullopt;
  ObservedResource observed;
  observed.key = GuestDeviceKey(vm_, there.port);
  observed.spec = there;
  return observed;
}

}  // namespace fairlead
