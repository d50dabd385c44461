// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/command_tree.h"

#include <utility>

#include "agent/ctl/kinds.h"

namespace fairlead {
namespace {

constexpr char kExitCodes[] =
    "Exit codes:\n"
    "  0  done\n"
    "  1  the agent refused (each field and reason is printed), or the object is not there\n"
    "  2  wrong arguments, or a file that cannot be used\n"
    "  3  the agent is not reachable\n"
    "  4  --wait, --until: an object is failed or degraded for good; status: one is failed or\n"
    "     degraded, a PF cannot be used, a VF is quarantined, or a lane is parked\n"
    "  5  --wait, --until: not ready, or not gone, in time; --until: stopped before it was\n"
    "  6  the output could not be written (a change that was asked for may have been made)\n";

constexpr char kWatchHelp[] =
    "Prints what is watched as `get` does, then a line for each change: time, object, state, "
    "step,\n"
    "reason. Lines that begin with -- tell of lost events and of a restart of the agent; the "
    "state\n"
    "is then asked for anew. Ends on SIGINT or SIGTERM, or when nobody reads any more, with 0;\n"
    "with --until not yet true, with 5.\n\n"
    "With -o json, an object a line; \"type\" is\n"
    "  state   an object as `get -o json` prints it: at the start, and what changed unheard\n"
    "  gone    the object \"ref\" is no longer there, found by asking\n"
    "  synced  all states were printed\n"
    "  event   a fairlead.v1.Event\n"
    "  note    \"note\" is lost, restart, away, back or unreadable; \"text\" says it in words\n\n";

constexpr char kTakeOverHelp[] =
    "After the agent's store was lost: let the controller send its objects again, adopt what the\n"
    "old store's agent made (--dry-run shows what goes to whom), look at what is left, and purge\n"
    "that. Adopting changes nothing on the host; purging unplugs what it names from its VMs. Only\n"
    "VMs that some object names are asked.\n\n";

constexpr char kForgetHelp[] =
    "What was accepted of it stays. Its epoch is forgotten: an older instance of it would be\n"
    "listened to again, so make sure first that none runs.\n\n";

constexpr char kExplainHelp[] =
    "Tells each rule that takes the packet, compiled and as the kernel has it just now, where it\n"
    "ends and why. The packet is the one that the guest's own stack would send; options say what\n"
    "is otherwise. No packet is sent, and nothing is changed.\n\n"
    "  fairleadctl explain flow --from web-red-1 --to 10.0.1.9 --proto tcp --dport 443\n"
    "  fairleadctl explain flow --from web-red-1 --to 10.0.0.6 --proto arp\n"
    "  fairleadctl explain flow --from vtep:192.0.2.2 --vni 1000 --dst-mac 52:54:00:00:01:00\n"
    "  fairleadctl explain flow --from uplink:pf0 --vlan 100 --dst-mac 52:54:00:00:01:00\n\n"
    "A rule that does not stand in the kernel as it was compiled is marked with !.\n\n";

constexpr char kCompletionHelp[] =
    "For one user:\n"
    "  bash  in ~/.bashrc: source <(fairleadctl completion bash)\n"
    "  zsh   in ~/.zshrc, after compinit: source <(fairleadctl completion zsh)\n"
    "  fish  fairleadctl completion fish > ~/.config/fish/completions/fairleadctl.fish\n\n";

std::vector<std::string> Plurals(bool objects_only) {
  std::vector<std::string> out;
  for (const KindName& kind : kKinds) {
    if (kind.object || !objects_only) out.emplace_back(kind.plural);
  }
  return out;
}

std::vector<std::string> ObjectKinds() {
  std::vector<std::string> out;
  for (const KindName& kind : kKinds) {
    if (kind.object) out.emplace_back(kind.singular);
  }
  return out;
}

}  // namespace

CommandTree::CommandTree(Options* options, RawOptions* raw)
    : app("Talks to the Fairlead agent of this host.", "fairleadctl"), o_(*options), raw_(*raw) {
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--endpoint", o_.endpoint, "The agent's ZeroMQ endpoint (or FAIRLEAD_ENDPOINT)")
      ->capture_default_str();
  app.add_option("--controller", o_.controller, "In whose name to ask")->capture_default_str();
  app.add_option("--timeout", raw_.timeout, "How long to wait for each answer (default: 10s)");
  AddChanges();
  AddVf();
  AddController();
  AddReads();
  AddExplain();
}

const Values& CommandTree::ValuesOf(const CLI::Option* option) const {
  static const Values kNone;
  const auto it = values_.find(option);
  return it == values_.end() ? kNone : it->second;
}

CLI::App* CommandTree::Command(CLI::App* of, const char* name, const char* help,
                               Options::Command value) {
  CLI::App* sub = of->add_subcommand(name, help);
  sub->footer(kExitCodes);
  sub->callback([this, value] { o_.command = value; });
  return sub;
}

CLI::Option* CommandTree::Choice(CLI::Option* option, std::vector<std::string> list) {
  Note(option, Values::From::kList, list);
  return option->check(CLI::IsMember(std::move(list)));
}

void CommandTree::Note(const CLI::Option* option, Values::From from,
                       std::vector<std::string> list) {
  values_[option] = {from, std::move(list)};
}

void CommandTree::AddOutput(CLI::App* sub, const std::vector<std::string>& forms) {
  Choice(sub->add_option("-o,--output", raw_.output, "How to print"), forms)
      ->default_str(forms.front());
}

void CommandTree::AddWait(CLI::App* sub, const char* what) {
  sub->add_option("--wait", raw_.wait, what)
      ->expected(0, 1)
      ->allow_extra_args(false)
      ->type_name("[DURATION]");
}

void CommandTree::AddDryRun(CLI::App* sub) {
  sub->add_flag("--dry-run", o_.dry_run, "Print what would be done, and do nothing");
}

void CommandTree::AddIgnoreMissing(CLI::App* sub) {
  sub->add_flag("--ignore-missing", o_.ignore_missing,
                "Exit with 0 when what is to be removed is not there");
}

void CommandTree::AddChanges() {
  CLI::App* sub = Command("apply", "Create or replace the objects of a YAML file, all or nothing",
                          Options::Command::kApply);
  Note(sub->add_option("-f,--file", o_.file, "The file; '-' is standard input")->required(),
       Values::From::kFile);
  AddDryRun(sub);
  AddWait(sub, "Wait until each port of the file that has a VM is ready (default: 2m)");
  AddOutput(sub, {"table", "json", "yaml"});

  AddAttach();
  AddTakeOver();

  sub = Command("detach", "Remove a VM's ports from a VPC", Options::Command::kDetach);
  Note(sub->add_option("--vm", o_.vm, "The VM's id")->required(), Values::From::kIds, {"vm"});
  Note(sub->add_option("--vpc", o_.vpc, "The VPC's id")->required(), Values::From::kIds, {"vpc"});
  Note(sub->add_option("--port", o_.port, "Only this port; default: all of the VM's in the VPC"),
       Values::From::kIds, {"port"});
  AddIgnoreMissing(sub);
  AddDryRun(sub);
  AddWait(sub, "Wait until nothing of the ports is left (default: 2m)");
  AddOutput(sub, {"table", "json", "yaml"});

  sub = Command("delete", "Remove objects, all or nothing", Options::Command::kDelete);
  Note(sub->add_option("KIND/ID", o_.refs, "For example port/a0")->required(), Values::From::kRefs,
       ObjectKinds());
  AddIgnoreMissing(sub);
  AddDryRun(sub);
  AddWait(sub, "Wait until nothing of the objects is left (default: 2m)");
  AddOutput(sub, {"table", "json", "yaml"});
}

void CommandTree::AddTakeOver() {
  CLI::App* sub =
      Command("adopt", "Give the objects of another store to the objects here that they fit",
              Options::Command::kAdopt);
  sub->footer(std::string(kTakeOverHelp) + kExitCodes);
  sub->add_option("STORE", o_.store, "Its id, as `get foreign` shows it")->required();
  AddDryRun(sub);
  AddOutput(sub, {"table", "json", "yaml"});

  sub = Command("purge", "Take apart the objects of another store that no object here has",
                Options::Command::kPurge);
  sub->footer(std::string(kTakeOverHelp) + kExitCodes);
  sub->add_option("STORE", o_.store, "Its id, as `get foreign` shows it")->required();
  AddDryRun(sub);
  AddOutput(sub, {"table", "json", "yaml"});
}

void CommandTree::AddAttach() {
  CLI::App* sub = Command("attach", "Add a VM to a VPC", Options::Command::kAttach);
  Note(sub->add_option("--vm", o_.vm, "The VM's id")->required(), Values::From::kIds, {"vm"});
  Note(sub->add_option("--vpc", o_.vpc, "The VPC's id")->required(), Values::From::kIds, {"vpc"});
  sub->add_option("--uuid", o_.uuid, "QEMU's -uuid; needed when the VM is new to the agent");
  Note(sub->add_option("--subnet", o_.subnet, "Default: the VPC's only subnet"), Values::From::kIds,
       {"subnet"});
  Note(sub->add_option("--port", o_.port, "The port's id; default: VM-SUBNET"), Values::From::kIds,
       {"port"});
  sub->add_option("--mac", o_.mac, "Default: the VF's own");
  sub->add_option("--address,--addresses", o_.addresses,
                  "An address in the subnet; may be repeated");
  Choice(sub->add_option("--network", o_.network, "Which of the host's networks; default: compute"),
         {"compute", "converged"});
  Choice(sub->add_option("--offload", o_.offload, "Rules in hardware; default: prefer"),
         {"must", "prefer", "off"});
  Choice(sub->add_option("--spoof-check", o_.spoof_check,
                         "In a VLAN network on a NIC without an eswitch; default: on"),
         {"on", "off"});
  sub->add_flag("--trust", o_.trust, "Likewise: the VM may change its MAC");
  sub->add_option("--max-tx-mbps", o_.max_tx_mbps, "What it may send, Mbit/s; default: no limit");
  sub->add_option("--min-tx-mbps", o_.min_tx_mbps,
                  "Its share when others want more, Mbit/s; default: none");
  Note(sub->add_option("--security-group", o_.security_groups,
                       "What may pass to and from it; may be repeated; default: as its VPC has it"),
       Values::From::kIds, {"security-group"});
  Choice(sub->add_option("--function", o_.function,
                         "Where its function comes from: the host's VFs, or hot-plug as a DPU "
                         "does it; default: vf"),
         {"vf", "hotplug"});
  AddDryRun(sub);
  AddWait(sub, "Wait until the port is ready (default: 2m)");
  AddOutput(sub, {"table", "json", "yaml"});
}

void CommandTree::AddVf() {
  CLI::App* vf = app.add_subcommand("vf", "What an operator does to one VF");
  vf->require_subcommand(1);
  vf->footer(kExitCodes);
  CLI::App* sub =
      Command(vf, "release", "Free a VF that is quarantined: it is cleaned and checked again",
              Options::Command::kReleaseVf);
  Note(sub->add_option("PF/INDEX", o_.id, "The VF, or its PCI address")->required(),
       Values::From::kIds, {"vf"});
  sub->add_flag("--force", o_.force, "As it is; its record says so, and what is not proven");
  AddOutput(sub, {"table", "json", "yaml"});
}

void CommandTree::AddController() {
  CLI::App* controller = app.add_subcommand("controller", "The controllers that the agent knows");
  controller->require_subcommand(1);
  controller->footer(kExitCodes);
  CLI::App* sub = Command(controller, "list", "Each with its newest epoch and revision",
                          Options::Command::kControllerList);
  AddOutput(sub, {"table", "json", "yaml"});
  sub = Command(controller, "forget", "Make room for another, where all places are taken",
                Options::Command::kControllerForget);
  sub->footer(std::string(kForgetHelp) + kExitCodes);
  sub->add_option("ID", o_.id, "The controller's id")->required();
  sub->add_option("--epoch", o_.epoch, "Its epoch, as `controller list` shows it")->required();
  AddOutput(sub, {"table", "json", "yaml"});
}

void CommandTree::AddExplain() {
  CLI::App* explain = app.add_subcommand("explain", "What becomes of a packet");
  explain->require_subcommand(1);
  explain->footer(kExitCodes);
  CLI::App* sub =
      Command(explain, "flow", "Follow a packet through the rules, as the kernel has them",
              Options::Command::kExplainFlow);
  sub->footer(std::string(kExplainHelp) + kExitCodes);
  FlowOptions& flow = o_.flow;
  Note(sub->add_option("--from", flow.from,
                       "The port whose guest sends it; or vtep:ADDRESS, the host it comes from by "
                       "the tunnel; or uplink:PF, by whose netdev it comes from the fabric")
           ->required(),
       Values::From::kIds, {"port"});
  sub->add_option("--to", flow.to, "Its destination, an IPv4 or IPv6 address");
  Note(
      sub->add_option("--proto", flow.proto,
                      "tcp, udp, icmp, a number; or arp or nd, to ask who has --to; default: icmp"),
      Values::From::kList, {"tcp", "udp", "icmp", "arp", "nd"});
  sub->add_option("--icmp-type", flow.icmp_type, "Of icmp; default: an echo request");
  sub->add_option("--dport", flow.dst_port, "Its destination port, of tcp and udp");
  sub->add_option("--sport", flow.src_port, "Its source port, likewise");
  sub->add_option("--src", flow.src, "Its source; default: the port's first address");
  sub->add_option("--src-mac", flow.src_mac, "Default: the port's MAC");
  sub->add_option("--arp-mac", flow.arp_mac, "The sender's MAC in the ARP; default: --src-mac");
  sub->add_option("--dst-mac", flow.dst_mac,
                  "Default: what the guest is told when it asks for its next hop");
  sub->add_option("--ttl", flow.ttl,
                  "Its TTL or hop limit; default: 64, of router and neighbour discovery 255");
  sub->add_flag("--fragment", flow.fragment, "It comes in fragments, whose ports no rule sees");
  sub->add_option("--vni", flow.vni, "The VNI of a packet by the tunnel");
  sub->add_option("--vlan", flow.vlan,
                  "The VLAN of a packet by an uplink, or of a frame that the guest tags itself; "
                  "default: untagged");
  AddOutput(sub, {"text", "json", "yaml"});
}

void CommandTree::AddReads() {
  CLI::App* sub = Command("get", "List objects, NICs or rules", Options::Command::kGet);
  Note(sub->add_option("KIND", raw_.kind,
                       "vpcs, subnets, vms, ports, endpoints, routes, security-groups, pfs, vfs, "
                       "rules, drifts "
                       "(what others changed) or "
                       "foreign (objects of another store)")
           ->required(),
       Values::From::kList, Plurals(false));
  Note(sub->add_option("ID", o_.id, "Only this one"), Values::From::kIdsOfKind);
  Note(sub->add_option("--port", o_.port, "Of rules: only those of this port"), Values::From::kIds,
       {"port"});
  sub->add_flag("--counters", o_.counters,
                "Of rules: what each has met, read from the kernel, and in hardware of that");
  sub->add_option("--limit", o_.limit, "Of rules: so many at most")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  sub->add_option("--after", o_.after,
                  "Of rules: those behind this place, where a list before stopped");
  AddOutput(sub, {"table", "wide", "json", "yaml"});

  sub =
      Command("describe", "Tell all that is known of an object, PF or VF, and of its last failure",
              Options::Command::kDescribe);
  std::vector<std::string> kinds = ObjectKinds();
  kinds.insert(kinds.end(), {"pf", "vf"});
  Note(sub->add_option("KIND/ID", o_.refs, "For example port/a0, vm/a, vf/0000:01:00.2; or KIND ID")
           ->required(),
       Values::From::kRefs, std::move(kinds));
  AddOutput(sub, {"table", "json", "yaml"});

  sub = Command("watch", "Show objects, and each change of them as it happens",
                Options::Command::kWatch);
  sub->footer(std::string(kWatchHelp) + kExitCodes);
  Note(sub->add_option("KIND[/ID]", o_.refs,
                       "For example ports, or port/a0 vm/a; default: all objects"),
       Values::From::kWatched, ObjectKinds());
  sub->add_option("--events", o_.events,
                  "Where the agent publishes (or FAIRLEAD_EVENTS); default: events.sock beside "
                  "the endpoint");
  CLI::Option* until =
      Choice(sub->add_option("--until", o_.until, "End when all that is watched is ready, or gone"),
             {"ready", "gone"});
  sub->add_option("--within", raw_.within, "How long --until waits (default: 2m)")
      ->needs(until)
      ->type_name("DURATION");
  AddOutput(sub, {"table", "json"});

  sub = Command("status", "Sum up the agent and the host", Options::Command::kStatus);
  AddOutput(sub, {"table", "json", "yaml"});
  Command("version", "Print the version of this program", Options::Command::kVersion);

  sub = Command("completion", "Print a script that completes fairleadctl's words in a shell",
                Options::Command::kCompletion);
  sub->footer(std::string(kCompletionHelp) + kExitCodes);
  Choice(sub->add_option("SHELL", o_.shell, "Whose")->required(), {"bash", "zsh", "fish"});
}

}  // namespace fairlead
