// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a blocking client of the agent's endpoints, for fairleadctl and tests.
//
// Threading: one thread at a time. Errors: kUnavailable, from Connect at once when
// nobody listens (or, of a Subscriber, who listens publishes nothing), from Call when nothing
// answers within the timeout (the message names the endpoint, and says what to check when the
// socket file is missing or may not be opened); the client can be used again, also after the
// agent's restart. kCancelled where the caller had it stopped. kInvalidArgument for an endpoint
// that is not ipc:///path.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace fairlead {

class Client {
 public:
  // `stopped`, if given, is asked now and then while an answer is awaited, and at once
  // after a signal to this thread: true ends the wait.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& endpoint,
                                                         std::function<bool()> stopped = nullptr);
  virtual ~Client() = default;
  virtual absl::StatusOr<std::string> Call(std::string_view payload,
                                           std::chrono::milliseconds timeout) = 0;
};

class Subscriber {
 public:
  // `topic_prefix` "" = everything.
  static absl::StatusOr<std::unique_ptr<Subscriber>> Connect(const std::string& endpoint,
                                                             const std::string& topic_prefix);
  virtual ~Subscriber() = default;
  // (topic, payload); kDeadlineExceeded when nothing came in time.
  virtual absl::StatusOr<std::pair<std::string, std::string>> Next(
      std::chrono::milliseconds timeout) = 0;
};

}  // namespace fairlead
