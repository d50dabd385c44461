// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what all commands share: asking the agent, and saying what went wrong.
//
// Threading: one thread. Ownership: borrows the world. Errors: as text on `err`
// and an exit code (options.h).
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "agent/ctl/call.h"
#include "agent/ctl/commands.h"
#include "agent/ctl/options.h"
#include "agent/ctl/render.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

// "port" -> OBJECT_KIND_PORT; unspecified for what is no kind of object.
v1::ObjectKind WireKind(const std::string& kind);

class Session {
 public:
  Session(Options options, const CtlWorld& world) : o_(std::move(options)), w_(world) {}

  const Options& options() const { return o_; }
  const CtlWorld& world() const { return w_; }

  // How long an answer may take, of connections made from now on.
  void set_timeout(std::chrono::milliseconds timeout) { o_.timeout = timeout; }
  // What refusals are said with, from now on.
  void set_describe_path(DescribePath describe) { describe_path_ = std::move(describe); }
  absl::Status Call(v1::Request request, v1::Reply* reply);
  // kOk, or the exit code after what was wrong was printed.
  int Ask(v1::Request request, v1::Reply* reply);
  int AskObjects(v1::ObjectKind kind, const std::string& id, v1::Reply* reply);
  int AskObjects(const v1::Get& what, v1::Reply* reply);
  int AskHost(const v1::GetHost& what, v1::Reply* reply);
  // Objects without a word on `err`; kFailedPrecondition: the agent refused, in its words.
  absl::Status GetObjects(v1::ObjectKind kind, const std::string& id, v1::GetReply* out);
  // The next question goes over a connection of its own, which fails at once when
  // nobody listens.
  void Disconnect();

  bool table() const { return o_.output == Output::kTable; }
  void PrintDocument(const std::string& json);

  // Each says it and returns the exit code for it.
  int Fail(int code, std::string_view text);
  int NotThere(std::string_view what);
  int Unexpected();

 private:
  Options o_;
  const CtlWorld& w_;
  DescribePath describe_path_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Caller> caller_;
};

}  // namespace fairlead
