// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/tunnel_device.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "agent/base/error.h"

namespace fairlead {

std::optional<Encapsulation> OwnTunnelKind(const LinkInfo& link, const OwnMarks& marks) {
  const absl::StatusOr<Encapsulation> kind = ParseEncapsulation(link.kind);
  const bool ours = kind.ok() && link.tunnel_collect_md && marks.OwnsAlias(link.alias);
  return ours ? std::optional(*kind) : std::nullopt;
}

absl::StatusOr<LinkInfo> FindTunnelDevice(RtnetlinkPort& rtnetlink, const ProviderConfig& config) {
  absl::StatusOr<LinkInfo> named = rtnetlink.GetLink(config.tunnel.device);
  if (!absl::IsNotFound(named.status())) return named;
  FAIRLEAD_ASSIGN_OR_RETURN(const std::vector<LinkInfo> links, rtnetlink.ListLinks());
  const auto own = std::find_if(links.begin(), links.end(), [&config](const LinkInfo& link) {
    return OwnTunnelKind(link, *config.marks).has_value();
  });
  return own == links.end() ? named : *own;
}

}  // namespace fairlead
