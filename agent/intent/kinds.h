// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the kinds of objects on the wire and in the model, one to one.
// Threading: pure functions.
#pragma once

#include <optional>

#include "agent/model/intent.h"
#include "fairlead/v1/intent.pb.h"

namespace fairlead {

v1::ObjectKind KindToProto(ObjectKind kind);
// None for a kind that this version does not know.
std::optional<ObjectKind> KindFromProto(v1::ObjectKind kind);

}  // namespace fairlead
