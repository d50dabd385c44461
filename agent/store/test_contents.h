// SPDX-License-Identifier: Apache-2.0
//
// Purpose: for tests only: random objects and batches, and what a store must hold
// after them.
// Threading: plain functions on values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/store/store.h"

namespace fairlead {

using Random = std::mt19937;

inline uint32_t Below(Random& random, uint32_t bound) { return random() % bound; }

inline MacAddress RandomMac(Random& random) {
  std::array<uint8_t, 6> bytes{};
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  bytes[0] &= 0xfe;
  return MacAddress(bytes);
}

inline IpAddress RandomAddress(Random& random, bool v4) {
  std::array<uint8_t, 16> bytes{};
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return *IpAddress::FromBytes(std::span(bytes.data(), v4 ? 4U : 16U));
}

inline std::vector<IpAddress> RandomAddresses(Random& random, size_t least) {
  std::vector<IpAddress> addresses;
  const size_t count = least + Below(random, 4);
  while (addresses.size() < count) addresses.push_back(RandomAddress(random, random() % 2 != 0));
  return addresses;
}

inline Uuid RandomUuid(Random& random) {
  char text[40];
  std::snprintf(text, sizeof(text), "%08x-1111-4222-8333-%08x0000", static_cast<uint32_t>(random()),
                static_cast<uint32_t>(random()));
  return *Uuid::Parse(text);
}

inline Object RandomObject(Random& random, ObjectKind kind, const std::string& id) {
  switch (kind) {
    case ObjectKind::kVpc:
      if (random() % 4 == 0) return Vpc{id, {}, *VlanId::Make(1 + Below(random, VlanId::kMax))};
      if (random() % 8 == 0) return Vpc{id, {}, {}, true};
      return Vpc{id, *Vni::Make(1 + Below(random, Vni::kMax))};
    case ObjectKind::kSubnet: {
      Subnet subnet{id, "vpc-1", std::nullopt, std::nullopt};
      const uint32_t families = 1 + Below(random, 3);
      if ((families & 1) != 0) {
        subnet.prefix4 = *IpPrefix::Parse(StrCat("10.", Below(random, 256), ".0.0/16"));
      }
      if ((families & 2) != 0) {
        subnet.prefix6 = *IpPrefix::Parse(StrCat("2001:db8:", Below(random, 1000), "::/48"));
      }
      if (random() % 2 != 0) subnet.gateway4 = RandomAddress(random, true);
      if (random() % 2 != 0) subnet.gateway6 = RandomAddress(random, false);
      if (random() % 2 != 0) subnet.dns_servers = RandomAddresses(random, 0);
      return subnet;
    }
    case ObjectKind::kVm:
      return Vm{id, RandomUuid(random)};
    case ObjectKind::kPort: {
      Port port;
      port.id = id;
      if (random() % 2 != 0) port.vm = "vm-1";
      port.vpc = "vpc-1";
      port.subnet = "subnet-1";
      if (random() % 2 != 0) port.mac = RandomMac(random);
      port.addresses = RandomAddresses(random, 0);
      for (uint32_t i = Below(random, 4); i > 0; --i) {
        AddressPair pair;
        if (random() % 2 != 0) pair.mac = RandomMac(random);
        pair.prefix =
            *IpPrefix::Parse(random() % 2 != 0 ? StrCat("10.", Below(random, 256), ".0.0/16")
                                               : StrCat("2001:db8::", Below(random, 1000), "/128"));
        port.allowed_pairs.push_back(pair);
      }
      if (random() % 2 != 0) port.network = NetworkKind::kConverged;
      port.offload = static_cast<OffloadWish>(Below(random, 3));
      if (random() % 2 != 0) port.spoof_check = random() % 2 != 0;
      port.trust = random() % 2 != 0;
      port.max_tx_mbps = Below(random, 3) * 1000;
      port.min_tx_mbps = Below(random, 3) * 100;
      port.function = static_cast<FunctionSource>(Below(random, 2));
      return port;
    }
    case ObjectKind::kEndpoint:
      return Endpoint{id,
                      "vpc-1",
                      "subnet-1",
                      RandomMac(random),
                      RandomAddresses(random, 1),
                      RandomAddress(random, true)};
    case ObjectKind::kRoute: {
      const bool v4 = random() % 2 != 0;
      const uint32_t third = Below(random, 256);
      return Route{id, "vpc-1",
                   *IpPrefix::Parse(random() % 4 == 0 ? std::string(v4 ? "0.0.0.0/0" : "::/0")
                                    : v4              ? StrCat("10.", third, ".0.0/16")
                                                      : StrCat("2001:db8:", third, "::/48")),
                   RandomAddress(random, v4)};
    }
    case ObjectKind::kSecurityGroup: {
      SecurityGroup group{id, "vpc-1", random() % 2 != 0, {}};
      for (uint32_t i = Below(random, 4); i > 0; --i) {
        SecurityRule rule;
        rule.ingress = random() % 2 != 0;
        if (random() % 2 != 0) rule.v4 = random() % 2 != 0;
        if (random() % 2 != 0) rule.protocol = static_cast<uint8_t>(random());
        if (random() % 2 != 0) rule.ports = {0, static_cast<uint16_t>(random())};
        if (random() % 2 != 0) rule.icmp_type = static_cast<uint8_t>(random());
        if (random() % 2 != 0) rule.icmp_code = 0;
        if (random() % 2 != 0) rule.remote = IpPrefix::Host(RandomAddress(random, true));
        if (random() % 2 != 0) rule.remote_group = id;
        group.rules.push_back(rule);
      }
      return group;
    }
  }
  return Vpc{};
}

inline Attachment RandomAttachment(Random& random, uint16_t index) {
  Attachment attachment;
  attachment.vf = {MacAddress({0x52, 0x54, 0, 0, 0, 1}), index};
  attachment.lease = (uint64_t{random()} << 32) | 1;
  attachment.transaction = random();
  attachment.generation = random();
  attachment.phase = static_cast<AttachmentPhase>(Below(random, 4));
  attachment.port = StrCat("port-", index);
  attachment.port_ordinal = 1 + Below(random, kMaxOrdinal);
  if (random() % 2 != 0) {
    attachment.vm = "vm-1";
    attachment.vm_uuid = RandomUuid(random);
    attachment.bus = "rp2";
    if (random() % 2 != 0) attachment.guest_id = "fairlead-0a1b2c3d-p3-l7";
  }
  attachment.vpc = "vpc-1";
  attachment.uplink = random() % 4 == 0;
  if (!attachment.uplink) {
    attachment.vni = *Vni::Make(1 + Below(random, Vni::kMax));
  } else if (random() % 2 == 0) {
    attachment.vlan = *VlanId::Make(1 + Below(random, VlanId::kMax));
  }
  const auto mac = [&] {
    return MacAddress({0x52, 0x54, 0, 0, 1, static_cast<uint8_t>(Below(random, 256))});
  };
  if (random() % 2 != 0) attachment.mac = mac();
  if (random() % 2 != 0) attachment.vf_mac = mac();
  if (random() % 2 != 0) attachment.mtu = random();
  return attachment;
}

inline SanitationRecord RandomSanitation(Random& random, uint16_t index) {
  SanitationRecord record;
  record.vf = {MacAddress({0x52, 0x54, 0, 0, 0, 1}), index};
  record.verdict = static_cast<Verdict>(Below(random, 3));
  record.reason = std::string(random() % 100, 'r');
  for (const char* what : kSanitationChecks) {
    if (random() % 2 == 0) continue;
    record.findings.push_back({what, static_cast<FindingState>(Below(random, 3)),
                               std::string(random() % 5, 'v'), std::string(random() % 5, 'w')});
  }
  const auto time = [&] {
    return std::chrono::system_clock::time_point(std::chrono::seconds(random()) +
                                                 std::chrono::nanoseconds(random()));
  };
  record.checked_at = time();
  record.lease = (uint64_t{random()} << 32) | 1;
  record.port = StrCat("port-", index);
  if (random() % 2 != 0) record.vm = "vm-1";
  if (random() % 2 != 0) record.own_mac = RandomMac(random);
  if (random() % 2 != 0) record.mtu = random();
  if (random() % 2 != 0) {
    record.released_by = "operator";
    record.released_at = time();
  }
  return record;
}

// What a store must hold after a sequence of batches.
class Expected {
 public:
  void Apply(const StoreBatch& batch) {
    if (batch.change) {
      for (const ObjectRef& ref : batch.change->removes) objects_.erase(ref);
      for (const StoredObject& object : batch.change->upserts) {
        objects_[RefOf(object.object)] = object;
      }
      next_ordinal_ = batch.change->next_ordinal;
    }
    for (const VfId& vf : batch.released) attachments_.erase(vf);
    for (const Attachment& attachment : batch.attachments) attachments_[attachment.vf] = attachment;
    for (const SanitationRecord& record : batch.sanitation) sanitation_[record.vf] = record;
    if (batch.next_lease) next_lease_ = *batch.next_lease;
    if (batch.next_transaction) next_transaction_ = *batch.next_transaction;
    if (batch.forgotten_controller) {
      controllers_.erase(*batch.forgotten_controller);
      std::erase_if(answers_, [&](const AnswerRecord& answer) {
        return answer.controller == *batch.forgotten_controller;
      });
    }
    if (batch.controller) {
      ControllerRecord& known =
          controllers_.try_emplace(batch.controller->id, *batch.controller).first->second;
      if (known.IsOlderThan(*batch.controller)) known = *batch.controller;
    }
    if (batch.answer) answers_.push_back(*batch.answer);
    if (batch.taken_over) taken_over_[batch.taken_over->id] = *batch.taken_over;
  }

