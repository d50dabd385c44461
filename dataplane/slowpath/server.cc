// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/server.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <variant>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/slowpath/responder.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead::slowpath {
namespace {

// The largest that a virtual NIC hands over in one piece (64 KiB of IP), and its header.
constexpr size_t kFrameBuffer = 65536 + 64;
// Frames of one port before the others have their turn.
constexpr int kFramesAtOnce = 64;
// When a port, or what its subnet is, is new, its guest hears so within 3 s: its own questions may
// have come before. Not all ports at the same moment.
std::chrono::milliseconds SoonFor(const std::string& port) {
  return std::chrono::milliseconds(StableHash(port) % 3000);
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) ||
      path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(StrCat("the socket's path ", Quoted(path), " must have 1 to ",
                                             sizeof(address.sun_path) - 1, " characters"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A packet that the gateway only routes. The kernel's filter lets pings among them through, and
// they cost nothing of the port's rate, but are bounded too.
bool PassesBy(std::span<const uint8_t> frame, const SlowPathSubnet* subnet) {
  if (subnet == nullptr || frame.size() < 34) return false;
  if (!std::ranges::equal(frame.first(6), kGatewayMac.bytes())) return false;
  const bool v4 = frame[12] == 0x08 && frame[13] == 0x00;
  const bool v6 = frame[12] == 0x86 && frame[13] == 0xdd && frame.size() >= 54;
  if (!v4 && !v6) return false;
  const uint8_t hops = v4 ? frame[22] : frame[21];
  const std::span<const uint8_t> to = v4 ? frame.subspan(30, 4) : frame.subspan(38, 16);
  const std::optional<IpAddress>& gateway = v4 ? subnet->gateway4 : subnet->gateway6;
  return hops > 1 && gateway && !std::ranges::equal(to, gateway->bytes());
}

UniqueFd NewSocket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options, Loop* loop,
                                                      const Clock* clock, PacketSockets* sockets) {
  std::unique_ptr<Server> server(new Server(std::move(options), loop, clock, sockets));
  FAIRLEAD_RETURN_IF_ERROR(server->Listen());
  server->Tick();
  return server;
}

Server::Server(ServerOptions options, Loop* loop, const Clock* clock, PacketSockets* sockets)
    : options_(std::move(options)),
      loop_(loop),
      clock_(clock),
      sockets_(sockets),
      tables_(options_.limits),
      frame_(kFrameBuffer),
      message_(kMaxSlowPathMessage + 1) {}

Server::~Server() {
  Disconnect();
  if (listener_watch_ != 0) loop_->Unwatch(listener_watch_);
  for (auto& [port, ear] : ears_) Close(&ear);
  if (bound_) ::unlink(options_.path.c_str());
}

// ---- the control socket -----------------------------------------------------------------------

absl::Status Server::Listen() {
  FAIRLEAD_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(options_.path));
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  const std::string asked = StrCat("listen at ", options_.path);
  // A socket's file outlives a process that was killed.
  const UniqueFd probe = NewSocket();
  if (!probe.valid()) return SystemError(errno, asked);
  if (::connect(probe.get(), where, sizeof(address)) == 0 || errno == EAGAIN) {
    return absl::AlreadyExistsError(StrCat(asked, ": another slow path serves it"));
  }
  struct stat there {};
  if (errno == ECONNREFUSED && ::lstat(options_.path.c_str(), &there) == 0 &&
      S_ISSOCK(there.st_mode)) {
    ::unlink(options_.path.c_str());
  }
  listener_ = NewSocket();
  if (!listener_.valid()) return SystemError(errno, asked);
  // The file is made with the mode of the socket itself: at no moment can anybody else open it.
  if (::fchmod(listener_.get(), 0600) != 0 ||
      ::bind(listener_.get(), where, sizeof(address)) != 0) {
    return SystemError(errno, asked);
  }
  bound_ = true;
  if (::chmod(options_.path.c_str(), 0600) != 0 || ::listen(listener_.get(), 8) != 0) {
    return SystemError(errno, asked);
  }
  FAIRLEAD_ASSIGN_OR_RETURN(listener_watch_,
                            loop_->WatchReadable(listener_.get(), [this] { Accept(); }));
  return absl::OkStatus();
}

bool Server::MayConnect(int fd) const {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  const std::vector<uint32_t>& allowed = options_.allowed_uids;
  if (peer.uid == 0 || peer.uid == ::geteuid() ||
      std::find(allowed.begin(), allowed.end(), peer.uid) != allowed.end()) {
    return true;
  }
  spdlog::warn("refused a connection of user {} (process {})", peer.uid, peer.pid);
  return false;
}

void Server::Accept() {
  UniqueFd next(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!next.valid()) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    // Out of descriptors, say: the socket stays readable, so it is left alone for a while.
    spdlog::error("accept a connection: {}", strerrordesc_np(errno));
    loop_->Unwatch(std::exchange(listener_watch_, 0));
    return;
  }
  if (!MayConnect(next.get())) return;
  if (connection_.valid()) spdlog::info("a new connection takes over from the last one");
  Disconnect();
  absl::StatusOr<Loop::WatchId> watch = loop_->WatchReadable(next.get(), [this] { ReadUpdate(); });
  if (!watch.ok()) {
    spdlog::error("{}", std::string(watch.status().message()));
    return;
  }
  connection_ = std::move(next);
  connection_watch_ = *watch;
  sequence_ = 0;
}

