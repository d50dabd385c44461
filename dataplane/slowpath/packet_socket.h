// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the door to one netdev: frames of a guest in, answers out. The real one is a packet
// socket (packet(7)) with a filter in the kernel, so that nothing but what may be a question
// wakes the process: the socket taps all that the guest sends.
//
// Threading: one thread. Nothing blocks.
// Errors: Open: kNotFound: there is no such netdev; kInternal and others: the kernel's words.
// Receive: the socket is of no use any more (its netdev is gone).
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fairlead::slowpath {

class PacketSocket {
 public:
  struct Received {
    enum class Kind : uint8_t {
      kNothing,  // no frame is there
      kFrame,
      kIgnored,  // with a VLAN tag, or larger than the buffer
    };
    Kind kind = Kind::kNothing;
    size_t size = 0;
    bool checksum_pending = false;  // the sender left the transport checksum to hardware
  };

  virtual ~PacketSocket() = default;
  virtual int fd() const = 0;  // readable when there is a frame, or the end
  virtual absl::StatusOr<Received> Receive(std::span<uint8_t> buffer) = 0;
  virtual absl::Status Send(std::span<const uint8_t> frame) = 0;
  // Frames that found the socket's buffer full since the last call.
  virtual uint64_t TakeDropped() = 0;
};

class PacketSockets {
 public:
  virtual ~PacketSockets() = default;
  virtual absl::StatusOr<std::unique_ptr<PacketSocket>> Open(uint32_t ifindex) = 0;
};

// Needs CAP_NET_RAW.
class LinuxPacketSockets final : public PacketSockets {
 public:
  absl::StatusOr<std::unique_ptr<PacketSocket>> Open(uint32_t ifindex) override;
};

// What may be a question: ARP; neighbour and router solicitations; DHCP to all; to the gateway's
// MAC echo requests, DHCP, and what has no hop left.
std::span<const sock_filter> QuestionFilter();

}  // namespace fairlead::slowpath
