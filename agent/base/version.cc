// SPDX-License-Identifier: Apache-2.0
#include "agent/base/version.h"

namespace fairlead {

const char kFairleadVersion[] = FAIRLEAD_VERSION;

}  // namespace fairlead
