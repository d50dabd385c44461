// SPDX-License-Identifier: Apache-2.0
//
// Datagrams of the kernel's rtnetlink, and the answers to a batch of requests,
// made of any bytes: every decoder must answer or refuse.
#include <cstddef>
#include <cstdint>

#include "agent/ports/rtnetlink/rtnetlink_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::netlink;
  const Bytes bytes(data, size);
  (void)DecodeLink(bytes);
  (void)DecodeNeighbour(bytes);
  (void)DecodeRoute(bytes);
  (void)DecodeAddress(bytes);
  AnswerCollector collector(1, 3);
  collector.Feed(bytes);
  for (const Answer& answer : collector.Take()) (void)answer.ToStatus("fuzz");
  if (auto messages = SplitDatagram(bytes); messages.ok()) {
    for (const MessageView& message : *messages) {
      (void)ParseAck(message);
      (void)DecodeEvent(message);
      (void)DecodeLink(message.payload);
      (void)DecodeNeighbour(message.payload);
      (void)DecodeRoute(message.payload);
      (void)DecodeAddress(message.payload);
    }
  }
  return 0;
}
