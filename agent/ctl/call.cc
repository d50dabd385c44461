// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/call.h"

#include <random>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr uint32_t kProtocol = 1;  // agent.proto

std::string RandomPrefix() {
  std::random_device random;
  std::string text = "fairleadctl-";
  for (int i = 0; i < 4; ++i) StrAppend(&text, random(), "-");
  return text;
}

}  // namespace

Caller::Caller(Client* client, std::string controller, std::chrono::milliseconds timeout)
    : client_(*client),
      controller_(std::move(controller)),
      timeout_(timeout),
      id_prefix_(RandomPrefix()) {}

absl::Status Caller::Call(v1::Request request, v1::Reply* reply) {
  request.set_protocol_version(kProtocol);
  request.set_request_id(StrCat(id_prefix_, ++calls_));
  request.set_controller_id(controller_);
  FAIRLEAD_ASSIGN_OR_RETURN(std::string bytes, client_.Call(request.SerializeAsString(), timeout_));
  if (!reply->ParseFromString(bytes)) {
    return absl::DataLossError("the answer is no fairlead.v1.Reply; is this the agent's endpoint?");
  }
  // A message that could not be read is answered without an id.
  const bool anonymous = reply->has_rejected() && reply->request_id().empty();
  if (reply->request_id() != request.request_id() && !anonymous) {
    return absl::DataLossError("the answer is to another request");
  }
  return absl::OkStatus();
}

}  // namespace fairlead
