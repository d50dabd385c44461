// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the command line as values.
// Threading: pure functions. Errors: usage errors come back as text and kUsage.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead {

// What fairleadctl exits with.
enum ExitCode : int {
  kOk = 0,
  kRejected = 1,     // the agent refused; or the object asked for is not there
  kUsage = 2,        // wrong arguments, or a file that cannot be used
  kUnreachable = 3,  // no (sensible) answer from the agent
  kFailed = 4,       // --wait: the object failed for good; status: not all is well
  kTimedOut = 5,     // --wait: not ready (or gone) in time
};

enum class Output { kTable, kJson, kYaml };

struct Options {
  enum class Command { kApply, kAttach, kDetach, kDelete, kGet, kDescribe, kStatus, kVersion };
  Command command = Command::kVersion;
  std::string endpoint = "ipc:///run/fairlead/agent.sock";
  std::string controller = "fairleadctl";
  std::chrono::milliseconds timeout{10000};
  Output output = Output::kTable;
  bool dry_run = false;
  std::optional<std::chrono::milliseconds> wait;  // none: do not

  std::string file;                                                // apply
  std::string vm, uuid, vpc, subnet, port, mac, network, offload;  // attach, detach
  std::vector<std::string> addresses;                              // attach
  std::vector<std::string> refs;                                   // delete, describe: "KIND/ID"
  std::string kind, id;                                            // get: singular kind
};

struct ParsedLine {
  std::optional<Options> options;  // none: print and exit
  int exit_code = kOk;
  std::string out, err;
};

// `args` without the program's name; `default_endpoint` from the environment, ""
// if not set there.
ParsedLine ParseCommandLine(std::vector<std::string> args, const std::string& default_endpoint);

// "500ms", "30s", "2m", "1h", "30" (seconds). None: not of this form, or 0, or
// longer than a day.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// Of "KIND/ID": kinds as `get` knows them, in the singular. False: bad form.
bool SplitRef(const std::string& ref, std::string* kind, std::string* id);

const char* ClientVersion();

}  // namespace fairlead
