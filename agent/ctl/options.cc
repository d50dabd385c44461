// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/options.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "agent/base/text.h"
#include "agent/base/types.h"
#include "agent/base/version.h"
#include "agent/ctl/command_tree.h"
#include "agent/ctl/explain.h"
#include "agent/ctl/json.h"
#include "agent/ctl/kinds.h"

namespace fairlead {
namespace {

constexpr std::chrono::milliseconds kDefaultWait = std::chrono::seconds(120);
constexpr char kDefaultWaitText[] = "--wait=2m";

ParsedLine Usage(std::string text) {
  return {std::nullopt, kUsage, "", StrCat("fairleadctl: ", text, "\n")};
}

// CLI11 gives an option whose value may be left out the next word, whatever it is.
// Here that is no other option, and no object: `delete --wait port/a0` names a port.
void SettleWait(std::vector<std::string>* args) {
  for (size_t i = 0; i < args->size() && (*args)[i] != "--"; ++i) {
    if ((*args)[i] != "--wait") continue;
    const std::string next = i + 1 < args->size() ? (*args)[i + 1] : "-";
    if (next.starts_with('-') || next.find('/') != std::string::npos) (*args)[i] = kDefaultWaitText;
  }
}

std::string NoTime(std::string_view option, const std::string& text) {
  return StrCat(
      option, " ", Quoted(text),
      " is no time: it takes a whole number with ms, s, m or h (s if there is none), more "
      "than 0 and 24h at most, as in 30s");
}

// What nothing on the line takes; "" if all is taken. CLI11 itself would name what is
// missing first, though it is missing only because it was misspelt.
std::string CheckTaken(const CommandTree& tree) {
  const std::vector<std::string> extras = tree.app.remaining(true);
  if (extras.empty()) return "";
  const std::string& word = extras.front();
  const bool option = word.starts_with('-');
  std::string line;
  const CLI::App* at = &tree.app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    line += " " + at->get_name();
  }
  const bool has_commands = !at->get_subcommands(nullptr).empty();
  return StrCat(option         ? "there is no option "
                : has_commands ? "there is no command "
                               : "there is no use for the word ",
                Quoted(word), "; `fairleadctl", line, " --help` lists what there is");
}

// What is wrong with a value of the option; "" = nothing. A shell's variable that is not set must
// not be taken for what stands for all, or none; what begins with a zero some would read as octal.
std::string CheckValue(const CommandTree& tree, const CLI::Option* option,
                       const std::string& text) {
  const std::string name = option->get_name();
  if (text.empty() && !option->get_positional()) return StrCat(name, ": is empty");
  // Messages take nothing else; the name of a file may be anything.
  if (tree.ValuesOf(option).from != Values::From::kFile && !IsUtf8(text)) {
    return StrCat(name, ": is not UTF-8");
  }
  if (!option->get_type_name().starts_with("UINT")) return "";
  if (text.find_first_not_of("0123456789") != std::string::npos) {
    return StrCat(name, " ", Quoted(text), ": must be a whole number");
  }
  if (text.size() > 1 && text.front() == '0') {
    return StrCat(name, " ", Quoted(text), ": a number has no zeros before it");
  }
  return "";
}

std::string CheckValues(const CommandTree& tree) {
  std::vector<const CLI::App*> apps = {&tree.app};
  for (size_t i = 0; i < apps.size(); ++i) {
    const CLI::App* app = apps[i];
    for (const CLI::App* sub : app->get_subcommands()) apps.push_back(sub);
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& text : option->results()) {
        if (std::string wrong = CheckValue(tree, option, text); !wrong.empty()) return wrong;
      }
    }
  }
  return "";
}

// CLI11 takes the word after "--name=" for the value that is not there. "" or what is wrong.
std::string CheckAssignments(const std::vector<std::string>& args) {
  for (const std::string& word : args) {
    if (word == "--") break;
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      return StrCat(word.substr(0, word.size() - 1), ": is empty");
    }
  }
  return "";
}

