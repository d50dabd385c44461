// SPDX-License-Identifier: Apache-2.0
//
// Purpose: how the compiler's errors speak of a PF. Private to agent/compile.
// Threading: pure functions.
#pragma once

#include <string>

#include "agent/model/facts.h"

namespace fairlead {

// The netdev's name, which people know; the permanent MAC while there is none.
std::string PfName(const PfFacts& pf);

// "the eswitch of pf0 is in switchdev_inactive mode, ..."; "" = another one.
std::string WhyEswitchInactive(const PfFacts& pf);

// "pf0 (virtio_net) cannot set VF MACs and none of its free VFs has it"
std::string FixedMacWords(const PfFacts& pf);

}  // namespace fairlead
