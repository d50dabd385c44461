// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <sstream>

#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr char kExitCodes[] =
    "Exit codes:\n"
    "  0  done\n"
    "  1  the agent refused (each field and reason is printed), or the object is not there\n"
    "  2  wrong arguments, or a file that cannot be used\n"
    "  3  the agent is not reachable\n"
    "  4  --wait: the object failed for good; status: an object is failed or degraded, a PF cannot "
    "be\n"
    "     used, or a lane is parked\n"
    "  5  --wait: not ready, or not gone, in time\n";

constexpr std::chrono::milliseconds kDefaultWait = std::chrono::seconds(120);

constexpr std::pair<const char*, const char*> kKinds[] = {
    {"vpcs", "vpc"},           {"subnets", "subnet"}, {"vms", "vm"}, {"ports", "port"},
    {"endpoints", "endpoint"}, {"pfs", "pf"},         {"vfs", "vf"}, {"rules", "rule"}};

// The singular of either form, "" if there is no such kind.
std::string Singular(const std::string& kind) {
  for (const auto& [plural, singular] : kKinds) {
    if (kind == plural || kind == singular) return singular;
  }
  return "";
}

// Text that CLI11 reads, and what it means, checked after parsing.
struct Raw {
  std::string timeout, output = "table", kind;
  std::vector<std::string> wait;  // at most one
};

void AddOutput(CLI::App* app, Raw* raw, std::vector<std::string> forms) {
  app->add_option("-o,--output", raw->output, "How to print")
      ->check(CLI::IsMember(std::move(forms)))
      ->capture_default_str();
}

void AddWait(CLI::App* app, Raw* raw, const char* what) {
  app->add_option("--wait", raw->wait, what)->expected(0, 1)->type_name("[DURATION]");
}

void AddAttach(CLI::App* app, Options* o, Raw* raw) {
  app->add_option("--vm", o->vm, "The VM's id")->required();
  app->add_option("--vpc", o->vpc, "The VPC's id")->required();
  app->add_option("--uuid", o->uuid, "QEMU's -uuid; needed when the VM is new to the agent");
  app->add_option("--subnet", o->subnet, "Default: the VPC's only subnet");
  app->add_option("--port", o->port, "The port's id; default: VM-SUBNET");
  app->add_option("--mac", o->mac, "Default: the VF's own");
  app->add_option("--address,--addresses", o->addresses,
                  "An address in the subnet; may be repeated");
  app->add_option("--network", o->network, "Which of the host's networks; default: compute")
      ->check(CLI::IsMember({"compute", "converged"}));
  app->add_option("--offload", o->offload, "Rules in hardware; default: prefer")
      ->check(CLI::IsMember({"must", "prefer", "off"}));
  app->add_flag("--dry-run", o->dry_run, "Print what would be done, and do nothing");
  AddWait(app, raw, "Wait until the port is ready (default: 2m)");
  AddOutput(app, raw, {"table", "json", "yaml"});
}

ParsedLine Usage(std::string text) {
  return {std::nullopt, kUsage, "", StrCat("fairleadctl: ", text, "\n")};
}

}  // namespace

const char* ClientVersion() { return FAIRLEAD_VERSION; }

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

