// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/changes.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <istream>
#include <ostream>
#include <set>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/base/types.h"
#include "agent/ctl/json.h"
#include "agent/ctl/render.h"
#include "agent/ctl/session.h"
#include "agent/ctl/table.h"
#include "agent/ctl/wait.h"
#include "agent/ctl/yaml_objects.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

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

// One change, from the request to what is printed of its outcome.
class Change {
 public:
  explicit Change(Session& session) : s_(session), o_(session.options()), w_(session.world()) {}

  int Apply();
  int Attach();
  int Detach();
  int Delete();

 private:
  // What is waited for, of what was accepted. An exit code other than kOk ends it.
  using Waiter = std::function<WaitResult(const v1::Accepted&)>;

  int Send(v1::Request request);
  int PrintAndWait(const v1::Reply& reply, const Waiter& waiter);
  bool nothing_done(const v1::Reply& reply) const {
    return reply.has_plan() ? reply.plan().steps().empty() && reply.plan().blocked().empty()
                            : reply.accepted().items().empty();
  }
  // Ports that fit this command's VM, VPC, subnet and port.
  absl::Status PortsThere(Generations* ports);
  int NoSuchPort();
  WaitTools Tools(const Generations& wanted);

  Session& s_;
  const Options& o_;
  const CtlWorld& w_;
  v1::Reply reply_;
  v1::GetReply waited_for_;
};

// kOk: `reply_` says what was accepted, or has the plan of a dry run.
int Change::Send(v1::Request request) {
  request.set_dry_run(o_.dry_run);
  if (int code = s_.Ask(std::move(request), &reply_); code != kOk) return code;
  return (o_.dry_run ? reply_.has_plan() : reply_.has_accepted()) ? kOk : s_.Unexpected();
}

int Change::PrintAndWait(const v1::Reply& reply, const Waiter& waiter) {
  if (s_.table()) {
    *w_.out << (o_.dry_run ? RenderPlan(reply.plan()) : RenderAccepted(reply.accepted()));
    w_.out->flush();
  }
  WaitResult result;
  if (o_.wait) result = waiter(reply.accepted());
  const bool ready =
      o_.command == Options::Command::kAttach || o_.command == Options::Command::kApply;
  const char* state = ready ? "ready" : "gone";
  if (!s_.table()) {
    std::string json = ToJson(reply);
    if (o_.wait) json = WithMember(json, "waited", ToJson(waited_for_));
    s_.PrintDocument(json);
  } else if (o_.wait && result.exit_code == kOk) {
    *w_.out << state << "\n";
  }
  if (result.exit_code == kTimedOut) {
    s_.Fail(kTimedOut, StrCat("not ", state, " after ", o_.wait->count(), " ms: ", result.reason));
    *w_.err << "It stays accepted; `fairleadctl watch` shows how far it is.\n";
  } else if (result.exit_code != kOk) {
    s_.Fail(result.exit_code, result.reason);
  }
  return result.exit_code;
}

int Change::Apply() {
  const bool standard = o_.file == "-";
  const std::string name = standard ? "standard input" : o_.file;
  std::ifstream file;
  errno = 0;
  if (!standard) file.open(o_.file, std::ios::binary);
  std::istream& in = standard ? *w_.in : file;
  const bool open = in.good();
  const std::string text = ReadBounded(in);
  // A folder opens well and only fails to be read.
  if (!open || in.bad()) {
    return s_.Fail(kUsage, StrCat("cannot read ", name, ": ",
                                  errno == 0 ? "it is no file" : ::strerror(errno)));
  }
  v1::Request request;
  ObjectPlaces places;
  const std::vector<YamlProblem> problems = ReadObjects(text, request.mutable_apply(), &places);
  for (const YamlProblem& problem : problems) {
    *w_.err << Printable(name);
    if (problem.line > 0) *w_.err << ":" << problem.line << ":" << problem.column;
    *w_.err << ": " << Printable(problem.text) << "\n";
  }
  if (!problems.empty()) return kUsage;
  s_.set_describe_path([name, places = std::move(places)](const std::string& path) {
    return places.Describe(name, path);
  });
  // A port without a VM is kept and does not become ready.
  std::set<std::string> with_vm;
  for (const v1::Object& object : request.apply().upsert()) {
    if (object.has_port() && !object.port().vm().empty()) with_vm.insert(RefTextOf(object));
  }
  if (int code = Send(std::move(request)); code != kOk) return code;
  return PrintAndWait(reply_, [&](const v1::Accepted& accepted) {
    Generations ports;
    for (const auto& item : accepted.items()) {
      const std::string ref = RefText(item.ref());
      if (with_vm.contains(ref)) ports[ref] = item.generation();
    }
    return WaitReady(ports, *o_.wait, Tools(ports));
  });
}

