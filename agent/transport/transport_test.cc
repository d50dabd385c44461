// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "agent/base/text.h"
#include "agent/base/unique_fd.h"
#include "agent/runtime/loop.h"
#include "agent/transport/client.h"
#include "agent/transport/server.h"

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kLong{30000};

class TransportTest : public ::testing::Test {
 protected:
  TransportTest() {
    char name[] = "/tmp/fairlead-ipc-XXXXXX";
    folder_ = ::mkdtemp(name);
    options_.requests = "ipc://" + (folder_ / "agent.sock").string();
    options_.events = "ipc://" + (folder_ / "events.sock").string();
    options_.max_frame_bytes = 100000;
  }
  ~TransportTest() override {
    StopLoop();
    std::filesystem::remove_all(folder_);
  }

  // An agent that answers "echo:" and the payload, on a thread of its own.
  void StartEcho() {
    auto server = Server::Create(
        loop_.context(), options_,
        [this](const ReplyAddress& from, std::string_view payload, bool malformed) {
          server_->Reply(from, malformed ? std::string("malformed") : StrCat("echo:", payload));
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    thread_ = std::thread([this] { loop_.Run(); });
  }
  void StopLoop() {
    if (!thread_.joinable()) return;
    loop_.poster()([this] {
      server_.reset();
      loop_.Stop();
    });
    thread_.join();
  }

  std::filesystem::path folder_;
  ServerOptions options_;
  Loop loop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_F(TransportTest, ARequestIsAnswered) {
  StartEcho();
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->Call("hello", kLong).value(), "echo:hello");
  EXPECT_EQ((*client)->Call("", kLong).value(), "echo:");
  const std::string binary("\0\xff\n", 3);
  EXPECT_EQ((*client)->Call(binary, kLong).value(), "echo:" + binary);
}

// More than one wake-up handles, so that a lost edge of the descriptor would hang.
TEST_F(TransportTest, ManyClientsWithManyRequestsInFlightAllGetTheirOwnAnswers) {
  StartEcho();
  std::vector<std::thread> clients;
  clients.reserve(8);
  std::atomic<int> right{0};
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      zmq::context_t context;
      zmq::socket_t dealer(context, zmq::socket_type::dealer);
      dealer.set(zmq::sockopt::linger, 0);
      dealer.set(zmq::sockopt::rcvtimeo, 30000);
      dealer.connect(options_.requests);
      for (int i = 0; i < 300; ++i) {
        dealer.send(zmq::buffer(StrCat(c, "/", i)), zmq::send_flags::none);
      }
      for (int i = 0; i < 300; ++i) {
        zmq::message_t answer;
        if (!dealer.recv(answer)) return;
        if (answer.to_string() == StrCat("echo:", c, "/", i)) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 8 * 300);
}

TEST_F(TransportTest, AReqSocketIsServedToo) {
  StartEcho();
  zmq::context_t context;
  zmq::socket_t req(context, zmq::socket_type::req);
  req.set(zmq::sockopt::linger, 0);
  req.set(zmq::sockopt::rcvtimeo, 30000);
  req.connect(options_.requests);
  req.send(zmq::str_buffer("hi"), zmq::send_flags::none);
  zmq::message_t answer;
  ASSERT_TRUE(req.recv(answer));
  EXPECT_EQ(answer.to_string(), "echo:hi");
}

TEST_F(TransportTest, AMessageOfAnotherFormIsHandedOverAsMalformedAndTheNextOneWorks) {
  StartEcho();
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::rcvtimeo, 30000);
  dealer.connect(options_.requests);
  const auto send = [&](const std::vector<std::string>& frames) {
    for (size_t i = 0; i < frames.size(); ++i) {
      dealer.send(zmq::buffer(frames[i]),
                  i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  };
  const auto receive = [&] {
    std::vector<std::string> frames;
    zmq::message_t frame;
    do {
      if (!dealer.recv(frame)) break;
      frames.push_back(frame.to_string());
    } while (frame.more());
    return frames;
  };
  using ::testing::ElementsAre;
  send({"a", "b"});
  EXPECT_THAT(receive(), ElementsAre("malformed"));
  send({"", "a", "b"});
  EXPECT_THAT(receive(), ElementsAre("", "malformed"));
  send(std::vector<std::string>(500, "x"));
  EXPECT_THAT(receive(), ElementsAre("malformed"));
  send({"", "a"});
  EXPECT_THAT(receive(), ElementsAre("", "echo:a"));
  send({"a"});
  EXPECT_THAT(receive(), ElementsAre("echo:a"));
}

TEST_F(TransportTest, AFrameAboveTheLimitCostsItsSenderTheConnectionAndNobodyElse) {
  StartEcho();
  auto other = Client::Connect(options_.requests);
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(other.ok() && client.ok());
  const auto answer = (*client)->Call(std::string(100001, 'x'), milliseconds(200));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("larger than it takes"));
  EXPECT_EQ((*other)->Call("x", kLong).value(), "echo:x");
  EXPECT_EQ((*client)->Call(std::string(100000, 'x'), kLong).value().size(), 100005U);
}

TEST_F(TransportTest, TheSocketFilesHaveTheirModeWhateverTheUmaskAndGoWithTheServer) {
  const mode_t before = ::umask(0);
  {
    auto server = Server::Create(loop_.context(), options_, [](auto&&...) {});
    ASSERT_TRUE(server.ok()) << server.status();
    for (const char* name : {"agent.sock", "events.sock"}) {
      struct stat info {};
      ASSERT_EQ(::stat((folder_ / name).c_str(), &info), 0);
      EXPECT_EQ(info.st_mode & 07777, 0660U) << name;
    }
    EXPECT_EQ(::umask(0), 0U);  // put back
  }
  ::umask(before);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "agent.sock"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "events.sock"));
}

