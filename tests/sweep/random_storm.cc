// SPDX-License-Identifier: Apache-2.0
#include "tests/sweep/random_storm.h"

#include <errno.h>

#include <cstdio>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {

absl::Status Storm::Before(const PortCall& call) {
  if (host->running() && rages && dice_->OneIn(800)) {
    Say("killed before ", call);
    Kill();
  }
  if (killed_) return absl::CancelledError("the agent was killed");
  if (!rages || !dice_->OneIn(25)) return absl::OkStatus();
  // A commit fails as a disk does; the store's own words are tested where it is.
  const int error =
      dice_->Of(std::vector<int>{EBUSY, EIO, ENOMEM, EAGAIN, ENOBUFS, EPERM, ETIMEDOUT});
  Say("error", call);
  return SystemError(error, call.ToString());
}

absl::Status Storm::After(const PortCall& call) {
  if (host->running() && rages && dice_->OneIn(800)) {
    Say("killed after ", call);
    Kill();
  }
  if (killed_) return absl::CancelledError("the agent was killed");
  // A store that answers with an error has not committed.
  if (!rages || call.port == "store" || !dice_->OneIn(100)) return absl::OkStatus();
  Say("answer lost of", call);
  return absl::DeadlineExceededError(StrCat(call.ToString(), ": the answer is lost"));
}

void Storm::Kill() {
  killed_ = true;
  host->KillSoon();
}

void Storm::Say(const char* what, const PortCall& call) const {
  if (aloud_) std::printf("    %s %s\n", what, call.ToString().c_str());
}

}  // namespace fairlead
