// SPDX-License-Identifier: Apache-2.0
//
// LinuxQmpPort against a scripted monitor on a real unix socket in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "agent/base/error.h"
#include "agent/base/unique_fd.h"
#include "agent/ports/qmp/linux_qmp_port.h"
#include "agent/ports/qmp/qmp_codec.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Kind = QmpEvent::Kind;

// Long: no test waits for it to pass. Short: the test is about its passing.
constexpr QmpSession::Deadline kLong{60000};
constexpr QmpSession::Deadline kShort{50};

constexpr char kGreeting[] =
    R"({"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": ""}, "capabilities": []}})"
    "\n";

// The monitor's side of one connection.
class Peer {
 public:
  explicit Peer(UniqueFd fd) : fd_(std::move(fd)) {}
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // the client has gone, which the test then sees
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  // The next line, "" at the end.
  std::string ReadLine() {
    std::string line;
    char c;
    while (::recv(fd_.get(), &c, 1, 0) == 1) {
      if (c == '\n') return line;
      line += c;
    }
    return "";
  }
  void Greet() {
    Send(kGreeting);
    EXPECT_THAT(ReadLine(), HasSubstr("qmp_capabilities"));
    Send("{\"return\": {}, \"id\": \"1\"}\n");
  }
  void WaitForEnd() { EXPECT_EQ(ReadLine(), ""); }

 private:
  UniqueFd fd_;
};

class QmpPortTest : public ::testing::Test {
 protected:
  QmpPortTest() {
    std::string pattern = (fs::temp_directory_path() / "qmp_test.XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = (folder_ / "qmp.sock").string();
  }
  ~QmpPortTest() override {
    if (server_.joinable()) server_.join();
    fs::remove_all(folder_);
  }

  // Listens, and runs `script` for the first client.
  void Serve(std::function<void(Peer&)> script) {
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path_.begin(), path_.end(), address.sun_path);
    ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    server_ = std::thread([this, script = std::move(script)] {
      Peer peer(UniqueFd(::accept(listener_.get(), nullptr, nullptr)));
      script(peer);
    });
  }
  absl::StatusOr<std::unique_ptr<QmpSession>> Connect(QmpPort::Deadline deadline = kLong,
                                                      std::vector<uint32_t> uids = {}) {
    return port_.Connect(path_, uids, deadline, [this](const QmpEvent& event) {
      std::lock_guard lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    });
  }
  std::vector<QmpEvent> WaitForEvents(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLong, [&] { return events_.size() >= count; });
    return events_;
  }

  fs::path folder_;
  std::string path_;
  UniqueFd listener_;
  std::thread server_;
  LinuxQmpPort port_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<QmpEvent> events_;
};

TEST_F(QmpPortTest, MissingSocketIsUnavailableAndSaysWhatToCheck) {
  const absl::Status status = Connect().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(ErrnoOf(status), ENOENT);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is the VM running"));
}

TEST_F(QmpPortTest, SocketThatNobodyServesIsUnavailable) {
  Serve([](Peer&) {});
  UniqueFd client(::socket(AF_UNIX, SOCK_STREAM, 0));  // lets the server's accept return
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path_.begin(), path_.end(), address.sun_path);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  server_.join();
  listener_.reset();
  const absl::Status status = Connect().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(ErrnoOf(status), ECONNREFUSED);
}

TEST_F(QmpPortTest, PathTooLongForASocketIsInvalid) {
  EXPECT_TRUE(absl::IsInvalidArgument(
      port_.Connect("/" + std::string(200, 'a'), {}, kLong, nullptr).status()));
}

TEST_F(QmpPortTest, NoGreetingNamesTheOtherClient) {
  Serve([](Peer& peer) { peer.WaitForEnd(); });
  const absl::Status status = Connect(kShort).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another client holds it"));
}

TEST_F(QmpPortTest, WrongUserIsRefusedBeforeAWordIsSaid) {
  Serve([](Peer& peer) { peer.WaitForEnd(); });
  const absl::Status status = Connect(kLong, {::geteuid() + 1}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST_F(QmpPortTest, RightUserIsAllowed) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.WaitForEnd();
  });
  const auto session = Connect(kLong, {::geteuid() + 1, ::geteuid()});
  EXPECT_TRUE(session.ok()) << session.status();
}

TEST_F(QmpPortTest, GarbageForAGreetingIsDataLoss) {
  Serve([](Peer& peer) { peer.Send("SSH-2.0-OpenSSH_9.2p1\r\n"); });
  EXPECT_TRUE(absl::IsDataLoss(Connect().status()));
  EXPECT_TRUE(WaitForEvents(0).empty());
}

TEST_F(QmpPortTest, CloseAtTheGreetingIsUnavailable) {
  Serve([](Peer& peer) { peer.Send("{\"QMP\": {\"ver"); });
  EXPECT_TRUE(absl::IsUnavailable(Connect().status()));
}

TEST_F(QmpPortTest, RefusedCapabilitiesCarryTheWords) {
  Serve([](Peer& peer) {
    peer.Send(kGreeting);
    peer.ReadLine();
    peer.Send("{\"error\": {\"class\": \"GenericError\", \"desc\": \"not you\"}, \"id\": \"1\"}\n");
  });
  const absl::Status status = Connect().status();
  EXPECT_EQ(PeerWords(status), "not you");
}

