// SPDX-License-Identifier: Apache-2.0
#include "agent/base/error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr char kErrnoUrl[] = "fairlead/errno";
constexpr char kPeerWordsUrl[] = "fairlead/peer-words";

absl::StatusCode CodeOf(int err) {
  switch (err) {
    case EINVAL:
    case ERANGE:
    case E2BIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
    case EFBIG:
    case EDOM:
      return absl::StatusCode::kInvalidArgument;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case EPERM:
    case EACCES:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENOTEMPTY:
    case EADDRNOTAVAIL:
      return absl::StatusCode::kFailedPrecondition;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EUSERS:
      return absl::StatusCode::kResourceExhausted;
    case EOPNOTSUPP:
    case ENOSYS:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case ENOTTY:
      return absl::StatusCode::kUnimplemented;
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENOMEM:
    case ENOBUFS:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case EPIPE:
    case ESTALE:
      return absl::StatusCode::kUnavailable;
    case ETIMEDOUT:
    case ETIME:
      return absl::StatusCode::kDeadlineExceeded;
    case EBADMSG:
    case EILSEQ:
      return absl::StatusCode::kDataLoss;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string Describe(int err) {
  // Thread-safe and locale-independent, which strerror is not.
  const char* words = strerrordesc_np(err);
  return words != nullptr ? std::string(words) : StrCat("errno ", err);
}

std::string Payload(const absl::Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status SystemError(int err, std::string_view asked, std::string_view kernel_words) {
  std::string message = kernel_words.empty()
                            ? StrCat(asked, ": ", Describe(err))
                            : StrCat(asked, ": ", kernel_words, " (", Describe(err), ")");
  absl::Status status(CodeOf(err), message);
  status.SetPayload(kErrnoUrl, absl::Cord(StrCat(err)));
  if (!kernel_words.empty()) status.SetPayload(kPeerWordsUrl, absl::Cord(AbslView(kernel_words)));
  return status;
}

absl::Status PeerError(absl::StatusCode code, std::string_view asked, std::string_view peer_words) {
  // absl drops the message of an OK status; a failure must not become a success.
  if (code == absl::StatusCode::kOk) code = absl::StatusCode::kInternal;
  absl::Status status(code, StrCat(asked, ": ", peer_words));
  if (!peer_words.empty()) status.SetPayload(kPeerWordsUrl, absl::Cord(AbslView(peer_words)));
  return status;
}

int ErrnoOf(const absl::Status& status) {
  int err = 0;
  if (!absl::SimpleAtoi(Payload(status, kErrnoUrl), &err)) return 0;
  return err;
}

std::string PeerWords(const absl::Status& status) { return Payload(status, kPeerWordsUrl); }

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status out(status.code(), StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
    // Outside the table: no Fairlead code makes these, so they say as little as
    // kInternal does.
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

}  // namespace fairlead
