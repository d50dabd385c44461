// SPDX-License-Identifier: Apache-2.0
//
// Purpose: convenience intents to the same draft that an Apply makes.
// Threading: pure functions. Errors: as violations, at the fields that the user
// wrote.
#pragma once

#include "agent/intent/draft.h"
#include "agent/intent/violations.h"
#include "agent/model/world.h"

namespace fairlead::v1 {
class AddVmToVpc;
class RemoveVmFromVpc;
}  // namespace fairlead::v1

namespace fairlead {

Draft Expand(const v1::AddVmToVpc& intent, const World& world, Violations* out);
Draft Expand(const v1::RemoveVmFromVpc& intent, const World& world, Violations* out);

}  // namespace fairlead
