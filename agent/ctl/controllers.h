// SPDX-License-Identifier: Apache-2.0
//
// Purpose: `controller list` and `controller forget`.
// Threading: blocks the caller. Errors: as text on `err` and an exit code.
#pragma once

namespace fairlead {

class Session;

int RunControllerList(Session& session);
int RunControllerForget(Session& session);

}  // namespace fairlead
