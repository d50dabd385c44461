// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/linux_devlink_port.h"

#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

using netlink::Answer;
using netlink::Message;

std::string Of(const DevlinkHandle& device, uint32_t index) {
  return StrCat("port ", index, " of ", device.ToString());
}

// The one message that answers a request for one thing.
template <typename T>
absl::StatusOr<T> DecodeOne(const Answer& answer, uint16_t family, const std::string& asked,
                            absl::StatusOr<T> (*decode)(netlink::Bytes)) {
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(asked));
  for (const netlink::OwnedMessage& reply : answer.replies) {
    if (reply.type != family) continue;
    auto value = decode(reply.payload);
    if (!value.ok()) return Annotate(value.status(), asked);
    return value;
  }
  return absl::DataLossError(StrCat(asked, ": the kernel answered without a word"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DevlinkPort>> LinuxDevlinkPort::Create() {
  FAIRLEAD_ASSIGN_OR_RETURN(auto socket, netlink::RequestSocket::Open(netlink::Protocol::kGeneric));
  return std::unique_ptr<DevlinkPort>(new LinuxDevlinkPort(std::move(socket)));
}

absl::StatusOr<netlink::GenericFamily> LinuxDevlinkPort::Family() {
  if (!family_) {
    FAIRLEAD_ASSIGN_OR_RETURN(family_, netlink::ResolveFamily(*socket_, netlink::kDevlinkFamily));
  }
  return *family_;
}

absl::StatusOr<std::vector<DevlinkDevice>> LinuxDevlinkPort::ListDevices() {
  constexpr char kAsked[] = "list the devlink devices";
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::ListDevicesRequest(family.id);
  const Answer answer = socket_->Transact(request);
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(kAsked));
  std::vector<DevlinkDevice> devices;
  for (const netlink::OwnedMessage& reply : answer.replies) {
    if (reply.type != family.id) continue;
    auto device = netlink::DecodeDevlinkDevice(reply.payload);
    if (!device.ok()) return Annotate(device.status(), kAsked);
    devices.push_back(*std::move(device));
  }
  return devices;
}

absl::StatusOr<DevlinkEswitch> LinuxDevlinkPort::GetEswitch(const DevlinkHandle& device) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::GetEswitchRequest(family.id, device);
  return DecodeOne(socket_->Transact(request), family.id,
                   StrCat("read the eswitch of ", device.ToString()), netlink::DecodeEswitch);
}

absl::Status LinuxDevlinkPort::SetEswitch(const DevlinkHandle& device,
                                          const DevlinkEswitch& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  for (const auto& one : netlink::OneByOne(wanted)) {
    Message request = netlink::SetEswitchRequest(family.id, device, one.value);
    FAIRLEAD_RETURN_IF_ERROR(
        socket_->Transact(request).ToStatus(StrCat("set ", one.what, " of ", device.ToString())));
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<std::vector<T>> LinuxDevlinkPort::List(Message request, const DevlinkHandle& device,
                                                      const std::string& asked,
                                                      absl::StatusOr<T> (*decode)(netlink::Bytes)) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  const Answer answer = socket_->Transact(request);
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(asked));
  std::vector<T> found;
  for (const netlink::OwnedMessage& reply : answer.replies) {
    if (reply.type != family.id) continue;
    // Older kernels (6.1) tell of all devices; what is said of others need not be understood.
    const auto of = netlink::DecodeDevlinkDevice(reply.payload);
    if (!of.ok()) return Annotate(of.status(), asked);
    if (of->handle != device) continue;
    absl::StatusOr<T> one = decode(reply.payload);
    if (!one.ok()) return Annotate(one.status(), asked);
    found.push_back(*std::move(one));
  }
  if (!found.empty()) return found;
  // A kernel that tells of all devices says nothing of one that is not there.
  Message there = netlink::GetDeviceRequest(family.id, device);
  FAIRLEAD_RETURN_IF_ERROR(socket_->Transact(there).ToStatus(asked));
  return found;
}

absl::StatusOr<std::vector<DevlinkPortInfo>> LinuxDevlinkPort::ListPorts(
    const DevlinkHandle& device) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  return List<DevlinkPortInfo>(netlink::ListPortsRequest(family.id, device), device,
                               StrCat("list the ports of ", device.ToString()),
                               netlink::DecodeDevlinkPort);
}

