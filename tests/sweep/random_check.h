// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what has to be so after a storm, when it is quiet. Judged by the fakes, not by what the
// agent says; and the agent must say the same.
// Threading: one thread.
#pragma once

#include "tests/sweep/random_controller.h"

namespace fairlead {

// All that is wanted is so, and nothing else is left in a VM.
void ExpectAsWanted(RandomHost& on, const Wanted& wanted);
// The next agent adopts all of it.
void ExpectNothingToDoAfterARestart(RandomHost& on);

}  // namespace fairlead
