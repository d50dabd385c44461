// SPDX-License-Identifier: Apache-2.0
#include "dataplane/slowpath/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "agent/ports/slow_path/linux_slow_path_socket.h"
#include "dataplane/slowpath/test_frames.h"
#include "dataplane/slowpath/test_golden.h"
#include "dataplane/slowpath/test_server.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead::slowpath {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Entries = std::vector<SlowPathEntry>;

constexpr uint32_t kNetdev = 7;  // of TestPort

class ServerTest : public ::testing::Test {
 protected:
  void Tell(TestServer& server, const Entries& all) {
    agent_ = std::make_unique<LinuxSlowPathSocket>(
        LinuxSlowPathSocket::Options{server.path(), milliseconds(20'000)});
    const auto report = agent_->TellAll(all, true, {});
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_THAT(report->problems, IsEmpty());
  }
  // The next frame that is no router advertisement: these come when they come.
  static std::string Answer(TestServer& server, uint32_t netdev = kNetdev,
                            milliseconds wait = milliseconds(20'000)) {
    while (true) {
      const auto frame = server.netdevs().GuestReceives(netdev, wait);
      if (!frame) return "";
      if (std::string hex = ToHex(*frame); hex != ToHex(Hex(golden::kRaAll))) return hex;
    }
  }
  std::unique_ptr<LinuxSlowPathSocket> agent_;
};

TEST_F(ServerTest, AnswersAGuestAndCounts) {
  TestServer server;
  Tell(server, TestNetwork());
  server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server), ToHex(Hex(golden::kArpGateway)));
  server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.9"));
  server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.1", "10.0.0.7"));
  server.netdevs().GuestSends(kNetdev, Octets(3));
  server.netdevs().GuestSends(kNetdev, ArpRequest(kGuest4));
  const SlowPathCounters wanted{
      .received = 5, .answered = 1, .malformed = 1, .spoofed = 1, .unknown = 1};
  EXPECT_TRUE(server.Until([&](const SlowPathReport& r) { return r.counters == wanted; }));
}

TEST_F(ServerTest, AnswersOnWhenTheAgentIsGone) {
  TestServer server;
  Tell(server, TestNetwork());
  agent_.reset();
  for (int i = 0; i < 3; ++i) {
    server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.7"));
    EXPECT_EQ(Answer(server), ToHex(Hex(golden::kArpNeighbour)));
  }
}

TEST_F(ServerTest, APortThatIsRemovedIsNotHeard) {
  TestServer server;
  Tell(server, TestNetwork());
  const SlowPathKey key{SlowPathKey::Kind::kPort, "web", {}};
  ASSERT_TRUE(agent_->Tell({}, std::vector{key}).ok());
  // Its socket is closed, which the guest's end sees.
  EXPECT_EQ(Answer(server), "");
}

TEST_F(ServerTest, TheSocketOfAPortThatIsToldAgainStays) {
  TestServer server;
  Tell(server, TestNetwork());
  Tell(server, TestNetwork());
  SlowPathPort port = TestPort();
  port.host_name = "other";
  ASSERT_TRUE(agent_->Tell(Entries{port}, {}).ok());
  EXPECT_EQ(server.netdevs().opened(), 1U);
  port.ifindex = 8;
  ASSERT_TRUE(agent_->Tell(Entries{port}, {}).ok());
  EXPECT_EQ(server.netdevs().opened(), 2U);
  server.netdevs().GuestSends(8, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server, 8), ToHex(Hex(golden::kArpGateway)));
}

TEST_F(ServerTest, ANetdevThatComesLaterIsFound) {
  TestServer server;
  server.netdevs().SetAbsent(kNetdev, true);
  Tell(server, TestNetwork());
  EXPECT_THAT(server.Report().deaf_ports, ElementsAre(HasSubstr("port web: netdev 'pf0rep0'")));
  server.netdevs().SetAbsent(kNetdev, false);
  EXPECT_TRUE(server.Until([](const SlowPathReport& r) { return r.deaf_ports.empty(); }));
  server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server), ToHex(Hex(golden::kArpGateway)));
}

