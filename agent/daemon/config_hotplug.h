// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the part of the configuration that lists hot-plug ports. Private to
// agent/daemon/config.cc.
//
// Threading: free functions on values. Errors: in the YamlFields.
#pragma once

#include <string>
#include <vector>

#include "agent/providers/config.h"
#include "agent/yaml/yaml_fields.h"

namespace fairlead {

absl::StatusOr<NetworkKind> ParseNetworkKind(const std::string& text);

void ReadHotplugPorts(YamlFields& reader, const YamlNode& node, const std::string& path,
                      std::vector<HotplugPortConfig>* ports);

}  // namespace fairlead
