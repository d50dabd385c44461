// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/message.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include "agent/base/error.h"

namespace fairlead::netlink {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Pack(uint16_t type, uint16_t flags, uint32_t sequence,
                          std::vector<uint8_t> payload) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + payload.size());
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  std::vector<uint8_t> out(sizeof(header));
  std::memcpy(out.data(), &header, sizeof(header));
  out.insert(out.end(), payload.begin(), payload.end());
  out.resize(NLMSG_ALIGN(out.size()));
  return out;
}

std::vector<uint8_t> Attribute(uint16_t type, std::vector<uint8_t> payload) {
  nlattr header{static_cast<uint16_t>(NLA_HDRLEN + payload.size()), type};
  std::vector<uint8_t> out(sizeof(header));
  std::memcpy(out.data(), &header, sizeof(header));
  out.insert(out.end(), payload.begin(), payload.end());
  out.resize(NLMSG_ALIGN(out.size()));
  return out;
}

std::vector<uint8_t> AckMessage(uint32_t sequence, int error, std::string_view words = {},
                                size_t echoed = 0) {
  nlmsgerr body{};
  body.error = -error;
  body.msg.nlmsg_len = static_cast<uint32_t>(sizeof(nlmsghdr) + echoed);
  std::vector<uint8_t> payload(sizeof(body));
  std::memcpy(payload.data(), &body, sizeof(body));
  payload.resize(payload.size() + echoed);
  uint16_t flags = echoed == 0 ? NLM_F_CAPPED : 0;
  if (!words.empty()) {
    std::vector<uint8_t> text(words.begin(), words.end());
    text.push_back(0);
    const auto attribute = Attribute(NLMSGERR_ATTR_MSG, text);
    payload.insert(payload.end(), attribute.begin(), attribute.end());
    flags |= NLM_F_ACK_TLVS;
  }
  return Pack(NLMSG_ERROR, flags, sequence, payload);
}

TEST(AttributeSet, ReadsWhatFitsAndNothingElse) {
  auto bytes = Attribute(1, {1, 0, 0, 0});
  const auto second = Attribute(2 | NLA_F_NESTED, Attribute(3, {9}));
  bytes.insert(bytes.end(), second.begin(), second.end());
  DecodeError error;
  AttributeSet set(bytes, &error);
  EXPECT_EQ(set.U32(1), 1u);
  EXPECT_EQ(set.Nested(2).U8(3), 9);
  EXPECT_FALSE(set.U32(7).has_value());
  EXPECT_TRUE(error.ok());
}

TEST(AttributeSet, ALengthPastTheEndIsAnError) {
  auto bytes = Attribute(1, {1, 0, 0, 0});
  bytes[0] = 12;
  DecodeError error;
  AttributeSet set(bytes, &error);
  EXPECT_FALSE(set.Has(1));
  EXPECT_EQ(error.ToStatus("a test").code(), absl::StatusCode::kDataLoss);
}

TEST(AttributeSet, ALengthBelowItsHeaderIsAnErrorAndNoEndlessLoop) {
  DecodeError error;
  const std::vector<uint8_t> zeros(16, 0);
  AttributeSet set(zeros, &error);
  EXPECT_FALSE(set.Has(0));
  EXPECT_FALSE(error.ok());
}

TEST(AttributeSet, AnIntegerOfAnotherSizeIsAnError) {
  const auto bytes = Attribute(1, {1, 0});
  DecodeError error;
  AttributeSet set(bytes, &error);
  EXPECT_FALSE(set.U32(1).has_value());
  EXPECT_FALSE(error.ok());
}

TEST(AttributeSet, ATextThatIsTooLongIsAnError) {
  const auto bytes = Attribute(1, {'a', 'b', 'c'});
  DecodeError error;
  AttributeSet set(bytes, &error);
  EXPECT_EQ(set.String(1, 3), "abc");
  EXPECT_TRUE(error.ok());
  EXPECT_FALSE(set.String(1, 2).has_value());
  EXPECT_FALSE(error.ok());
}

TEST(Ack, KeepsTheKernelsWords) {
  const auto bytes = AckMessage(5, EINVAL, "Block of given index was not found");
  auto messages = SplitDatagram(bytes);
  ASSERT_TRUE(messages.ok());
  auto ack = ParseAck(messages->front());
  ASSERT_TRUE(ack.ok());
  EXPECT_EQ(ack->error, EINVAL);
  EXPECT_EQ(ack->words, "Block of given index was not found");
}

