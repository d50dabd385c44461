// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/eswitch_provider.h"

#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {

absl::StatusOr<EswitchProvider::Seen> EswitchProvider::Observe(const DevlinkHandle& device) {
  Seen seen;
  if (devlink_ == nullptr) return seen;
  absl::StatusOr<EswitchSettings> settings = devlink_->GetEswitch(device);
  if (absl::IsNotFound(settings.status()) || absl::IsUnimplemented(settings.status())) {
    return seen;  // no devlink device, or one without an eswitch
  }
  if (!settings.ok()) return settings.status();
  seen.settings = *settings;
  if (settings->mode.value_or(EswitchMode::kLegacy) == EswitchMode::kLegacy) return seen;
  FAIRLEAD_ASSIGN_OR_RETURN(seen.ports, devlink_->ListPorts(device));
  absl::StatusOr<std::vector<DevlinkRate>> rates = devlink_->ListRates(device);
  if (absl::IsUnimplemented(rates.status())) return seen;  // a kernel before 5.14
  if (!rates.ok()) return rates.status();
  seen.rates = *std::move(rates);
  return seen;
}

absl::StatusOr<EswitchSettings> EswitchProvider::Put(const DevlinkHandle& device,
                                                     const EswitchSettings& wanted) {
  FAIRLEAD_ASSIGN_OR_RETURN(const Seen before, Observe(device));
  const EswitchSettings& now = before.settings;
  if (now.empty()) {
    return absl::UnimplementedError(
        StrCat("set the eswitch of ", device.ToString(), " to ", wanted.ToString(),
               ": this NIC has none that devlink shows; take 'eswitch' out of its configuration"));
  }
  EswitchSettings mode, encap, inline_mode;
  if (wanted.mode != now.mode) mode.mode = wanted.mode;
  if (wanted.encap_mode != now.encap_mode) encap.encap_mode = wanted.encap_mode;
  if (wanted.inline_mode != now.inline_mode) inline_mode.inline_mode = wanted.inline_mode;
  if (mode.mode == EswitchMode::kLegacy) {
    FAIRLEAD_RETURN_IF_ERROR(devlink_->SetEswitch(device, mode));
    mode = {};
  }
  for (const EswitchSettings& one : {encap, inline_mode, mode}) {
    if (!one.empty()) FAIRLEAD_RETURN_IF_ERROR(devlink_->SetEswitch(device, one));
  }
  return devlink_->GetEswitch(device);
}

absl::Status EswitchProvider::PutRate(const DevlinkHandle& device, const DevlinkRateId& leaf,
                                      const DevlinkRateSettings& wanted) {
  return devlink_->SetRate(device, leaf, wanted);
}

}  // namespace fairlead
