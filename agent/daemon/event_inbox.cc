// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/event_inbox.h"

#include <utility>

#include "dataplane/tc/lower.h"

namespace fairlead {

EventInbox::EventInbox(uint32_t store_id, Poster post, std::function<void(Batch)> deliver)
    : store_id_(store_id), post_(std::move(post)), deliver_(std::move(deliver)) {}

void EventInbox::Add(const RtnetlinkEvent& event) {
  const std::lock_guard lock(mutex_);
  switch (event.kind) {
    case RtnetlinkEvent::Kind::kLinkChanged:
    case RtnetlinkEvent::Kind::kLinkGone:
      batch_.links[event.ifindex] = event.name;
      break;
    case RtnetlinkEvent::Kind::kAddressOrRouteChanged:
      batch_.addresses = batch_.neighbours = true;
      break;
    case RtnetlinkEvent::Kind::kNeighbourChanged:
      batch_.neighbours = true;
      break;
    case RtnetlinkEvent::Kind::kLost:
      batch_.lost.insert(Source::kLinks);
      break;
  }
  Kept();
}

void EventInbox::Add(const TcPort::Event& event) {
  if (!event.deleted && !event.lost && event.cookie) {
    const std::optional<CookieParts> cookie = ParseCookie(*event.cookie);
    if (cookie && cookie->store_id == store_id_) return;  // our own doing
  }
  const std::lock_guard lock(mutex_);
  if (event.lost) {
    batch_.lost.insert(Source::kRules);
  } else {
    batch_.rules.insert({event.at, event.id});
  }
  Kept();
}

void EventInbox::Add(const DevlinkPort::Event& event) {
  const std::lock_guard lock(mutex_);
  if (event.kind == DevlinkPort::Event::Kind::kLost) {
    batch_.lost.insert(Source::kDevlink);
  } else {
    batch_.devlink.insert(event.device.handle);
  }
  Kept();
}

void EventInbox::Add(const std::string& vm, const QmpEvent& event) {
  const std::lock_guard lock(mutex_);
  VmEvents& events = batch_.vms[vm];  // as many as there are sessions
  switch (event.kind) {
    case QmpEvent::Kind::kDeviceDeleted:
      events.deleted.insert(event.device);
      break;
    case QmpEvent::Kind::kUnplugGuestError:
      events.unplug_errors.insert(event.device);
      break;
    case QmpEvent::Kind::kDisconnected:
      events.disconnected = true;
      break;
    case QmpEvent::Kind::kReset:
    case QmpEvent::Kind::kShutdown:
    case QmpEvent::Kind::kRunState:
      events.changed = true;
      break;
  }
  for (auto* devices : {&events.deleted, &events.unplug_errors}) {
    if (devices->size() <= kMostDevices) continue;
    devices->clear();  // QEMU has not that many: it is asked what it has
    events.changed = true;
  }
  Kept();
}

void EventInbox::AddNic(const NicId& nic) {
  const std::lock_guard lock(mutex_);
  batch_.nics.insert(nic);
  Kept();
}

void EventInbox::AddPci(const PciAddress& function) {
  const std::lock_guard lock(mutex_);
  batch_.drivers.insert(function);
  Kept();
}

void EventInbox::AddLost(Source source) {
  const std::lock_guard lock(mutex_);
  batch_.lost.insert(source);
  Kept();
}

void EventInbox::Kept() {
  const auto bound = [this](auto& kept, Source source) {
    if (kept.size() > kMost) batch_.lost.insert(source);
    if (batch_.lost.contains(source)) kept.clear();
  };
  bound(batch_.links, Source::kLinks);
  bound(batch_.rules, Source::kRules);
  bound(batch_.devlink, Source::kDevlink);
  bound(batch_.drivers, Source::kDevices);
  if (std::exchange(fetching_, true)) return;
  post_([self = shared_from_this()] {
    Batch batch;
    {
      const std::lock_guard lock(self->mutex_);
      self->fetching_ = false;
      std::swap(batch, self->batch_);
    }
    if (self->deliver_) self->deliver_(std::move(batch));
  });
}

void EventInbox::Close() { deliver_ = nullptr; }

}  // namespace fairlead