int Change::Attach() {
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
  if (ParseSpoofCheck(o_.spoof_check, &number)) {
    add->set_spoof_check(static_cast<v1::SpoofCheck>(number));
  }
  add->set_trust(o_.trust);
  add->set_max_tx_mbps(o_.max_tx_mbps);
  add->set_min_tx_mbps(o_.min_tx_mbps);
  add->mutable_security_groups()->Assign(o_.security_groups.begin(), o_.security_groups.end());
  if (ParseFunction(o_.function, &number)) {
    add->set_function(static_cast<v1::FunctionSource>(number));
  }
  if (int code = Send(std::move(request)); code != kOk) return code;
  return PrintAndWait(reply_, [&](const v1::Accepted& accepted) {
    Generations ports;
    for (const auto& item : accepted.items()) {
      if (item.ref().kind() == v1::OBJECT_KIND_PORT) ports[RefText(item.ref())] = item.generation();
    }
    // Nothing was new: then the ports that are there already are meant.
    if (ports.empty()) {
      absl::Status status = PortsThere(&ports);
      if (!status.ok()) return WaitResult{kUnreachable, std::string(status.message())};
    }
    if (ports.empty()) {
      return WaitResult{kFailed, "the agent accepted this, but shows no port of it"};
    }
    return WaitReady(ports, *o_.wait, Tools(ports));
  });
}

int Change::Detach() {
  v1::Request request;
  v1::RemoveVmFromVpc* remove = request.mutable_remove_vm_from_vpc();
  remove->set_vm(o_.vm);
  remove->set_vpc(o_.vpc);
  remove->set_port(o_.port);
  if (int code = Send(std::move(request)); code != kOk) return code;
  Generations ports;
  for (const auto& item : reply_.accepted().items()) {
    if (item.ref().kind() == v1::OBJECT_KIND_PORT) ports[RefText(item.ref())] = 0;
  }
  if (nothing_done(reply_)) {
    // Asked a second time, the removal may still be under way.
    absl::Status status = PortsThere(&ports);
    if (!status.ok()) return s_.Fail(kUnreachable, StdView(status.message()));
    if (ports.empty() && !o_.ignore_missing) {
      if (!s_.table()) s_.PrintDocument(ToJson(reply_));
      return NoSuchPort();
    }
  }
  return PrintAndWait(reply_,
                      [&](const v1::Accepted&) { return WaitGone(ports, *o_.wait, Tools(ports)); });
}

absl::Status Change::PortsThere(Generations* ports) {
  v1::GetReply reply;
  absl::Status status = s_.GetObjects(v1::OBJECT_KIND_PORT, o_.port, &reply);
  if (!status.ok()) return status;
  for (const auto& item : reply.objects()) {
    const v1::Port& port = item.object().port();
    if (port.vm() != o_.vm || port.vpc() != o_.vpc) continue;
    if (!o_.subnet.empty() && port.subnet() != o_.subnet) continue;
    if (!o_.port.empty() && port.id() != o_.port) continue;
    (*ports)[RefTextOf(item)] = 0;
  }
  return absl::OkStatus();
}

int Change::NoSuchPort() {
  v1::GetReply vm;
  absl::Status status = s_.GetObjects(v1::OBJECT_KIND_VM, o_.vm, &vm);
  if (!status.ok()) return s_.Fail(kUnreachable, StdView(status.message()));
  if (vm.objects().empty()) return s_.NotThere(StrCat("vm/", o_.vm));
  return s_.Fail(kRejected, StrCat("vm/", o_.vm, " has no port", o_.port.empty() ? "" : "/",
                                   o_.port, " in vpc/", o_.vpc));
}

