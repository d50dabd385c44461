// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/yaml/yaml_tree.h"

namespace fairlead {
namespace {

// The smallest and largest MTU that the tunnel may have: IPv6 needs 1280 (RFC
// 8200 section 5); 65535 - 50 is what fits into an outer IPv4 packet.
constexpr uint32_t kLeastMtu = 1280;
constexpr uint32_t kMostMtu = 65485;
constexpr size_t kMostPfs = 256;
constexpr size_t kMostMistakes = 64;

// Reads a tree of mappings, and collects every mistake instead of stopping.
class Reader {
 public:
  using Field = std::function<void(const YamlNode&, const std::string& path)>;

  void Map(const YamlNode& node, const std::string& path,
           const std::map<std::string, Field>& fields,
           const std::vector<std::string>& required = {}) {
    if (node.kind != YamlNode::Kind::kMap) {
      Mistake(node, path, "must be a mapping of keys to values");
      return;
    }
    std::set<std::string> seen;
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      const YamlNode& word = node.items[i];
      if (word.kind != YamlNode::Kind::kScalar) {
        Mistake(word, path, "has a key that is not a word");
        continue;
      }
      const std::string& key = word.scalar;
      const std::string here = path.empty() ? key : StrCat(path, ".", key);
      if (!seen.insert(key).second) {
        Mistake(word, here, "stands twice");
        continue;
      }
      const auto field = fields.find(key);
      if (field == fields.end()) {
        std::vector<std::string> known;
        for (const auto& [name, unused] : fields) known.push_back(name);
        Mistake(word, here, StrCat("is no known key; known are ", StrJoin(known, ", ")));
        continue;
      }
      field->second(node.items[i + 1], here);
    }
    for (const std::string& key : required) {
      if (!seen.contains(key))
        Mistake(node, StrCat(path, path.empty() ? "" : ".", key), "is missing");
    }
  }

  void List(const YamlNode& node, const std::string& path, size_t most, const Field& element) {
    if (node.kind != YamlNode::Kind::kSequence) {
      Mistake(node, path, "must be a list");
      return;
    }
    if (node.items.size() > most) {
      Mistake(node, path, StrCat("has ", node.items.size(), " elements, more than ", most));
      return;
    }
    for (size_t i = 0; i < node.items.size(); ++i) {
      element(node.items[i], StrCat(path, "[", i, "]"));
    }
  }

  // A scalar that `parse` understands.
  template <typename T>
  Field Value(T* out, std::function<absl::StatusOr<T>(const std::string&)> parse) {
    return [this, out, parse](const YamlNode& node, const std::string& path) {
      if (node.kind != YamlNode::Kind::kScalar) {
        Mistake(node, path, "must be a single value");
        return;
      }
      absl::StatusOr<T> value = parse(node.scalar);
      if (!value.ok()) {
        Mistake(node, path, StdView(value.status().message()));
        return;
      }
      *out = *std::move(value);
    };
  }
  template <typename T>
  Field Optional(std::optional<T>* out,
                 std::function<absl::StatusOr<T>(const std::string&)> parse) {
    return [this, out, parse](const YamlNode& node, const std::string& path) {
      T value{};
      const size_t before = mistakes_.size();
      Value<T>(&value, parse)(node, path);
      if (mistakes_.size() == before) *out = std::move(value);
    };
  }
  template <typename T>
  Field Number(T* out, uint64_t least, uint64_t most) {
    return Value<T>(out, [least, most](const std::string& text) -> absl::StatusOr<T> {
      uint64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size() || value < least ||
          value > most) {
        return absl::InvalidArgumentError(
            StrCat("must be a whole number from ", least, " to ", most, ", not ", Quoted(text)));
      }
      return static_cast<T>(value);
    });
  }
  Field Text(std::string* out) {
    return Value<std::string>(out, [](const std::string& text) -> absl::StatusOr<std::string> {
      if (text.empty()) return absl::InvalidArgumentError("must not be empty");
      return text;
    });
  }
  Field Millis(std::chrono::milliseconds* out) {
    return [this, out](const YamlNode& node, const std::string& path) {
      uint64_t value = static_cast<uint64_t>(out->count());
      Number<uint64_t>(&value, 1, 24ULL * 3600 * 1000)(node, path);
      *out = std::chrono::milliseconds(value);
    };
  }
  Field Bool(bool* out) {
    return Value<bool>(out, [](const std::string& text) -> absl::StatusOr<bool> {
      if (text == "true") return true;
      if (text == "false") return false;
      return absl::InvalidArgumentError(StrCat("must be true or false, not ", Quoted(text)));
    });
  }

