// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/config_tunnel.h"

#include <optional>
#include <utility>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

// What fits into an outer IPv4 packet of 65535 bytes.
constexpr uint32_t kMostMtu = 65535 - TunnelOverhead(/*outer_ipv6=*/false);

IpPrefix Prefix(const char* text) { return *IpPrefix::Parse(text); }

absl::StatusOr<IpAddress> ParseHostAddress(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpAddress address, IpAddress::Parse(text));
  if (address.IsUnspecified() || address.IsMulticast() || address.IsLoopback() ||
      Prefix("fe80::/10").Contains(address) || Prefix("::ffff:0:0/96").Contains(address) ||
      Prefix("240.0.0.0/4").Contains(address)) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(text), " is not an address that other hosts can send to"));
  }
  return address;
}

absl::StatusOr<TunnelMtuPolicy> ParseMtuPolicy(const std::string& text) {
  if (text == "refuse") return TunnelMtuPolicy::kRefuse;
  if (text == "clamp") return TunnelMtuPolicy::kClamp;
  return absl::InvalidArgumentError(StrCat("must be refuse or clamp, not ", Quoted(text)));
}

absl::StatusOr<IpPrefix> ParsePeers(const std::string& text) {
  FAIRLEAD_ASSIGN_OR_RETURN(const IpPrefix prefix, IpPrefix::Parse(text));
  if (prefix.length() == 0) {
    return absl::InvalidArgumentError("is every host: leave peers out where any may send");
  }
  if (prefix.address().IsMulticast()) {
    return absl::InvalidArgumentError("is multicast: no host sends from there");
  }
  return prefix;
}

struct Peers {
  YamlNode node;
  std::string path;
  IpPrefix prefix;
};

void CheckPeers(YamlFields& reader, const std::vector<Peers>& peers,
                const std::optional<IpAddress>& local) {
  for (size_t i = 0; i < peers.size(); ++i) {
    const auto& [node, path, prefix] = peers[i];
    if (local && prefix.address().is_v4() != local->is_v4()) {
      reader.Mistake(node, path,
                     StrCat(prefix.ToString(), " is of another address family than tunnel.local, ",
                            local->ToString()));
    }
    for (size_t before = 0; before < i; ++before) {
      if (!peers[before].prefix.Overlaps(prefix)) continue;
      reader.Mistake(node, path,
                     StrCat(prefix.ToString(), " overlaps with ", peers[before].prefix.ToString()));
    }
  }
}

}  // namespace

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

void ReadTunnel(YamlFields& reader, const YamlNode& node, const std::string& path,
                TunnelConfig* tunnel) {
  std::optional<IpAddress> local;
  std::optional<std::string> device;
  std::optional<uint16_t> port;
  std::vector<Peers> peers;
  reader.Map(
      node, path,
      {{"local", reader.Optional<IpAddress>(&local, ParseHostAddress)},
       {"encapsulation",
        reader.Value<Encapsulation>(&tunnel->encapsulation,
                                    [](const std::string& t) { return ParseEncapsulation(t); })},
       {"device", reader.Optional<std::string>(&device, ParseDeviceName)},
       {"port", reader.OptionalNumber<uint16_t>(&port, 1, 65535)},
       {"mtu", reader.OptionalNumber<uint32_t>(&tunnel->mtu, kLeastTunnelMtu, kMostMtu)},
       {"mtu_policy", reader.Value<TunnelMtuPolicy>(&tunnel->mtu_policy, ParseMtuPolicy)},
       {"peers",
        [&](const YamlNode& list, const std::string& here) {
          reader.List(list, here, kMaxTunnelPeers, [&](const YamlNode& e, const std::string& at) {
            std::optional<IpPrefix> prefix;
            reader.Optional<IpPrefix>(&prefix, ParsePeers)(e, at);
            if (prefix) peers.push_back({e, at, *prefix});
          });
          if (list.items.empty()) {
            reader.Mistake(list, here, "names nobody: leave it out where any host may send");
          }
        }}},
      {"local"});
  CheckPeers(reader, peers, local);
  tunnel->local = local.value_or(IpAddress());
  tunnel->device = device.value_or(std::string(DefaultTunnelDevice(tunnel->encapsulation)));
  tunnel->udp_port = port.value_or(DefaultUdpPort(tunnel->encapsulation));
  for (const Peers& one : peers) tunnel->peers.push_back(one.prefix);
}

}  // namespace fairlead
