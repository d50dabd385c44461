// SPDX-License-Identifier: Apache-2.0
#include "agent/transport/server.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <filesystem>
#include <utility>
#include <vector>
#include <zmq.hpp>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/transport/ipc_endpoint.h"

namespace fairlead {
namespace {

// So that a busy controller leaves the loop time for everything else.
constexpr int kMessagesPerWakeUp = 64;

// The first byte of a ReplyAddress; the peer's identity follows.
constexpr char kPlain = 'p';      // a DEALER that sends no empty frame
constexpr char kDelimited = 'd';  // a REQ, or a DEALER that plays one

// Process-wide: the server is made before there are other threads that make files.
class UmaskScope {
 public:
  explicit UmaskScope(mode_t mask) : before_(::umask(mask)) {}
  ~UmaskScope() { ::umask(before_); }
  UmaskScope(const UmaskScope&) = delete;
  UmaskScope& operator=(const UmaskScope&) = delete;

 private:
  mode_t before_;
};

std::string_view View(const zmq::message_t& message) {
  return {static_cast<const char*>(message.data()), message.size()};
}

// A socket and its wake-ups. ZeroMQ's descriptor only says "look at the socket",
// and only once, and any call on the socket may swallow that: so after every
// event, and after every send, the socket is read until it has nothing left.
class LoopSocket : public std::enable_shared_from_this<LoopSocket> {
 public:
  LoopSocket(asio::io_context& loop, zmq::context_t& context, zmq::socket_type type)
      : socket(context, type), loop_(loop), descriptor_(loop) {}

  // `receive` takes one message and returns false when there is none.
  void Start(std::function<bool()> receive) {
    receive_ = std::move(receive);
    descriptor_.assign(socket.get(zmq::sockopt::fd));
    DrainSoon();
  }

  // Before the ZeroMQ socket closes, which closes its descriptor.
  void Close() {
    if (closed_) return;
    closed_ = true;
    if (descriptor_.is_open()) descriptor_.release();
    socket.close();
  }

  void DrainSoon() {
    if (drain_posted_ || draining_ || closed_) return;
    drain_posted_ = true;
    asio::post(loop_, [self = shared_from_this()] {
      self->drain_posted_ = false;
      self->Drain();
    });
  }

  bool closed() const { return closed_; }

  zmq::socket_t socket;

 private:
  void Drain() {
    if (closed_) return;
    draining_ = true;
    int left = kMessagesPerWakeUp;
    while (!closed_ && left > 0 && receive_()) --left;
    draining_ = false;
    if (closed_) return;
    if (left == 0) return DrainSoon();
    Wait();
  }

  void Wait() {
    if (waiting_) return;
    waiting_ = true;
    descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                           [self = shared_from_this()](const asio::error_code& error) {
                             self->waiting_ = false;
                             if (!error) self->Drain();
                           });
  }

  asio::io_context& loop_;
  asio::posix::stream_descriptor descriptor_;
  std::function<bool()> receive_;
  bool drain_posted_ = false;
  bool draining_ = false;
  bool waiting_ = false;
  bool closed_ = false;
};

class ZmqServer final : public Server {
 public:
  ZmqServer(asio::io_context& loop, Handler handler)
      : handler_(std::make_shared<Handler>(std::move(handler))),
        requests_(std::make_shared<LoopSocket>(loop, context_, zmq::socket_type::router)),
        events_(std::make_shared<LoopSocket>(loop, context_, zmq::socket_type::xpub)) {}

  ~ZmqServer() override {
    // While they still listen: until then no other agent takes the place, so what
    // is unlinked is ours.
    for (const std::string& path : bound_) ::unlink(path.c_str());
    requests_->Close();
    events_->Close();
  }

  absl::Status Start(const ServerOptions& options);

  void Reply(const ReplyAddress& to, std::string_view payload) override;
  void Publish(std::string_view topic, std::string_view payload) override;

 private:
  absl::Status Bind(LoopSocket& socket, const std::string& endpoint, const ServerOptions& options);

  std::vector<std::string> bound_;
  zmq::context_t context_{1};
  std::shared_ptr<Handler> handler_;
  std::shared_ptr<LoopSocket> requests_;
  std::shared_ptr<LoopSocket> events_;
};

absl::Status CheckFree(const std::string& endpoint) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string path, PathOfEndpoint(endpoint));
  const std::string folder = std::filesystem::path(path).parent_path();
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) {
    return SystemError(errno, StrCat("listen at ", endpoint, ": the folder ", folder,
                                     " must exist: install -d -m 0750 ", folder));
  }
  const IpcProbe probe = ProbeIpc(path);
  switch (probe.state) {
    case IpcState::kNothing:
    case IpcState::kStale:  // ZeroMQ replaces it
      return absl::OkStatus();
    case IpcState::kListening:
      return absl::AlreadyExistsError(
          StrCat("another agent is listening at ", endpoint, "; stop it first"));
    case IpcState::kNoSocket:
      return absl::AlreadyExistsError(StrCat("listen at ", endpoint, ": ", path,
                                             " is there and no socket; remove it, or configure "
                                             "another path"));
    case IpcState::kDenied:
    case IpcState::kUnknown:
      break;
  }
  return SystemError(probe.err, StrCat("listen at ", endpoint));
}