  void Mistake(const YamlNode& node, const std::string& path, std::string_view what) {
    if (mistakes_.size() > kMostMistakes) return;
    if (mistakes_.size() == kMostMistakes) {
      mistakes_.push_back("more mistakes are not listed");
      return;
    }
    mistakes_.push_back(
        StrCat("line ", node.line, ": ", path.empty() ? std::string("the file") : path, " ", what));
  }
  absl::Status Result() const {
    if (mistakes_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(StrJoin(mistakes_, "\n"));
  }

 private:
  std::vector<std::string> mistakes_;
};

absl::StatusOr<NetworkKind> ParseNetwork(const std::string& text) {
  if (text == "compute") return NetworkKind::kCompute;
  if (text == "converged") return NetworkKind::kConverged;
  return absl::InvalidArgumentError(StrCat("must be compute or converged, not ", Quoted(text),
                                           " (an out-of-band NIC is simply not listed)"));
}

absl::StatusOr<MacAddress> ParseStationMac(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const MacAddress mac, MacAddress::Parse(text));
  if (!mac.IsUnicast()) {
    return absl::InvalidArgumentError(StrCat(Quoted(text), " is not the MAC of a single NIC"));
  }
  return mac;
}

absl::StatusOr<IpAddress> ParseHostAddress(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, IpAddress::Parse(text));
  if (address.IsUnspecified() || address.IsMulticast()) {
    return absl::InvalidArgumentError(StrCat(Quoted(text), " is not the address of one host"));
  }
  return address;
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

absl::StatusOr<std::string> ParseDeviceName(const std::string& text) {
  // dev_valid_name, net/core/dev.c; IFNAMSIZ is 16 with the final zero.
  if (text.empty() || text.size() > 15 || text == "." || text == ".." ||
      text.find_first_of("/: \t\n") != std::string::npos) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text),
               " cannot be the name of a netdev (1 to 15 characters without '/', "
               "':' and spaces)"));
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

void ReadPf(Reader& reader, const YamlNode& node, const std::string& path, PfConfig* pf) {
  reader.Map(
      node, path,
      {{"mac", reader.Value<MacAddress>(&pf->mac, ParseStationMac)},
       // SR-IOV counts VFs in 16 bits (PCIe base specification 6.0, 9.3.3.7).
       {"vfs", reader.Number<uint16_t>(&pf->vfs, 0, 65535)},
       {"network", reader.Value<NetworkKind>(&pf->network, ParseNetwork)},
       {"allow_host_traffic", reader.Bool(&pf->allow_host_traffic)},
       {"representors",
        [&](const YamlNode& list, const std::string& here) {
          std::set<uint16_t> vfs;
          std::set<std::string> netdevs;
          reader.List(list, here, 65535, [&](const YamlNode& element, const std::string& at) {
            RepresentorConfig representor;
            reader.Map(element, at,
                       {{"vf", reader.Number<uint16_t>(&representor.vf, 0, 65534)},
                        {"netdev", reader.Text(&representor.netdev)},
                        {"mac", reader.Optional<MacAddress>(
                                    &representor.mac,
                                    [](const std::string& t) { return MacAddress::Parse(t); })}},
                       {"vf", "netdev"});
            const bool new_vf = vfs.insert(representor.vf).second;
            if (!netdevs.insert(representor.netdev).second || !new_vf) {
              reader.Mistake(element, at, "names a VF or a netdev that stands above already");
            }
            pf->representors.push_back(std::move(representor));
          });
        }}},
      {"mac", "vfs"});
}

}  // namespace

