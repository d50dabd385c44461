// SPDX-License-Identifier: Apache-2.0
//
// Datagrams of the kernel's traffic control made of any bytes: every decoder
// must answer or refuse.
#include <cstddef>
#include <cstdint>

#include "agent/ports/tc/tc_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::netlink;
  const Bytes bytes(data, size);
  (void)DecodeFilter(bytes);
  (void)DecodeQdisc(bytes);
  FilterDump dump;
  AnswerCollector collector(1, 1, [&](size_t, const MessageView& message) { dump.Take(message); });
  collector.Feed(bytes);
  if (auto messages = SplitDatagram(bytes); messages.ok()) {
    for (const MessageView& message : *messages) {
      (void)ParseAck(message);
      (void)DecodeTcEvent(message);
      (void)DecodeFilter(message.payload);
      (void)DecodeQdisc(message.payload);
    }
  }
  return 0;
}
