// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/host_model.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/simulate/host_config.h"
#include "agent/yaml/yaml_fields.h"

namespace fairlead {
namespace {

constexpr size_t kMostNics = 256;
constexpr size_t kMostVfs = 16384;  // of all NICs together
constexpr size_t kMostHotplugPorts = 256;
constexpr size_t kMostFunctions = 64;  // of one of them
constexpr size_t kMostOther = 1024;
constexpr size_t kMostNameBytes = 40;   // it is a folder, and a part of a socket's path
constexpr size_t kMostDeviceName = 15;  // IFNAMSIZ without the final zero

absl::Status Bad(std::string text) { return absl::InvalidArgumentError(std::move(text)); }

absl::StatusOr<std::string> ParseId(const std::string& text) {
  FAIRLEAD_RETURN_IF_ERROR(Annotate(CheckObjectId(text), "is no id"));
  return text;
}

absl::StatusOr<std::string> ParseName(const std::string& text) {
  FAIRLEAD_RETURN_IF_ERROR(ParseId(text).status());
  if (text.size() > kMostNameBytes) {
    return Bad(StrCat("must have ", kMostNameBytes, " bytes at most"));
  }
  return text;
}

// Of ASCII, and U+0080 to U+009F, which a terminal takes for such too.
bool HasControl(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

bool IsDeviceName(const std::string& text) {
  return !text.empty() && text.size() <= kMostDeviceName && text != "." && text != ".." &&
         text.find_first_of("/: ") == std::string::npos && !HasControl(text);
}

absl::StatusOr<std::string> ParseDeviceName(const std::string& text) {
  if (IsDeviceName(text)) return text;
  return Bad(
      StrCat("must be the name of a netdev (1 to 15 characters without '/', ':', spaces and "
             "control characters), not ",
             Quoted(text)));
}

absl::StatusOr<std::string> ParsePattern(const std::string& text) {
  if (text == "none") return std::string();
  const size_t at = text.find("{vf}");
  if (at != std::string::npos && text.find_first_of("{}", at + 4) == std::string::npos &&
      text.find_first_of("{}") == at) {
    return text;
  }
  return Bad(
      StrCat("must be the name of a netdev with {vf} in it once and no other brace, or none, "
             "not ",
             Quoted(text)));
}

absl::StatusOr<std::string> ParseWord(const std::string& text) {
  if (!text.empty() && text.size() <= kMaxObjectIdLength && !HasControl(text)) return text;
  return Bad(StrCat("must have 1 to 63 characters and no control characters, not ", Quoted(text)));
}

// It is a folder of sysfs.
absl::StatusOr<std::string> ParseDriver(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::string word, ParseWord(text));
  if (word != "." && word != ".." && word.find('/') == std::string::npos) return word;
  return Bad(StrCat("must be the name of a driver, not ", Quoted(text)));
}

absl::StatusOr<MacAddress> ParseStationMac(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const MacAddress mac, MacAddress::Parse(text));
  if (mac.IsUnicast()) return mac;
  return Bad(StrCat(Quoted(text), " is not the MAC of a single NIC"));
}

absl::StatusOr<NetworkKind> ParseNetwork(const std::string& text) {
  if (text == "compute") return NetworkKind::kCompute;
  if (text == "converged") return NetworkKind::kConverged;
  return Bad(StrCat("must be compute or converged, not ", Quoted(text)));
}

absl::StatusOr<std::optional<EswitchMode>> ParseEswitch(const std::string& text) {
  if (text == "none") return std::optional<EswitchMode>();
  for (const EswitchMode mode : {EswitchMode::kLegacy, EswitchMode::kSwitchdev}) {
    if (text == Name(mode)) return std::optional(mode);
  }
  return Bad(StrCat("must be none, legacy or switchdev, not ", Quoted(text)));
}

// "15b3:1021"
absl::StatusOr<std::pair<uint16_t, uint16_t>> ParsePciId(const std::string& text) {
  const auto hex = [&](size_t at, uint16_t* out) {
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + 4, *out, 16);
    return error == std::errc() && end == text.data() + at + 4;
  };
  std::pair<uint16_t, uint16_t> id;
  if (text.size() == 9 && text[4] == ':' && hex(0, &id.first) && hex(5, &id.second)) return id;
  return Bad(StrCat("must be vendor and device as in '15b3:1021', not ", Quoted(text)));
}

