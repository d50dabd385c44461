// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the part of the configuration that is about the tunnel. Private to
// agent/daemon/config.cc.
//
// Threading: free functions on values. Errors: in the YamlFields.
#pragma once

#include <string>

#include "agent/model/tunnel.h"
#include "agent/yaml/yaml_fields.h"

namespace fairlead {

absl::StatusOr<std::string> ParseDeviceName(const std::string& text);

void ReadTunnel(YamlFields& reader, const YamlNode& node, const std::string& path,
                TunnelConfig* tunnel);

}  // namespace fairlead
