// SPDX-License-Identifier: Apache-2.0
#include "agent/transport/ipc_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const std::string& endpoint) {
  const auto path = PathOfEndpoint(endpoint);
  EXPECT_EQ(path.status().code(), absl::StatusCode::kInvalidArgument) << endpoint;
  return std::string(path.status().message());
}

TEST(IpcEndpoint, OnlyAFileByItsAbsolutePathIsTaken) {
  EXPECT_EQ(PathOfEndpoint("ipc:///run/fairlead/agent.sock").value(), "/run/fairlead/agent.sock");
  EXPECT_THAT(Refusal("tcp://0.0.0.0:5555"), HasSubstr("encrypted"));
  EXPECT_THAT(Refusal("inproc://x"), HasSubstr("ipc:///path"));
  EXPECT_THAT(Refusal("ipc://@x"), HasSubstr("abstract"));
  EXPECT_THAT(Refusal("ipc://*"), HasSubstr("absolute path"));
  EXPECT_THAT(Refusal("ipc://run/x"), HasSubstr("absolute path"));
  EXPECT_THAT(Refusal("ipc:///run/"), HasSubstr("absolute path"));
  EXPECT_THAT(Refusal(std::string("ipc:///a\0b", 10)), HasSubstr("zero byte"));
  EXPECT_THAT(Refusal(""), HasSubstr("ipc:///path"));
}

TEST(IpcEndpoint, APathThatNoSocketAddressHoldsIsRefused) {
  EXPECT_TRUE(PathOfEndpoint("ipc:///" + std::string(106, 'a')).ok());
  EXPECT_THAT(Refusal("ipc:///" + std::string(107, 'a')), HasSubstr("108 bytes"));
}

TEST(IpcEndpoint, WhatStandsThereIsTold) {
  EXPECT_EQ(ProbeIpc("/nonexistent/x").state, IpcState::kNothing);
  EXPECT_EQ(ProbeIpc("/etc/passwd").state, IpcState::kNoSocket);
}

}  // namespace
}  // namespace fairlead
