// SPDX-License-Identifier: Apache-2.0
//
// Purpose: completing words in bash, zsh and fish. The scripts are thin: they ask
// `fairleadctl __complete WORD...`, which walks the commands (command_tree.h) and
// asks the agent for ids. So there is nothing to keep in step by hand.
//
// `__complete` takes the words after the program's name, the last one as far as it
// is typed, and prints candidates, one a line: the word, and after a tab what it
// means. A line ":files" asks the shell for file names, ":nospace" not to put a
// space after the word.
//
// Threading: one thread; asks the agent for kAgentTime at most. Errors: none; an
// agent that is not there has no ids.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead {

struct CtlWorld;

inline constexpr std::chrono::milliseconds kAgentTime{500};
inline constexpr size_t kMostCandidates = 1000;

std::string Complete(const std::vector<std::string>& words, const CtlWorld& world);

// "bash", "zsh" or "fish".
std::string CompletionScript(std::string_view shell);

}  // namespace fairlead
