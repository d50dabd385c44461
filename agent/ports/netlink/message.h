// SPDX-License-Identifier: Apache-2.0
//
// Purpose: netlink messages as bytes, both ways, without a socket: building a
// request, splitting a datagram, reading an acknowledgement with its extended
// ACK, and matching answers to a batch of requests by sequence number.
//
// Threading: plain values.
// Errors: what the kernel sent and is malformed is kDataLoss. A request that
// outgrows its capacity stays in error (Message::status) and is never sent.
// Units: integers in host order unless the name says Be.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/types.h"
#include "agent/ports/netlink/attributes.h"

namespace fairlead::netlink {

// A request under construction. It grows as it is written: libnl's builder clears its whole
// capacity first, which costs more than all else where thousands are sent.
class Message {
 public:
  // Enough for a filter with all its actions, the largest that is ever sent, many times over.
  static constexpr size_t kCapacity = 8192;

  Message(uint16_t type, uint16_t flags);
  Message(Message&&) noexcept = default;
  Message& operator=(Message&&) noexcept = default;

  // The fixed structure behind the netlink header; before any attribute.
  template <typename T>
  requires std::is_trivially_copyable_v<T> Message& Header(const T& header) {
    return Append(&header, sizeof(header));
  }
  Message& Put(uint16_t type, Bytes payload);
  template <typename T>
  requires std::is_trivially_copyable_v<T> Message& PutStruct(uint16_t type, const T& value) {
    return Put(type, Bytes(reinterpret_cast<const uint8_t*>(&value), sizeof(value)));
  }
  Message& PutU8(uint16_t type, uint8_t value) { return PutStruct(type, value); }
  Message& PutU16(uint16_t type, uint16_t value) { return PutStruct(type, value); }
  Message& PutU32(uint16_t type, uint32_t value) { return PutStruct(type, value); }
  Message& PutU64(uint16_t type, uint64_t value) { return PutStruct(type, value); }
  Message& PutBe16(uint16_t type, uint16_t value);
  Message& PutBe32(uint16_t type, uint32_t value);
  Message& PutString(uint16_t type, std::string_view text);  // with its NUL
  Message& PutIp(uint16_t type, const IpAddress& address) { return Put(type, address.bytes()); }
  // Nested attributes end in the reverse order of their beginning.
  Message& Begin(uint16_t type);
  Message& End();

  void SetSequence(uint32_t sequence);
  // Answered also when all is well and there is nothing else to say.
  void AskForAck();
  // kInvalidArgument when the request did not fit.
  absl::Status status() const;
  Bytes bytes() const;
  bool is_dump() const;
  bool asks_for_ack() const;  // or is a dump, which has an end

 private:
  // Room for as much, zeroed, padded to what netlink steps by; null: it does not fit.
  uint8_t* Grow(size_t size);
  Message& Append(const void* data, size_t size);
  uint16_t flags() const;

  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> open_;  // offsets of the nests that are open
  bool failed_ = false;
};

// One message of a datagram.
struct MessageView {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  Bytes payload;  // behind the netlink header
};

// The first message of a datagram that is not empty, which it is taken off. kDataLoss when a
// length points past the end.
absl::StatusOr<MessageView> TakeMessage(Bytes* datagram);
// All messages of a datagram. kDataLoss when a length points past its end.
absl::StatusOr<std::vector<MessageView>> SplitDatagram(Bytes datagram);

// What NLMSG_ERROR or NLMSG_DONE says.
struct Ack {
  int error = 0;      // positive errno, 0 = done
  std::string words;  // NLMSGERR_ATTR_MSG, may be a warning when error is 0
};
absl::StatusOr<Ack> ParseAck(const MessageView& message);

struct OwnedMessage {
  uint16_t type = 0;
  std::vector<uint8_t> payload;
};

// The outcome of one request.
struct Answer {
  absl::Status transport;  // not OK: no answer came, or not a whole one
  int error = 0;           // positive errno of the kernel, 0 = done
  std::string words;       // its extended ACK
  std::vector<OwnedMessage> replies;

  bool ok() const { return transport.ok() && error == 0; }
  // OK, or an error that says what was `asked`.
  absl::Status ToStatus(std::string_view asked) const;
};

// Collects the answers to `count` requests with consecutive sequence numbers.
// Messages of another sequence are late answers to requests given up before.
class AnswerCollector {
 public:
  // With `on_reply`, which gets the replies as they come and which request each belongs to, none
  // are kept.
  using OnReply = std::function<void(size_t request, const MessageView&)>;
  AnswerCollector(uint32_t first_sequence, size_t count, OnReply on_reply = nullptr);
  // This request asks for no acknowledgement: only its error comes. It is done once a later one
  // is, as the kernel answers in order.
  void NoAckOf(size_t request) { quiet_[request] = true; }
  // A datagram that cannot be split fails everything that is outstanding.
  void Feed(Bytes datagram);
  // Fails what is outstanding: no more answers will come.
  void Abort(const absl::Status& status);
  bool complete() const { return outstanding_ == 0; }
  std::vector<Answer> Take() { return std::move(answers_); }

 private:
  void Finish(size_t index);

  uint32_t first_;
  OnReply on_reply_;
  std::vector<Answer> answers_;
  std::vector<bool> done_, quiet_;
  size_t outstanding_;
};

}  // namespace fairlead::netlink
