// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/message.h"

#include <arpa/inet.h>
#include <linux/netlink.h>

#include <cstddef>
#include <cstring>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

// Extended-ACK texts are string constants of the kernel, far shorter.
constexpr size_t kMaxWords = 512;
// What a rule of an endpoint takes; a larger message makes itself more room.
constexpr size_t kUsualSize = 640;

}  // namespace

Message::Message(uint16_t type, uint16_t flags) {
  bytes_.reserve(kUsualSize);
  nlmsghdr header{};
  header.nlmsg_len = sizeof(header);
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_REQUEST | flags;
  Append(&header, sizeof(header));
}

uint8_t* Message::Grow(size_t size) {
  const size_t before = bytes_.size();
  failed_ |= before + NLMSG_ALIGN(size) > kCapacity;
  if (failed_) return nullptr;
  bytes_.resize(before + NLMSG_ALIGN(size));
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
  return bytes_.data() + before;
}

Message& Message::Append(const void* data, size_t size) {
  uint8_t* room = Grow(size);
  if (room != nullptr) std::memcpy(room, data, size);
  return *this;
}

Message& Message::Put(uint16_t type, Bytes payload) {
  uint8_t* room = Grow(NLA_HDRLEN + payload.size());
  if (room == nullptr) return *this;
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + payload.size()), type};
  std::memcpy(room, &header, sizeof(header));
  if (!payload.empty()) std::memcpy(room + NLA_HDRLEN, payload.data(), payload.size());
  return *this;
}

Message& Message::PutBe16(uint16_t type, uint16_t value) { return PutU16(type, htons(value)); }
Message& Message::PutBe32(uint16_t type, uint32_t value) { return PutU32(type, htonl(value)); }

Message& Message::PutString(uint16_t type, std::string_view text) {
  const std::string terminated(text);
  return Put(type, Bytes(reinterpret_cast<const uint8_t*>(terminated.c_str()), text.size() + 1));
}

Message& Message::Begin(uint16_t type) {
  open_.push_back(static_cast<uint32_t>(bytes_.size()));
  // Some strict parsers want NLA_F_NESTED and none minds it.
  return Put(type | NLA_F_NESTED, {});
}

Message& Message::End() {
  if (open_.empty()) {
    failed_ = true;
    return *this;
  }
  const uint32_t offset = open_.back();
  open_.pop_back();
  if (failed_) return *this;
  const auto length = static_cast<uint16_t>(bytes_.size() - offset);
  std::memcpy(bytes_.data() + offset + offsetof(nlattr, nla_len), &length, sizeof(length));
  return *this;
}

void Message::SetSequence(uint32_t sequence) {
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof(sequence));
}

void Message::AskForAck() {
  const uint16_t now = flags() | NLM_F_ACK;
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_flags), &now, sizeof(now));
}

uint16_t Message::flags() const { return ReadStruct<nlmsghdr>(bytes_)->nlmsg_flags; }

absl::Status Message::status() const {
  if (!failed_ && open_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("the netlink request does not fit in ", kCapacity, " bytes"));
}

Bytes Message::bytes() const { return bytes_; }
bool Message::is_dump() const { return (flags() & NLM_F_DUMP) == NLM_F_DUMP; }
bool Message::asks_for_ack() const { return (flags() & NLM_F_ACK) != 0 || is_dump(); }

absl::StatusOr<MessageView> TakeMessage(Bytes* datagram) {
  const auto header = ReadStruct<nlmsghdr>(*datagram);
  if (!header || header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > datagram->size()) {
    return absl::DataLossError(StrCat(
        "a netlink message of the kernel is cut short: ", datagram->size(), " bytes are left",
        header ? StrCat(" where its header says ", header->nlmsg_len) : std::string()));
  }
  const MessageView message{
      .type = header->nlmsg_type,
      .flags = header->nlmsg_flags,
      .sequence = header->nlmsg_seq,
      .payload = datagram->subspan(sizeof(nlmsghdr), header->nlmsg_len - sizeof(nlmsghdr))};
  *datagram = AfterHeader(*datagram, header->nlmsg_len);
  return message;
}