TEST_F(ServerTest, ANetdevThatGoesAndComesBackByAnotherIndex) {
  TestServer server;
  Tell(server, TestNetwork());
  server.netdevs().SetAbsent(kNetdev, true);
  EXPECT_TRUE(server.Until([](const SlowPathReport& r) {
    return r.deaf_ports.size() == 1 && r.deaf_ports[0].find("not there") != std::string::npos;
  }));
  SlowPathPort port = TestPort();
  port.ifindex = 9;
  const auto report = agent_->Tell(Entries{port}, {});
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->deaf_ports, IsEmpty());
  server.netdevs().GuestSends(9, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server, 9), ToHex(Hex(golden::kArpGateway)));
}

TEST_F(ServerTest, AFloodIsBoundedAndHoldsUpNobodyElse) {
  ServerOptions options;
  options.rate = 1;
  options.burst = 10;
  TestServer server(options);
  Entries all = TestNetwork();
  SlowPathPort other = TestPort();
  other.id = "other";
  other.ifindex = 8;
  all.emplace_back(other);
  Tell(server, all);
  for (int i = 0; i < 200; ++i) server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.1"));
  server.netdevs().GuestSends(8, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server, 8), ToHex(Hex(golden::kArpGateway)));
  // What the kernel dropped meanwhile counts as well (the fake says 1000 each time).
  EXPECT_TRUE(server.Until([](const SlowPathReport& r) { return r.counters.over_rate > 1000; }));
  EXPECT_LT(server.Report().counters.answered, 40U);
}

TEST_F(ServerTest, PingsThatTheGatewayOnlyRoutesCostThePortNothing) {
  ServerOptions options;
  options.rate = 1;
  options.burst = 2;
  TestServer server(options);
  Tell(server, TestNetwork());
  for (int i = 0; i < 50; ++i) {
    server.netdevs().GuestSends(kNetdev, i % 2 == 0 ? Ping4("10.1.0.1") : Ping6("2001:db8:1::1"));
  }
  server.netdevs().GuestSends(kNetdev, ArpRequest("10.0.0.1"));
  EXPECT_EQ(Answer(server), ToHex(Hex(golden::kArpGateway)));
  EXPECT_EQ(server.Report().counters.received, 1U);
}

TEST_F(ServerTest, AFloodOfWhatTheGatewayOnlyRoutesIsNotReadForEver) {
  ServerOptions options;
  options.rate = 1;
  options.burst = 2;
  TestServer server(options);
  Tell(server, TestNetwork());
  for (int i = 0; i < 300; ++i) server.netdevs().GuestSends(kNetdev, Ping4("10.1.0.1"));
  // It is counted when the port pauses, with what the kernel dropped (the fake says 1000).
  EXPECT_TRUE(server.Until([](const SlowPathReport& r) { return r.counters.over_rate >= 1000; }));
  EXPECT_EQ(server.Report().counters.received, 0U);
}

TEST_F(ServerTest, RoutersAdvertiseThemselves) {
  ServerOptions options;
  options.advertise_min = milliseconds(10);
  options.advertise_max = milliseconds(20);
  TestServer server(options);
  Tell(server, TestNetwork());
  for (int i = 0; i < 3; ++i) {
    const auto frame = server.netdevs().GuestReceives(kNetdev);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(ToHex(*frame), ToHex(Hex(golden::kRaAll)));
  }
}

TEST_F(ServerTest, AChangedSubnetIsAdvertisedSoon) {
  TestServer server;
  Tell(server, TestNetwork());
  ASSERT_TRUE(server.netdevs().GuestReceives(kNetdev).has_value());  // it is new
  SlowPathSubnet subnet = TestSubnet();
  subnet.gateway6.reset();
  ASSERT_TRUE(agent_->Tell(Entries{subnet}, {}).ok());
  const auto frame = server.netdevs().GuestReceives(kNetdev);
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(ToHex(*frame), ToHex(Hex(golden::kRaNoRouter)));
}

