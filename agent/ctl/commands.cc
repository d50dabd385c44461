// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/commands.h"

#include <errno.h>
#include <algorithm>

#include <cstring>
#include <ostream>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/changes.h"
#include "agent/ctl/completion.h"
#include "agent/ctl/controllers.h"
#include "agent/ctl/documents.h"
#include "agent/ctl/explain.h"
#include "agent/ctl/json.h"
#include "agent/ctl/kinds.h"
#include "agent/ctl/render.h"
#include "agent/ctl/rules.h"
#include "agent/ctl/session.h"
#include "agent/ctl/watch.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

int Get(Session& s) {
  const Options& o = s.options();
  std::ostream& out = *s.world().out;
  v1::Reply reply;
  const v1::ObjectKind kind = WireKind(o.kind);
  if (kind != v1::OBJECT_KIND_UNSPECIFIED) {
    if (int code = s.AskObjects(kind, o.id, &reply); code != kOk) return code;
    if (!o.id.empty() && reply.get().objects().empty()) {
      return s.NotThere(StrCat(o.kind, "/", o.id));
    }
    if (s.table()) {
      out << RenderObjects(reply.get(), kind, o.wide);
    } else {
      s.PrintDocument(ToJson(reply.get()));
    }
    return kOk;
  }
  if (o.kind == "rule") return RunGetRules(s);
  if (int code = s.AskHost({}, &reply); code != kOk) return code;
  const v1::HostState& host = reply.host();
  const std::string json = o.kind == "pf"      ? PfsDocument(host, o.id)
                           : o.kind == "vf"    ? VfsDocument(host, o.id)
                           : o.kind == "drift" ? DriftsDocument(host, o.id)
                                               : ForeignDocument(host, o.id);
  if (json.empty()) return s.NotThere(StrCat(o.kind, "/", o.id));
  if (!s.table()) {
    s.PrintDocument(json);
  } else {
    out << (o.kind == "pf"      ? RenderPfs(host, o.id, o.wide)
            : o.kind == "vf"    ? RenderVfs(host, o.id)
            : o.kind == "drift" ? RenderDrifts(host, o.id)
                                : RenderForeign(host, o.id));
  }
  return kOk;
}

int TakeOver(Session& s) {
  const Options& o = s.options();
  v1::Request request;
  request.set_dry_run(o.dry_run);
  request.mutable_take_over()->set_mode(
      o.command == Options::Command::kAdopt ? v1::TakeOver::MODE_ADOPT : v1::TakeOver::MODE_PURGE);
  request.mutable_take_over()->set_store_id(o.store);
  v1::Reply reply;
  if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
  if (!reply.has_taken_over()) return s.Unexpected();
  if (s.table()) {
    *s.world().out << RenderTakenOver(reply.taken_over());
  } else {
    s.PrintDocument(ToJson(reply.taken_over()));
  }
  return kOk;
}

// One object, PF or VF, into both forms. kOk, or what it exits with.
int DescribeOne(Session& s, const std::string& ref, std::string* text, Description* document) {
  std::string kind, id;
  SplitRef(ref, &kind, &id);
  v1::Reply reply;
  if (!IsObjectKind(kind)) {
    if (int code = s.AskHost({}, &reply); code != kOk) return code;
    const bool pf = kind == "pf";
    if (!(pf ? document->AddPf(reply.host(), id) : document->AddVf(reply.host(), id))) {
      return s.NotThere(ref);
    }
    *text += pf ? DescribePf(reply.host(), id) : DescribeVf(reply.host(), id);
    return kOk;
  }
  // With what belongs to it, which only the whole list tells.
  const bool alone =
      kind == "port" || kind == "endpoint" || kind == "route" || kind == "security-group";
  v1::Get what;
  if (alone) {
    what.set_kind(WireKind(kind));
    what.set_id(id);
    what.set_counters(kind == "port");
  }
  if (int code = s.AskObjects(what, &reply); code != kOk) return code;
  for (const auto& item : reply.get().objects()) {
    if (RefTextOf(item) != StrCat(kind, "/", id)) continue;
    document->AddObject(item, reply.get());
    *text += DescribeObject(item, reply.get());
    return kOk;
  }
  return s.NotThere(ref);
}

// Those that are not there are named; the others are told all the same.
int Describe(Session& s) {
  int code = kOk;
  std::string text;
  Description document;
  for (const std::string& ref : s.options().refs) {
    const int one = DescribeOne(s, ref, &text, &document);
    if (one == kUnreachable) return one;
    if (one != kOk) code = one;
  }
  if (s.table()) {
    *s.world().out << text;
  } else {
    s.PrintDocument(document.Print());
  }
  return code;
}

