// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/model/intent.h"

namespace fairlead::slowpath {
namespace {

constexpr int kReceiveBuffer = 128 << 10;  // bytes, for each of some hundred ports
constexpr int kIgnoreOutgoing = 23;        // PACKET_IGNORE_OUTGOING, Linux 4.20
constexpr uint32_t kWholeFrame = 0x40000;

// Builds a classic BPF program whose jumps go to names. Three ends are there from the start.
class Assembler {
 public:
  enum Label : uint8_t {
    kNext,
    kAccept,
    kReject,
    kIp4,
    kIp6,
    kToAll4,
    kRouted4,
    kDhcp4,
    kEcho4,
    kNotNd,
    kDhcp6,
    kRouted6,
    kEcho6,
    kLabels
  };

  void Load(uint16_t size, uint32_t at) { Code(BPF_LD | BPF_ABS | size, at); }
  // The byte offset of what is behind an IPv4 header, into X.
  void LoadIp4HeaderLength() { Code(BPF_LDX | BPF_B | BPF_MSH, 14); }
  void LoadBehindIp4Header(uint16_t size, uint32_t at) { Code(BPF_LD | BPF_IND | size, 14 + at); }
  void IfEqual(uint32_t value, Label yes, Label no) { Jump(BPF_JEQ, value, yes, no); }
  void IfAbove(uint32_t value, Label yes, Label no) { Jump(BPF_JGT, value, yes, no); }
  void IfAny(uint32_t bits, Label yes, Label no) { Jump(BPF_JSET, bits, yes, no); }
  void At(Label label) { places_[label] = program_.size(); }
  void Return(uint32_t value) { Code(BPF_RET | BPF_K, value); }

  std::vector<sock_filter> Finish() {
    for (const auto& [at, yes, no] : jumps_) {
      program_[at].jt = Distance(at, yes);
      program_[at].jf = Distance(at, no);
    }
    return std::move(program_);
  }

 private:
  struct Pending {
    size_t at;
    Label yes, no;
  };
  void Code(int code, uint32_t k) { program_.push_back({static_cast<uint16_t>(code), 0, 0, k}); }
  void Jump(int kind, uint32_t k, Label yes, Label no) {
    jumps_.push_back({program_.size(), yes, no});
    Code(BPF_JMP | BPF_K | kind, k);
  }
  uint8_t Distance(size_t from, Label label) const {
    return label == kNext ? 0 : static_cast<uint8_t>(places_[label] - from - 1);
  }

  std::vector<sock_filter> program_;
  std::vector<Pending> jumps_;
  std::array<size_t, kLabels> places_{};
};

std::vector<sock_filter> MakeFilter() {
  const std::array<uint8_t, 6>& mac = kGatewayMac.bytes();
  const uint32_t mac_head = static_cast<uint32_t>(mac[0]) << 24 |
                            static_cast<uint32_t>(mac[1]) << 16 |
                            static_cast<uint32_t>(mac[2]) << 8 | mac[3];
  const uint32_t mac_tail = static_cast<uint32_t>(mac[4]) << 8 | mac[5];
  using A = Assembler;
  Assembler a;
  // A tag that the netdev took off; one that it left in makes another EtherType.
  a.Load(BPF_W, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
  a.IfEqual(0, A::kNext, A::kReject);
  a.Load(BPF_H, 12);
  a.IfEqual(ETH_P_ARP, A::kAccept, A::kNext);
  a.IfEqual(ETH_P_IP, A::kIp4, A::kNext);
  a.IfEqual(ETH_P_IPV6, A::kIp6, A::kReject);

  a.At(A::kIp4);
  a.Load(BPF_W, 0);
  a.IfEqual(0xffffffff, A::kToAll4, A::kNext);
  a.IfEqual(mac_head, A::kNext, A::kReject);
  a.Load(BPF_H, 4);
  a.IfEqual(mac_tail, A::kRouted4, A::kReject);
  a.At(A::kToAll4);
  a.Load(BPF_H, 4);
  a.IfEqual(0xffff, A::kDhcp4, A::kReject);
  a.At(A::kRouted4);
  a.Load(BPF_B, 22);  // the time to live
  a.IfAbove(1, A::kNext, A::kAccept);
  a.Load(BPF_B, 23);  // the protocol
  a.IfEqual(1, A::kEcho4, A::kNext);
  a.At(A::kDhcp4);
  a.Load(BPF_B, 23);
  a.IfEqual(17, A::kNext, A::kReject);
  a.Load(BPF_H, 20);
  a.IfAny(0x1fff, A::kReject, A::kNext);  // not the first fragment
  a.LoadIp4HeaderLength();
  a.LoadBehindIp4Header(BPF_H, 2);
  a.IfEqual(67, A::kAccept, A::kReject);
  a.At(A::kEcho4);
  a.Load(BPF_H, 20);
  a.IfAny(0x1fff, A::kReject, A::kNext);
  a.LoadIp4HeaderLength();
  a.LoadBehindIp4Header(BPF_B, 0);
  a.IfEqual(8, A::kAccept, A::kReject);

  a.At(A::kIp6);
  a.Load(BPF_B, 20);  // the next header
  a.IfEqual(58, A::kNext, A::kNotNd);
  a.Load(BPF_B, 54);
  a.IfEqual(133, A::kAccept, A::kNext);
  a.IfEqual(135, A::kAccept, A::kNext);
  a.At(A::kNotNd);
  a.Load(BPF_W, 0);
  a.IfEqual(0x33330001, A::kDhcp6, A::kNext);  // with 00:02 that of ff02::1:2
  a.IfEqual(mac_head, A::kNext, A::kReject);
  a.Load(BPF_H, 4);
  a.IfEqual(mac_tail, A::kRouted6, A::kReject);
  a.At(A::kDhcp6);
  a.Load(BPF_H, 4);
  a.IfEqual(2, A::kNext, A::kReject);
  a.Load(BPF_B, 20);
  a.IfEqual(17, A::kNext, A::kReject);
  a.Load(BPF_H, 56);
  a.IfEqual(547, A::kAccept, A::kReject);
  a.At(A::kRouted6);
  a.Load(BPF_B, 21);  // the hop limit
  a.IfAbove(1, A::kNext, A::kAccept);
  a.Load(BPF_B, 20);
  a.IfEqual(58, A::kEcho6, A::kReject);
  a.At(A::kEcho6);
  a.Load(BPF_B, 54);
  a.IfEqual(128, A::kAccept, A::kReject);

  a.At(A::kReject);
  a.Return(0);
  a.At(A::kAccept);
  a.Return(kWholeFrame);
  return a.Finish();
}

class LinuxPacketSocket final : public PacketSocket {
 public:
  LinuxPacketSocket(UniqueFd socket, uint32_t ifindex)
      : socket_(std::move(socket)), ifindex_(ifindex) {}

  int fd() const override { return socket_.get(); }

  absl::StatusOr<Received> Receive(std::span<uint8_t> buffer) override {
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t size = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT);
    if (size < 0) return Failed(errno);
    Received out;
    out.kind = Received::Kind::kFrame;
    out.size = static_cast<size_t>(size);
    if ((header.msg_flags & MSG_TRUNC) != 0) out.kind = Received::Kind::kIgnored;
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr;
         item = CMSG_NXTHDR(&header, item)) {
      if (item->cmsg_level != SOL_PACKET || item->cmsg_type != PACKET_AUXDATA) continue;
      tpacket_auxdata data;
      std::memcpy(&data, CMSG_DATA(item), sizeof(data));
      out.checksum_pending = (data.tp_status & TP_STATUS_CSUMNOTREADY) != 0;
      if ((data.tp_status & TP_STATUS_VLAN_VALID) != 0) out.kind = Received::Kind::kIgnored;
    }
    return out;
  }

