// SPDX-License-Identifier: Apache-2.0
//
// Purpose: which link is the host's tunnel device.
//
// Threading: blocks. Errors: of the port; kNotFound: there is none.
#pragma once

#include "absl/status/statusor.h"
#include "agent/ports/rtnetlink/rtnetlink_port.h"
#include "agent/providers/config.h"

namespace fairlead {

// The link of the configured name, whosever it is; else one of ours by its mark, that an earlier
// configuration named otherwise.
absl::StatusOr<LinkInfo> FindTunnelDevice(RtnetlinkPort& rtnetlink, const ProviderConfig& config);

// Whether a link is an overlay device of this agent; none: it is not.
std::optional<Encapsulation> OwnTunnelKind(const LinkInfo& link, const OwnMarks& marks);

}  // namespace fairlead
