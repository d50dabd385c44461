// SPDX-License-Identifier: Apache-2.0
#include "agent/transport/client.h"

#include <errno.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <zmq.hpp>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/transport/ipc_endpoint.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A whole snapshot of a host with 100 000 ports takes some 30 MB.
constexpr int64_t kMaxAnswerBytes = 256 << 20;

// ZeroMQ's own threads shake hands, however busy the agent is.
constexpr milliseconds kHandshakeTime{1000};

// OK when somebody listens there.
absl::Status CheckThere(const std::string& endpoint, const std::string& path) {
  const IpcProbe probe = ProbeIpc(path);
  const std::string no_agent = StrCat("no agent answers at ", endpoint, ": ");
  switch (probe.state) {
    case IpcState::kListening:
      return absl::OkStatus();
    case IpcState::kNothing:
      return absl::UnavailableError(StrCat(no_agent,
                                           "there is no such socket; is fairleadd running, "
                                           "and with this endpoint?"));
    case IpcState::kStale:
      return absl::UnavailableError(
          StrCat(no_agent,
                 "the socket is there but nobody listens; fairleadd has died or is "
                 "being restarted"));
    case IpcState::kDenied:
      return absl::UnavailableError(
          StrCat(no_agent,
                 "the socket may not be opened by this user; be root or a member of "
                 "the socket's group (ls -l ",
                 path, ")"));
    case IpcState::kNoSocket:
      return absl::UnavailableError(StrCat(no_agent, path, " is no socket"));
    case IpcState::kUnknown:
      break;
  }
  return Annotate(absl::UnavailableError(SystemError(probe.err, "connect").message()), no_agent);
}

int LeftOf(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
  return left > 0 ? static_cast<int>(std::min<int64_t>(left, INT32_MAX)) : 0;
}

// How long it may take until it is seen that a wait is to end, where a signal came
// just before the wait or to another thread.
constexpr int kStopSliceMillis = 200;

// Waits for a whole message. False: the time is over, or it was stopped.
bool Await(zmq::socket_t& socket, steady_clock::time_point deadline,
           const std::function<bool()>& stopped = nullptr) {
  while (true) {
    zmq::pollitem_t item{socket.handle(), 0, ZMQ_POLLIN, 0};
    const int left = LeftOf(deadline);
    const int ready = ::zmq_poll(&item, 1, stopped ? std::min(left, kStopSliceMillis) : left);
    if (ready > 0) return true;
    if (left == 0 || (stopped && stopped())) return false;
  }
}

std::vector<std::string> Receive(zmq::socket_t& socket) {
  std::vector<std::string> frames;
  zmq::message_t frame;
  do {
    if (!socket.recv(frame, zmq::recv_flags::dontwait)) break;
    frames.push_back(frame.to_string());
  } while (frame.more());
  return frames;
}

class ZmqClient final : public Client {
 public:
  ZmqClient(std::string endpoint, std::string path, std::function<bool()> stopped)
      : endpoint_(std::move(endpoint)), path_(std::move(path)), stopped_(std::move(stopped)) {
    Reconnect();
  }

  absl::StatusOr<std::string> Call(std::string_view payload, milliseconds timeout) override {
    const auto deadline = steady_clock::now() + timeout;
    try {
      // As a REQ socket does, but without its lock-step after a lost answer.
      if (!socket_.send(zmq::const_buffer(),
                        zmq::send_flags::sndmore | zmq::send_flags::dontwait) ||
          !socket_.send(zmq::buffer(payload.data(), payload.size()), zmq::send_flags::dontwait)) {
        return Lost(timeout);
      }
      if (!Await(socket_, deadline, stopped_)) return Lost(timeout);
      std::vector<std::string> frames = Receive(socket_);
      if (frames.size() == 2 && frames[0].empty()) return std::move(frames[1]);
      Reconnect();
      return absl::DataLossError(
          StrCat("the answer from ", endpoint_, " has ", frames.size(),
                 " frames, not an empty one and a payload; what listens there is no agent"));
    } catch (const zmq::error_t& error) {
      Reconnect();
      return SystemError(error.num(), StrCat("call the agent at ", endpoint_));
    }
  }

