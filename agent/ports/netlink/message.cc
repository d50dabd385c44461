// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/message.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <new>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead::netlink {
namespace {

// Extended-ACK texts are string constants of the kernel, far shorter.
constexpr size_t kMaxWords = 512;

}  // namespace

Message::Message(uint16_t type, uint16_t flags) : message_(nlmsg_alloc_size(kCapacity)) {
  if (message_ == nullptr) throw std::bad_alloc();
  nlmsg_put(message_.get(), NL_AUTO_PORT, 0, type, 0, NLM_F_REQUEST | flags);
  nlmsg_hdr(message_.get())->nlmsg_pid = 0;
}

void Message::Free::operator()(nl_msg* message) const { nlmsg_free(message); }

Message& Message::Append(const void* data, size_t size) {
  failed_ |= nlmsg_append(message_.get(), const_cast<void*>(data), size, NLMSG_ALIGNTO) < 0;
  return *this;
}

Message& Message::Put(uint16_t type, Bytes payload) {
  failed_ |= nla_put(message_.get(), type, static_cast<int>(payload.size()), payload.data()) < 0;
  return *this;
}

Message& Message::PutBe16(uint16_t type, uint16_t value) { return PutU16(type, htons(value)); }
Message& Message::PutBe32(uint16_t type, uint32_t value) { return PutU32(type, htonl(value)); }

Message& Message::PutString(uint16_t type, std::string_view text) {
  const std::string terminated(text);
  return Put(type, Bytes(reinterpret_cast<const uint8_t*>(terminated.c_str()), text.size() + 1));
}

Message& Message::Begin(uint16_t type) {
  // libnl's nla_nest_start sets no NLA_F_NESTED; some strict parsers want it and
  // none minds it.
  nlattr* nest = nla_reserve(message_.get(), type | NLA_F_NESTED, 0);
  failed_ |= nest == nullptr;
  const auto* base = reinterpret_cast<const uint8_t*>(nlmsg_hdr(message_.get()));
  open_.push_back(
      nest == nullptr ? 0 : static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(nest) - base));
  return *this;
}

Message& Message::End() {
  if (open_.empty()) {
    failed_ = true;
    return *this;
  }
  const uint32_t offset = open_.back();
  open_.pop_back();
  if (failed_) return *this;
  auto* header = nlmsg_hdr(message_.get());
  auto* nest = reinterpret_cast<nlattr*>(reinterpret_cast<uint8_t*>(header) + offset);
  nest->nla_len = static_cast<uint16_t>(header->nlmsg_len - offset);
  return *this;
}

void Message::SetSequence(uint32_t sequence) { nlmsg_hdr(message_.get())->nlmsg_seq = sequence; }

absl::Status Message::status() const {
  if (!failed_ && open_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("the netlink request does not fit in ", kCapacity, " bytes"));
}

Bytes Message::bytes() const {
  const auto* header = nlmsg_hdr(message_.get());
  return {reinterpret_cast<const uint8_t*>(header), header->nlmsg_len};
}

bool Message::is_dump() const {
  return (nlmsg_hdr(message_.get())->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
}

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
      outstanding_(count) {}

void AnswerCollector::Finish(size_t index) {
  done_[index] = true;
  --outstanding_;
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
      on_reply_(message);
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
    Finish(i);
  }
}

}  // namespace fairlead::netlink
