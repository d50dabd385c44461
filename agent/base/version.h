// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the version of this build, as CMakeLists.txt of the whole tree has it.
#pragma once

namespace fairlead {

extern const char kFairleadVersion[];

}  // namespace fairlead
