// SPDX-License-Identifier: Apache-2.0
//
// Damage to every question that is answered: none may be read behind its end, and what has lost a
// part of itself is not answered.
#include <gtest/gtest.h>

#include "dataplane/slowpath/responder.h"
#include "dataplane/slowpath/test_frames.h"

namespace fairlead::slowpath {
namespace {

// At the end of memory of its own, so that a sanitizer sees a read behind it.
Answer Ask(const Octets& frame, bool checksum_pending) {
  static const Tables kTables = TestTables();
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[frame.size()]);
  std::copy(frame.begin(), frame.end(), copy.get());
  return Respond(TestPort(), kTables, {copy.get(), frame.size()}, checksum_pending);
}

TEST(HostileFramesTest, EachQuestionIsAnsweredWhole) {
  for (const Octets& frame : AllQuestions()) {
    EXPECT_EQ(Ask(frame, false).verdict, Verdict::kAnswered) << ToHex(frame);
  }
}

TEST(HostileFramesTest, CutAnywhere) {
  for (const Octets& frame : AllQuestions()) {
    for (size_t size = 0; size < frame.size(); ++size) {
      const Octets cut(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size));
      for (const bool pending : {false, true}) {
        EXPECT_NE(Ask(cut, pending).verdict, Verdict::kAnswered) << size << " of " << ToHex(frame);
      }
    }
  }
}

// IP's own length is put right, so that the parts further in see the cut.
TEST(HostileFramesTest, CutAnywhereWithLengthsThatFit) {
  for (const Octets& frame : AllQuestions()) {
    const bool v4 = frame[12] == 0x08 && frame[13] == 0x00, v6 = frame[12] == 0x86;
    const size_t header = 14 + (v4 ? 20 : 40);
    if (!v4 && !v6) continue;
    for (size_t size = header; size < frame.size(); ++size) {
      Octets cut(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(size));
      const Octets length = U16(static_cast<uint32_t>(v4 ? size - 14 : size - header));
      std::copy(length.begin(), length.end(), cut.begin() + (v4 ? 16 : 18));
      if (v4) {
        cut[24] = cut[25] = 0;
        uint32_t sum = 0;
        for (size_t i = 14; i < 34; i += 2) sum += cut[i] << 8U | cut[i + 1];
        sum = ~((sum >> 16) + (sum & 0xffff));
        cut[24] = static_cast<uint8_t>(sum >> 8);
        cut[25] = static_cast<uint8_t>(sum);
      }
      Ask(cut, false);
      Ask(cut, true);
    }
  }
}

// Every byte of every question, to every one of a few values.
TEST(HostileFramesTest, AChangedByteNeverMovesAnAnswerToSomebodyElse) {
  const MacAddress guest = *MacAddress::Parse(kGuestMac);
  for (const Octets& frame : AllQuestions()) {
    for (size_t at = 0; at < frame.size(); ++at) {
      for (const uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        Octets changed = frame;
        changed[at] = value;
        const Answer answer = Ask(changed, true);
        if (answer.verdict != Verdict::kAnswered) continue;
        const MacAddress to = *MacAddress::FromBytes(std::span(answer.frame).first(6));
        EXPECT_TRUE(to.IsMulticast() || to == guest) << ToHex(changed);
        const MacAddress from = *MacAddress::FromBytes(std::span(answer.frame).subspan(6, 6));
        EXPECT_TRUE(from.IsUnicast() && from != guest) << ToHex(changed);
      }
    }
  }
}

}  // namespace
}  // namespace fairlead::slowpath