TEST_F(TransportTest, ASecondAgentIsRefusedAndTheFirstOneGoesOn) {
  StartEcho();
  Loop loop;
  for (const bool same_requests : {true, false}) {
    ServerOptions options = options_;
    if (!same_requests) options.requests += "2";
    const auto second = Server::Create(loop.context(), options, [](auto&&...) {});
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("another agent is listening"));
  }
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->Call("still", kLong).value(), "echo:still");
}

TEST_F(TransportTest, ASocketThatADeadAgentLeftIsReplaced) {
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (folder_ / "agent.sock").c_str());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_THAT(std::string(Client::Connect(options_.requests).status().message()),
              HasSubstr("nobody listens"));
  StartEcho();
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->Call("x", kLong).value(), "echo:x");
}

TEST_F(TransportTest, AFileThatIsNoSocketIsNotReplaced) {
  std::ofstream(folder_ / "agent.sock") << "precious";
  const auto server = Server::Create(loop_.context(), options_, [](auto&&...) {});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(folder_ / "agent.sock"), 8U);
}

TEST_F(TransportTest, BadEndpointsAreRefusedWithWhatToDo) {
  const auto refusal = [&](const std::string& requests) {
    ServerOptions options = options_;
    options.requests = requests;
    return Server::Create(loop_.context(), options, [](auto&&...) {}).status();
  };
  EXPECT_EQ(refusal("tcp://127.0.0.1:5555").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal(options_.events).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refusal("ipc://" + (folder_ / "no/agent.sock").string()).message()),
              HasSubstr("no must exist"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "events.sock"));
}

TEST_F(TransportTest, WithoutAnAgentTheClientSaysWhatToCheck) {
  for (const absl::Status& status : {Client::Connect(options_.requests).status(),
                                     Subscriber::Connect(options_.events, "").status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("fairleadd"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_.string()));
  }
  StartEcho();
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok());
  StopLoop();
  const auto answer = (*client)->Call("x", milliseconds(50));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("no such socket"));
}

TEST_F(TransportTest, ACallThatIsStoppedDoesNotWaitForItsAnswer) {
  zmq::context_t context;
  zmq::socket_t silent(context, zmq::socket_type::router);
  silent.bind(options_.requests);
  int asked = 0;
  auto client = Client::Connect(options_.requests, [&asked] { return ++asked > 2; });
  ASSERT_TRUE(client.ok()) << client.status();
  const auto answer = (*client)->Call("x", kLong);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kCancelled) << answer.status();
}