// Of one host, that others can send to.
bool IsStation(const IpAddress& address) {
  const auto bytes = address.bytes();
  const bool broadcast = address.is_v4() && std::all_of(bytes.begin(), bytes.end(),
                                                        [](uint8_t b) { return b == 255; });
  return !address.IsUnspecified() && !address.IsMulticast() && !address.IsLoopback() && !broadcast;
}

// In IPv4 a network's first address is its own, and its last all of its hosts'; one of two
// addresses has neither (RFC 3021).
bool IsStationThere(const InterfaceAddress& at) {
  if (!IsStation(at.address) || !at.network.Contains(at.address)) return false;
  return at.address.is_v6() || at.network.length() >= 31 ||
         (at.address != at.network.address() && at.address != at.network.Last());
}

absl::StatusOr<IpAddress> ParseStation(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, IpAddress::Parse(text));
  if (IsStation(address)) return address;
  return Bad(StrCat(Quoted(text), " is not the address of one host"));
}

// "192.0.2.1/24": an address with the length of its network.
absl::StatusOr<InterfaceAddress> ParseInterfaceAddress(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) {
    return Bad(StrCat("must be an address and the length of its network, as in 192.0.2.1/24, not ",
                      Quoted(text)));
  }
  InterfaceAddress result;
  FAIRLEAD_ASSIGN_OR_RETURN(result.address, ParseStation(text.substr(0, slash)));
  uint32_t length = 0;
  const auto [end, error] =
      std::from_chars(text.data() + slash + 1, text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size() ||
      length > static_cast<uint32_t>(result.address.bits())) {
    return Bad(StrCat("has no good length of a network: ", Quoted(text)));
  }
  std::vector<uint8_t> bytes(result.address.bytes().begin(), result.address.bytes().end());
  for (size_t bit = length; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  }
  const std::string network = StrCat(IpAddress::FromBytes(bytes)->ToString(), "/", length);
  FAIRLEAD_ASSIGN_OR_RETURN(result.network, IpPrefix::Parse(network));
  if (!IsStationThere(result)) {
    return Bad(StrCat(Quoted(text), " is not the address of one host in ", network));
  }
  return result;
}

// "1500ms"; 0 to 10 minutes.
absl::StatusOr<std::chrono::microseconds> ParseDuration(const std::string& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const uint64_t scale = unit == "us" ? 1 : unit == "ms" ? 1'000 : unit == "s" ? 1'000'000 : 0;
  if (error != std::errc() || scale == 0 || number > 600'000'000 / scale) {
    return Bad(StrCat("must be a whole number of us, ms or s, 600s at most, not ", Quoted(text)));
  }
  return std::chrono::microseconds(number * scale);
}

// The routing ID of the SR-IOV specification.
uint32_t RoutingId(const PciAddress& at) {
  return uint32_t{at.bus} << 8 | uint32_t{at.device} << 3 | at.function;
}

class ModelReader {
 public:
  absl::StatusOr<HostModel> Read(const YamlNode& root) {
    fields_.Map(
        root, "",
        {{"name", fields_.Value(&model_.name, ParseName)},
         {"nics", ListOf(kMostNics, [this](const auto& n, const auto& p) { ReadNic(n, p); })},
         {"hotplug_ports", ListOf(kMostHotplugPorts,
                                  [this](const auto& n, const auto& p) { ReadHotplugPort(n, p); })},
         {"gpus", ListOf(kMostOther, [this](const auto& n, const auto& p) { ReadGpu(n, p); })},
         {"routes", ListOf(kMostOther, [this](const auto& n, const auto& p) { ReadRoute(n, p); })},
         {"neighbours",
          [this](const YamlNode& node, const std::string& path) {
            fields_.Map(node, path,
                        {{"answer", ListOf(kMostOther, [this](const auto& n, const auto& p) {
                            IpPrefix prefix;
                            fields_.Value(&prefix, IpPrefix::Parse)(n, p);
                            model_.answering.push_back(prefix);
                          })}});
          }},
         {"vms", [this](const auto& n, const auto& p) { ReadVms(n, p); }},
         {"latency", [this](const auto& n, const auto& p) { ReadLatency(n, p); }},
         {"limits",
          [this](const YamlNode& node, const std::string& path) {
            fields_.Map(node, path,
                        {{"rules_per_table", [this](const YamlNode& n, const std::string& p) {
                            uint32_t rules = 0;
                            fields_.Number<uint32_t>(&rules, 0, 100'000'000)(n, p);
                            model_.rules_per_table = rules;
                          }}});
          }},
         {"config", [this](const auto& n, const auto& p) { ReadConfig(n, p); }}},
        {"name", "nics", "vms"});
    CheckWhole(root);
    FAIRLEAD_RETURN_IF_ERROR(fields_.Result());
    return std::move(model_);
  }

