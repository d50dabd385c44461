// SPDX-License-Identifier: Apache-2.0
//
// Purpose: folders that hold what nobody else may change: the store, a run folder.
//
// Threading: a free function; blocks on the file system.
// Errors: SystemError; kFailedPrecondition where what is there is not such a folder,
// with what to do.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace fairlead {

// Makes the folder with mode 0700, and those above it, where they are missing. One
// that is there stays as it is, and must be this user's own, by a link too, and not
// to be written by others.
absl::Status MakePrivateFolder(const std::string& path);

}  // namespace fairlead
