// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/config.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace fairlead {

const PfConfig* ProviderConfig::FindPf(const MacAddress& mac) const {
  const auto it =
      std::find_if(pfs.begin(), pfs.end(), [&](const PfConfig& pf) { return pf.mac == mac; });
  return it == pfs.end() ? nullptr : &*it;
}

std::string ProviderConfig::OwnerMark() const { return absl::StrFormat("fairlead %08x", store_id); }

}  // namespace fairlead