 private:
  YamlFields::Reader ListOf(size_t most, YamlFields::Reader element) {
    return [this, most, element](const YamlNode& node, const std::string& path) {
      fields_.List(node, path, most, element);
    };
  }
  // -1: not known.
  YamlFields::Reader Numa(int* out) { return fields_.Number<int>(out, 0, 1023); }

  void ReadNic(const YamlNode& node, const std::string& path) {
    NicModel nic;
    std::pair<uint16_t, uint16_t> id{nic.vendor, nic.device};
    std::optional<std::string> representors;
    fields_.Map(node, path,
                {{"netdev", fields_.Value(&nic.netdev, ParseDeviceName)},
                 {"mac", fields_.Value(&nic.mac, ParseStationMac)},
                 {"pci", fields_.Value(&nic.pci, PciAddress::Parse)},
                 {"driver", fields_.Value(&nic.driver, ParseDriver)},
                 {"id", fields_.Value(&id, ParsePciId)},
                 // ETH_MIN_MTU, and what an IPv4 packet can have.
                 {"mtu", fields_.Number<uint32_t>(&nic.mtu, 68, 65535)},
                 {"numa", Numa(&nic.numa)},
                 {"switch", fields_.Value(&nic.pcie_switch, ParseWord)},
                 {"total_vfs", fields_.Number<uint16_t>(&nic.total_vfs, 0, 65535)},
                 {"vf_offset", fields_.Number<uint16_t>(&nic.vf_offset, 1, 65535)},
                 {"vfs", fields_.Number<uint16_t>(&nic.vfs, 1, kMostVfs)},
                 {"network", fields_.Value(&nic.network, ParseNetwork)},
                 {"can_set_vf_mac", fields_.Bool(&nic.can_set_vf_mac)},
                 {"offload", fields_.Bool(&nic.offload)},
                 {"eswitch", fields_.Value(&nic.eswitch, ParseEswitch)},
                 {"allow_host_traffic", fields_.Bool(&nic.allow_host_traffic)},
                 {"representors", fields_.Optional(&representors, ParsePattern)},
                 {"addresses", ListOf(64,
                                      [&](const YamlNode& n, const std::string& p) {
                                        InterfaceAddress address;
                                        fields_.Value(&address, ParseInterfaceAddress)(n, p);
                                        nic.addresses.push_back(address);
                                      })}},
                {"netdev", "mac", "pci"});
    nic.vendor = id.first;
    nic.device = id.second;
    nic.representors = representors.value_or(StrCat(nic.netdev, "_{vf}"));
    if (nic.eswitch && nic.representors.empty()) {
      fields_.Mistake(node.line, path,
                      "has an eswitch and no representors, and no NIC is like that: see 'eswitch' "
                      "and 'representors'");
    }
    if (nic.eswitch && !nic.can_set_vf_mac) {
      fields_.Mistake(node.line, path,
                      "has an eswitch and VFs whose MACs cannot be set, and no NIC is like that: "
                      "see 'eswitch' and 'can_set_vf_mac'");
    }
    if (nic.vfs > nic.total_vfs) {
      fields_.Mistake(node.line, path,
                      StrCat("is to have ", nic.vfs, " VFs, and its hardware can have ",
                             nic.total_vfs, ": see 'vfs' and 'total_vfs'"));
    }
    TakeMac(node, path, nic.mac);
    TakeName(node, path, nic.netdev);
    TakePci(node, path, nic.pci);
    vfs_ += nic.vfs;
    if (vfs_ > kMostVfs) {
      fields_.Mistake(node, path, StrCat("is one too many: ", kMostVfs, " VFs are possible"));
      nic.vfs = 0;
    }
    // The names of the representors, and the functions, that there will be.
    for (uint16_t vf = 0; vf < nic.vfs && !nic.representors.empty(); ++vf) {
      const std::string name = nic.RepresentorName(vf);
      if (!IsDeviceName(name)) {
        fields_.Mistake(node, path,
                        StrCat("gives a representor the name ", Quoted(name),
                               ", and a netdev's has 1 to 15 characters without '/', ':', spaces "
                               "and control characters: see 'representors'"));
        break;
      }
      if (!TakeName(node, path, name)) break;
    }
    for (uint16_t vf = 0; vf < nic.vfs; ++vf) {
      const uint32_t rid = RoutingId(nic.pci) + nic.vf_offset + vf;
      if (rid > 0xffff) {
        fields_.Mistake(node, path, "has VFs behind the last bus: see 'vf_offset'");
        break;
      }
      PciAddress at;
      at.domain = nic.pci.domain;
      at.bus = static_cast<uint8_t>(rid >> 8);
      at.device = static_cast<uint8_t>(rid >> 3 & 31);
      at.function = static_cast<uint8_t>(rid & 7);
      if (!TakePci(node, path, at)) break;
    }
    model_.nics.push_back(std::move(nic));
  }