int Change::Delete() {
  v1::Request request;
  request.mutable_apply();
  Generations wanted;
  std::vector<std::string> missing;
  for (const std::string& text : o_.refs) {
    std::string kind, id;
    SplitRef(text, &kind, &id);
    v1::ObjectRef* ref = request.mutable_apply()->add_remove();
    ref->set_kind(WireKind(kind));
    ref->set_id(id);
    wanted[RefText(*ref)] = 0;
    if (o_.ignore_missing) continue;
    // Before anything is changed: all or nothing holds for this reason too.
    v1::Reply there;
    if (int code = s_.AskObjects(ref->kind(), id, &there); code != kOk) return code;
    if (there.get().objects().empty()) missing.push_back(RefText(*ref));
  }
  for (const std::string& ref : missing) s_.NotThere(ref);
  if (!missing.empty()) {
    if (missing.size() < o_.refs.size()) *w_.err << "Nothing was deleted.\n";
    return kRejected;
  }
  if (int code = Send(std::move(request)); code != kOk) return code;
  return PrintAndWait(
      reply_, [&](const v1::Accepted&) { return WaitGone(wanted, *o_.wait, Tools(wanted)); });
}

WaitTools Change::Tools(const Generations& wanted) {
  // As little as answers it: one object, one kind, or all.
  v1::ObjectKind kind = v1::OBJECT_KIND_UNSPECIFIED;
  std::string only;
  bool first = true;
  for (const auto& [ref, generation] : wanted) {
    std::string name, id;
    SplitRef(ref, &name, &id);
    if (first || kind == WireKind(name)) {
      kind = WireKind(name);
      only = first ? id : "";
    } else {
      kind = v1::OBJECT_KIND_UNSPECIFIED;
      only = "";
      break;
    }
    first = false;
  }
  WaitTools tools;
  tools.now = w_.now;
  tools.sleep = w_.sleep;
  tools.get_objects = [this, wanted, kind, only](v1::GetReply* reply) {
    absl::Status status = s_.GetObjects(kind, only, reply);
    waited_for_.Clear();
    for (const auto& item : reply->objects()) {
      if (wanted.contains(RefTextOf(item))) *waited_for_.add_objects() = item;
    }
    return status;
  };
  tools.progress = [this](const std::string& story) {
    if (w_.terminal) *w_.err << Printable(story) << std::endl;
  };
  return tools;
}

}  // namespace

int RunApply(Session& session) { return Change(session).Apply(); }
int RunAttach(Session& session) { return Change(session).Attach(); }
int RunDetach(Session& session) { return Change(session).Detach(); }
int RunDelete(Session& session) { return Change(session).Delete(); }

int RunReleaseVf(Session& s) {
  const Options& o = s.options();
  v1::Reply host, reply;
  if (int code = s.AskHost({}, &host); code != kOk) return code;
  // What the host does not show is named as it stands: there may be a record of it.
  std::string vf = o.id;
  for (const auto& pf : host.host().pfs()) {
    for (const auto& item : pf.vfs()) {
      if (MatchesVf(pf, item, o.id)) vf = StrCat(pf.mac(), "/", item.index());
    }
  }
  if (!VfId::Parse(vf).ok()) {
    return s.Fail(kRejected, StrCat("no VF of this host is ", Quoted(o.id),
                                    "; `fairleadctl get vfs` lists them, and one whose NIC is "
                                    "away is named by that NIC's MAC and its index"));
  }
  s.set_describe_path([](const std::string&) { return std::string(); });
  v1::Request request;
  request.mutable_release_vf()->set_vf(vf);
  request.mutable_release_vf()->set_force(o.force);
  if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
  if (!reply.has_vf_released()) return s.Unexpected();
  if (s.table()) {
    *s.world().out << RenderReleased(reply.vf_released());
  } else {
    s.PrintDocument(ToJson(reply));
  }
  return kOk;
}

}  // namespace fairlead
