// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/commands.h"

#include <fstream>
#include <istream>
#include <iterator>
#include <ostream>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/call.h"
#include "agent/ctl/json.h"
#include "agent/ctl/options.h"
#include "agent/ctl/render.h"
#include "agent/ctl/table.h"
#include "agent/ctl/wait.h"
#include "agent/ctl/yaml_objects.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

v1::ObjectKind WireKind(const std::string& kind) {
  if (kind == "vpc") return v1::OBJECT_KIND_VPC;
  if (kind == "subnet") return v1::OBJECT_KIND_SUBNET;
  if (kind == "vm") return v1::OBJECT_KIND_VM;
  if (kind == "port") return v1::OBJECT_KIND_PORT;
  if (kind == "endpoint") return v1::OBJECT_KIND_ENDPOINT;
  return v1::OBJECT_KIND_UNSPECIFIED;
}

// At most one byte more than a file may have, so that a device or a pipe without
// end is no trap.
std::string ReadBounded(std::istream& in) {
  std::string text;
  char buffer[65536];
  while (text.size() <= kMaxYamlBytes && in.read(buffer, sizeof(buffer)).gcount() > 0) {
    text.append(buffer, static_cast<size_t>(in.gcount()));
  }
  return text;
}

class Session {
 public:
  Session(Options options, const CtlWorld& world) : o_(std::move(options)), w_(world) {}

  int Run() {
    switch (o_.command) {
      case Options::Command::kApply:
        return Apply();
      case Options::Command::kAttach:
        return Attach();
      case Options::Command::kDetach:
        return Detach();
      case Options::Command::kDelete:
        return Delete();
      case Options::Command::kGet:
        return Get();
      case Options::Command::kDescribe:
        return Describe();
      case Options::Command::kStatus:
        return Status();
      case Options::Command::kVersion:
        *w_.out << "fairleadctl " << ClientVersion() << " (protocol 1)\n";
        return kOk;
    }
    return kUsage;
  }

 private:
  // kOk, or the exit code after what was wrong was printed.
  int Ask(v1::Request request, v1::Reply* reply) {
    absl::Status status = Call(std::move(request), reply);
    if (!status.ok()) {
      *w_.err << "fairleadctl: " << Printable(StdView(status.message())) << "\n";
      return kUnreachable;
    }
    if (!reply->has_rejected()) return kOk;
    *w_.err << RenderRejected(reply->rejected());
    if (o_.output != Output::kTable) PrintDocument(ToJson(*reply));
    return kRejected;
  }

  absl::Status Call(v1::Request request, v1::Reply* reply) {
    if (client_ == nullptr) {
      absl::StatusOr<std::unique_ptr<Client>> client = w_.connect(o_.endpoint);
      if (!client.ok()) return client.status();
      client_ = *std::move(client);
      caller_ = std::make_unique<Caller>(client_.get(), o_.controller, o_.timeout);
    }
    return caller_->Call(std::move(request), reply);
  }

  int Unexpected(const v1::Reply&) {
    *w_.err << "fairleadctl: the agent answered with something else than was asked for; is it of "
               "another version?\n";
    return kUnreachable;
  }

  void PrintDocument(const std::string& json) {
    *w_.out << (o_.output == Output::kYaml ? JsonToYaml(json) : json);
  }

  // Sends a change and prints what came of it; then waits where that was asked.
  int Change(v1::Request request,
             const std::function<WaitResult(const v1::Accepted&)>& wait = nullptr) {
    request.set_dry_run(o_.dry_run);
    v1::Reply reply;
    if (int code = Ask(std::move(request), &reply); code != kOk) return code;
    if (o_.dry_run ? !reply.has_plan() : !reply.has_accepted()) return Unexpected(reply);
    const bool table = o_.output == Output::kTable;
    if (table) {
      *w_.out << (o_.dry_run ? RenderPlan(reply.plan()) : RenderAccepted(reply.accepted()));
      w_.out->flush();
    }
    WaitResult result;
    v1::GetReply ports;
    if (wait != nullptr && o_.wait && !o_.dry_run) {
      result = wait(reply.accepted());
      ports = waited_for_;
    }
    if (!table) {
      std::string json = ToJson(reply);
      if (o_.wait) {
        std::string list = ToJson(ports);  // {"objects": [...]}
        json = WithMember(json, "waited", list);
      }
      PrintDocument(json);
    } else if (o_.wait && result.exit_code == kOk) {
      *w_.out << (o_.command == Options::Command::kAttach ? "ready\n" : "gone\n");
    }
    if (result.exit_code == kTimedOut) {
      *w_.err << "fairleadctl: not " << (o_.command == Options::Command::kAttach ? "ready" : "gone")
              << " after " << o_.wait->count() << " ms: " << Printable(result.reason)
              << "\nThe agent goes on; `fairleadctl get ports` shows how far it is.\n";
    } else if (result.exit_code != kOk) {
      *w_.err << "fairleadctl: " << Printable(result.reason) << "\n";
    }
    return result.exit_code;
  }

