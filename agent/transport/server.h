// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the controller's door: a ZeroMQ ROUTER for requests and an XPUB for
// events, on the loop. Bytes in, bytes out; what they mean is not known here.
//
// Threading: all on the loop thread. Create sets the process's umask for a moment:
// call it before other threads make files. The handler may destroy the server.
// Ownership: the server owns its sockets and unlinks its ipc files when destroyed;
// the loop must outlive it.
// Errors: Create returns kInvalidArgument for an endpoint that is not ipc:// (tcp
// is refused until the channel is encrypted, and says so), kAlreadyExists where
// another agent listens or a file that is no socket is in the way (a socket that
// a dead agent left is replaced), SystemError when the socket cannot be bound. A peer that sends a
// message with a frame above `max_frame_bytes` is disconnected by ZeroMQ. When a peer connects
// and the process has no file descriptor left for it, libzmq 4.3 aborts the process
// (ipc_listener.cpp takes EMFILE for a bug), which no option of it changes: have a high limit,
// and let `mode` say who may connect so often.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace asio {
class io_context;
}

namespace fairlead {

struct ServerOptions {
  std::string requests = "ipc:///run/fairlead/agent.sock";
  std::string events = "ipc:///run/fairlead/events.sock";
  uint32_t mode = 0660;                // of the socket files, from the first moment on
  int64_t max_frame_bytes = 16 << 20;  // hard limit; the protocol's own is lower and answered
  // Messages, per peer. ZeroMQ counts whole ones and hands over nothing else: frames
  // of a message that never ends are held without a limit, which no option of it sets.
  // `mode` says who may do that.
  int receive_queue = 1024;
  int send_queue = 4096;  // messages, per peer; events beyond it are dropped for
                          // that peer, which sees a gap in the sequence
};

// Where a reply goes: the frames before the payload, opaque.
using ReplyAddress = std::string;

class Server {
 public:
  // Called for each request with its payload. `malformed` is true for a message
  // that has not the form [identity][optional empty frame][payload].
  using Handler =
      std::function<void(const ReplyAddress& from, std::string_view payload, bool malformed)>;

  static absl::StatusOr<std::unique_ptr<Server>> Create(asio::io_context& loop,
                                                        const ServerOptions& options,
                                                        Handler handler);
  virtual ~Server() = default;
  // A peer that went away is no error.
  virtual void Reply(const ReplyAddress& to, std::string_view payload) = 0;
  virtual void Publish(std::string_view topic, std::string_view payload) = 0;
};

}  // namespace fairlead
