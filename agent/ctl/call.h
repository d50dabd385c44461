// SPDX-License-Identifier: Apache-2.0
//
// Purpose: one request and its reply, checked.
// Threading: one thread at a time. Ownership: borrows the client.
// Errors: kUnavailable and the like from the transport; kDataLoss for an answer
// that is no Reply to what was asked.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "agent/transport/client.h"

namespace fairlead::v1 {
class Reply;
class Request;
}  // namespace fairlead::v1

namespace fairlead {

class Caller {
 public:
  Caller(Client* client, std::string controller, std::chrono::milliseconds timeout);
  // Fills in version, controller and a fresh request id. A Rejected is a reply.
  absl::Status Call(v1::Request request, v1::Reply* reply);

 private:
  Client& client_;
  std::string controller_;
  std::chrono::milliseconds timeout_;
  std::string id_prefix_;  // random: no two runs share an id
  uint64_t calls_ = 0;
};

}  // namespace fairlead
