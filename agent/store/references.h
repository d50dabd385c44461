// SPDX-License-Identifier: Apache-2.0
//
// Purpose: whether stored objects fit together: each names only what is there. What was accepted
// does; a file that somebody else wrote to, or that lost a page, may not.
//
// Threading: a pure function. Errors: kDataLoss, with the object and what it names.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "agent/model/intent.h"

namespace fairlead {

absl::Status CheckReferences(std::span<const StoredObject> objects);

}  // namespace fairlead
