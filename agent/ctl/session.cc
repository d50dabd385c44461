// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/session.h"

#include <ostream>
#include <utility>

#include "absl/strings/ascii.h"
#include "agent/base/text.h"
#include "agent/ctl/json.h"
#include "agent/ctl/table.h"

namespace fairlead {

v1::ObjectKind WireKind(const std::string& kind) {
  if (kind == "vpc") return v1::OBJECT_KIND_VPC;
  if (kind == "subnet") return v1::OBJECT_KIND_SUBNET;
  if (kind == "vm") return v1::OBJECT_KIND_VM;
  if (kind == "port") return v1::OBJECT_KIND_PORT;
  if (kind == "endpoint") return v1::OBJECT_KIND_ENDPOINT;
  if (kind == "route") return v1::OBJECT_KIND_ROUTE;
  if (kind == "security-group") return v1::OBJECT_KIND_SECURITY_GROUP;
  return v1::OBJECT_KIND_UNSPECIFIED;
}

absl::Status Session::Call(v1::Request request, v1::Reply* reply) {
  if (client_ == nullptr) {
    absl::StatusOr<std::unique_ptr<Client>> client = w_.connect(o_.endpoint);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
    caller_ = std::make_unique<Caller>(client_.get(), o_.controller, o_.timeout);
  }
  return caller_->Call(std::move(request), reply);
}

void Session::Disconnect() {
  caller_ = nullptr;
  client_ = nullptr;
}

int Session::Ask(v1::Request request, v1::Reply* reply) {
  absl::Status status = Call(std::move(request), reply);
  if (!status.ok()) return Fail(kUnreachable, StdView(status.message()));
  if (!reply->has_rejected()) return kOk;
  *w_.err << RenderRejected(reply->rejected(), describe_path_);
  if (!table()) PrintDocument(ToJson(*reply));
  return kRejected;
}

int Session::AskObjects(v1::ObjectKind kind, const std::string& id, v1::Reply* reply) {
  v1::Get what;
  what.set_kind(kind);
  what.set_id(id);
  return AskObjects(what, reply);
}

int Session::AskObjects(const v1::Get& what, v1::Reply* reply) {
  v1::Request request;
  *request.mutable_get() = what;
  if (int code = Ask(std::move(request), reply); code != kOk) return code;
  return reply->has_get() ? kOk : Unexpected();
}

int Session::AskHost(const v1::GetHost& what, v1::Reply* reply) {
  v1::Request request;
  *request.mutable_get_host() = what;
  if (int code = Ask(std::move(request), reply); code != kOk) return code;
  return reply->has_host() ? kOk : Unexpected();
}

absl::Status Session::GetObjects(v1::ObjectKind kind, const std::string& id, v1::GetReply* out) {
  v1::Request request;
  request.mutable_get()->set_kind(kind);
  request.mutable_get()->set_id(id);
  v1::Reply reply;
  absl::Status status = Call(std::move(request), &reply);
  if (!status.ok()) return status;
  if (reply.has_rejected()) {
    std::string words = RenderRejected(reply.rejected());
    absl::StripTrailingAsciiWhitespace(&words);
    return absl::FailedPreconditionError(words);
  }
  if (!reply.has_get()) return absl::DataLossError("the agent did not list its objects");
  *out = std::move(*reply.mutable_get());
  return absl::OkStatus();
}

void Session::PrintDocument(const std::string& json) {
  *w_.out << (o_.output == Output::kYaml ? JsonToYaml(json) : json);
}

int Session::Fail(int code, std::string_view text) {
  *w_.err << "fairleadctl: " << Printable(text) << "\n";
  return code;
}

int Session::NotThere(std::string_view what) {
  return Fail(kRejected, StrCat(what, " is not there"));
}

int Session::Unexpected() {
  return Fail(
      kUnreachable,
      "the agent answered with something else than was asked for; is it of another version?");
}

}  // namespace fairlead