TEST_F(QmpPortTest, EventsBetweenAQuestionAndItsAnswerAreBothDelivered) {
  Serve([](Peer& peer) {
    peer.Greet();
    EXPECT_THAT(peer.ReadLine(), HasSubstr("query-status"));
    peer.Send("{\"event\": \"RESET\"}\n{\"event\": \"RTC_CHANGE\", \"data\": {}}\n{\"return\": ");
    peer.Send("{\"status\": \"running\", \"running\": true}, \"id\": \"2\"}\n");
    peer.Send("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"nic0\"}}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(*(*session)->QueryRunState(kLong), "running");
  const std::vector<QmpEvent> events = WaitForEvents(2);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, Kind::kReset);
  EXPECT_EQ(events[1].kind, Kind::kDeviceDeleted);
  EXPECT_EQ(events[1].device, "nic0");
}

TEST_F(QmpPortTest, EventsInTheSamePieceAsTheHandshakeAreNotLost) {
  Serve([](Peer& peer) {
    peer.Send(kGreeting);
    peer.ReadLine();
    peer.Send("{\"event\": \"STOP\"}\n{\"return\": {}, \"id\": \"1\"}\n{\"event\": \"RESET\"}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  const std::vector<QmpEvent> events = WaitForEvents(2);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, Kind::kRunState);
  EXPECT_EQ(events[1].kind, Kind::kReset);
}

TEST_F(QmpPortTest, LateAnswerBelongsToNobodyElse) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.ReadLine();  // "2", never answered in time
    peer.ReadLine();  // "3"
    peer.Send("{\"return\": {\"status\": \"paused\"}, \"id\": \"2\"}\n");
    peer.Send("{\"return\": {\"status\": \"running\"}, \"id\": \"3\"}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded((*session)->QueryRunState(kShort).status()));
  EXPECT_TRUE((*session)->connected());
  EXPECT_EQ(*(*session)->QueryRunState(kLong), "running");
}

// What ends a session, and what the caller who waits is told.
struct Ending {
  const char* name;
  std::string bytes;
  absl::StatusCode code;
};

class QmpPortEndingTest : public QmpPortTest, public ::testing::WithParamInterface<Ending> {};

TEST_P(QmpPortEndingTest, WaitingCallIsToldAndTheEventComesOnce) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.ReadLine();
    peer.Send(GetParam().bytes);
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ((*session)->QueryUuid(kLong).status().code(), GetParam().code);
  const std::vector<QmpEvent> events = WaitForEvents(1);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, Kind::kDisconnected);
  EXPECT_FALSE((*session)->connected());
  EXPECT_EQ((*session)->ListDevices(kLong).status().code(), GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(
    , QmpPortEndingTest,
    ::testing::Values(
        Ending{"Close", "", absl::StatusCode::kUnavailable},
        Ending{"CloseMidReply", R"({"return": {"UUI)", absl::StatusCode::kUnavailable},
        Ending{"Garbage", "\x7f\x45\x4c\x46\n", absl::StatusCode::kDataLoss},
        Ending{"ReplyWithoutId", "{\"return\": {}}\n", absl::StatusCode::kDataLoss},
        Ending{"ReplyNeverAskedFor", "{\"return\": {}, \"id\": \"99\"}\n",
               absl::StatusCode::kDataLoss},
        Ending{"DeepNesting", std::string(100000, '[') + "\n", absl::StatusCode::kDataLoss},
        Ending{"OversizeLine", std::string(kMaxQmpLine + 2, ' '), absl::StatusCode::kDataLoss}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(QmpPortTest, WrongShapeOfAnAnswerIsThatCallsTroubleOnly) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.ReadLine();
    peer.Send("{\"return\": [], \"id\": \"2\"}\n");
    peer.ReadLine();
    peer.Send("{\"return\": {\"status\": \"running\"}, \"id\": \"3\"}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(absl::IsDataLoss((*session)->QueryUuid(kLong).status()));
  EXPECT_EQ(*(*session)->QueryRunState(kLong), "running");
}

TEST_F(QmpPortTest, DeviceThatLeavesWhileListedIsLeftOut) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.ReadLine();
    peer.Send(
        "{\"return\": [{\"name\": \"a\", \"type\": \"child<vfio-pci>\"}, {\"name\": \"b\", "
        "\"type\": \"child<vfio-pci>\"}], \"id\": \"2\"}\n");
    EXPECT_THAT(peer.ReadLine(), HasSubstr("/machine/peripheral/a"));
    peer.Send("{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"gone\"}, \"id\": \"3\"}\n");
    peer.ReadLine();
    peer.Send("{\"return\": \"/machine/peripheral/rp1/rp1\", \"id\": \"4\"}\n");
    EXPECT_THAT(peer.ReadLine(), HasSubstr("\"host\""));
    peer.Send("{\"return\": \"0000:01:00.1\", \"id\": \"5\"}\n");
    EXPECT_THAT(peer.ReadLine(), HasSubstr("peripheral-anon"));
    peer.Send("{\"return\": [], \"id\": \"6\"}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  const auto devices = (*session)->ListDevices(kLong);
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 1U);
  EXPECT_EQ((*devices)[0].id, "b");
  EXPECT_EQ((*devices)[0].bus, "rp1");
  EXPECT_EQ((*devices)[0].host, "0000:01:00.1");
}

TEST_F(QmpPortTest, RemovalThatIsUnderWayIsSuccess) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.ReadLine();
    peer.Send(
        "{\"id\": \"2\", \"error\": {\"class\": \"GenericError\", \"desc\": \"Device y is already "
        "in the process of unplug\"}}\n");
    peer.WaitForEnd();
  });
  const auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE((*session)->RequestRemoval("y", kLong).ok());
}

TEST_F(QmpPortTest, DestroyingTheSessionEndsTheConnectionWithoutAnEvent) {
  Serve([](Peer& peer) {
    peer.Greet();
    peer.WaitForEnd();
  });
  auto session = Connect();
  ASSERT_TRUE(session.ok()) << session.status();
  session->reset();
  server_.join();
  EXPECT_TRUE(WaitForEvents(0).empty());
}

}  // namespace
}  // namespace fairlead