void Server::Disconnect() {
  if (!connection_.valid()) return;
  loop_->Unwatch(connection_watch_);
  connection_.reset();
}

void Server::ReadUpdate() {
  const ssize_t size = ::recv(connection_.get(), message_.data(), message_.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    spdlog::info("the agent has gone; its guests are answered by what it told");
    return Disconnect();
  }
  std::string reply;
  if (!Take({message_.data(), static_cast<size_t>(size)}, &reply)) return Disconnect();
  // Who asks and does not read has gone mad, or hangs: its next connection is served.
  if (::send(connection_.get(), reply.data(), reply.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(reply.size())) {
    spdlog::warn("answer the agent: {}", strerrordesc_np(errno));
    Disconnect();
  }
}

bool Server::Take(std::string_view message, std::string* reply) {
  SlowPathReply out;
  absl::StatusOr<SlowPathUpdate> update = DecodeSlowPathUpdate(message, &out.report.problems);
  if (!update.ok()) {
    spdlog::error("from the agent: {}", std::string(update.status().message()));
    return false;
  }
  if (update->sequence != sequence_ + 1 || update->begin != (sequence_ == 0)) {
    spdlog::error("from the agent: message {} came behind {}", update->sequence, sequence_);
    return false;
  }
  sequence_ = update->sequence;
  Apply(*update, &out.report.problems);
  for (const std::string& problem : out.report.problems) spdlog::warn("not taken: {}", problem);
  std::vector<std::string> problems = std::move(out.report.problems);
  out.sequence = sequence_;
  out.report = Report();
  out.report.problems = std::move(problems);
  *reply = EncodeSlowPathReply(out);
  return true;
}

void Server::Apply(const SlowPathUpdate& update, std::vector<std::string>* problems) {
  const Time now = clock_->Now();
  if (update.begin) tables_.Begin();
  bool ports = update.whole;
  for (const SlowPathKey& key : update.remove) {
    ports |= key.kind == SlowPathKey::Kind::kPort;
    tables_.Remove(key);
  }
  for (const SlowPathEntry& entry : update.put) {
    if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
      ports = true;
      // The agent knows better than a timer when a netdev is there.
      if (const auto ear = ears_.find(port->id); ear != ears_.end()) ear->second.next_try = now;
    } else if (const auto* subnet = std::get_if<SlowPathSubnet>(&entry)) {
      const SlowPathSubnet* old = tables_.FindSubnet(subnet->id);
      if (old == nullptr || *old != *subnet) {
        for (auto& [id, ear] : ears_) {
          const SlowPathPort* port = tables_.FindPort(id);
          if (port == nullptr || port->subnet != subnet->id) continue;
          ear.next_advertisement = now + SoonFor(id);
        }
      }
    }
    if (const absl::Status status = tables_.Put(entry);
        !status.ok() && problems->size() < kMaxSlowPathTold) {
      problems->push_back(StrCat(SlowPathKeyName(KeyOf(entry)), ": ", status.message()));
    }
  }
  for (const uint32_t ifindex : update.keep) tables_.Keep(ifindex);
  if (update.whole) tables_.Whole();
  if (ports) MatchEars();
}

