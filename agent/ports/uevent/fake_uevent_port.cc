// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/fake_uevent_port.h"

#include <utility>

namespace fairlead {

class FakeUevents::Listening final : public UeventPort::Subscription {
 public:
  Listening(FakeUevents* uevents, UeventPort::Handler handler) : uevents_(uevents) {
    const std::lock_guard lock(uevents_->mutex_);
    place_ = uevents_->handlers_.insert(uevents_->handlers_.end(), std::move(handler));
  }
  ~Listening() override {
    const std::lock_guard lock(uevents_->mutex_);  // held while a handler runs
    uevents_->handlers_.erase(place_);
  }

 private:
  FakeUevents* uevents_;
  std::list<UeventPort::Handler>::iterator place_;
};

void FakeUevents::Say(const Uevent& event) {
  const std::lock_guard lock(mutex_);
  for (const UeventPort::Handler& handler : handlers_) handler(event);
}

void FakeUevents::Emit(const std::string& action, const std::string& devpath,
                       const std::string& subsystem) {
  Uevent event;
  event.action = action;
  event.devpath = devpath;
  event.subsystem = subsystem;
  Say(event);
}

void FakeUevents::Lose() {
  Uevent event;
  event.lost = true;
  Say(event);
}

absl::StatusOr<std::unique_ptr<UeventPort::Subscription>> FakeUeventPort::Subscribe(
    Handler handler) {
  return std::make_unique<FakeUevents::Listening>(uevents_, std::move(handler));
}

}  // namespace fairlead