  int Apply() {
    std::string text;
    const std::string name = o_.file == "-" ? "standard input" : o_.file;
    if (o_.file == "-") {
      text = ReadBounded(*w_.in);
    } else {
      std::ifstream file(o_.file, std::ios::binary);
      if (file) text = ReadBounded(file);
      // A folder opens well and only fails to be read.
      if (!file.is_open() || file.bad()) {
        *w_.err << "fairleadctl: cannot read " << Printable(name) << "\n";
        return kUsage;
      }
    }
    v1::Request request;
    const std::vector<YamlProblem> problems = ReadObjects(text, request.mutable_apply());
    for (const YamlProblem& problem : problems) {
      *w_.err << Printable(name);
      if (problem.line > 0) *w_.err << ":" << problem.line << ":" << problem.column;
      *w_.err << ": " << Printable(problem.text) << "\n";
    }
    if (!problems.empty()) return kUsage;
    return Change(std::move(request));
  }

  int Attach() {
    v1::Request request;
    v1::AddVmToVpc* add = request.mutable_add_vm_to_vpc();
    add->mutable_vm()->set_id(o_.vm);
    add->mutable_vm()->set_uuid(o_.uuid);
    add->set_vpc(o_.vpc);
    add->set_subnet(o_.subnet);
    add->set_port(o_.port);
    add->set_mac(o_.mac);
    for (const std::string& address : o_.addresses) add->add_addresses(address);
    int number = 0;
    if (ParseNetwork(o_.network, &number)) add->set_network(static_cast<v1::NetworkKind>(number));
    if (ParseOffload(o_.offload, &number)) add->set_offload(static_cast<v1::OffloadWish>(number));
    return Change(std::move(request), [&](const v1::Accepted& accepted) {
      PortGenerations ports;
      for (const auto& item : accepted.items()) {
        if (item.ref().kind() == v1::OBJECT_KIND_PORT) ports[item.ref().id()] = item.generation();
      }
      // Nothing was new: then the ports that are there already are meant.
      if (ports.empty()) ports = PortsThere();
      if (ports.empty()) {
        return WaitResult{kFailed, "the agent accepted this, but shows no port of it"};
      }
      return WaitReady(ports, *o_.wait, Tools(ports));
    });
  }

  int Detach() {
    v1::Request request;
    v1::RemoveVmFromVpc* remove = request.mutable_remove_vm_from_vpc();
    remove->set_vm(o_.vm);
    remove->set_vpc(o_.vpc);
    remove->set_port(o_.port);
    return Change(std::move(request), [&](const v1::Accepted& accepted) {
      PortGenerations ports;
      for (const auto& item : accepted.items()) {
        if (item.ref().kind() == v1::OBJECT_KIND_PORT) ports[item.ref().id()] = 0;
      }
      // Asked a second time, the removal may still be under way.
      if (ports.empty()) ports = PortsThere();
      return WaitGone(ports, *o_.wait, Tools(ports));
    });
  }

  // Ports that fit this command's VM, VPC, subnet and port.
  PortGenerations PortsThere() {
    PortGenerations ports;
    v1::GetReply reply;
    if (!GetPorts(&reply).ok()) return ports;
    for (const auto& item : reply.objects()) {
      const v1::Port& port = item.object().port();
      if (port.vm() != o_.vm || port.vpc() != o_.vpc) continue;
      if (!o_.subnet.empty() && port.subnet() != o_.subnet) continue;
      if (!o_.port.empty() && port.id() != o_.port) continue;
      ports[port.id()] = 0;
    }
    return ports;
  }

  absl::Status GetPorts(v1::GetReply* out) {
    v1::Request request;
    request.mutable_get()->set_kind(v1::OBJECT_KIND_PORT);
    v1::Reply reply;
    absl::Status status = Call(std::move(request), &reply);
    if (!status.ok()) return status;
    if (!reply.has_get()) return absl::DataLossError("the agent did not list its ports");
    *out = reply.get();
    return absl::OkStatus();
  }

  WaitTools Tools(const PortGenerations& ports) {
    WaitTools tools;
    tools.now = w_.now;
    tools.sleep = w_.sleep;
    tools.get_ports = [this, ports](v1::GetReply* reply) {
      absl::Status status = GetPorts(reply);
      waited_for_.Clear();
      for (const auto& item : reply->objects()) {
        if (ports.contains(item.object().port().id())) *waited_for_.add_objects() = item;
      }
      return status;
    };
    tools.progress = [this](const std::string& story) {
      if (w_.terminal) *w_.err << Printable(story) << std::endl;
    };
    return tools;
  }