  friend bool operator==(const Expected&, const Expected&) = default;

  static Expected From(const StoreContents& contents) {
    Expected expected;
    expected.next_ordinal_ = contents.next_ordinal;
    expected.next_lease_ = contents.next_lease;
    expected.next_transaction_ = contents.next_transaction;
    for (const StoredObject& object : contents.objects) {
      expected.objects_[RefOf(object.object)] = object;
    }
    for (const Attachment& attachment : contents.attachments) {
      expected.attachments_[attachment.vf] = attachment;
    }
    for (const SanitationRecord& record : contents.sanitation) {
      expected.sanitation_[record.vf] = record;
    }
    for (const ControllerRecord& record : contents.controllers) {
      expected.controllers_[record.id] = record;
    }
    expected.answers_ = contents.answers;
    for (const TakenOverStore& store : contents.taken_over) expected.taken_over_[store.id] = store;
    return expected;
  }

  uint32_t next_ordinal() const { return next_ordinal_; }
  const std::map<ObjectRef, StoredObject>& objects() const { return objects_; }

 private:
  uint32_t next_ordinal_ = 1;
  Lease next_lease_ = 1;
  uint64_t next_transaction_ = 1;
  std::map<ObjectRef, StoredObject> objects_;
  std::map<VfId, Attachment> attachments_;
  std::map<VfId, SanitationRecord> sanitation_;
  std::map<std::string, ControllerRecord> controllers_;
  std::vector<AnswerRecord> answers_;
  std::map<uint32_t, TakenOverStore> taken_over_;
};

// A batch that fits what is there: several objects, some removed, journal and
// answer, all of which must come and go together.
inline StoreBatch RandomBatch(Random& random, const Expected& now, uint32_t number) {
  StoreBatch batch;
  batch.change.emplace();
  uint32_t ordinal = now.next_ordinal();
  std::map<ObjectRef, StoredObject> upserts;
  const uint32_t count = 1 + Below(random, 5);
  for (uint32_t i = 0; i < count; ++i) {
    const ObjectKind kind = kAllObjectKinds[Below(random, std::size(kAllObjectKinds))];
    const std::string id = StrCat("o-", Below(random, 12));
    const ObjectRef ref{kind, id};
    const auto it = now.objects().find(ref);
    const bool there = it != now.objects().end();
    if (there && random() % 3 == 0) {
      if (upserts.contains(ref)) continue;
      batch.change->removes.push_back(ref);
      upserts.erase(ref);
      continue;
    }
    if (std::find(batch.change->removes.begin(), batch.change->removes.end(), ref) !=
        batch.change->removes.end()) {
      continue;
    }
    upserts[ref] = {RandomObject(random, kind, id), there ? it->second.generation + 1 : 1,
                    there ? it->second.ordinal : ordinal++};
  }
  for (const auto& [ref, object] : upserts) batch.change->upserts.push_back(object);
  batch.change->next_ordinal = ordinal;
  batch.attachments.push_back(RandomAttachment(random, static_cast<uint16_t>(Below(random, 4))));
  batch.released.push_back(
      {MacAddress({0x52, 0x54, 0, 0, 0, 1}), static_cast<uint16_t>(4 + Below(random, 4))});
  batch.sanitation.push_back(RandomSanitation(random, batch.released.front().index));
  batch.next_lease = number + 2;
  batch.next_transaction = number + 3;
  if (random() % 10 == 0) batch.forgotten_controller = "controller-1";
  batch.controller = {"controller-1", 1, number};
  batch.answer = {"controller-1", StrCat("request-", number), std::string(random() % 3000, 'a')};
  if (random() % 4 == 0) {
    batch.taken_over = TakenOverStore{1 + Below(random, 3), random() % 2 != 0};
  }
  return batch;
}

}  // namespace fairlead