 private:
  // A late answer must not be taken for that of the next call.
  absl::Status Lost(milliseconds timeout) {
    Reconnect();
    if (stopped_ && stopped_()) {
      return absl::CancelledError(StrCat("the answer from ", endpoint_, " was not waited for"));
    }
    FAIRLEAD_RETURN_IF_ERROR(CheckThere(endpoint_, path_));
    return absl::UnavailableError(
        StrCat("no answer from the agent at ", endpoint_, " within ", timeout.count(),
               " ms; it listens, so it is busy, or the request is larger than it takes. A change "
               "may have been made all the same: look, or send it again, which does no harm"));
  }

  void Reconnect() {
    socket_ = zmq::socket_t(context_, zmq::socket_type::dealer);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::maxmsgsize, kMaxAnswerBytes);
    socket_.connect(endpoint_);
  }

  std::string endpoint_;
  std::string path_;
  std::function<bool()> stopped_;
  zmq::context_t context_{1};
  zmq::socket_t socket_;
};

class ZmqSubscriber final : public Subscriber {
 public:
  ZmqSubscriber(std::string endpoint, const std::string& topic_prefix)
      : endpoint_(std::move(endpoint)) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::maxmsgsize, kMaxAnswerBytes);
    socket_.set(zmq::sockopt::subscribe, topic_prefix);
  }

  // False: what listens there is another kind of socket. ZeroMQ gives such a connection up
  // and says nothing, and no event would ever come.
  bool Connect() {
    constexpr char kMonitor[] = "inproc://monitor";
    constexpr int kEvents = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                            ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(socket_.handle(), kMonitor, kEvents) != 0) throw zmq::error_t();
    zmq::socket_t monitor(context_, zmq::socket_type::pair);
    monitor.connect(kMonitor);
    socket_.connect(endpoint_);
    uint16_t event = ZMQ_EVENT_HANDSHAKE_SUCCEEDED;  // one that takes long may still come
    if (Await(monitor, steady_clock::now() + kHandshakeTime)) {
      const std::vector<std::string> frames = Receive(monitor);
      std::memcpy(&event, frames.at(0).data(), sizeof(event));  // zmq_socket_monitor(3)
    }
    zmq_socket_monitor(socket_.handle(), nullptr, 0);
    return event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
  }

  absl::StatusOr<std::pair<std::string, std::string>> Next(milliseconds timeout) override {
    try {
      if (!Await(socket_, steady_clock::now() + timeout)) {
        return absl::DeadlineExceededError(
            StrCat("no event from ", endpoint_, " within ", timeout.count(), " ms"));
      }
      std::vector<std::string> frames = Receive(socket_);
      if (frames.size() == 2) return std::pair(std::move(frames[0]), std::move(frames[1]));
      return absl::DataLossError(StrCat("an event from ", endpoint_, " has ", frames.size(),
                                        " frames, not a topic and a payload"));
    } catch (const zmq::error_t& error) {
      return SystemError(error.num(), StrCat("await an event from ", endpoint_));
    }
  }

 private:
  std::string endpoint_;
  zmq::context_t context_{1};
  zmq::socket_t socket_{context_, zmq::socket_type::sub};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& endpoint,
                                                        std::function<bool()> stopped) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::string path, PathOfEndpoint(endpoint));
  FAIRLEAD_RETURN_IF_ERROR(CheckThere(endpoint, path));
  try {
    return std::make_unique<ZmqClient>(endpoint, std::move(path), std::move(stopped));
  } catch (const zmq::error_t& error) {
    return SystemError(error.num(), StrCat("connect to ", endpoint));
  }
}

absl::StatusOr<std::unique_ptr<Subscriber>> Subscriber::Connect(const std::string& endpoint,
                                                                const std::string& topic_prefix) {
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string path, PathOfEndpoint(endpoint));
  FAIRLEAD_RETURN_IF_ERROR(CheckThere(endpoint, path));
  try {
    auto subscriber = std::make_unique<ZmqSubscriber>(endpoint, topic_prefix);
    if (subscriber->Connect()) return subscriber;
    FAIRLEAD_RETURN_IF_ERROR(CheckThere(endpoint, path));  // or it went away meanwhile
    return absl::UnavailableError(StrCat("what listens at ", endpoint, " publishes no events"));
  } catch (const zmq::error_t& error) {
    return SystemError(error.num(), StrCat("connect to ", endpoint));
  }
}

}  // namespace fairlead
