// SPDX-License-Identifier: Apache-2.0
//
// Datagrams of the kernel's connection tracking made of any bytes: the decoder must answer or
// refuse, and what it takes can be asked for and named again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/ports/conntrack/conntrack_codec.h"

namespace {

void Check(const fairlead::Connection& connection) {
  using namespace fairlead::netlink;
  (void)connection.original.ToString();
  if (!DeleteConnectionRequest(connection).ok()) std::abort();
  if (!FindConnectionRequest(connection.zone, connection.reply).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead::netlink;
  constexpr uint16_t kZone = 0xfa05;
  const Bytes bytes(data, size);
  if (auto connection = DecodeConnection(bytes, kZone); connection.ok() && *connection) {
    Check(**connection);
  }
  ConnectionDump dump(kZone);
  AnswerCollector collector(1, 1, [&](size_t, const MessageView& message) { dump.Take(message); });
  collector.Feed(bytes);
  if (auto messages = SplitDatagram(bytes); messages.ok()) {
    for (const MessageView& message : *messages) {
      (void)ParseAck(message);
      dump.Take(message);
    }
  }
  for (const fairlead::Connection& connection : dump.Finish()) Check(connection);
  return 0;
}
