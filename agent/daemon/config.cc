// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config.h"

#include <sys/stat.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/daemon/config_hotplug.h"
#include "agent/daemon/config_tunnel.h"
#include "agent/yaml/yaml_fields.h"

namespace fairlead {
namespace {

constexpr size_t kMostPfs = 256;

absl::StatusOr<MacAddress> ParseStationMac(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const MacAddress mac, MacAddress::Parse(text));
  if (!mac.IsUnicast()) {
    return absl::InvalidArgumentError(StrCat(Quoted(text), " is not the MAC of a single NIC"));
  }
  return mac;
}

absl::StatusOr<std::string> ParseAbsolutePath(const std::string& text) {
  if (text.size() < 2 || text[0] != '/') {
    return absl::InvalidArgumentError(StrCat("must be an absolute path, not ", Quoted(text)));
  }
  return text;
}

// A unix socket's address holds 107 bytes and a zero (sun_path, unix(7)).
absl::StatusOr<std::string> ParseEndpoint(const std::string& text) {
  constexpr std::string_view kScheme = "ipc://";
  if (!text.starts_with(kScheme)) {
    return absl::InvalidArgumentError(StrCat("must be ipc:///PATH, not ", Quoted(text),
                                             " (tcp is refused until the channel is encrypted)"));
  }
  const std::string path = text.substr(kScheme.size());
  if (path.size() < 2 || path[0] != '/' || path.size() > 107) {
    return absl::InvalidArgumentError("must name a file by an absolute path of 107 bytes at most");
  }
  return text;
}

// What a PCIe root port's id in QEMU must be, or begin with.
absl::StatusOr<std::string> ParsePortPattern(const std::string& text) {
  if (text.empty() || text.find('*') < text.size() - 1) {
    return absl::InvalidArgumentError(StrCat(
        "must be the id of a root port, or how ids begin followed by '*', not ", Quoted(text)));
  }
  return text;
}

absl::StatusOr<std::string> ParseSocketPath(const std::string& text) {
  // sun_path, without its ending zero (unix(7)).
  if (text.empty() || text[0] != '/' || text.size() > 107) {
    return absl::InvalidArgumentError(
        StrCat("must be an absolute path of at most 107 bytes, not ", Quoted(text)));
  }
  return text;
}

// A path that differs for every VM.
absl::StatusOr<std::string> ParseMonitor(const std::string& text) {
  const bool names_vm =
      text.find("{vm}") != std::string::npos || text.find("{uuid}") != std::string::npos;
  std::string rest = text;
  for (const std::string_view known : {"{vm}", "{uuid}"}) {
    for (size_t at; (at = rest.find(known)) != std::string::npos;) rest.erase(at, known.size());
  }
  if (text[0] != '/' || !names_vm || rest.find_first_of("{}") != std::string::npos) {
    return absl::InvalidArgumentError(
        StrCat("must be an absolute path that holds {vm} or {uuid} and no other braces, not ",
               Quoted(text)));
  }
  return text;
}

absl::StatusOr<uint32_t> ParseMode(const std::string& text) {
  uint32_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) {
    return absl::InvalidArgumentError(StrCat("must be octal permission bits, not ", Quoted(text)));
  }
  return mode;
}

// What no two of a host's PFs and VFs share.
struct Taken {
  std::set<std::string> netdevs;  // of representors
  std::set<MacAddress> macs;      // of VFs
};

// `taken` by all PFs so far.
void ReadPf(YamlFields& reader, const YamlNode& node, const std::string& path, PfConfig* pf,
            Taken* taken) {
  reader.Map(
      node, path,
      {{"mac", reader.Value<MacAddress>(&pf->mac, ParseStationMac)},
       // SR-IOV counts VFs in 16 bits (PCIe base specification 6.0, 9.3.3.7).
       {"vfs", reader.Number<uint16_t>(&pf->vfs, 1, 65535)},
       {"network", reader.Value<NetworkKind>(&pf->network, ParseNetworkKind)},
       {"allow_host_traffic", reader.Bool(&pf->allow_host_traffic)},
       {"max_hardware_rules", reader.Number<uint32_t>(&pf->max_hardware_rules, 1, UINT32_MAX)},
       {"eswitch",
        [&](const YamlNode& eswitch, const std::string& here) {
          EswitchSettings& wanted = pf->eswitch;
          reader.Map(eswitch, here,
                     {{"mode", reader.Optional<EswitchMode>(&wanted.mode, ParseEswitchMode)},
                      {"inline", reader.Optional<EswitchInlineMode>(&wanted.inline_mode,
                                                                    ParseEswitchInlineMode)},
                      {"encap", reader.Optional<EswitchEncapMode>(&wanted.encap_mode,
                                                                  ParseEswitchEncapMode)}});
        }},
       {"representors",
        [&](const YamlNode& list, const std::string& here) {
          std::set<uint16_t> vfs;
          reader.List(list, here, 65535, [&](const YamlNode& element, const std::string& at) {
            RepresentorConfig representor;
            reader.Map(element, at,
                       {{"vf", reader.Number<uint16_t>(&representor.vf, 0, 65534)},
                        {"netdev", reader.Value<std::string>(&representor.netdev, ParseDeviceName)},
                        {"mac", reader.Optional<MacAddress>(&representor.mac, ParseStationMac)}},
                       {"vf", "netdev"});
            const bool new_vf = vfs.insert(representor.vf).second;
            if (!taken->netdevs.insert(representor.netdev).second || !new_vf) {
              reader.Mistake(element, at, "names a VF or a netdev that stands above already");
            }
            if (representor.mac && !taken->macs.insert(*representor.mac).second) {
              reader.Mistake(
                  element, at,
                  StrCat("gives its VF ", representor.mac->ToString(), ", which another VF has"));
            }
            pf->representors.push_back(std::move(representor));
          });
        }}},
      {"mac", "vfs"});
}