  absl::Status Send(std::span<const uint8_t> frame) override {
    if (::send(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
        static_cast<ssize_t>(frame.size())) {
      return absl::OkStatus();
    }
    return SystemError(errno, "send an answer");
  }

  uint64_t TakeDropped() override {
    tpacket_stats stats{};  // reading it sets it to 0
    socklen_t size = sizeof(stats);
    if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0) return 0;
    return stats.tp_drops;
  }

 private:
  absl::StatusOr<Received> Failed(int err) const {
    if (err == EAGAIN || err == EINTR) return Received{};
    // A netdev that is down says so once, and the socket hears it again when it is up. One
    // that is gone has left the socket without an index.
    if (err == ENETDOWN) {
      sockaddr_ll address{};
      socklen_t size = sizeof(address);
      if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
          address.sll_ifindex == static_cast<int>(ifindex_)) {
        return Received{};
      }
      return absl::NotFoundError("the netdev is gone");
    }
    return SystemError(err, "receive");
  }

  UniqueFd socket_;
  uint32_t ifindex_;
};

template <typename Value>
bool Set(int fd, int level, int option, const Value& value) {
  return ::setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

}  // namespace

std::span<const sock_filter> QuestionFilter() {
  static const std::vector<sock_filter> kFilter = MakeFilter();
  return kFilter;
}

absl::StatusOr<std::unique_ptr<PacketSocket>> LinuxPacketSockets::Open(uint32_t ifindex) {
  // Protocol 0: it hears nothing before it is bound, and then nothing past its filter.
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return SystemError(errno, "open a packet socket");
  const std::span<const sock_filter> filter = QuestionFilter();
  sock_fprog program{};
  program.len = static_cast<unsigned short>(filter.size());
  program.filter = const_cast<sock_filter*>(filter.data());
  const int on = 1;
  if (!Set(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, program) ||
      !Set(fd.get(), SOL_SOCKET, SO_LOCK_FILTER, on) ||
      !Set(fd.get(), SOL_SOCKET, SO_RCVBUF, kReceiveBuffer) ||
      !Set(fd.get(), SOL_PACKET, PACKET_AUXDATA, on) ||
      !Set(fd.get(), SOL_PACKET, kIgnoreOutgoing, on)) {
    return SystemError(errno, "set up a packet socket");
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(ifindex);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENODEV) return absl::NotFoundError("the netdev is not there");
    return SystemError(errno, "bind a packet socket");
  }
  return std::make_unique<LinuxPacketSocket>(std::move(fd), ifindex);
}

}  // namespace fairlead::slowpath