int Status(Session& s) {
  v1::Reply host, all;
  v1::GetHost what;
  what.set_tunnel_drops(true);
  if (int code = s.AskHost(what, &host); code != kOk) return code;
  if (int code = s.AskObjects(v1::OBJECT_KIND_UNSPECIFIED, "", &all); code != kOk) return code;
  const Health health = RenderStatus(host.host(), all.get());
  if (s.table()) {
    *s.world().out << health.text;
  } else {
    s.PrintDocument(
        WithMember(ToJson(host.host()), "not_well", health.troubled ? "true" : "false"));
  }
  return health.troubled ? kFailed : kOk;
}

int RunWatch(Session& s) {
  const Options& o = s.options();
  const CtlWorld& w = s.world();
  // First the events, then the state: nothing that happens in between is missed.
  absl::StatusOr<std::unique_ptr<Subscriber>> events = w.subscribe(o.events);
  if (!events.ok()) {
    return s.Fail(kUnreachable, StrCat(StdView(events.status().message()),
                                       "; --events names where the agent publishes"));
  }
  WatchRequest request{o.watched, !s.table(), o.until, o.wait};
  v1::ObjectKind kind = v1::OBJECT_KIND_UNSPECIFIED;
  std::string id;
  if (!o.watched.empty()) {
    kind = WireKind(o.watched.front().kind);
    id = o.watched.size() == 1 ? o.watched.front().id : "";
    for (const WatchedItem& item : o.watched) {
      if (WireKind(item.kind) != kind) kind = v1::OBJECT_KIND_UNSPECIFIED;
    }
  }
  WatchTools tools;
  const auto begin = w.now();
  const auto timeout = o.timeout;
  tools.get_objects = [&, begin, timeout](v1::GetReply* reply) {
    s.Disconnect();  // an agent that is not there is noticed at once
    if (o.wait) {    // one that hangs holds nobody longer than was asked for
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(begin + *o.wait - w.now());
      s.set_timeout(std::min(std::max(left, std::chrono::milliseconds(100)), timeout));
    }
    return s.GetObjects(kind, id, reply);
  };
  tools.next_event = [&](std::chrono::milliseconds time) { return (*events)->Next(time); };
  tools.now = w.now;
  tools.wall = w.wall;
  tools.sleep = w.sleep;
  tools.stopped = w.stopped;
  tools.out = w.out;
  w.catch_signals();
  const WaitResult result = Watch(request, tools);
  return result.exit_code == kOk ? kOk : s.Fail(result.exit_code, result.reason);
}

int Run(Session& s) {
  std::ostream& out = *s.world().out;
  switch (s.options().command) {
    case Options::Command::kApply:
      return RunApply(s);
    case Options::Command::kAttach:
      return RunAttach(s);
    case Options::Command::kDetach:
      return RunDetach(s);
    case Options::Command::kDelete:
      return RunDelete(s);
    case Options::Command::kAdopt:
    case Options::Command::kPurge:
      return TakeOver(s);
    case Options::Command::kReleaseVf:
      return RunReleaseVf(s);
    case Options::Command::kControllerList:
      return RunControllerList(s);
    case Options::Command::kControllerForget:
      return RunControllerForget(s);
    case Options::Command::kExplainFlow:
      return RunExplainFlow(s);
    case Options::Command::kGet:
      return Get(s);
    case Options::Command::kDescribe:
      return Describe(s);
    case Options::Command::kWatch:
      return RunWatch(s);
    case Options::Command::kStatus:
      return Status(s);
    case Options::Command::kVersion:
      out << "fairleadctl " << ClientVersion() << " (protocol 1)\n";
      return kOk;
    case Options::Command::kCompletion:
      out << CompletionScript(s.options().shell);
      return kOk;
    case Options::Command::kComplete:
      out << Complete(s.options().words, s.world());
      return kOk;
  }
  return kUsage;
}

// What is exited with, once all was printed.
int Finish(int code, bool watch, const CtlWorld& world) {
  if (world.out->flush()) return code;
  const int error = world.out_error ? world.out_error() : 0;
  // Its reader has seen enough, or takes nothing and a signal ended it.
  if (watch && (error == EPIPE || error == EINTR)) return code;
  *world.err << "fairleadctl: the output could not be written"
             << (error == 0 ? std::string() : StrCat(": ", std::strerror(error))) << "\n";
  return code == kOk ? kOutput : code;
}

}  // namespace

int RunCtl(std::vector<std::string> args, const CtlWorld& world) {
  ParsedLine line = ParseCommandLine(std::move(args), world.defaults);
  *world.out << line.out;
  *world.err << line.err;
  if (!line.options) return Finish(line.exit_code, false, world);
  const bool watch = line.options->command == Options::Command::kWatch;
  Session session(*std::move(line.options), world);
  return Finish(Run(session), watch, world);
}

}  // namespace fairlead