void ReadSanitation(YamlFields& reader, const YamlNode& node, const std::string& path,
                    SanitationPolicy* policy) {
  const auto quarantines = [](const std::string& t) -> absl::StatusOr<bool> {
    if (t == "accept" || t == "quarantine") return t == "quarantine";
    return absl::InvalidArgumentError(StrCat("must be accept or quarantine, not ", Quoted(t)));
  };
  const auto check = [](const std::string& t) -> absl::StatusOr<std::string> {
    for (const char* known : kSanitationChecks) {
      if (t == known) return t;
    }
    return absl::InvalidArgumentError(
        StrCat(Quoted(t), " is none of ", StrJoin(kSanitationChecks, ", ")));
  };
  reader.Map(node, path,
             {{"unprovable", reader.Value<bool>(&policy->unprovable_quarantines, quarantines)},
              {"accept", [&](const YamlNode& list, const std::string& here) {
                 reader.List(list, here, std::size(kSanitationChecks),
                             [&](const YamlNode& e, const std::string& at) {
                               std::string name;
                               reader.Value<std::string>(&name, check)(e, at);
                               if (!name.empty()) policy->accepted.insert(name);
                             });
               }}});
}

}  // namespace

absl::StatusOr<DaemonConfig> ParseConfig(std::string_view yaml) {
  if (yaml.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        StrCat("the configuration has more than ", kMaxConfigBytes, " bytes"));
  }
  DaemonConfig config;
  ProviderConfig& providers = config.providers;
  EngineConfig& engine = config.engine;
  CompileConfig& compile = engine.compile;
  providers.hypervisor.root_ports = {"fairlead*"};
  YamlFields reader;
  Taken taken;
  bool names_nics = false;
  FAIRLEAD_ASSIGN_OR_RETURN(const YamlNode root, ParseOneYamlDocument(yaml));
  const auto address = [](const std::string& t) { return IpAddress::Parse(t); };
  reader.Map(
      root, "",
      {{"state_dir", reader.Value<std::string>(&config.state_dir, ParseAbsolutePath)},
       {"log_level",
        reader.Value<std::string>(
            &config.log_level,
            [](const std::string& t) -> absl::StatusOr<std::string> {
              for (const char* known : {"trace", "debug", "info", "warning", "error"}) {
                if (t == known) return t;
              }
              return absl::InvalidArgumentError("must be trace, debug, info, warning or error");
            })},
       {"endpoint",
        [&](const YamlNode& node, const std::string& path) {
          reader.Map(
              node, path,
              {{"requests", reader.Value<std::string>(&config.server.requests, ParseEndpoint)},
               {"events", reader.Value<std::string>(&config.server.events, ParseEndpoint)}});
        }},
       {"management_address", reader.Optional<IpAddress>(&providers.management_address, address)},
       {"pfs",
        [&](const YamlNode& node, const std::string& path) {
          names_nics = true;
          reader.List(node, path, kMostPfs, [&](const YamlNode& e, const std::string& at) {
            PfConfig pf;
            ReadPf(reader, e, at, &pf, &taken);
            if (providers.FindPf(pf.mac) != nullptr) {
              reader.Mistake(e, at, "has the MAC of a PF that stands above already");
            }
            engine.pfs.push_back(pf.mac);
            providers.pfs.push_back(std::move(pf));
          });
        }},
       {"hotplug_ports",
        [&](const YamlNode& node, const std::string& path) {
          names_nics = true;
          ReadHotplugPorts(reader, node, path, &providers.hotplug_ports);
          for (const HotplugPortConfig& port : providers.hotplug_ports) {
            engine.pfs.push_back(port.port);
          }
        }},
       {"tunnel",
        [&](const YamlNode& node, const std::string& path) {
          ReadTunnel(reader, node, path, &providers.tunnel);
        }},
       {"vfio",
        [&](const YamlNode& node, const std::string& path) {
          const auto id = [](const std::string& t) -> absl::StatusOr<uint32_t> {
            uint32_t value = 0;
            const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
            // chown(2) takes the last number for "leave it as it is".
            if (error != std::errc() || end != t.data() + t.size() || value == UINT32_MAX) {
              return absl::InvalidArgumentError(
                  StrCat("must be a number from 0 to 4294967294, not ", Quoted(t)));
            }
            return value;
          };
          reader.Map(node, path,
                     {{"node_uid", reader.Optional<uint32_t>(&compile.node_uid, id)},
                      {"node_gid", reader.Optional<uint32_t>(&compile.node_gid, id)},
                      {"node_mode", reader.Optional<uint32_t>(&compile.node_mode, ParseMode)}});
        }},
       {"hypervisor",
        [&](const YamlNode& node, const std::string& path) {
          HypervisorConfig& hypervisor = providers.hypervisor;
          reader.Map(
              node, path,
              {{"monitor", reader.Value<std::string>(&hypervisor.monitor, ParseMonitor)},
               {"peer_uids",
                [&](const YamlNode& list, const std::string& here) {
                  reader.List(list, here, 64, [&](const YamlNode& e, const std::string& at) {
                    uint32_t uid = 0;
                    reader.Number<uint32_t>(&uid, 0, std::numeric_limits<uint32_t>::max())(e, at);
                    hypervisor.peer_uids.push_back(uid);
                  });
                }},
               {"root_ports", [&](const YamlNode& list, const std::string& here) {
                  hypervisor.root_ports.clear();
                  reader.List(list, here, 256, [&](const YamlNode& e, const std::string& at) {
                    std::string pattern;
                    reader.Value<std::string>(&pattern, ParsePortPattern)(e, at);
                    hypervisor.root_ports.push_back(pattern);
                  });
                  if (hypervisor.root_ports.empty()) {
                    reader.Mistake(list, here, "names no root port: no VM could be given a device");
                  }
                }}});
        }},
       {"slow_path",
        [&](const YamlNode& node, const std::string& path) {
          reader.Map(node, path,
                     {{"socket",
                       reader.Value<std::string>(&providers.slow_path_socket, ParseSocketPath)}});
        }},
       {"sanitation",
        [&](const YamlNode& node, const std::string& path) {
          ReadSanitation(reader, node, path, &engine.sanitation);
        }},
       {"timing_ms",
        [&](const YamlNode& node, const std::string& path) {
          reader.Map(node, path,
                     {{"sriov_deadline", reader.Millis(&providers.sriov_deadline)},
                      {"bind_deadline", reader.Millis(&providers.bind_deadline)},
                      {"qmp_deadline", reader.Millis(&providers.qmp_deadline)},
                      {"device_add_deadline", reader.Millis(&providers.device_add_deadline)},
                      {"retry_first", reader.Millis(&engine.retry_first)},
                      {"retry_most", reader.Millis(&engine.retry_most)},
                      {"audit_every", reader.Millis(&engine.audit_every)},
                      {"removal_patience", reader.Millis(&engine.removal_patience)},
                      {"removal_ask_again", reader.Millis(&engine.removal_ask_again)},
                      {"replug_after", reader.Millis(&engine.replug_after)}});
        }}},
      {"tunnel"});
  for (const PfConfig& pf : providers.pfs) {
    if (!taken.macs.contains(pf.mac)) continue;
    reader.Mistake(root, "pfs", StrCat("a VF and a PF have one MAC, ", pf.mac.ToString()));
  }
  if (!names_nics) reader.Mistake(root, "pfs", "is missing, and so is hotplug_ports");
  FAIRLEAD_RETURN_IF_ERROR(reader.Result());
  if (providers.pfs.empty() && providers.hotplug_ports.empty()) {
    return absl::InvalidArgumentError(
        "pfs names no PF, and hotplug_ports no port: there is nothing that Fairlead may use");
  }
  if (engine.retry_first > engine.retry_most) {
    return absl::InvalidArgumentError(
        StrCat("timing_ms: retry_first, ", engine.retry_first.count(),
               ", is the first pause between two tries and retry_most, ", engine.retry_most.count(),
               ", the longest: it cannot be less"));
  }
  if (config.server.requests == config.server.events) {
    return absl::InvalidArgumentError("endpoint: requests and events need different sockets");
  }
  compile.tunnel = providers.tunnel;
  compile.vf_driver = providers.vf_driver;
  return config;
}

absl::StatusOr<DaemonConfig> LoadConfig(const std::string& path) {
  const std::string asked = StrCat("read the configuration ", path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return SystemError(errno, asked);
  if (!S_ISREG(info.st_mode)) {  // a FIFO would be waited for
    return absl::InvalidArgumentError(StrCat(asked, ": it is not a file"));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return SystemError(errno, asked);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  absl::StatusOr<DaemonConfig> config = ParseConfig(text);
  if (!config.ok()) return Annotate(config.status(), path);
  return config;
}

}  // namespace fairlead