TEST(Ack, FindsTheWordsBehindAnEchoedRequest) {
  const auto bytes = AckMessage(5, EPERM, "no", 20);
  auto ack = ParseAck(SplitDatagram(bytes)->front());
  ASSERT_TRUE(ack.ok());
  EXPECT_EQ(ack->error, EPERM);
  EXPECT_EQ(ack->words, "no");
}

TEST(Ack, UnprintableWordsDoNotReachATerminal) {
  auto ack = ParseAck(SplitDatagram(AckMessage(5, EPERM, "a\x1b[2Jb"))->front());
  ASSERT_TRUE(ack.ok());
  EXPECT_EQ(ack->words, "a?[2Jb");
}

TEST(Ack, CutShortIsAnError) {
  const auto bytes = Pack(NLMSG_ERROR, 0, 1, {0, 0});
  EXPECT_EQ(ParseAck(SplitDatagram(bytes)->front()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(SplitDatagram, ALengthPastTheEndIsAnError) {
  auto bytes = Pack(NLMSG_DONE, 0, 1, {0, 0, 0, 0});
  bytes[0] += 1;
  EXPECT_EQ(SplitDatagram(bytes).status().code(), absl::StatusCode::kDataLoss);
}

TEST(AnswerCollector, MatchesAnswersBySequenceNumber) {
  AnswerCollector collector(10, 3);
  collector.Feed(AckMessage(12, 0));
  collector.Feed(AckMessage(9, EIO));  // late: of a request given up before
  collector.Feed(AckMessage(10, ENOENT, "gone"));
  EXPECT_FALSE(collector.complete());
  collector.Feed(AckMessage(11, 0));
  ASSERT_TRUE(collector.complete());
  const auto answers = collector.Take();
  EXPECT_EQ(answers[0].error, ENOENT);
  EXPECT_EQ(answers[0].words, "gone");
  EXPECT_TRUE(answers[1].ok());
  EXPECT_TRUE(answers[2].ok());
}

TEST(AnswerCollector, SequenceNumbersWrap) {
  AnswerCollector collector(0xffffffffU, 2);
  collector.Feed(AckMessage(0, EPERM));
  collector.Feed(AckMessage(0xffffffffU, 0));
  ASSERT_TRUE(collector.complete());
  EXPECT_EQ(collector.Take()[1].error, EPERM);
}

TEST(AnswerCollector, ATableThatChangedUnderADumpIsAskedAgain) {
  AnswerCollector collector(1, 1);
  collector.Feed(Pack(NLMSG_MIN_TYPE, NLM_F_MULTI | NLM_F_DUMP_INTR, 1, {1, 2, 3, 4}));
  collector.Feed(Pack(NLMSG_DONE, NLM_F_MULTI, 1, {0, 0, 0, 0}));
  ASSERT_TRUE(collector.complete());
  const auto answers = collector.Take();
  EXPECT_EQ(answers[0].ToStatus("list").code(), absl::StatusCode::kUnavailable);
}

TEST(AnswerCollector, ADumpsErrorIsInItsEnd) {
  AnswerCollector collector(1, 1);
  collector.Feed(Pack(NLMSG_DONE, NLM_F_MULTI, 1, {0xed, 0xff, 0xff, 0xff}));  // -19
  EXPECT_EQ(collector.Take()[0].error, ENODEV);
}

TEST(AnswerCollector, RepliesAreHandedOverInsteadOfKept) {
  std::vector<std::pair<uint16_t, size_t>> got;
  AnswerCollector collector(1, 1, [&](size_t, const MessageView& reply) {
    got.emplace_back(reply.type, reply.payload.size());
  });
  auto datagram = Pack(NLMSG_MIN_TYPE, NLM_F_MULTI, 1, {1, 2, 3, 4});
  const auto second = Pack(NLMSG_MIN_TYPE + 1, NLM_F_MULTI, 1, {1, 2});
  datagram.insert(datagram.end(), second.begin(), second.end());
  collector.Feed(datagram);
  collector.Feed(Pack(NLMSG_MIN_TYPE, NLM_F_MULTI, 7, {}));  // late: of another request
  EXPECT_FALSE(collector.complete());
  collector.Feed(Pack(NLMSG_DONE, NLM_F_MULTI, 1, {0, 0, 0, 0}));
  ASSERT_TRUE(collector.complete());
  EXPECT_EQ(got, (std::vector<std::pair<uint16_t, size_t>>{{NLMSG_MIN_TYPE, 4},
                                                           {NLMSG_MIN_TYPE + 1, 2}}));
  const auto answers = collector.Take();
  EXPECT_TRUE(answers[0].ok());
  EXPECT_TRUE(answers[0].replies.empty());
}

TEST(AnswerCollector, ADumpThatIsCutShortAfterSomeRepliesIsNoWholeOne) {
  size_t got = 0;
  AnswerCollector collector(1, 1, [&](size_t, const MessageView&) { ++got; });
  auto datagram = Pack(NLMSG_MIN_TYPE, NLM_F_MULTI, 1, {1, 2, 3, 4});
  datagram.insert(datagram.end(), {1, 2, 3});
  collector.Feed(datagram);
  ASSERT_TRUE(collector.complete());
  EXPECT_EQ(got, 1u);
  EXPECT_EQ(collector.Take()[0].ToStatus("x").code(), absl::StatusCode::kDataLoss);
}

TEST(AnswerCollector, WhatAsksForNoAcknowledgementIsDoneWithALaterOne) {
  std::vector<size_t> replied;
  AnswerCollector collector(
      1, 4, [&](size_t request, const MessageView&) { replied.push_back(request); });
  for (const size_t quiet : {0, 1, 2}) collector.NoAckOf(quiet);
  collector.Feed(Pack(NLMSG_MIN_TYPE, 0, 1, {1, 2, 3, 4}));
  collector.Feed(AckMessage(2, EEXIST, "it is there"));  // an error comes in any case
  collector.Feed(Pack(NLMSG_MIN_TYPE, 0, 3, {1, 2, 3, 4}));
  EXPECT_FALSE(collector.complete());
  collector.Feed(Pack(NLMSG_MIN_TYPE, 0, 4, {1, 2, 3, 4}));
  collector.Feed(AckMessage(4, 0, ""));
  ASSERT_TRUE(collector.complete());
  EXPECT_EQ(replied, (std::vector<size_t>{0, 2, 3}));
  const auto answers = collector.Take();
  EXPECT_TRUE(answers[0].ok() && answers[2].ok() && answers[3].ok());
  EXPECT_EQ(answers[1].error, EEXIST);
}

TEST(AnswerCollector, AbortFailsAlsoWhatAskedForNoAcknowledgement) {
  AnswerCollector collector(1, 3);
  collector.NoAckOf(0);
  collector.NoAckOf(1);
  collector.Feed(AckMessage(1, ENOENT, ""));
  collector.Abort(absl::UnavailableError("lost"));
  ASSERT_TRUE(collector.complete());
  const auto answers = collector.Take();
  EXPECT_EQ(answers[0].error, ENOENT);
  EXPECT_TRUE(absl::IsUnavailable(answers[1].transport));
  EXPECT_TRUE(absl::IsUnavailable(answers[2].transport));
}

TEST(AnswerCollector, AbortFailsOnlyWhatIsOutstanding) {
  AnswerCollector collector(1, 2);
  collector.Feed(AckMessage(1, 0));
  collector.Abort(absl::UnavailableError("lost"));
  const auto answers = collector.Take();
  EXPECT_TRUE(answers[0].ok());
  EXPECT_EQ(answers[1].ToStatus("x").code(), absl::StatusCode::kUnavailable);
}

TEST(AnswerCollector, RubbishFailsTheRequestsInsteadOfHangingThem) {
  AnswerCollector collector(1, 2);
  collector.Feed(std::vector<uint8_t>{1, 2, 3});
  ASSERT_TRUE(collector.complete());
  EXPECT_EQ(collector.Take()[0].ToStatus("x").code(), absl::StatusCode::kDataLoss);
}

TEST(Message, NestsAndPads) {
  Message message(30, NLM_F_ACK);
  message.Header(uint32_t{7}).PutU8(1, 5).Begin(2).PutString(3, "ab").End();
  ASSERT_TRUE(message.status().ok());
  auto views = SplitDatagram(message.bytes());
  ASSERT_TRUE(views.ok());
  ASSERT_EQ(views->size(), 1u);
  DecodeError error;
  AttributeSet set(AfterHeader(views->front().payload, 4), &error);
  EXPECT_EQ(set.U8(1), 5);
  EXPECT_EQ(set.Nested(2).String(3, 10), "ab");
  EXPECT_TRUE(error.ok());
}

TEST(Message, ThatDoesNotFitIsRefused) {
  Message message(30, 0);
  message.Put(1, std::vector<uint8_t>(Message::kCapacity));
  EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Answer, SaysWhatWasAskedAndWhatTheKernelSaid) {
  Answer answer;
  answer.error = EOPNOTSUPP;
  answer.words = "Driver says no";
  const absl::Status status = answer.ToStatus("put a filter");
  EXPECT_THAT(std::string(status.message()), HasSubstr("put a filter"));
  EXPECT_EQ(PeerWords(status), "Driver says no");
  EXPECT_EQ(ErrnoOf(status), EOPNOTSUPP);
}

}  // namespace
}  // namespace fairlead::netlink