SlowPathReport Server::Report() const {
  SlowPathReport out;
  out.counters = counters_;
  for (const auto& [id, ear] : ears_) {
    if (ear.socket != nullptr) continue;
    if (out.deaf_ports.size() == kMaxSlowPathTold) break;
    const SlowPathPort* port = tables_.FindPort(id);
    out.deaf_ports.push_back(StrCat("port ", id, ": netdev ",
                                    port == nullptr ? "?" : Quoted(port->netdev), ": ", ear.deaf));
  }
  return out;
}

// ---- packet sockets -----------------------------------------------------------------------------

void Server::MatchEars() {
  const Time now = clock_->Now();
  for (auto it = ears_.begin(); it != ears_.end();) {
    const SlowPathPort* port = tables_.FindPort(it->first);
    if (port != nullptr && port->ifindex == it->second.ifindex) {
      ++it;
      continue;
    }
    Close(&it->second);
    it = ears_.erase(it);
  }
  for (const auto& [id, port] : tables_.ports()) {
    auto ear = ears_.find(id);
    if (ear == ears_.end()) {
      ear = ears_
                .try_emplace(id, ++last_serial_, port.value.ifindex,
                             TokenBucket(options_.rate, options_.burst, now),
                             TokenBucket(1.0 * options_.passing * options_.rate,
                                         1.0 * options_.passing * options_.burst, now))
                .first;
      ear->second.next_try = now;
      ear->second.next_advertisement = now + SoonFor(id);
    }
    if (ear->second.socket == nullptr && ear->second.next_try <= now) Open(id, &ear->second);
  }
}

void Server::Open(const std::string& port, Ear* ear) {
  absl::StatusOr<std::unique_ptr<PacketSocket>> socket = sockets_->Open(ear->ifindex);
  if (!socket.ok()) return GoDeaf(port, ear, socket.status());
  ear->socket = *std::move(socket);
  if (!Watch(port, ear)) return;
  if (!ear->deaf.empty()) spdlog::info("port {} is heard again", port);
  ear->deaf.clear();
  ear->backoff = std::chrono::milliseconds(0);
}

void Server::GoDeaf(const std::string& port, Ear* ear, const absl::Status& why) {
  Close(ear);
  std::string words(StdView(why.message()));
  if (words != ear->deaf) spdlog::warn("port {} is not heard: {}", port, words);
  ear->deaf = std::move(words);
  ear->backoff = std::clamp(ear->backoff * 2, options_.first_retry, options_.last_retry);
  ear->next_try = clock_->Now() + ear->backoff;
}

bool Server::Watch(const std::string& port, Ear* ear) {
  absl::StatusOr<Loop::WatchId> watch =
      loop_->WatchReadable(ear->socket->fd(), [this, port] { Hear(port); });
  if (watch.ok()) {
    ear->watch = *watch;
  } else {
    GoDeaf(port, ear, watch.status());
  }
  return watch.ok();
}

void Server::Close(Ear* ear) {
  if (ear->watch != 0) loop_->Unwatch(std::exchange(ear->watch, 0));
  ear->socket.reset();
}

