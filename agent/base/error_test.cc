// SPDX-License-Identifier: Apache-2.0
#include "agent/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "agent/base/text.h"

namespace fairlead {
namespace {

TEST(SystemErrorTest, SaysWhatWasAskedAndWhatTheKernelSaid) {
  auto status = SystemError(EINVAL, "create 4 VFs on pf0", "VFs are in use");
  EXPECT_EQ(status.message(), "create 4 VFs on pf0: VFs are in use (Invalid argument)");
  EXPECT_EQ(ErrnoOf(status), EINVAL);
  EXPECT_EQ(PeerWords(status), "VFs are in use");
}

TEST(SystemErrorTest, WithoutKernelWordsTheErrnoSpeaks) {
  auto status = SystemError(ENOENT, "read x");
  EXPECT_EQ(status.message(), "read x: No such file or directory");
  EXPECT_EQ(PeerWords(status), "");
  EXPECT_EQ(ErrnoOf(SystemError(99999, "x")), 99999);  // an errno that libc does not know
}

TEST(SystemErrorTest, EveryErrnoIsAnErrorOfTheTable) {
  for (int err = 1; err < 200; ++err) {
    auto status = SystemError(err, "x");
    EXPECT_FALSE(status.ok()) << err;
    EXPECT_EQ(ErrnoOf(status), err);
  }
}

TEST(SystemErrorTest, CodesThatDecideAboutTryingAgain) {
  EXPECT_EQ(SystemError(EBUSY, "x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SystemError(EAGAIN, "x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SystemError(ETIMEDOUT, "x").code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(SystemError(ENODEV, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SystemError(EEXIST, "x").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(SystemError(EOPNOTSUPP, "x").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(SystemError(EINVAL, "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SystemError(EPERM, "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SystemError(ENOSPC, "x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(SystemError(EIO, "x").code(), absl::StatusCode::kInternal);

  EXPECT_TRUE(IsTransient(SystemError(EBUSY, "x")));
  EXPECT_TRUE(IsTransient(SystemError(ETIMEDOUT, "x")));
  EXPECT_TRUE(IsTransient(SystemError(EIO, "x")));
  EXPECT_FALSE(IsTransient(SystemError(EINVAL, "x")));
  EXPECT_FALSE(IsTransient(SystemError(EOPNOTSUPP, "x")));
  EXPECT_FALSE(IsTransient(SystemError(ENODEV, "x")));
  EXPECT_FALSE(IsTransient(absl::OkStatus()));
}

TEST(PeerErrorTest, KeepsThePeersWordsAndStaysAnError) {
  auto status = PeerError(absl::StatusCode::kNotFound, "device_del", "Device 'x' not found");
  EXPECT_EQ(status.message(), "device_del: Device 'x' not found");
  EXPECT_EQ(PeerWords(status), "Device 'x' not found");
  EXPECT_EQ(ErrnoOf(status), 0);
  EXPECT_FALSE(PeerError(absl::StatusCode::kOk, "x", "y").ok());
}

TEST(AnnotateTest, PutsContextInFrontAndLosesNothing) {
  auto status = Annotate(SystemError(EBUSY, "bind VF", "device busy"), "port web-0");
  EXPECT_EQ(status.message(), "port web-0: bind VF: device busy (Device or resource busy)");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoOf(status), EBUSY);
  EXPECT_EQ(PeerWords(status), "device busy");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return absl::InvalidArgumentError("odd");
  return n / 2;
}
absl::StatusOr<int> Quarter(int n) {
  FAIRLEAD_ASSIGN_OR_RETURN(int half, Half(n));
  FAIRLEAD_ASSIGN_OR_RETURN(half, Half(half));
  return half;
}
absl::Status Check(int n) {
  FAIRLEAD_RETURN_IF_ERROR(Quarter(n).status());
  return absl::OkStatus();
}

TEST(MacrosTest, ErrorsLeaveTheFunctionAndValuesArrive) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_TRUE(Check(4).ok());
  EXPECT_FALSE(Check(3).ok());
}

TEST(TextTest, PiecesOfAllKindsAreJoined) {
  EXPECT_EQ(StrCat("a", std::string("b"), std::string_view("c"), absl::string_view("d"), 7,
                   uint8_t{255}, INT64_MIN, UINT64_MAX),
            "abcd7255-922337203685477580818446744073709551615");
  EXPECT_EQ(StrJoin(std::initializer_list<int>{1, 2, 3}, ", "), "1, 2, 3");
  EXPECT_EQ(Quoted("a\nb"), "'a\\nb'");
  std::string out = "x";
  StrAppend(&out, "y", 1);
  EXPECT_EQ(out, "xy1");
}

}  // namespace
}  // namespace fairlead