absl::Status ZmqServer::Bind(LoopSocket& socket, const std::string& endpoint,
                             const ServerOptions& options) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::string path, PathOfEndpoint(endpoint));
  try {
    zmq::socket_t& zmq = socket.socket;
    zmq.set(zmq::sockopt::linger, 0);
    zmq.set(zmq::sockopt::maxmsgsize, options.max_frame_bytes);
    zmq.set(zmq::sockopt::rcvhwm, options.receive_queue);
    zmq.set(zmq::sockopt::sndhwm, options.send_queue);
    const UmaskScope umask(~static_cast<mode_t>(options.mode) & 0777);
    zmq.bind(endpoint);
    bound_.push_back(std::move(path));
  } catch (const zmq::error_t& error) {
    return SystemError(error.num(), StrCat("listen at ", endpoint));
  }
  return absl::OkStatus();
}

// Takes one message off the router. False: there is none.
bool ReceiveRequest(LoopSocket& socket, const Server::Handler& handler) {
  zmq::message_t identity;
  if (!socket.socket.recv(identity, zmq::recv_flags::dontwait)) return false;
  zmq::message_t first;
  zmq::message_t second;
  int frames = 0;
  // The rest of a message is there when its first frame is. What is too much is
  // taken off and dropped frame by frame.
  for (bool more = identity.more(); more; ++frames) {
    zmq::message_t frame;
    if (!socket.socket.recv(frame, zmq::recv_flags::dontwait)) break;
    more = frame.more();
    if (frames == 0)
      first = std::move(frame);
    else if (frames == 1)
      second = std::move(frame);
  }
  const bool delimited = frames >= 2 && first.size() == 0;
  ReplyAddress from(1, delimited ? kDelimited : kPlain);
  from.append(View(identity));
  if (frames == 1) {
    handler(from, View(first), false);
  } else if (frames == 2 && delimited) {
    handler(from, View(second), false);
  } else {
    handler(from, "", true);
  }
  return true;
}

absl::Status ZmqServer::Start(const ServerOptions& options) {
  if ((options.mode & ~0777U) != 0) {
    return absl::InvalidArgumentError("the mode of the socket files may have permission bits only");
  }
  if (options.requests == options.events) {
    return absl::InvalidArgumentError(
        StrCat("requests and events need different endpoints, both are ", options.requests));
  }
  // Both, before either is made.
  FAIRLEAD_RETURN_IF_ERROR(CheckFree(options.requests));
  FAIRLEAD_RETURN_IF_ERROR(CheckFree(options.events));
  FAIRLEAD_RETURN_IF_ERROR(Bind(*requests_, options.requests, options));
  FAIRLEAD_RETURN_IF_ERROR(Bind(*events_, options.events, options));
  // Weak: the callback lives in the socket. The handler may destroy the server.
  requests_->Start([weak = std::weak_ptr(requests_), handler = handler_] {
    const auto socket = weak.lock();
    try {
      return socket != nullptr && ReceiveRequest(*socket, *handler);
    } catch (const zmq::error_t&) {
      return false;  // EINTR and the like: the next event tries again
    }
  });
  events_->Start([weak = std::weak_ptr(events_)] {
    const auto socket = weak.lock();
    try {
      zmq::message_t subscription;  // ZeroMQ keeps the list itself
      return socket != nullptr &&
             socket->socket.recv(subscription, zmq::recv_flags::dontwait).has_value();
    } catch (const zmq::error_t&) {
      return false;
    }
  });
  return absl::OkStatus();
}

void ZmqServer::Reply(const ReplyAddress& to, std::string_view payload) {
  if (to.empty() || requests_->closed()) return;
  try {
    zmq::socket_t& zmq = requests_->socket;
    const auto more = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
    // For a peer that is gone ZeroMQ drops all frames and says nothing.
    if (!zmq.send(zmq::buffer(to.data() + 1, to.size() - 1), more)) return;
    if (to[0] == kDelimited) (void)zmq.send(zmq::const_buffer(), more);
    (void)zmq.send(zmq::buffer(payload.data(), payload.size()), zmq::send_flags::dontwait);
  } catch (const zmq::error_t&) {
    // EHOSTUNREACH and its like: the peer went away, which is no error here.
  }
  requests_->DrainSoon();
}

void ZmqServer::Publish(std::string_view topic, std::string_view payload) {
  if (events_->closed()) return;
  try {
    zmq::socket_t& zmq = events_->socket;
    const auto more = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
    (void)zmq.send(zmq::buffer(topic.data(), topic.size()), more);
    (void)zmq.send(zmq::buffer(payload.data(), payload.size()), zmq::send_flags::dontwait);
  } catch (const zmq::error_t&) {
    // An XPUB never refuses; see ServerOptions::send_queue for what it drops.
  }
  events_->DrainSoon();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(asio::io_context& loop,
                                                       const ServerOptions& options,
                                                       Handler handler) {
  try {
    auto server = std::make_unique<ZmqServer>(loop, std::move(handler));
    FAIRLEAD_RETURN_IF_ERROR(server->Start(options));
    return server;
  } catch (const zmq::error_t& error) {
    return SystemError(error.num(), "make the controller's sockets");
  }
}

}  // namespace fairlead
