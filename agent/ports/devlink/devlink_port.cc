// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/devlink/devlink_port.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "agent/base/text.h"

namespace fairlead {

absl::StatusOr<DevlinkHandle> DevlinkHandle::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size() ||
      slash > kMaxName || text.size() - slash - 1 > kMaxName ||
      text.find('/', slash + 1) != std::string_view::npos ||
      text.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        StrCat("'", text, "' is not a devlink device, such as pci/0000:01:00.0"));
  }
  return DevlinkHandle{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

DevlinkHandle DevlinkHandle::Pci(const PciAddress& address) { return {"pci", address.ToString()}; }

std::string DevlinkHandle::ToString() const { return StrCat(bus, "/", device); }

DevlinkRateId DevlinkRateId::Leaf(uint32_t port) { return {port, ""}; }

absl::StatusOr<DevlinkRateId> DevlinkRateId::Node(std::string_view name) {
  const bool digits = std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
  const bool shown = std::all_of(name.begin(), name.end(), absl::ascii_isgraph);
  if (name.empty() || name.size() > kMaxNode || digits || !shown || name == "." || name == ".." ||
      name.find('/') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        StrCat(Quoted(name), " cannot name a rate node: that takes 1 to ", kMaxNode,
               " letters, digits and signs, no space, no '/', and not digits alone"));
  }
  return DevlinkRateId{std::nullopt, std::string(name)};
}

std::string DevlinkRateId::ToString() const {
  return port ? StrCat("leaf ", *port) : StrCat("node ", node);
}

std::string_view Name(DevlinkFlavour flavour) {
  switch (flavour) {
    case DevlinkFlavour::kPhysical:
      return "physical";
    case DevlinkFlavour::kCpu:
      return "cpu";
    case DevlinkFlavour::kDsa:
      return "dsa";
    case DevlinkFlavour::kPciPf:
      return "pcipf";
    case DevlinkFlavour::kPciVf:
      return "pcivf";
    case DevlinkFlavour::kVirtual:
      return "virtual";
    case DevlinkFlavour::kUnused:
      return "unused";
    case DevlinkFlavour::kPciSf:
      return "pcisf";
    case DevlinkFlavour::kOther:
      break;
  }
  return "other";
}

absl::Status CheckSettable(const DevlinkPortFunction& wanted) {
  if (!wanted.attached) return absl::OkStatus();
  return absl::InvalidArgumentError("whether a driver is attached to a function cannot be set");
}

absl::StatusOr<DevlinkPortInfo> FindVfRepresentor(std::span<const DevlinkPortInfo> ports,
                                                  const DevlinkVf& vf) {
  const std::string which = StrCat("VF ", vf.vf, vf.pf ? StrCat(" of PF ", *vf.pf) : std::string());
  const DevlinkPortInfo* found = nullptr;
  for (const DevlinkPortInfo& port : ports) {
    if (port.flavour != DevlinkFlavour::kPciVf || port.vf != vf.vf) continue;
    if (vf.pf && port.pf != vf.pf) continue;
    // 0 is this host, also where an old kernel does not say it.
    if (port.external || port.controller.value_or(0) != 0) continue;
    if (found != nullptr) {
      return absl::FailedPreconditionError(StrCat(which, " has two representors, devlink ports ",
                                                  found->index, " and ", port.index));
    }
    found = &port;
  }
  if (found == nullptr) return absl::NotFoundError(StrCat(which, " has no representor"));
  if (found->ifindex == 0) {
    return absl::UnavailableError(
        StrCat("the representor of ", which, " (devlink port ", found->index, ") has no netdev"));
  }
  return *found;
}

}  // namespace fairlead