TEST_F(ServerTest, TablesThatAreFullSaySo) {
  ServerOptions options;
  options.limits.neighbours = 3;
  TestServer server(options);
  LinuxSlowPathSocket agent({server.path(), milliseconds(20'000)});
  const auto report = agent.TellAll(TestNetwork(), true, {});
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->problems,
              ElementsAre(HasSubstr("neighbour 2001:db8::7 in s: there are 3 neighbours")));
}

// ---- the control socket
// ---------------------------------------------------------------------------

UniqueFd Connect(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

// The answer to `message`; "" when the connection ends.
std::string Ask(const UniqueFd& fd, std::string_view message) {
  EXPECT_EQ(::send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(message.size()));
  std::string answer(kMaxSlowPathMessage, 0);
  const ssize_t size = ::recv(fd.get(), answer.data(), answer.size(), 0);
  answer.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return answer;
}

std::string Update(uint64_t sequence, bool begin) {
  return EncodeSlowPathUpdates(sequence, begin, begin, {}, {})->front();
}

TEST(ControlSocketTest, IsForItsOwnerAlone) {
  TestServer server;
  struct stat facts {};
  ASSERT_EQ(::stat(server.path().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0600U);
}

TEST(ControlSocketTest, WhoDoesNotKeepToTheProtocolIsDisconnected) {
  TestServer server;
  EXPECT_EQ(Ask(Connect(server.path()), "\xff\xff"), "");
  EXPECT_EQ(Ask(Connect(server.path()), ""), "");
  EXPECT_EQ(Ask(Connect(server.path()), Update(2, true)), "");   // not the first
  EXPECT_EQ(Ask(Connect(server.path()), Update(1, false)), "");  // no beginning
  const UniqueFd fd = Connect(server.path());
  EXPECT_NE(Ask(fd, Update(1, true)), "");
  EXPECT_EQ(Ask(fd, Update(3, false)), "");  // one is missing
  const UniqueFd again = Connect(server.path());
  EXPECT_NE(Ask(again, Update(1, true)), "");
  EXPECT_EQ(Ask(again, Update(2, true)), "");  // a second beginning
  EXPECT_NE(Ask(Connect(server.path()), Update(1, true)), "");
}

TEST(ControlSocketTest, WhoDoesNotReadItsAnswersIsDisconnected) {
  TestServer server;
  const UniqueFd fd = Connect(server.path());
  bool disconnected = false;
  for (uint64_t i = 1; i < 100'000 && !disconnected; ++i) {
    const std::string message = Update(i, i == 1);
    disconnected = ::send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0;
  }
  EXPECT_TRUE(disconnected);
  EXPECT_NE(Ask(Connect(server.path()), Update(1, true)), "");
}

TEST(ControlSocketTest, APathIsServedByOne) {
  TestServer server;
  ServerOptions options;
  options.path = server.path();
  Loop loop;
  const SystemClock clock;
  FakePacketSockets sockets;
  EXPECT_EQ(Server::Start(options, &loop, &clock, &sockets).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_NE(Ask(Connect(server.path()), Update(1, true)), "");  // it goes on
}

TEST(ControlSocketTest, TheFileOfOneThatWasKilledIsNoHindranceAndItsOwnIsRemoved) {
  TestServer other;
  ServerOptions options;
  options.path = other.folder() + "/left.sock";
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, options.path.data(), options.path.size());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  Loop loop;
  const SystemClock clock;
  FakePacketSockets sockets;
  auto server = Server::Start(options, &loop, &clock, &sockets);
  ASSERT_TRUE(server.ok()) << server.status();
  server->reset();
  EXPECT_FALSE(std::filesystem::exists(options.path));
}

TEST(ControlSocketTest, WhatIsNoSocketIsLeftAlone) {
  TestServer other;
  ServerOptions options;
  options.path = other.folder() + "/file";
  ASSERT_EQ(::close(::creat(options.path.c_str(), 0600)), 0);
  Loop loop;
  const SystemClock clock;
  FakePacketSockets sockets;
  EXPECT_FALSE(Server::Start(options, &loop, &clock, &sockets).ok());
  EXPECT_TRUE(std::filesystem::exists(options.path));
  options.path = other.folder() + "/none/control.sock";
  EXPECT_FALSE(Server::Start(options, &loop, &clock, &sockets).ok());
  options.path = std::string(200, 'x');
  EXPECT_EQ(Server::Start(options, &loop, &clock, &sockets).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fairlead::slowpath