absl::StatusOr<DevlinkPortInfo> LinuxDevlinkPort::GetPort(const DevlinkHandle& device,
                                                          uint32_t index) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::GetPortRequest(family.id, device, index);
  return DecodeOne(socket_->Transact(request), family.id, StrCat("look up ", Of(device, index)),
                   netlink::DecodeDevlinkPort);
}

absl::Status LinuxDevlinkPort::SetPortFunction(const DevlinkHandle& device, uint32_t index,
                                               const DevlinkPortFunction& wanted) {
  FAIRLEAD_RETURN_IF_ERROR(CheckSettable(wanted));
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  for (const auto& one : netlink::OneByOne(wanted)) {
    Message request = netlink::SetPortFunctionRequest(family.id, device, index, one.value);
    FAIRLEAD_RETURN_IF_ERROR(
        socket_->Transact(request).ToStatus(StrCat("set ", one.what, " of ", Of(device, index))));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<DevlinkRate>> LinuxDevlinkPort::ListRates(const DevlinkHandle& device) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  return List<DevlinkRate>(netlink::ListRatesRequest(family.id, device), device,
                           StrCat("list the rates of ", device.ToString()),
                           netlink::DecodeDevlinkRate);
}

absl::Status LinuxDevlinkPort::SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                                       const DevlinkRateSettings& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  for (const auto& one : netlink::OneByOne(wanted)) {
    Message request = netlink::SetRateRequest(family.id, device, id, one.value);
    FAIRLEAD_RETURN_IF_ERROR(socket_->Transact(request).ToStatus(
        StrCat("set ", one.what, " of the rate ", id.ToString(), " of ", device.ToString())));
  }
  return absl::OkStatus();
}

absl::Status LinuxDevlinkPort::AddRateNode(const DevlinkHandle& device, const std::string& name) {
  FAIRLEAD_ASSIGN_OR_RETURN(const DevlinkRateId node, DevlinkRateId::Node(name));
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::AddRateNodeRequest(family.id, device, node.node);
  return socket_->Transact(request).ToStatus(
      StrCat("make the rate ", node.ToString(), " of ", device.ToString()));
}

absl::Status LinuxDevlinkPort::DeleteRateNode(const DevlinkHandle& device,
                                              const std::string& name) {
  FAIRLEAD_ASSIGN_OR_RETURN(const DevlinkRateId node, DevlinkRateId::Node(name));
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::DeleteRateNodeRequest(family.id, device, node.node);
  return socket_->Transact(request).ToStatus(
      StrCat("take away the rate ", node.ToString(), " of ", device.ToString()));
}

absl::StatusOr<DevlinkInfo> LinuxDevlinkPort::GetInfo(const DevlinkHandle& device) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::GetInfoRequest(family.id, device);
  return DecodeOne(socket_->Transact(request), family.id,
                   StrCat("read the versions of ", device.ToString()), netlink::DecodeDevlinkInfo);
}

absl::Status LinuxDevlinkPort::Reload(const DevlinkHandle& device) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  Message request = netlink::ReloadRequest(family.id, device);
  return socket_->Transact(request).ToStatus(StrCat("reload ", device.ToString()));
}

absl::StatusOr<std::unique_ptr<DevlinkPort::Subscription>> LinuxDevlinkPort::Subscribe(
    std::function<void(const Event&)> on_event) {
  FAIRLEAD_ASSIGN_OR_RETURN(const auto family, Family());
  const auto group = family.groups.find(netlink::kDevlinkGroup);
  if (group == family.groups.end()) {
    return absl::UnimplementedError("this kernel tells nothing of devlink's changes");
  }
  const int groups[] = {group->second};
  auto lost = [on_event] { on_event(Event{}); };
  auto message = [on_event, lost, id = family.id](const netlink::MessageView& view) {
    auto event = netlink::DecodeDevlinkEvent(id, view);
    if (!event.ok()) return lost();
    if (*event) on_event(**event);
  };
  FAIRLEAD_ASSIGN_OR_RETURN(
      auto listener,
      netlink::Listener::Start(groups, std::move(message), lost, netlink::Protocol::kGeneric));
  return std::make_unique<netlink::ListenerSubscription<Subscription>>(std::move(listener));
}

}  // namespace fairlead