void Server::Hear(const std::string& name) {
  const auto it = ears_.find(name);
  const SlowPathPort* port = tables_.FindPort(name);
  if (it == ears_.end() || port == nullptr || it->second.socket == nullptr) return;
  Ear& ear = it->second;
  const Time now = clock_->Now();
  bool over = false;
  for (int i = 0; i < kFramesAtOnce; ++i) {
    const absl::StatusOr<PacketSocket::Received> received = ear.socket->Receive(frame_);
    if (!received.ok()) return GoDeaf(it->first, &ear, received.status());
    if (received->kind == PacketSocket::Received::Kind::kNothing) break;
    if (received->kind == PacketSocket::Received::Kind::kIgnored) continue;
    const std::span<const uint8_t> frame = std::span(frame_).first(received->size);
    if (PassesBy(frame, tables_.FindSubnet(port->subnet))) {
      over = over || !ear.passing.Take(now);
      continue;
    }
    ++counters_.received;
    if (ear.bucket.Take(now)) {
      Handle(*port, &ear, frame, received->checksum_pending);
    } else {
      ++counters_.over_rate;
      over = true;
    }
  }
  if (over) Pause(it->first, &ear);
}

void Server::Handle(const SlowPathPort& port, Ear* ear, std::span<const uint8_t> frame,
                    bool checksum_pending) {
  const Answer answer = Respond(port, tables_, frame, checksum_pending);
  switch (answer.verdict) {
    case Verdict::kAnswered:
      return Send(ear, answer.frame);
    case Verdict::kQuiet:
      return;
    case Verdict::kMalformed:
      ++counters_.malformed;
      return;
    case Verdict::kSpoofed:
      ++counters_.spoofed;
      return;
    case Verdict::kUnknown:
      ++counters_.unknown;
      return;
  }
}

void Server::Send(Ear* ear, std::span<const uint8_t> frame) {
  ++(ear->socket->Send(frame).ok() ? counters_.answered : counters_.not_sent);
}

void Server::Pause(const std::string& port, Ear* ear) {
  counters_.over_rate += ear->socket->TakeDropped();
  loop_->Unwatch(std::exchange(ear->watch, 0));
  After(options_.pause, [this, port, serial = ear->serial] {
    const auto it = ears_.find(port);
    if (it == ears_.end() || it->second.serial != serial) return;
    Ear& later = it->second;
    if (later.socket != nullptr && later.watch == 0) Watch(port, &later);
  });
}

// ---- time ---------------------------------------------------------------------------------------

void Server::Tick() {
  const Time now = clock_->Now();
  for (auto& [port, ear] : ears_) {
    if (ear.socket == nullptr && ear.next_try <= now) Open(port, &ear);
    if (ear.socket != nullptr && ear.next_advertisement <= now) Advertise(port, &ear, now);
  }
  if (listener_watch_ == 0) {
    absl::StatusOr<Loop::WatchId> watch =
        loop_->WatchReadable(listener_.get(), [this] { Accept(); });
    if (watch.ok()) listener_watch_ = *watch;
  }
  After(options_.tick, [this] { Tick(); });
}

void Server::Advertise(const std::string& id, Ear* ear, Time now) {
  // Any spread does: the guests are not to be told all at the same moment.
  const uint64_t chance = StableHash(StrCat(id, "/", ++ear->advertisements));
  const auto range =
      static_cast<uint64_t>((options_.advertise_max - options_.advertise_min).count()) + 1;
  ear->next_advertisement =
      now + options_.advertise_min + std::chrono::milliseconds(chance % range);
  const SlowPathPort* port = tables_.FindPort(id);
  if (port == nullptr) return;
  const std::vector<uint8_t> frame = UnsolicitedAdvertisement(*port, tables_);
  if (!frame.empty() && !ear->socket->Send(frame).ok()) ++counters_.not_sent;
}

void Server::After(std::chrono::milliseconds delay, std::function<void()> fn) {
  loop_->After(delay, [fn = std::move(fn), alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) fn();
  });
}

}  // namespace fairlead::slowpath