// "" or what is wrong.
std::string ReadWaits(const CommandTree& tree, const RawOptions& raw, Options* o) {
  for (const char* name : {"apply", "attach", "detach", "delete"}) {
    const CLI::App* sub = tree.app.get_subcommand(name);
    if (!sub->parsed() || sub->count("--wait") == 0) continue;
    o->wait = kDefaultWait;
    const std::string text = raw.wait.empty() ? "" : raw.wait.front();
    if (!text.empty() && text != "{}") o->wait = ParseDuration(text);
    if (!o->wait) return NoTime("--wait", text);
    if (o->dry_run) return "--wait and --dry-run exclude each other";
  }
  if (o->command == Options::Command::kWatch && !o->until.empty()) {
    const bool given = tree.app.get_subcommand("watch")->count("--within") > 0;
    o->wait = given ? ParseDuration(raw.within) : kDefaultWait;
    if (!o->wait) return NoTime("--within", raw.within);
  }
  return "";
}

// An id that is given is not to be taken for none, which asks for all.
std::string ReadId(const CommandTree& tree, const Options& o) {
  if (tree.app.get_subcommand("get")->count("ID") == 0) return "";
  if (o.id.empty()) {
    return StrCat("the id is empty: it has 1 to ", kMaxObjectIdLength,
                  " characters; without one all are listed");
  }
  return IsObjectKind(o.kind) ? std::string(CheckObjectId(o.id).message()) : "";
}

std::string CheckOfRules(const CommandTree& tree, const Options& o) {
  const CLI::App* get = tree.app.get_subcommand("get");
  for (const char* name : {"--port", "--counters", "--limit", "--after"}) {
    if (o.kind != "rule" && get->count(name) > 0) return StrCat(name, " is of `get rules` alone");
  }
  return get->count("--port") == 0 ? "" : std::string(CheckObjectId(o.port).message());
}

std::string OfOtherKind(const std::string& text, const Values& values) {
  return StrCat(Quoted(text), " is of no kind that this command takes, which are ",
                StrJoin(values.list, ", "));
}

// "" or what is wrong: KIND/ID, with a kind of the command's, and an id that such an
// object can have.
std::string CheckRef(const std::string& ref, const Values& values) {
  const size_t slash = ref.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == ref.size()) {
    return StrCat(Quoted(ref), " is not of the form KIND/ID, for example port/a0");
  }
  std::string kind, id;
  if (!SplitRef(ref, &kind, &id) ||
      std::find(values.list.begin(), values.list.end(), kind) == values.list.end()) {
    return OfOtherKind(ref, values);
  }
  return IsObjectKind(kind) ? std::string(CheckObjectId(id).message()) : "";
}

const Values& ValuesOf(const CommandTree& tree, const char* option) {
  return tree.ValuesOf(tree.app.get_subcommands().front()->get_option(option));
}

// `describe vf A B` is `describe vf/A vf/B`.
void JoinKind(Options* o) {
  const std::string kind = o->refs.size() < 2 ? "" : Singular(o->refs.front());
  if (kind.empty()) return;
  o->refs.erase(o->refs.begin());
  for (std::string& ref : o->refs) ref = StrCat(kind, "/", ref);
}

std::string ReadRefs(const CommandTree& tree, const Options& o) {
  for (const std::string& ref : o.refs) {
    std::string wrong = CheckRef(ref, ValuesOf(tree, "KIND/ID"));
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string ReadWatched(const CommandTree& tree, Options* o) {
  for (const std::string& text : std::exchange(o->refs, {})) {
    WatchedItem item{Singular(text), ""};
    if (!IsObjectKind(item.kind)) {
      const Values& values = ValuesOf(tree, "KIND[/ID]");
      const bool alone = text.find('/') == std::string::npos;
      std::string wrong = alone ? OfOtherKind(text, values) : CheckRef(text, values);
      if (!wrong.empty()) return wrong;
      SplitRef(text, &item.kind, &item.id);
    }
    o->watched.push_back(std::move(item));
  }
  return "";
}

}  // namespace

const char* ClientVersion() { return kFairleadVersion; }

std::string EventsBeside(const std::string& endpoint) {
  const size_t slash = endpoint.rfind('/');
  return slash == std::string::npos ? endpoint : endpoint.substr(0, slash + 1) + "events.sock";
}

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number == 0 || number > 86'400'000) return std::nullopt;
  const std::string_view unit(end, text.data() + text.size() - end);
  uint64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit == "s" || unit.empty()) scale = 1000;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  if (scale == 0 || number * scale > 86'400'000) return std::nullopt;
  return std::chrono::milliseconds(number * scale);
}