absl::StatusOr<DaemonConfig> ParseConfig(std::string_view yaml) {
  if (yaml.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        StrCat("the configuration has ", yaml.size(), " bytes, more than ", kMaxConfigBytes));
  }
  DaemonConfig config;
  ProviderConfig& providers = config.providers;
  EngineConfig& engine = config.engine;
  CompileConfig& compile = engine.compile;
  providers.hypervisor.root_ports = {"fairlead*"};
  Reader reader;
  std::vector<YamlProblem> problems;
  const std::vector<YamlNode> documents = ParseYaml(yaml, &problems);
  if (!problems.empty()) {
    std::vector<std::string> lines;
    for (const YamlProblem& problem : problems) {
      lines.push_back(StrCat("line ", problem.line, ": ", problem.text));
    }
    return absl::InvalidArgumentError(StrJoin(lines, "\n"));
  }
  if (documents.size() > 1) {
    return absl::InvalidArgumentError("the file holds more than one YAML document");
  }
  const YamlNode root = documents.empty() ? YamlNode{} : documents.front();
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
          reader.List(node, path, kMostPfs, [&](const YamlNode& e, const std::string& at) {
            PfConfig pf;
            ReadPf(reader, e, at, &pf);
            if (providers.FindPf(pf.mac) != nullptr) {
              reader.Mistake(e, at, "has the MAC of a PF that stands above already");
            }
            engine.pfs.push_back(pf.mac);
            providers.pfs.push_back(std::move(pf));
          });
        }},
       {"tunnel",
        [&](const YamlNode& node, const std::string& path) {
          reader.Map(
              node, path,
              {{"local", reader.Value<IpAddress>(&providers.tunnel.local, ParseHostAddress)},
               {"device", reader.Value<std::string>(&providers.tunnel.device, ParseDeviceName)},
               {"port", reader.Number<uint16_t>(&providers.tunnel.udp_port, 1, 65535)},
               {"mtu", reader.Number<uint32_t>(&providers.tunnel.mtu, kLeastMtu, kMostMtu)}},
              {"local"});
        }},
       {"vfio",
        [&](const YamlNode& node, const std::string& path) {
          const auto id = [](const std::string& t) -> absl::StatusOr<uint32_t> {
            uint32_t value = 0;
            const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), value);
            if (error != std::errc() || end != t.data() + t.size()) {
              return absl::InvalidArgumentError(StrCat("must be a number, not ", Quoted(t)));
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
                }}});
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
      {"pfs", "tunnel"});
  FAIRLEAD_RETURN_IF_ERROR(reader.Result());
  if (providers.pfs.empty()) {
    return absl::InvalidArgumentError("pfs names no PF: there is nothing that Fairlead may use");
  }
  if (config.server.requests == config.server.events) {
    return absl::InvalidArgumentError("endpoint: requests and events need different sockets");
  }
  compile.tunnel_device = providers.tunnel.device;
  compile.tunnel_local = providers.tunnel.local;
  compile.tunnel_port = providers.tunnel.udp_port;
  compile.tunnel_mtu = providers.tunnel.mtu;
  compile.vf_driver = providers.vf_driver;
  return config;
}

absl::StatusOr<DaemonConfig> LoadConfig(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return SystemError(errno, StrCat("read the configuration ", path));
  }
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  absl::StatusOr<DaemonConfig> config = ParseConfig(text);
  if (!config.ok()) return Annotate(config.status(), path);
  return config;
}

}  // namespace fairlead
