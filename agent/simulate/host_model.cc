// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/host_model.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "agent/base/text.h"
#include "agent/simulate/host_model_values.h"

namespace fairlead {
namespace {

// `count` further up; the highest is followed by zero.
IpAddress CountUp(const IpAddress& address, uint32_t count) {
  std::vector<uint8_t> bytes(address.bytes().begin(), address.bytes().end());
  uint64_t carry = count;
  for (size_t i = bytes.size(); i-- > 0 && carry > 0; carry >>= 8) {
    carry += bytes[i];
    bytes[i] = static_cast<uint8_t>(carry);
  }
  return *IpAddress::FromBytes(bytes);
}

// In its third byte and above: a host's MACs differ in the last ones.
MacAddress CountUp(const MacAddress& mac, uint32_t count) {
  std::array<uint8_t, 6> bytes = mac.bytes();
  uint64_t carry = count;
  for (size_t i = 4; i-- > 1 && carry > 0; carry >>= 8) {
    carry += bytes[i];
    bytes[i] = static_cast<uint8_t>(carry);
  }
  return MacAddress(bytes);
}

// The addresses in the config section that are the host's own.
void CountUpConfig(YamlNode& map, const std::string& path, uint32_t count) {
  if (map.kind != YamlNode::Kind::kMap) return;
  for (size_t i = 0; i + 1 < map.items.size(); i += 2) {
    const std::string here = StrCat(path, "/", map.items[i].scalar);
    YamlNode& value = map.items[i + 1];
    if (here == "/tunnel") CountUpConfig(value, here, count);
    if (here != "/tunnel/local" && here != "/management_address") continue;
    const absl::StatusOr<IpAddress> address = IpAddress::Parse(value.scalar);
    if (address.ok()) value.scalar = CountUp(*address, count).ToString();
  }
}

std::string NumaText(int numa) { return numa < 0 ? "-" : StrCat(numa); }

}  // namespace

std::string NicModel::RepresentorName(uint16_t vf) const {
  return absl::StrReplaceAll(representors, {{"{vf}", StrCat(vf)}});
}

MacAddress NicModel::FixedVfMac(uint16_t vf) const {
  const uint64_t hash = StableHash(StrCat(mac.ToString(), "/", vf));
  const auto byte = [hash](int i) { return static_cast<uint8_t>(hash >> (8 * i)); };
  return MacAddress({0x02, byte(0), byte(1), byte(2), byte(3), byte(4)});
}

const NicModel* HostModel::FindNic(std::string_view netdev) const {
  const auto found = std::find_if(nics.begin(), nics.end(),
                                  [&](const NicModel& nic) { return nic.netdev == netdev; });
  return found == nics.end() ? nullptr : &*found;
}

absl::StatusOr<HostModel> NumberedHost(const HostModel& model, uint32_t number) {
  HostModel host = model;
  StrAppend(&host.name, "-", number);
  for (NicModel& nic : host.nics) {
    nic.mac = CountUp(nic.mac, number);
    for (InterfaceAddress& address : nic.addresses) {
      address.address = CountUp(address.address, number);
      if (!host_model_values::IsStationThere(address)) {
        return absl::InvalidArgumentError(
            StrCat("host ", host.name, " would have the address ", address.address.ToString(),
                   " on ", nic.netdev, ", which is no host's in ", address.network.ToString()));
      }
    }
  }
  for (HotplugPortModel& port : host.hotplug_ports) {
    for (FunctionModel& function : port.functions) function.mac = CountUp(function.mac, number);
  }
  CountUpConfig(host.config, "", number);
  return host;
}

std::string DescribeHost(const HostModel& model) {
  const auto named = [](const std::string& name) { return name.empty() ? "-" : name; };
  std::string text = StrCat("host ", model.name, "\n");
  absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %-4s %-10s %-5s %-9s %-9s %s\n", "NIC", "MAC",
                        "PCI", "NUMA", "SWITCH", "VFS", "ESWITCH", "NETWORK", "GPUS ON ITS SWITCH");
  for (const NicModel& nic : model.nics) {
    std::vector<std::string> near;
    for (const GpuModel& gpu : model.gpus) {
      if (!nic.pcie_switch.empty() && gpu.pcie_switch == nic.pcie_switch) near.push_back(gpu.name);
    }
    absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %-4s %-10s %-5s %-9s %-9s %s\n", nic.netdev,
                          nic.mac.ToString(), nic.pci.ToString(), NumaText(nic.numa),
                          named(nic.pcie_switch),
                          nic.vfs == 0 ? "-" : StrCat(nic.vfs, "/", nic.total_vfs),
                          nic.eswitch ? std::string(Name(*nic.eswitch)) : "-",
                          nic.vfs == 0 ? "-" : std::string(NetworkKindName(nic.network)),
                          near.empty() ? "-" : StrJoin(near, ", "));
  }
  if (!model.hotplug_ports.empty()) {
    absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %s\n", "FUNCTION", "MAC", "PCI",
                          "AT HOT-PLUG PORT");
  }
  for (const HotplugPortModel& port : model.hotplug_ports) {
    for (const FunctionModel& function : port.functions) {
      absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %s\n", function.netdev,
                            function.mac.ToString(), function.pci.ToString(), port.name);
    }
    if (!port.functions.empty()) continue;
    absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %s\n", "-", "-", "-", port.name);
  }
  if (model.gpus.empty()) return text;
  absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %-4s %s\n", "GPU", "", "PCI", "NUMA", "SWITCH");
  for (const GpuModel& gpu : model.gpus) {
    absl::StrAppendFormat(&text, "  %-15s %-17s %-12s %-4s %s\n", gpu.name, "", gpu.pci.ToString(),
                          NumaText(gpu.numa), named(gpu.pcie_switch));
  }
  return text;
}

}  // namespace fairlead
