// SPDX-License-Identifier: Apache-2.0
//
// The contract on the real server, in this process: its netdevs alone are not real.
#include "agent/ports/slow_path/linux_slow_path_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "agent/ports/slow_path/slow_path_contract.h"
#include "dataplane/slowpath/test_server.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;

class RealHost final : public SlowPathContractHost {
 public:
  RealHost() { server_.netdevs().SetAbsent(404, true); }
  std::unique_ptr<SlowPathSocket> NewSocket() override {
    return std::make_unique<LinuxSlowPathSocket>(
        LinuxSlowPathSocket::Options{server_.path(), milliseconds(20'000)});
  }
  bool Knows(const SlowPathEntry& entry) override {
    bool out = false;
    server_.Do([&](slowpath::Server& server) {
      const slowpath::Tables& tables = server.tables();
      if (const auto* subnet = std::get_if<SlowPathSubnet>(&entry)) {
        const SlowPathSubnet* there = tables.FindSubnet(subnet->id);
        out = there != nullptr && *there == *subnet;
      } else if (const auto* port = std::get_if<SlowPathPort>(&entry)) {
        const SlowPathPort* there = tables.FindPort(port->id);
        out = there != nullptr && *there == *port;
      } else {
        const auto& neighbour = std::get<SlowPathNeighbour>(entry);
        out = tables.FindNeighbour(neighbour.subnet, neighbour.address) == neighbour.mac;
      }
    });
    return out;
  }
  bool Knows(const SlowPathKey& key) override {
    bool out = false;
    server_.Do([&](slowpath::Server& server) {
      const slowpath::Tables& tables = server.tables();
      switch (key.kind) {
        case SlowPathKey::Kind::kSubnet:
          out = tables.FindSubnet(key.id) != nullptr;
          break;
        case SlowPathKey::Kind::kPort:
          out = tables.FindPort(key.id) != nullptr;
          break;
        case SlowPathKey::Kind::kNeighbour:
          out = tables.FindNeighbour(key.id, key.address).has_value();
          break;
      }
    });
    return out;
  }
  void Stop() override { server_.Stop(); }
  void Start() override { server_.Start(); }

 private:
  slowpath::TestServer server_;
};

std::unique_ptr<SlowPathContractHost> MakeReal() { return std::make_unique<RealHost>(); }
INSTANTIATE_TEST_SUITE_P(Real, SlowPathContract, ::testing::Values(&MakeReal));

// A process that answers what the test says.
class OddProcess {
 public:
  OddProcess() {
    char folder[] = "/tmp/fairlead-slowpath-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/control.sock";
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(listener_.get(), 1) != 0) {
      throw std::runtime_error("listen");
    }
  }
  ~OddProcess() {
    if (thread_.joinable()) thread_.join();
    std::filesystem::remove_all(folder_);
  }
  // Answers one message.
  void Answer(std::string answer) {
    thread_ = std::thread([this, answer = std::move(answer)] {
      const UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
      std::string message(kMaxSlowPathMessage, 0);
      (void)!::recv(fd.get(), message.data(), message.size(), 0);
      (void)!::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
  }
  LinuxSlowPathSocket Socket(milliseconds deadline) {
    return LinuxSlowPathSocket({path_, deadline});
  }

 private:
  std::string folder_, path_;
  UniqueFd listener_;
  std::thread thread_;
};

TEST(LinuxSlowPathSocketTest, AProcessThatHangs) {
  OddProcess process;
  LinuxSlowPathSocket socket = process.Socket(milliseconds(50));
  EXPECT_EQ(socket.TellAll({}, true, {}).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(socket.Tell({}, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LinuxSlowPathSocketTest, AnswersThatAreNone) {
  for (const std::string& answer :
       {std::string("\xff\xff"), EncodeSlowPathReply({.sequence = 7, .report = {}})}) {
    OddProcess process;
    process.Answer(answer);
    LinuxSlowPathSocket socket = process.Socket(milliseconds(20'000));
    EXPECT_EQ(socket.TellAll({}, true, {}).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(LinuxSlowPathSocketTest, AProcessThatGoes) {
  OddProcess process;
  process.Answer("");  // an empty message, as the end is
  LinuxSlowPathSocket socket = process.Socket(milliseconds(20'000));
  EXPECT_EQ(socket.TellAll({}, true, {}).status().code(), absl::StatusCode::kUnavailable);
}

TEST(LinuxSlowPathSocketTest, PathsThatAreNone) {
  for (const std::string& path : {std::string(), std::string(200, 'x')}) {
    LinuxSlowPathSocket socket({path, milliseconds(50)});
    EXPECT_EQ(socket.TellAll({}, true, {}).status().code(), absl::StatusCode::kInvalidArgument);
  }
  LinuxSlowPathSocket socket({"/nonexistent/control.sock", milliseconds(50)});
  EXPECT_EQ(socket.TellAll({}, true, {}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace fairlead