ParsedLine ParseCommandLine(std::vector<std::string> args, const std::string& default_endpoint) {
  Options o;
  Raw raw;
  if (!default_endpoint.empty()) o.endpoint = default_endpoint;

  CLI::App app("Talks to the Fairlead agent of this host.", "fairleadctl");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--endpoint", o.endpoint, "The agent's ZeroMQ endpoint (or FAIRLEAD_ENDPOINT)")
      ->capture_default_str();
  app.add_option("--controller", o.controller, "In whose name to ask")->capture_default_str();
  app.add_option("--timeout", raw.timeout, "How long to wait for each answer (default: 10s)");
  const auto command = [&](const char* name, const char* help, Options::Command value) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->footer(kExitCodes);
    sub->callback([&o, value] { o.command = value; });
    return sub;
  };

  CLI::App* sub = command("apply", "Create or replace the objects of a YAML file, all or nothing",
                          Options::Command::kApply);
  sub->add_option("-f,--file", o.file, "The file; '-' is standard input")->required();
  sub->add_flag("--dry-run", o.dry_run, "Print what would be done, and do nothing");
  AddOutput(sub, &raw, {"table", "json", "yaml"});

  AddAttach(command("attach", "Add a VM to a VPC", Options::Command::kAttach), &o, &raw);

  sub = command("detach", "Remove a VM's ports from a VPC", Options::Command::kDetach);
  sub->add_option("--vm", o.vm, "The VM's id")->required();
  sub->add_option("--vpc", o.vpc, "The VPC's id")->required();
  sub->add_option("--port", o.port, "Only this port; default: all of the VM's in the VPC");
  sub->add_flag("--dry-run", o.dry_run, "Print what would be done, and do nothing");
  AddWait(sub, &raw, "Wait until nothing of the ports is left (default: 2m)");
  AddOutput(sub, &raw, {"table", "json", "yaml"});

  sub = command("delete", "Remove objects, all or nothing", Options::Command::kDelete);
  sub->add_option("KIND/ID", o.refs, "For example port/a0")->required();
  sub->add_flag("--dry-run", o.dry_run, "Print what would be done, and do nothing");
  AddOutput(sub, &raw, {"table", "json", "yaml"});

  sub = command("get", "List objects, NICs or rules", Options::Command::kGet);
  sub->add_option("KIND", raw.kind, "vpcs, subnets, vms, ports, endpoints, pfs, vfs or rules")
      ->required();
  sub->add_option("ID", o.id, "Only this one");
  AddOutput(sub, &raw, {"table", "json", "yaml"});

  sub = command("describe", "Tell all that is known of an object, PF or VF",
                Options::Command::kDescribe);
  sub->add_option("KIND/ID", o.refs, "For example port/a0, vm/a, vf/0000:01:00.2")->required();

  sub = command("status", "Sum up the agent and the host", Options::Command::kStatus);
  AddOutput(sub, &raw, {"table", "json", "yaml"});
  command("version", "Print the version of this program", Options::Command::kVersion);

  try {
    std::reverse(args.begin(), args.end());  // CLI11 takes them from the end
    app.parse(args);
  } catch (const CLI::ParseError& e) {
    std::ostringstream out, err;
    const bool help = app.exit(e, out, err) == 0;
    return {std::nullopt, help ? kOk : kUsage, out.str(), err.str()};
  }

  if (!raw.timeout.empty()) {
    std::optional<std::chrono::milliseconds> timeout = ParseDuration(raw.timeout);
    if (!timeout) return Usage(StrCat("--timeout ", Quoted(raw.timeout), " is no time like 10s"));
    o.timeout = *timeout;
  }
  for (const char* name : {"attach", "detach"}) {
    const CLI::App* with_wait = app.get_subcommand(name);
    if (!with_wait->parsed() || with_wait->count("--wait") == 0) continue;
    o.wait = kDefaultWait;
    const std::string text = raw.wait.empty() ? "" : raw.wait.front();
    if (!text.empty() && text != "{}") o.wait = ParseDuration(text);
    if (!o.wait) return Usage(StrCat("--wait ", Quoted(text), " is no time like 30s"));
    if (o.dry_run) return Usage("--wait and --dry-run exclude each other");
  }
  if (raw.output == "json") o.output = Output::kJson;
  if (raw.output == "yaml") o.output = Output::kYaml;
  if (o.command == Options::Command::kGet) {
    o.kind = Singular(raw.kind);
    if (o.kind.empty()) {
      return Usage(StrCat("there is no kind ", Quoted(raw.kind),
                          "; one of vpcs, subnets, vms, ports, endpoints, pfs, vfs, rules"));
    }
  }
  for (const std::string& ref : o.refs) {
    std::string kind, id;
    if (!SplitRef(ref, &kind, &id) || kind == "rule" ||
        (o.command == Options::Command::kDelete && (kind == "pf" || kind == "vf"))) {
      return Usage(StrCat(Quoted(ref), " is not of the form KIND/ID, for example port/a0"));
    }
  }
  return {std::move(o), kOk, "", ""};
}

}  // namespace fairlead
