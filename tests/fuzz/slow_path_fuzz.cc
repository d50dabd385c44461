// SPDX-License-Identifier: Apache-2.0
//
// What guests send to the slow path, and what its control socket gets, made of any bytes. The
// first byte says which: even, a frame (4: with its checksum left to hardware); odd, a message.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/slowpath/packet.h"
#include "dataplane/slowpath/responder.h"
#include "dataplane/slowpath/test_frames.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace {

using namespace fairlead;
using namespace fairlead::slowpath;

void Require(bool good) {
  if (!good) std::abort();
}

// An answer is well-formed, goes back to who asked, and is never larger than what fits a
// guest's smallest buffer or what was asked, in some proportion.
void CheckAnswer(const SlowPathPort& port, Bytes question, const std::vector<uint8_t>& frame) {
  const auto ethernet = ParseEthernet(frame);
  const auto asked = ParseEthernet(question);
  Require(ethernet && asked);
  Require(ethernet->destination == asked->source || ethernet->destination.IsMulticast());
  Require(ethernet->source.IsUnicast() && ethernet->source != port.mac);
  Require(frame.size() <= 2 * question.size() + 1400);
  if (ethernet->type == kEtherTypeIp4) {
    const auto ip = ParseIp4(ethernet->payload);
    Require(ip && ip->packet.size() == ethernet->payload.size());
    if (ip->protocol == kProtocolUdp) {
      Require(ParseUdp(ip->source, ip->destination, ip->payload, false).has_value());
    } else {
      Require(Icmp4Good(ip->payload, false));
    }
  } else if (ethernet->type == kEtherTypeIp6) {
    const auto ip = ParseIp6(ethernet->payload);
    Require(ip && ip->packet.size() == ethernet->payload.size());
    if (ip->next_header == kProtocolUdp) {
      Require(ParseUdp(ip->source, ip->destination, ip->payload, false).has_value());
    } else {
      Require(Icmp6Good(*ip, false));
    }
  } else {
    Require(ethernet->type == kEtherTypeArp && frame.size() == 42);
  }
}

void FuzzFrame(Bytes frame, bool checksum_pending) {
  static const Tables kTables = TestTables();
  static const SlowPathPort kPort = TestPort();
  const Answer answer = Respond(kPort, kTables, frame, checksum_pending);
  Require((answer.verdict == Verdict::kAnswered) == !answer.frame.empty());
  if (!answer.frame.empty()) CheckAnswer(kPort, frame, answer.frame);
}

void FuzzMessage(std::string_view message) {
  (void)DecodeSlowPathReply(message);
  std::vector<std::string> problems;
  const auto update = DecodeSlowPathUpdate(message, &problems);
  if (!update.ok()) return;
  Require(problems.size() <= kMaxSlowPathTold);
  // What was let in can be written, and is read as the same.
  const auto messages =
      EncodeSlowPathUpdates(1, true, true, update->put, update->remove, update->keep);
  Require(messages.ok());
  std::vector<SlowPathEntry> put;
  std::vector<SlowPathKey> remove;
  std::vector<uint32_t> keep;
  for (const std::string& part : *messages) {
    const auto again = DecodeSlowPathUpdate(part, &problems);
    Require(again.ok());
    put.insert(put.end(), again->put.begin(), again->put.end());
    remove.insert(remove.end(), again->remove.begin(), again->remove.end());
    keep.insert(keep.end(), again->keep.begin(), again->keep.end());
  }
  Require(put == update->put && remove == update->remove && keep == update->keep);
  Tables tables({.subnets = 8, .ports = 8, .neighbours = 8});
  tables.Begin();
  for (const SlowPathEntry& entry : put) (void)tables.Put(entry);
  for (const SlowPathKey& key : remove) tables.Remove(key);
  for (const auto& [id, port] : tables.ports()) (void)UnsolicitedAdvertisement(port.value, tables);
  tables.Begin();
  for (const uint32_t ifindex : keep) tables.Keep(ifindex);
  tables.Whole();
  Require(tables.ports().size() <= keep.size());
  tables.Begin();
  tables.Whole();
  Require(tables.ports().size() + tables.subnets() + tables.neighbours() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  google::protobuf::SetLogHandler(nullptr);  // says so for each text that is not UTF-8
  if (size == 0) return 0;
  const uint8_t kind = data[0];
  if (kind % 2 == 0) {
    FuzzFrame({data + 1, size - 1}, (kind & 4) != 0);
  } else {
    FuzzMessage({reinterpret_cast<const char*>(data + 1), size - 1});
  }
  return 0;
}