bool SplitRef(const std::string& ref, std::string* kind, std::string* id) {
  const size_t slash = ref.find('/');
  if (slash == std::string::npos || slash + 1 == ref.size()) return false;
  *kind = Singular(ref.substr(0, slash));
  *id = ref.substr(slash + 1);
  return !kind->empty();
}

ParsedLine ParseCommandLine(std::vector<std::string> args, const Defaults& defaults) {
  Options o;
  RawOptions raw;
  if (!defaults.endpoint.empty()) o.endpoint = defaults.endpoint;
  o.events = defaults.events;
  if (!args.empty() && args.front() == "__complete") {
    o.command = Options::Command::kComplete;
    o.words.assign(args.begin() + 1, args.end());
    return {std::move(o), kOk, "", ""};
  }

  if (std::string wrong = CheckAssignments(args); !wrong.empty()) return Usage(wrong);
  CommandTree tree(&o, &raw);
  try {
    SettleWait(&args);
    std::reverse(args.begin(), args.end());  // CLI11 takes them from the end
    tree.app.parse(args);
  } catch (const CLI::ParseError& e) {
    std::string untaken = e.get_exit_code() == 0 ? "" : CheckTaken(tree);
    if (!untaken.empty()) return Usage(untaken);
    std::ostringstream out, err;
    const bool help = tree.app.exit(e, out, err) == 0;
    return {std::nullopt, help ? kOk : kUsage, out.str(), err.str()};
  }

  if (std::string wrong = CheckValues(tree); !wrong.empty()) return Usage(wrong);
  if (tree.app.count("--timeout") > 0) {
    std::optional<std::chrono::milliseconds> timeout = ParseDuration(raw.timeout);
    if (!timeout) return Usage(NoTime("--timeout", raw.timeout));
    o.timeout = *timeout;
  }
  if (std::string wrong = ReadWaits(tree, raw, &o); !wrong.empty()) return Usage(wrong);
  if (raw.output == "json") o.output = Output::kJson;
  if (raw.output == "yaml") o.output = Output::kYaml;
  o.wide = raw.output == "wide";
  for (const auto& [name, endpoint] :
       {std::pair("--endpoint", o.endpoint), {"--events", o.events}}) {
    if (std::string_view(name) == "--events" && endpoint.empty()) continue;
    if (!endpoint.starts_with("ipc:///") || endpoint.size() < 8) {
      return Usage(StrCat(name, " ", Quoted(endpoint), " is not of the form ipc:///PATH"));
    }
  }
  if (o.events.empty()) o.events = EventsBeside(o.endpoint);
  if (o.command == Options::Command::kReleaseVf && o.id.empty()) {
    return Usage("the VF is empty: it is PF/INDEX, or its PCI address");
  }
  if (o.command == Options::Command::kGet) {
    o.kind = Singular(raw.kind);
    if (o.kind.empty()) {
      return Usage(StrCat("there is no kind ", Quoted(raw.kind),
                          "; one of vpcs, subnets, vms, ports, endpoints, routes, security-groups, "
                          "pfs, vfs, rules, "
                          "drifts, foreign"));
    }
    if (std::string wrong = ReadId(tree, o); !wrong.empty()) return Usage(wrong);
    if (std::string wrong = CheckOfRules(tree, o); !wrong.empty()) return Usage(wrong);
  }
  if (o.command == Options::Command::kExplainFlow) {
    if (std::string wrong = ReadFlow(&o.flow); !wrong.empty()) return Usage(wrong);
  }
  if (o.command == Options::Command::kDescribe) JoinKind(&o);
  const bool watch = o.command == Options::Command::kWatch;
  if (std::string wrong = watch ? ReadWatched(tree, &o) : ReadRefs(tree, o); !wrong.empty()) {
    return Usage(wrong);
  }
  return {std::move(o), kOk, "", ""};
}

}  // namespace fairlead
