// SPDX-License-Identifier: Apache-2.0
//
// Messages of the kernel's devlink made of any bytes: every decoder must answer or
// refuse.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/ports/devlink/devlink_codec.h"
#include "agent/ports/netlink/generic.h"

namespace {

void DecodeAll(fairlead::netlink::Bytes payload) {
  using namespace fairlead;
  (void)netlink::DecodeFamily(payload);
  if (const auto device = netlink::DecodeDevlinkDevice(payload); device.ok()) {
    if (device->handle.bus.empty() || device->handle.device.empty()) std::abort();
  }
  (void)netlink::DecodeEswitch(payload);
  (void)netlink::DecodeDevlinkInfo(payload);
  if (const auto rate = netlink::DecodeDevlinkRate(payload); rate.ok()) {
    if (rate->id.port.has_value() != rate->id.node.empty()) std::abort();
  }
  if (const auto port = netlink::DecodeDevlinkPort(payload); port.ok()) {
    if (port->ifindex > INT32_MAX) std::abort();
    DevlinkVf vf;
    vf.vf = port->vf.value_or(0);
    (void)FindVfRepresentor(std::span(&*port, 1), vf);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  const netlink::Bytes bytes(data, size);
  DecodeAll(bytes);
  if (const auto messages = netlink::SplitDatagram(bytes); messages.ok()) {
    for (const netlink::MessageView& message : *messages) {
      (void)netlink::ParseAck(message);
      DecodeAll(message.payload);
      // The family's number is whatever the message says.
      const auto event = netlink::DecodeDevlinkEvent(message.type, message);
      if (event.ok() && *event && (*event)->device.handle.bus.empty()) std::abort();
    }
  }
  if (const auto handle =
          DevlinkHandle::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
      handle.ok() && DevlinkHandle::Parse(handle->ToString()) != handle) {
    std::abort();
  }
  return 0;
}
