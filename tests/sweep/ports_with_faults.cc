// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/ports_with_faults.h"

#include <utility>

namespace fairlead {
namespace {

template <typename Make>
Make Wrapped(Make make, FaultPlan* plan) {
  if (!make) return make;
  return [make, plan](const auto&... arguments) -> decltype(make(arguments...)) {
    auto port = make(arguments...);
    if (!port.ok()) return port.status();
    return WithFaults(*std::move(port), plan);
  };
}

}  // namespace

PortsWithFaults::PortsWithFaults(const Ports& plain, FaultPlan* plan)
    : sysfs_(WithFaults(plain.sysfs, plan)),
      qmp_(WithFaults(plain.qmp, plan)),
      uevent_(WithFaults(plain.uevent, plan)) {
  ports_.sysfs = sysfs_.get();
  ports_.qmp = qmp_.get();
  ports_.uevent = uevent_.get();
  ports_.rtnetlink = Wrapped(plain.rtnetlink, plan);
  ports_.tc = Wrapped(plain.tc, plan);
  ports_.conntrack = Wrapped(plain.conntrack, plan);
  ports_.devlink = Wrapped(plain.devlink, plan);
  ports_.slow_path = Wrapped(plain.slow_path, plan);
}

}  // namespace fairlead
