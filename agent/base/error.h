// SPDX-License-Identifier: Apache-2.0
//
// Purpose: errors that keep the kernel's own words.
//
// Every fallible call in Fairlead returns absl::Status or absl::StatusOr. When
// the failure came from the kernel (or QEMU), the status also carries the errno
// and the peer's own text (netlink extended ACK, QMP "desc"), so that a user
// reads what the kernel said and not only what Fairlead made of it.
//
// Status codes have one meaning each across the agent:
//   kInvalidArgument     what was asked can never work (permanent)
//   kFailedPrecondition  the host is not in the state that this needs (permanent
//                        until a fact or the intent changes)
//   kNotFound            the object is not there
//   kAlreadyExists       somebody else's object is in the way (permanent)
//   kResourceExhausted   no free VF, root port, queue slot (permanent until a
//                        fact changes)
//   kUnimplemented       the kernel or NIC says "not supported" (permanent)
//   kUnavailable         not now; trying again may help (transient)
//   kDeadlineExceeded    no answer in time; the outcome is unknown (transient)
//   kDataLoss            stored or received bytes are corrupt
//   kInternal            a bug, or an errno without a better class (transient)
//
// Threading: free functions on values; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fairlead {

// Builds a status for a failed system call or netlink request. `asked` says in
// the user's terms what was attempted ("create 4 VFs on pf0"); `err` is a
// positive errno; `kernel_words` is the extended-ACK text, may be empty. The
// message reads "<asked>: <strerror>" or "<asked>: <kernel_words> (<strerror>)".
absl::Status SystemError(int err, std::string_view asked, std::string_view kernel_words = {});

// A failure that a peer other than the kernel described (QEMU's "desc").
absl::Status PeerError(absl::StatusCode code, std::string_view asked, std::string_view peer_words);

// The errno of a status made by SystemError, else 0.
int ErrnoOf(const absl::Status& status);

// The kernel's or peer's own words, else "".
std::string PeerWords(const absl::Status& status);

// `status` with "<context>: " put before its message; code, errno and peer's
// words are kept. An OK status is returned as it is.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// True where trying the same thing again later may succeed (see the table).
bool IsTransient(const absl::Status& status);

}  // namespace fairlead

// Returns the status of `expr` from the enclosing function unless it is OK.
#define FAIRLEAD_RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                           \
    if (absl::Status fairlead_status_ = (expr); !fairlead_status_.ok()) return fairlead_status_; \
  } while (false)

#define FAIRLEAD_CONCAT_INNER_(a, b) a##b
#define FAIRLEAD_CONCAT_(a, b) FAIRLEAD_CONCAT_INNER_(a, b)

// Evaluates `expr` (a StatusOr), returns its status on error, else moves the
// value into `lhs` (which may be a declaration).
#define FAIRLEAD_ASSIGN_OR_RETURN(lhs, expr) \
  FAIRLEAD_ASSIGN_OR_RETURN_(FAIRLEAD_CONCAT_(fairlead_or_, __LINE__), lhs, expr)
#define FAIRLEAD_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return std::move(tmp).status();   \
  lhs = *std::move(tmp)
