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
  kFailed = 4,       // --wait, --until: failed or degraded for good; status: not all is well
  kTimedOut = 5,     // --wait, --until: not ready (or gone) in time; --until: stopped
  kOutput = 6,       // the output could not be written
};

enum class Output { kTable, kJson, kYaml };

// A kind in the singular; id "" = all of it.
struct WatchedItem {
  std::string kind, id;
};

// Of explain flow. The first three as they were typed; what is made of them is plain.
struct FlowOptions {
  std::string from, to, proto;
  std::string port, vtep, uplink;  // one of them
  std::string src, src_mac, dst_mac, arp_mac;
  std::optional<uint32_t> protocol, src_port, dst_port, ttl, vni, vlan, icmp_type;
  bool fragment = false;
  bool neighbour = false;  // --proto arp or nd
};

// From the environment; "" where not set there.
struct Defaults {
  std::string endpoint;  // FAIRLEAD_ENDPOINT
  std::string events;    // FAIRLEAD_EVENTS
};

struct Options {
  enum class Command {
    kApply,
    kAttach,
    kDetach,
    kDelete,
    kAdopt,
    kPurge,
    kGet,
    kDescribe,
    kWatch,
    kStatus,
    kReleaseVf,
    kControllerList,
    kControllerForget,
    kExplainFlow,
    kVersion,
    kCompletion,
    kComplete,  // hidden: what the shells ask while a line is typed
  };
  Command command = Command::kVersion;
  std::string endpoint = "ipc:///run/fairlead/agent.sock";
  std::string events;  // watch; never "" there
  std::string controller = "fairleadctl";
  std::chrono::milliseconds timeout{10000};
  Output output = Output::kTable;
  bool wide = false;  // a table with all columns
  bool dry_run = false;
  bool ignore_missing = false;                    // detach, delete
  bool force = false;                             // vf release
  std::optional<std::chrono::milliseconds> wait;  // none: do not; watch --until: how long

  std::string file;  // apply
  std::string vm, uuid, vpc, subnet, port, mac, network,
      offload;                                // attach, detach; get rules: port
  std::string function, spoof_check;          // attach
  bool trust = false;                         // attach
  uint32_t max_tx_mbps = 0, min_tx_mbps = 0;  // attach
  std::vector<std::string> security_groups;   // attach
  std::vector<std::string> addresses;         // attach
  std::vector<std::string> refs;              // delete, describe: "KIND/ID"
  std::string kind, id;                       // get: singular kind; vf; controller forget: the id
  uint64_t epoch = 0;                         // controller forget
  bool counters = false;                      // get rules
  uint32_t limit = 1000;                      // likewise: so many at most
  std::string after;                          // likewise: those behind this place
  std::vector<WatchedItem> watched;           // watch; empty: everything
  std::string until;                          // watch: "", "ready", "gone"
  std::string store;                          // adopt, purge
  FlowOptions flow;                           // explain flow
  std::string shell;                          // completion
  std::vector<std::string> words;             // complete: the line so far
};

struct ParsedLine {
  std::optional<Options> options;  // none: print and exit
  int exit_code = kOk;
  std::string out, err;
};

// `args` without the program's name.
ParsedLine ParseCommandLine(std::vector<std::string> args, const Defaults& defaults);

// Where the agent that answers at `endpoint` publishes its events, unless it was
// configured otherwise: "events.sock" beside the socket of its requests.
std::string EventsBeside(const std::string& endpoint);

// "500ms", "30s", "2m", "1h", "30" (seconds). None: not of this form, or 0, or
// longer than a day.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// Of "KIND/ID": kinds as `get` knows them, in the singular. False: bad form.
bool SplitRef(const std::string& ref, std::string* kind, std::string* id);

const char* ClientVersion();

}  // namespace fairlead
