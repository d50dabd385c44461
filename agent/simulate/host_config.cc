// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/host_config.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

// As YAML has it in double quotes.
std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

// Text, line by line, with the line of the model that each comes from.
class Writer {
 public:
  void Line(int from, int depth, std::string_view text) {
    StrAppend(&out_.yaml, std::string(2 * static_cast<size_t>(depth), ' '), text, "\n");
    out_.lines_of_model.push_back(from);
  }

  // `head` stands before the value: "key:" or "-".
  void Node(const YamlNode& node, int depth, const std::string& head) {
    if (node.kind == YamlNode::Kind::kScalar) {
      Line(node.line, depth, StrCat(head, " ", Quote(node.scalar)));
    } else if (node.kind == YamlNode::Kind::kNull) {
      Line(node.line, depth, head);
    } else if (node.items.empty()) {
      Line(node.line, depth, StrCat(head, node.kind == YamlNode::Kind::kMap ? " {}" : " []"));
    } else {
      Line(node.line, depth, head);
      Items(node, depth + 1);
    }
  }

  void Items(const YamlNode& node, int depth) {
    if (node.kind == YamlNode::Kind::kSequence) {
      for (const YamlNode& item : node.items) Node(item, depth, "-");
      return;
    }
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
      // Other keys were refused when the model was read.
      if (node.items[i].kind != YamlNode::Kind::kScalar) continue;
      Node(node.items[i + 1], depth, StrCat(Quote(node.items[i].scalar), ":"));
    }
  }

  ConfigText Take() { return std::move(out_); }

 private:
  ConfigText out_;
};

const YamlNode* Find(const YamlNode& map, std::string_view key) {
  if (map.kind != YamlNode::Kind::kMap) return nullptr;
  for (size_t i = 0; i + 1 < map.items.size(); i += 2) {
    if (map.items[i].kind == YamlNode::Kind::kScalar && map.items[i].scalar == key) {
      return &map.items[i + 1];
    }
  }
  return nullptr;
}

// A mapping of the config section, and what it does not say itself.
void WriteMap(Writer& out, const YamlNode& config, const std::string& key,
              const std::vector<std::pair<std::string, std::string>>& defaults) {
  const YamlNode* given = Find(config, key);
  if (given != nullptr && given->kind != YamlNode::Kind::kMap) {
    return out.Node(*given, 0, StrCat(key, ":"));
  }
  const bool empty = (given == nullptr || given->items.empty()) && defaults.empty();
  out.Line(given == nullptr ? 0 : given->line, 0, StrCat(key, empty ? ": {}" : ":"));
  if (given != nullptr) out.Items(*given, 1);
  for (const auto& [name, value] : defaults) {
    if (given == nullptr || Find(*given, name) == nullptr) {
      out.Line(0, 1, StrCat(name, ": ", Quote(value)));
    }
  }
}

void WritePf(Writer& out, const NicModel& nic) {
  out.Line(0, 1, StrCat("- mac: ", Quote(nic.mac.ToString())));
  out.Line(0, 2, StrCat("vfs: ", nic.vfs));
  out.Line(0, 2, StrCat("network: ", std::string(NetworkKindName(nic.network))));
  out.Line(0, 2, StrCat("allow_host_traffic: ", nic.allow_host_traffic ? "true" : "false"));
  if (nic.eswitch) {  // representors are devlink's to tell
    out.Line(0, 2, "eswitch: {mode: switchdev, encap: basic}");
    return;
  }
  if (nic.representors.empty()) return;
  out.Line(0, 2, "representors:");
  for (uint16_t vf = 0; vf < nic.vfs; ++vf) {
    const std::string mac =
        nic.can_set_vf_mac ? "" : StrCat(", mac: ", Quote(nic.FixedVfMac(vf).ToString()));
    out.Line(0, 3, StrCat("- {vf: ", vf, ", netdev: ", Quote(nic.RepresentorName(vf)), mac, "}"));
  }
}

}  // namespace

