// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/simulate/host_config.h"
#include "agent/simulate/host_model.h"
#include "agent/simulate/host_model_values.h"
#include "agent/yaml/yaml_fields.h"

namespace fairlead {
namespace {

namespace values = host_model_values;

constexpr size_t kMostNics = 256;
constexpr size_t kMostVfs = 16384;  // of all NICs together
constexpr size_t kMostHotplugPorts = 256;
constexpr size_t kMostFunctions = 64;  // of one of them
constexpr size_t kMostOther = 1024;

// The routing ID of the SR-IOV specification.
uint32_t RoutingId(const PciAddress& at) {
  return uint32_t{at.bus} << 8 | uint32_t{at.device} << 3 | at.function;
}

class ModelReader {
 public:
  absl::StatusOr<HostModel> Read(const YamlNode& root) {
    fields_.Map(
        root, "",
        {{"name", fields_.Value(&model_.name, values::ParseName)},
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
                {{"netdev", fields_.Value(&nic.netdev, values::ParseDeviceName)},
                 {"mac", fields_.Value(&nic.mac, values::ParseStationMac)},
                 {"pci", fields_.Value(&nic.pci, PciAddress::Parse)},
                 {"driver", fields_.Value(&nic.driver, values::ParseDriver)},
                 {"id", fields_.Value(&id, values::ParsePciId)},
                 // ETH_MIN_MTU, and what an IPv4 packet can have.
                 {"mtu", fields_.Number<uint32_t>(&nic.mtu, 68, 65535)},
                 {"numa", Numa(&nic.numa)},
                 {"switch", fields_.Value(&nic.pcie_switch, values::ParseWord)},
                 {"total_vfs", fields_.Number<uint16_t>(&nic.total_vfs, 0, 65535)},
                 {"vf_offset", fields_.Number<uint16_t>(&nic.vf_offset, 1, 65535)},
                 {"vfs", fields_.Number<uint16_t>(&nic.vfs, 1, kMostVfs)},
                 {"network", fields_.Value(&nic.network, values::ParseNetwork)},
                 {"can_set_vf_mac", fields_.Bool(&nic.can_set_vf_mac)},
                 {"offload", fields_.Bool(&nic.offload)},
                 {"eswitch", fields_.Value(&nic.eswitch, values::ParseEswitch)},
                 {"allow_host_traffic", fields_.Bool(&nic.allow_host_traffic)},
                 {"representors", fields_.Optional(&representors, values::ParsePattern)},
                 {"addresses", ListOf(64,
                                      [&](const YamlNode& n, const std::string& p) {
                                        InterfaceAddress address;
                                        fields_.Value(&address, values::ParseInterfaceAddress)(n,
                                                                                               p);
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
      if (!values::IsDeviceName(name)) {
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
                {{"netdev", fields_.Value(&function.netdev, values::ParseDeviceName)},
                 {"mac", fields_.Value(&function.mac, values::ParseStationMac)},
                 {"pci", fields_.Value(&function.pci, PciAddress::Parse)},
                 {"driver", fields_.Value(&function.driver, values::ParseDriver)},
                 {"id", fields_.Value(&id, values::ParsePciId)},
                 {"after", fields_.Value(&function.after, values::ParseDuration)}},
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
                {{"name", fields_.Value(&gpu.name, values::ParseWord)},
                 {"pci", fields_.Value(&gpu.pci, PciAddress::Parse)},
                 {"numa", Numa(&gpu.numa)},
                 {"switch", fields_.Value(&gpu.pcie_switch, values::ParseWord)}},
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
                 {"via", fields_.Optional(&route.via, values::ParseStation)},
                 {"netdev", fields_.Value(&route.netdev, values::ParseDeviceName)}},
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
                                {{"id", fields_.Value(&vm.id, values::ParseId)},
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
                {{"sriov_numvfs", fields_.Value(&latency.sriov_numvfs, values::ParseDuration)},
                 {"eswitch", fields_.Value(&latency.eswitch, values::ParseDuration)},
                 {"bind", fields_.Value(&latency.bind, values::ParseDuration)},
                 {"unbind", fields_.Value(&latency.unbind, values::ParseDuration)},
                 {"reset", fields_.Value(&latency.reset, values::ParseDuration)},
                 {"device_add", fields_.Value(&latency.device_add, values::ParseDuration)},
                 {"device_del", fields_.Value(&latency.device_del, values::ParseDuration)},
                 {"rule", fields_.Value(&latency.rule, values::ParseDuration)},
                 {"netlink", fields_.Value(&latency.netlink, values::ParseDuration)}});
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

}  // namespace

absl::StatusOr<HostModel> ParseHostModel(std::string_view yaml) {
  if (yaml.size() > kMaxHostModelBytes) {
    return absl::InvalidArgumentError(
        StrCat("the host model has more than ", kMaxHostModelBytes, " bytes"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const YamlNode root, ParseOneYamlDocument(yaml));
  return ModelReader().Read(root);
}

absl::StatusOr<HostModel> LoadHostModel(const std::string& path) {
  const std::string asked = StrCat("read the host model ", path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return SystemError(errno, asked);
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(StrCat(asked, ": it is not a file"));
  std::ifstream file(path, std::ios::binary);
  if (!file) return SystemError(errno, asked);
  std::string text(kMaxHostModelBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  absl::StatusOr<HostModel> model = ParseHostModel(text);
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

}  // namespace fairlead
