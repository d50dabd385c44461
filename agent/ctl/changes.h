// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the commands that change something: apply, attach, detach, delete, and
// the waiting for what came of it; and vf release.
//
// Threading: blocks the caller. Errors: as text on `err` and an exit code.
#pragma once

namespace fairlead {

class Session;

int RunApply(Session& session);
int RunAttach(Session& session);
int RunDetach(Session& session);
int RunDelete(Session& session);
int RunReleaseVf(Session& session);

}  // namespace fairlead