  int Delete() {
    v1::Request request;
    request.mutable_apply();
    for (const std::string& text : o_.refs) {
      std::string kind, id;
      SplitRef(text, &kind, &id);
      v1::ObjectRef* ref = request.mutable_apply()->add_remove();
      ref->set_kind(WireKind(kind));
      ref->set_id(id);
    }
    return Change(std::move(request));
  }

  int AskObjects(v1::ObjectKind kind, const std::string& id, v1::Reply* reply) {
    v1::Request request;
    request.mutable_get()->set_kind(kind);
    request.mutable_get()->set_id(id);
    if (int code = Ask(std::move(request), reply); code != kOk) return code;
    return reply->has_get() ? kOk : Unexpected(*reply);
  }

  int AskHost(bool rules, v1::Reply* reply) {
    v1::Request request;
    request.mutable_get_host()->set_rules(rules);
    if (int code = Ask(std::move(request), reply); code != kOk) return code;
    return reply->has_host() ? kOk : Unexpected(*reply);
  }

  int NotThere(const std::string& what) {
    *w_.err << "fairleadctl: " << Printable(what) << " is not there\n";
    return kRejected;
  }

  int Get() {
    v1::Reply reply;
    const v1::ObjectKind kind = WireKind(o_.kind);
    if (kind != v1::OBJECT_KIND_UNSPECIFIED) {
      if (int code = AskObjects(kind, o_.id, &reply); code != kOk) return code;
      if (!o_.id.empty() && reply.get().objects().empty()) {
        return NotThere(StrCat(o_.kind, "/", o_.id));
      }
      if (o_.output == Output::kTable) {
        *w_.out << RenderObjects(reply.get(), kind);
      } else {
        PrintDocument(ToJson(reply.get()));
      }
      return kOk;
    }
    if (int code = AskHost(o_.kind == "rule", &reply); code != kOk) return code;
    const v1::HostState& host = reply.host();
    const std::string text = o_.kind == "pf"   ? RenderPfs(host, o_.id)
                             : o_.kind == "vf" ? RenderVfs(host, o_.id)
                                               : RenderRules(host, o_.id);
    if (!o_.id.empty() && text.find('\n') + 1 == text.size()) {
      return NotThere(StrCat(o_.kind, "/", o_.id));
    }
    if (o_.output == Output::kTable) {
      *w_.out << text;
    } else {
      PrintDocument(ToJson(host));
    }
    return kOk;
  }

  int Describe() {
    for (const std::string& text : o_.refs) {
      std::string kind, id;
      SplitRef(text, &kind, &id);
      v1::Reply reply;
      std::string story;
      if (WireKind(kind) == v1::OBJECT_KIND_UNSPECIFIED) {
        if (int code = AskHost(false, &reply); code != kOk) return code;
        story = kind == "pf" ? DescribePf(reply.host(), id) : DescribeVf(reply.host(), id);
      } else {
        // With what belongs to it, which only the whole list tells.
        const bool alone = kind == "port" || kind == "endpoint";
        int code = AskObjects(alone ? WireKind(kind) : v1::OBJECT_KIND_UNSPECIFIED, alone ? id : "",
                              &reply);
        if (code != kOk) return code;
        for (const auto& item : reply.get().objects()) {
          if (RefTextOf(item.object()) == StrCat(kind, "/", id)) {
            story = DescribeObject(item, reply.get());
          }
        }
      }
      if (story.empty()) return NotThere(text);
      *w_.out << story;
    }
    return kOk;
  }

  int Status() {
    v1::Reply host, all;
    if (int code = AskHost(false, &host); code != kOk) return code;
    if (int code = AskObjects(v1::OBJECT_KIND_UNSPECIFIED, "", &all); code != kOk) return code;
    const Health health = RenderStatus(host.host(), all.get());
    if (o_.output == Output::kTable) {
      *w_.out << health.text;
    } else {
      PrintDocument(
          WithMember(ToJson(host.host()), "not_well", health.troubled ? "true" : "false"));
    }
    return health.troubled ? kFailed : kOk;
  }

  Options o_;
  const CtlWorld& w_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Caller> caller_;
  v1::GetReply waited_for_;
};

}  // namespace

int RunCtl(std::vector<std::string> args, const CtlWorld& world) {
  ParsedLine line = ParseCommandLine(std::move(args), world.default_endpoint);
  *world.out << line.out;
  *world.err << line.err;
  if (!line.options) return line.exit_code;
  return Session(*std::move(line.options), world).Run();
}

}  // namespace fairlead
