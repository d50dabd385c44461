// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/fake_host.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <utility>

#include "agent/base/text.h"

namespace fairlead {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPoll{5};

}  // namespace

FakeHost::~FakeHost() { Stop(); }

void FakeHost::Start() {
  std::promise<absl::Status> started;
  std::future<absl::Status> result = started.get_future();
  loop_ = std::make_unique<Loop>();
  thread_ = std::thread([this, &started] {
    absl::StatusOr<std::unique_ptr<Agent>> agent =
        Agent::Start(loop_.get(), &clock_, config, ports());
    started.set_value(agent.status());
    if (agent.ok()) loop_->Run();
  });
  const absl::Status status = result.get();
  ASSERT_TRUE(status.ok()) << status;
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(config.server.requests);
  ASSERT_TRUE(client.ok()) << client.status();
  client_ = *std::move(client);
}

void FakeHost::Stop() {
  if (!thread_.joinable()) return;
  client_.reset();
  loop_->Stop();
  thread_.join();
  loop_.reset();
}

v1::Reply FakeHost::SendBytes(std::string_view bytes) {
  v1::Reply reply;
  const absl::StatusOr<std::string> answer = client_->Call(bytes, kPatience);
  EXPECT_TRUE(answer.ok()) << answer.status();
  if (answer.ok()) {
    EXPECT_TRUE(reply.ParseFromString(*answer));
  }
  return reply;
}

v1::Reply FakeHost::Call(const v1::Request& request) {
  return SendBytes(request.SerializeAsString());
}

void FakeHost::WaitUntil(const std::string& what, const std::function<bool()>& done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= until) {
      ADD_FAILURE() << "it did not come to this: " << what;
      return;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::optional<v1::ObjectStatus> FakeHost::WaitPort(
    const std::string& port,
    const std::function<bool(const std::optional<v1::ObjectStatus>&)>& done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    std::optional<v1::ObjectStatus> status = PortStatus(port);
    if (done(status)) return status;
    if (std::chrono::steady_clock::now() >= until) {
      ADD_FAILURE() << port << " did not come to what was waited for: "
                    << (status ? status->ShortDebugString() : "it is gone");
      return status;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

v1::ObjectStatus FakeHost::WaitReady(const std::string& port) {
  return WaitPort(port, [](const auto& s) { return s && s->state() == v1::OBJECT_STATE_READY; })
      .value_or(v1::ObjectStatus());
}

v1::ObjectStatus FakeHost::WaitFailed(const std::string& port) {
  return WaitPort(port,
                  [](const auto& s) {
                    return s && s->state() == v1::OBJECT_STATE_FAILED && s->rolled_back();
                  })
      .value_or(v1::ObjectStatus());
}

void FakeHost::WaitGone(const std::string& port) {
  WaitPort(port, [](const auto& s) { return !s; });
}

bool FakeHost::HasItsVfs() {
  const v1::HostState host = Host();
  int ready = 0;
  for (const v1::HostState::Pf& pf : host.pfs()) {
    if (pf.num_vfs() == options_.vfs && pf.vfs_size() == options_.vfs) ++ready;
  }
  return ready == options_.pfs;
}

}  // namespace fairlead