TEST_F(TransportTest, TheAnswerToAnAbandonedCallIsNotTakenForThatOfTheNext) {
  std::vector<std::pair<ReplyAddress, std::string>> held;
  std::atomic<bool> has_one{false};
  auto server = Server::Create(loop_.context(), options_,
                               [&](const ReplyAddress& from, std::string_view payload, bool) {
                                 held.emplace_back(from, payload);
                                 has_one = true;
                                 if (payload != "two") return;
                                 for (const auto& [to, text] : held)
                                   server_->Reply(to, "for " + text);
                               });
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  thread_ = std::thread([this] { loop_.Run(); });
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok());
  // What an abandoned call had not sent yet is dropped with it: again, until one has arrived.
  while (!has_one) EXPECT_FALSE((*client)->Call("one", milliseconds(100)).ok());
  EXPECT_EQ((*client)->Call("two", kLong).value(), "for two");
  StopLoop();  // it uses `held`
}

TEST_F(TransportTest, TheHandlerMayDestroyTheServer) {
  auto server = Server::Create(loop_.context(), options_, [&](auto&&...) {
    server_.reset();
    loop_.Stop();
  });
  ASSERT_TRUE(server.ok());
  server_ = *std::move(server);
  // A socket that stays open, so that its message arrives however long that takes.
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.connect(options_.requests);
  dealer.send(zmq::str_buffer("x"), zmq::send_flags::none);
  loop_.Run();
  EXPECT_EQ(server_, nullptr);
}

TEST_F(TransportTest, EventsReachThoseWhoAskedForTheirTopic) {
  StartEcho();
  auto ports = Subscriber::Connect(options_.events, "port/");
  auto all = Subscriber::Connect(options_.events, "");
  ASSERT_TRUE(ports.ok() && all.ok());
  // A subscription takes effect some time after Connect.
  std::atomic<bool> heard{false};
  std::thread publisher([&] {
    while (!heard) {
      loop_.poster()([this] {
        server_->Publish("vm/a", "1");
        server_->Publish("port/a", "2");
      });
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  const auto from_ports = (*ports)->Next(kLong);
  const auto from_all = (*all)->Next(kLong);
  heard = true;
  publisher.join();
  ASSERT_TRUE(from_ports.ok() && from_all.ok());
  EXPECT_EQ(*from_ports, std::pair(std::string("port/a"), std::string("2")));
  EXPECT_THAT(from_all->first, ::testing::AnyOf("vm/a", "port/a"));
}

TEST_F(TransportTest, ASubscriberIsToldThatWhatListensPublishesNothing) {
  StartEcho();
  const absl::Status status = Subscriber::Connect(options_.requests, "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(),
            StrCat("what listens at ", options_.requests, " publishes no events"));
}

TEST_F(TransportTest, WithoutEventsASubscriberSaysSoInTime) {
  StartEcho();
  auto subscriber = Subscriber::Connect(options_.events, "");
  ASSERT_TRUE(subscriber.ok());
  EXPECT_EQ((*subscriber)->Next(milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

// sonic-buildimage 28576: a queue without a bound grew to 25 GB.
// A queue without a bound grew to 25 GB elsewhere: what a subscriber does not
// read is dropped for it, and the loop never waits for it.
TEST_F(TransportTest, ASubscriberThatDoesNotReadHoldsNobodyUp) {
  options_.send_queue = 10;
  StartEcho();
  zmq::context_t context;
  zmq::socket_t slow(context, zmq::socket_type::sub);
  slow.set(zmq::sockopt::linger, 0);
  slow.set(zmq::sockopt::rcvhwm, 1);
  slow.set(zmq::sockopt::rcvtimeo, 30000);
  slow.set(zmq::sockopt::subscribe, "");
  slow.connect(options_.events);
  std::atomic<bool> joined{false};
  std::thread publisher([&] {
    while (!joined) {
      loop_.poster()([this] { server_->Publish("t", "first"); });
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  zmq::message_t message;
  EXPECT_TRUE(slow.recv(message));
  joined = true;
  publisher.join();
  // 64 MB, far beyond what the queues and the socket's buffers hold.
  loop_.poster()([this] {
    const std::string big(65536, 'x');
    for (int i = 0; i < 1000; ++i) server_->Publish("t", big);
  });
  auto client = Client::Connect(options_.requests);
  ASSERT_TRUE(client.ok());
  EXPECT_EQ((*client)->Call("alive", kLong).value(), "echo:alive");
  slow.set(zmq::sockopt::rcvtimeo, 300);
  int got = 0;
  while (slow.recv(message)) {
    while (message.more() && slow.recv(message)) continue;
    if (message.size() == 65536) ++got;
  }
  EXPECT_LT(got, 1000);
}

}  // namespace
}  // namespace fairlead
