// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config_hotplug.h"

#include <algorithm>
#include <charconv>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr size_t kMostPorts = 256;
constexpr size_t kMostDevices = 64;

absl::StatusOr<FunctionIdentity> ParseIdentity(const std::string& text) {
  if (text == "mac") return FunctionIdentity::kMac;
  if (text == "slot") return FunctionIdentity::kSlot;
  return absl::InvalidArgumentError(StrCat("must be mac or slot, not ", Quoted(text)));
}

absl::StatusOr<std::string> ParseName(const std::string& text) {
  FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckObjectId(text), "is no id"));
  return text;
}

// "1af4:1041", as lspci -n shows it.
absl::StatusOr<PciIds> ParseIds(const std::string& text) {
  PciIds ids;
  const auto read = [&text](size_t from, uint16_t* out) {
    const char* const end = text.data() + from + 4;
    const auto [stop, error] = std::from_chars(text.data() + from, end, *out, 16);
    return error == std::errc() && stop == end;
  };
  if (text.size() != 9 || text[4] != ':' || !read(0, &ids.vendor) || !read(5, &ids.device)) {
    return absl::InvalidArgumentError(
        StrCat("must be the vendor and device of a PCI function in hexadecimal, such as "
               "\"1af4:1041\" (lspci -n shows it), not ",
               Quoted(text)));
  }
  return ids;
}

}  // namespace

absl::StatusOr<NetworkKind> ParseNetworkKind(const std::string& text) {
  if (text == "compute") return NetworkKind::kCompute;
  if (text == "converged") return NetworkKind::kConverged;
  return absl::InvalidArgumentError(StrCat("must be compute or converged, not ", Quoted(text),
                                           " (an out-of-band NIC is simply not listed)"));
}

void ReadHotplugPorts(YamlFields& reader, const YamlNode& node, const std::string& path,
                      std::vector<HotplugPortConfig>* ports) {
  reader.List(node, path, kMostPorts, [&](const YamlNode& element, const std::string& at) {
    HotplugPortConfig port;
    reader.Map(
        element, at,
        {{"port", reader.Value<PciAddress>(
                      &port.port, [](const std::string& t) { return PciAddress::Parse(t); })},
         {"name", reader.Value<std::string>(&port.name, ParseName)},
         {"network", reader.Value<NetworkKind>(&port.network, ParseNetworkKind)},
         {"identity", reader.Value<FunctionIdentity>(&port.identity, ParseIdentity)},
         {"devices",
          [&](const YamlNode& list, const std::string& here) {
            reader.List(list, here, kMostDevices,
                        [&](const YamlNode& one, const std::string& place) {
                          PciIds ids;
                          reader.Value<PciIds>(&ids, ParseIds)(one, place);
                          port.devices.push_back(ids);
                        });
          }},
         {"deadline_ms", reader.Millis(&port.deadline)}},
        {"port"});
    if (port.name.empty()) port.name = port.port.ToString();
    for (const HotplugPortConfig& other : *ports) {
      if (other.port == port.port) {
        reader.Mistake(element, at, "has the address of a hot-plug port that stands above already");
      } else if (other.name == port.name) {
        reader.Mistake(element, at, "has the name of a hot-plug port that stands above already");
      }
    }
    ports->push_back(std::move(port));
  });
}

}  // namespace fairlead