  void ReadHotplugPort(const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::kMap) {
      return fields_.Mistake(node, path, "must be a mapping of keys to values");
    }
    HotplugPortModel port;
    port.config.kind = YamlNode::Kind::kMap;
    port.config.line = node.line;
    // The daemon's reader says what is wrong with these.
    std::map<std::string, YamlFields::Reader> readers;
    for (const char* key : {"port", "name", "network", "identity", "devices", "deadline_ms"}) {
      readers[key] = [&port, key](const YamlNode& value, const std::string&) {
        YamlNode name;
        name.kind = YamlNode::Kind::kScalar;
        name.line = value.line;
        name.scalar = key;
        port.config.items.push_back(std::move(name));
        port.config.items.push_back(value);
      };
    }
    std::vector<const YamlNode*> lines;  // of the functions
    readers["functions"] = ListOf(kMostFunctions, [&](const YamlNode& n, const std::string& p) {
      port.functions.push_back(ReadFunction(n, p));
      lines.push_back(&n);
    });
    fields_.Map(node, path, readers);
    for (size_t i = 0; i + 1 < port.config.items.size(); i += 2) {
      const std::string& key = port.config.items[i].scalar;
      const std::string& value = port.config.items[i + 1].scalar;
      if (key == "port") port.port = PciAddress::Parse(value).value_or(PciAddress());
      if (key == "name") port.name = value;
    }
    if (port.name.empty()) port.name = port.port.ToString();
    hotplug_ports_.emplace_back(node.line, path);
    TakePci(node, path, port.port);
    for (size_t i = 0; i < port.functions.size(); ++i) {
      const PciAddress& at = port.functions[i].pci;
      if (at.domain == port.port.domain && at.bus > port.port.bus &&
          at.bus == port.functions[0].pci.bus) {
        continue;
      }
      fields_.Mistake(*lines[i], StrCat(path, ".functions[", i, "].pci"),
                      "is not behind the port: its functions are on one bus, that comes after the "
                      "port's own");
    }
    model_.hotplug_ports.push_back(std::move(port));
  }

  FunctionModel ReadFunction(const YamlNode& node, const std::string& path) {
    FunctionModel function;
    std::pair<uint16_t, uint16_t> id{function.vendor, function.device};
    fields_.Map(node, path,
                {{"netdev", fields_.Value(&function.netdev, ParseDeviceName)},
                 {"mac", fields_.Value(&function.mac, ParseStationMac)},
                 {"pci", fields_.Value(&function.pci, PciAddress::Parse)},
                 {"driver", fields_.Value(&function.driver, ParseDriver)},
                 {"id", fields_.Value(&id, ParsePciId)},
                 {"after", fields_.Value(&function.after, ParseDuration)}},
                {"netdev", "mac", "pci"});
    function.vendor = id.first;
    function.device = id.second;
    TakeMac(node, path, function.mac);
    TakeName(node, path, function.netdev);
    TakePci(node, path, function.pci);
    return function;
  }

  void TakeMac(const YamlNode& node, const std::string& path, const MacAddress& mac) {
    if (macs_.insert(mac).second) return;
    fields_.Mistake(node, path, "has the MAC of a NIC that stands above already");
  }

  bool TakeName(const YamlNode& node, const std::string& path, const std::string& name) {
    if (name.empty() || names_.insert(name).second) return true;
    fields_.Mistake(node, path, StrCat("gives a second netdev the name ", name));
    return false;
  }

  bool TakePci(const YamlNode& node, const std::string& path, const PciAddress& pci) {
    if (functions_.insert(pci).second) return true;
    fields_.Mistake(node, path,
                    StrCat("has a function at ", pci.ToString(),
                           ", where one that stands above has one already"));
    return false;
  }

  void ReadGpu(const YamlNode& node, const std::string& path) {
    GpuModel gpu;
    fields_.Map(node, path,
                {{"name", fields_.Value(&gpu.name, ParseWord)},
                 {"pci", fields_.Value(&gpu.pci, PciAddress::Parse)},
                 {"numa", Numa(&gpu.numa)},
                 {"switch", fields_.Value(&gpu.pcie_switch, ParseWord)}},
                {"name", "pci"});
    TakePci(node, path, gpu.pci);
    if (!gpu.name.empty() && !gpus_.insert(gpu.name).second) {
      fields_.Mistake(node, path, "has the name of a GPU that stands above already");
    }
    model_.gpus.push_back(std::move(gpu));
  }

  void ReadRoute(const YamlNode& node, const std::string& path) {
    RouteModel route;
    fields_.Map(node, path,
                {{"to", fields_.Value(&route.to, IpPrefix::Parse)},
                 {"via", fields_.Optional(&route.via, ParseStation)},
                 {"netdev", fields_.Value(&route.netdev, ParseDeviceName)}},
                {"to", "netdev"});
    routes_.emplace_back(node.line, path);
    model_.routes.push_back(std::move(route));
  }

  void ReadVms(const YamlNode& node, const std::string& path) {
    fields_.Map(node, path,
                {{"on_demand",
                  [this](const YamlNode& n, const std::string& p) {
                    uint16_t ports = 0;
                    fields_.Map(n, p, {{"root_ports", fields_.Number<uint16_t>(&ports, 0, 256)}},
                                {"root_ports"});
                    model_.on_demand_root_ports = ports;
                  }},
                 {"listed", ListOf(kMostOther, [this](const YamlNode& n, const std::string& p) {
                    VmModel vm;
                    fields_.Map(n, p,
                                {{"id", fields_.Value(&vm.id, ParseId)},
                                 {"uuid", fields_.Value(&vm.uuid, Uuid::Parse)},
                                 {"root_ports", fields_.Number<uint16_t>(&vm.root_ports, 0, 256)}},
                                {"id", "uuid", "root_ports"});
                    if (!vms_.insert(vm.id).second) {
                      fields_.Mistake(n, p, "has the id of a VM that stands above already");
                    }
                    if (!vm.uuid.empty() && !uuids_.insert(vm.uuid).second) {
                      fields_.Mistake(n, p, "has the UUID of a VM that stands above already");
                    }
                    model_.vms.push_back(std::move(vm));
                  })}});
    if (model_.vms.empty() && !model_.on_demand_root_ports) {
      fields_.Mistake(node, path, "names no VM: say 'listed', 'on_demand' or both");
    }
  }

  void ReadLatency(const YamlNode& node, const std::string& path) {
    LatencyModel& latency = model_.latency;
    fields_.Map(node, path,
                {{"sriov_numvfs", fields_.Value(&latency.sriov_numvfs, ParseDuration)},
                 {"eswitch", fields_.Value(&latency.eswitch, ParseDuration)},
                 {"bind", fields_.Value(&latency.bind, ParseDuration)},
                 {"unbind", fields_.Value(&latency.unbind, ParseDuration)},
                 {"reset", fields_.Value(&latency.reset, ParseDuration)},
                 {"device_add", fields_.Value(&latency.device_add, ParseDuration)},
                 {"device_del", fields_.Value(&latency.device_del, ParseDuration)},
                 {"rule", fields_.Value(&latency.rule, ParseDuration)},
                 {"netlink", fields_.Value(&latency.netlink, ParseDuration)}});
  }

  void ReadConfig(const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::kMap) {
      return fields_.Mistake(node, path, "must be a mapping of keys to values");
    }
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& key = node.items[i];
      if (key.scalar != "pfs" && key.scalar != "hotplug_ports" && key.scalar != "hypervisor") {
        continue;
      }
      fields_.Mistake(key, StrCat(path, ".", key.scalar),
                      "follows from nics, hotplug_ports and vms and cannot be said here");
    }
    CheckKeys(node, path);
    model_.config = node;
  }

  // What stands in the config section goes to the daemon's reader, but for this.
  void CheckKeys(const YamlNode& node, const std::string& path) {
    const bool map = node.kind == YamlNode::Kind::kMap;
    for (size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      if (map && i % 2 == 0 && item.kind != YamlNode::Kind::kScalar) {
        fields_.Mistake(item, path, "has a key that is not a word");
      }
      CheckKeys(item, path);
    }
  }

  void CheckWhole(const YamlNode& root) {
    bool usable = !model_.hotplug_ports.empty();
    for (const NicModel& nic : model_.nics) usable |= nic.vfs > 0;
    if (!usable && !fields_.any_mistake()) {
      fields_.Mistake(
          root, "nics",
          "holds no NIC with 'vfs', and there are no hotplug_ports: there is nothing that "
          "Fairlead may use");
    }
    for (size_t i = 0; i < model_.routes.size(); ++i) {
      const RouteModel& route = model_.routes[i];
      if (!route.netdev.empty() && model_.FindNic(route.netdev) == nullptr) {
        fields_.Mistake(routes_[i].first, routes_[i].second,
                        StrCat("goes through ", route.netdev, ", which is no NIC above"));
      }
    }
    // Both are what people call a place for ports by.
    for (size_t i = 0; i < model_.hotplug_ports.size(); ++i) {
      const std::string& name = model_.hotplug_ports[i].name;
      if (model_.FindNic(name) == nullptr) continue;
      fields_.Mistake(hotplug_ports_[i].first, hotplug_ports_[i].second,
                      StrCat("has the name of the NIC ", name));
    }
    // What the daemon's reader says of the whole follows from other mistakes, if any.
    const bool earlier = fields_.any_mistake();
    if (const auto config = ConfigOf(model_, "/run"); config.ok()) {
      model_.log_level = config->log_level;
    }
    const int whole = model_.config.line > 0 ? model_.config.line : root.line;
    for (const ConfigMistake& mistake : ConfigMistakes(model_)) {
      if (earlier && mistake.line == 0) continue;
      fields_.Mistake(mistake.line > 0 ? mistake.line : whole, mistake.path, mistake.what);
    }
  }

  HostModel model_;
  YamlFields fields_;
  std::set<MacAddress> macs_;
  std::set<std::string> names_, vms_, gpus_;
  std::set<Uuid> uuids_;
  std::set<PciAddress> functions_;
  std::vector<std::pair<int, std::string>> routes_, hotplug_ports_;  // line and path of each
  size_t vfs_ = 0;
};

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

