// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "agent/base/unique_fd.h"
#include "agent/runtime/loop.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// systemd's end: a datagram socket with a name of its own.
class ServiceManagerTest : public ::testing::Test {
 protected:
  ServiceManagerTest() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // The kernel chooses a free abstract name.
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const size_t name = size - offsetof(sockaddr_un, sun_path) - 1;
    ::setenv("NOTIFY_SOCKET", ("@" + std::string(address.sun_path + 1, name)).c_str(), 1);
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  ~ServiceManagerTest() override { ::unsetenv("NOTIFY_SOCKET"); }

  std::unique_ptr<ServiceManager> Make() {
    return std::make_unique<ServiceManager>(&loop_, &clock_, [this] {
      if (look_) look_();
      return standing_;
    });
  }

  // What has come and was not looked at yet.
  std::vector<std::string> Heard() {
    std::vector<std::string> heard;
    char text[4096];
    ssize_t size;
    while ((size = ::recv(socket_.get(), text, sizeof(text), 0)) >= 0) {
      heard.emplace_back(text, static_cast<size_t>(size));
    }
    return heard;
  }

  // Runs the loop until so many have come in all, and returns them.
  std::vector<std::string> RunUntil(size_t count) {
    std::vector<std::string> heard;
    const auto id = loop_.WatchReadable(socket_.get(), [&] {
      for (std::string& message : Heard()) heard.push_back(std::move(message));
      if (heard.size() >= count) loop_.Stop();
    });
    EXPECT_TRUE(id.ok()) << id.status();
    loop_.Run();
    loop_.Unwatch(*id);
    return heard;
  }

  UniqueFd socket_;
  Loop loop_;
  ManualClock clock_;
  Standing standing_{"", "2 objects: 2 ready"};
  std::function<void()> look_;
};

TEST_F(ServiceManagerTest, AnAgentThatHasObservedEverythingIsReadyAndEndsWithAWord) {
  auto manager = Make();
  EXPECT_THAT(Heard(), IsEmpty());  // before the loop turns nobody is answered
  EXPECT_THAT(RunUntil(1), ElementsAre("READY=1\nSTATUS=2 objects: 2 ready"));
  manager.reset();
  EXPECT_THAT(Heard(), ElementsAre("STOPPING=1"));
}

TEST_F(ServiceManagerTest, UntilThenItSaysWhatItWaitsFor) {
  standing_ = {"NIC 52:54:00:00:00:01", "0 objects"};
  auto manager = Make();
  EXPECT_THAT(RunUntil(1),
              ElementsAre("STATUS=0 objects; not observed yet: NIC 52:54:00:00:00:01"));
  standing_.unobserved = "";
  EXPECT_THAT(RunUntil(1), ElementsAre("READY=1\nSTATUS=0 objects"));
}

TEST_F(ServiceManagerTest, ANicThatHangsIsNotWaitedForWithoutEnd) {
  standing_ = {"the tunnel", "0 objects"};
  int looks = 0;
  look_ = [&] {
    if (++looks == 3) clock_.Advance(ServiceManager::kReadyPatience);
  };
  auto manager = Make();
  EXPECT_THAT(RunUntil(2), ElementsAre("STATUS=0 objects; not observed yet: the tunnel",
                                       "READY=1\nSTATUS=0 objects; not observed yet: the tunnel"));
  EXPECT_EQ(looks, 3);
}

TEST_F(ServiceManagerTest, WordsOfTheKernelAddNoField) {
  standing_.counts = "1 NIC\nREADY=1";
  standing_.unobserved = "x";
  auto manager = Make();
  EXPECT_THAT(RunUntil(1), ElementsAre("STATUS=1 NIC READY=1; not observed yet: x"));
}

TEST_F(ServiceManagerTest, TheWatchdogHearsOfEachHalfOfItsTimeWhileTheLoopTurns) {
  ::setenv("WATCHDOG_USEC", "4000", 1);
  std::vector<std::string> heard;
  auto manager = Make();
  ::usleep(6000);  // a loop that stands still says nothing, however long
  EXPECT_THAT(Heard(), IsEmpty());
  heard = RunUntil(4);
  heard.erase(heard.begin());  // READY
  EXPECT_THAT(heard, Each("WATCHDOG=1"));
}

TEST_F(ServiceManagerTest, AWatchdogOfAnotherProcessIsNotMeant) {
  ::setenv("WATCHDOG_USEC", "1000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  int looks = 0;
  look_ = [&] {
    standing_.unobserved = std::to_string(++looks);
    if (looks == 3) standing_.unobserved = "";
  };
  auto manager = Make();
  for (const std::string& message : RunUntil(3)) EXPECT_NE(message, "WATCHDOG=1");
}

TEST_F(ServiceManagerTest, WithoutSystemdNothingIsSaidOrLookedAt) {
  ::unsetenv("NOTIFY_SOCKET");
  ::setenv("WATCHDOG_USEC", "1000", 1);
  look_ = [] { FAIL() << "nobody asked"; };
  auto manager = Make();
  loop_.Poll();
  manager.reset();
  EXPECT_THAT(Heard(), IsEmpty());
}

TEST_F(ServiceManagerTest, ASystemdThatIsGoneDoesNotHoldUpTheAgent) {
  socket_ = UniqueFd();
  auto manager = Make();
  int looks = 0;
  look_ = [&] {
    standing_.unobserved = "x";
    if (++looks == 2) loop_.Stop();
  };
  loop_.Run();
  EXPECT_EQ(looks, 2);
}

}  // namespace
}  // namespace fairlead