absl::StatusOr<std::vector<MessageView>> SplitDatagram(Bytes datagram) {
  std::vector<MessageView> messages;
  while (!datagram.empty()) {
    auto message = TakeMessage(&datagram);
    if (!message.ok()) return message.status();
    messages.push_back(*message);
  }
  return messages;
}

absl::StatusOr<Ack> ParseAck(const MessageView& message) {
  DecodeError error;
  Ack ack;
  Bytes attributes;
  const bool has_attributes = (message.flags & NLM_F_ACK_TLVS) != 0;
  if (message.type == NLMSG_DONE) {
    // A DONE without a code is what older kernels end a dump with.
    const auto code = ReadStruct<int32_t>(message.payload);
    // INT_MIN has no positive counterpart.
    ack.error = code && *code < 0 && *code > -4096 ? -*code : 0;
    attributes = AfterHeader(message.payload, sizeof(int32_t));
  } else {
    const auto head = ReadStruct<nlmsgerr>(message.payload);
    if (!head || head->error > 0 || head->error < -4095) {  // MAX_ERRNO, linux/err.h
      return absl::DataLossError("the kernel's acknowledgement is malformed");
    }
    ack.error = -head->error;
    size_t size = sizeof(nlmsgerr);
    // Without NLM_F_CAPPED the whole request is sent back first.
    if ((message.flags & NLM_F_CAPPED) == 0 && head->msg.nlmsg_len > sizeof(nlmsghdr)) {
      size += head->msg.nlmsg_len - sizeof(nlmsghdr);
    }
    attributes = AfterHeader(message.payload, size);
  }
  if (has_attributes) {
    const AttributeSet set(attributes, &error);
    if (auto words = set.Raw(NLMSGERR_ATTR_MSG)) ack.words = CleanText(*words, kMaxWords);
    // A broken text must not hide the answer itself.
  }
  return ack;
}

absl::Status Answer::ToStatus(std::string_view asked) const {
  if (!transport.ok()) return Annotate(transport, asked);
  return error == 0 ? absl::OkStatus() : SystemError(error, asked, words);
}

AnswerCollector::AnswerCollector(uint32_t first_sequence, size_t count, OnReply on_reply)
    : first_(first_sequence),
      on_reply_(std::move(on_reply)),
      answers_(count),
      done_(count, false),
      quiet_(count, false),
      outstanding_(count) {}

void AnswerCollector::Finish(size_t index) {
  const auto done = [this](size_t request) {
    if (done_[request]) return;
    done_[request] = true;
    --outstanding_;
  };
  done(index);
  for (size_t before = index; before > 0 && quiet_[before - 1]; --before) done(before - 1);
}

void AnswerCollector::Feed(Bytes datagram) {
  while (!datagram.empty()) {
    const auto taken = TakeMessage(&datagram);
    if (!taken.ok()) return Abort(taken.status());
    const MessageView& message = *taken;
    const uint32_t index = message.sequence - first_;  // wraps like the sequence
    if (index >= answers_.size() || done_[index]) continue;
    Answer& answer = answers_[index];
    if ((message.flags & NLM_F_DUMP_INTR) != 0 && answer.transport.ok()) {
      answer.transport =
          absl::UnavailableError("the kernel's table changed while it was read; ask again");
    }
    if (message.type == NLMSG_OVERRUN) {
      answer.transport = absl::DataLossError("the kernel says that messages were lost");
      Finish(index);
    } else if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE) {
      if (auto ack = ParseAck(message); ack.ok()) {
        answer.error = ack->error;
        answer.words = std::move(ack->words);
      } else {
        answer.transport = ack.status();
      }
      Finish(index);
    } else if (message.type >= NLMSG_MIN_TYPE && on_reply_ != nullptr) {
      on_reply_(index, message);
    } else if (message.type >= NLMSG_MIN_TYPE) {
      answer.replies.push_back(
          {message.type, std::vector<uint8_t>(message.payload.begin(), message.payload.end())});
    }
  }
}

void AnswerCollector::Abort(const absl::Status& status) {
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (done_[i]) continue;
    answers_[i].transport = status;
    Finish(i);  // those before it have been failed already
  }
}

}  // namespace fairlead::netlink