absl::StatusOr<HostModel> ParseHostModel(std::string_view yaml) {
  if (yaml.size() > kMaxHostModelBytes) {
    return Bad(StrCat("the host model has more than ", kMaxHostModelBytes, " bytes"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const YamlNode root, ParseOneYamlDocument(yaml));
  return ModelReader().Read(root);
}

absl::StatusOr<HostModel> LoadHostModel(const std::string& path) {
  const std::string asked = StrCat("read the host model ", path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return SystemError(errno, asked);
  if (!S_ISREG(info.st_mode)) return Bad(StrCat(asked, ": it is not a file"));
  std::ifstream file(path, std::ios::binary);
  if (!file) return SystemError(errno, asked);
  std::string text(kMaxHostModelBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  absl::StatusOr<HostModel> model = ParseHostModel(text);
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

absl::StatusOr<HostModel> NumberedHost(const HostModel& model, uint32_t number) {
  HostModel host = model;
  StrAppend(&host.name, "-", number);
  for (NicModel& nic : host.nics) {
    nic.mac = CountUp(nic.mac, number);
    for (InterfaceAddress& address : nic.addresses) {
      address.address = CountUp(address.address, number);
      if (!IsStationThere(address)) {
        return Bad(StrCat("host ", host.name, " would have the address ",
                          address.address.ToString(), " on ", nic.netdev,
                          ", which is no host's in ", address.network.ToString()));
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