ConfigText WriteConfig(const HostModel& model, const std::string& folder) {
  Writer out;
  const std::set<std::string> merged = {"state_dir", "endpoint", "tunnel"};
  for (size_t i = 0; i + 1 < model.config.items.size(); i += 2) {
    const YamlNode& key = model.config.items[i];
    if (key.kind != YamlNode::Kind::kScalar || merged.contains(key.scalar)) continue;
    out.Node(model.config.items[i + 1], 0, StrCat(Quote(key.scalar), ":"));
  }
  const YamlNode* state_dir = Find(model.config, "state_dir");
  if (state_dir != nullptr) {
    out.Node(*state_dir, 0, "state_dir:");
  } else {
    out.Line(0, 0, StrCat("state_dir: ", Quote(StrCat(folder, "/store"))));
  }
  WriteMap(out, model.config, "endpoint",
           {{"requests", StrCat("ipc://", folder, "/agent.sock")},
            {"events", StrCat("ipc://", folder, "/events.sock")}});
  std::vector<std::pair<std::string, std::string>> tunnel;
  for (const NicModel& nic : model.nics) {
    if (!tunnel.empty() || nic.addresses.empty()) continue;
    tunnel.emplace_back("local", nic.addresses.front().address.ToString());
  }
  WriteMap(out, model.config, "tunnel", tunnel);
  out.Line(0, 0, "hypervisor:");
  out.Line(0, 1, StrCat("monitor: ", Quote(StrCat(kMonitorPrefix, "{vm}/{uuid}"))));
  out.Line(0, 1, StrCat("root_ports: [", Quote(StrCat(kRootPortPrefix, "*")), "]"));
  const auto usable = [](const NicModel& nic) { return nic.vfs > 0; };
  const bool any = std::any_of(model.nics.begin(), model.nics.end(), usable);
  out.Line(0, 0, any ? "pfs:" : "pfs: []");
  for (const NicModel& nic : model.nics) {
    if (usable(nic)) WritePf(out, nic);
  }
  if (!model.hotplug_ports.empty()) out.Line(0, 0, "hotplug_ports:");
  for (const HotplugPortModel& port : model.hotplug_ports) out.Node(port.config, 1, "-");
  return out.Take();
}

absl::StatusOr<DaemonConfig> ConfigOf(const HostModel& model, const std::string& folder) {
  return ParseConfig(WriteConfig(model, folder).yaml);
}

int LineOfConfig(const HostModel& model, std::string_view key) {
  const YamlNode* value = Find(model.config, key);
  return value == nullptr ? 0 : value->line;
}

std::vector<ConfigMistake> ConfigMistakes(const HostModel& model) {
  std::vector<ConfigMistake> mistakes;
  const ConfigText text = WriteConfig(model, "/run");
  const absl::StatusOr<DaemonConfig> config = ParseConfig(text.yaml);
  if (config.ok()) return mistakes;
  const std::string all(config.status().message());
  for (const std::string& one : std::vector<std::string>(absl::StrSplit(all, '\n'))) {
    // "line N: PATH WHAT"; what concerns the whole has no line.
    size_t line = 0;
    size_t begin = 0;
    if (const size_t colon = one.find(": "); one.starts_with("line ") && colon != one.npos) {
      const auto [end, error] = std::from_chars(one.data() + 5, one.data() + colon, line);
      if (error == std::errc() && end == one.data() + colon) begin = colon + 2;
    }
    const bool known = line > 0 && line <= text.lines_of_model.size();
    const size_t space = std::min(one.find(' ', begin), one.size());
    const std::string path = one.substr(begin, space - begin);
    mistakes.push_back({known ? text.lines_of_model[line - 1] : 0,
                        path.starts_with("hotplug_ports") ? path : StrCat("config.", path),
                        one.substr(std::min(space + 1, one.size()))});
  }
  return mistakes;
}

}  // namespace fairlead
