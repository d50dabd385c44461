// SPDX-License-Identifier: Apache-2.0
//
// Purpose: `get rules`: asked for page by page, and printed as one list.
//
// Threading: one thread. Errors: as text on `err` and an exit code (options.h).
#pragma once

namespace fairlead {

class Session;

int RunGetRules(Session& s);

}  // namespace fairlead
