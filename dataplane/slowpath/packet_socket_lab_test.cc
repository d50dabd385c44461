// SPDX-License-Identifier: Apache-2.0
//
// Packet sockets and the whole process's server on a real kernel: in a network namespace of its
// own, with an Ethernet pair whose one end is the guest. Needs root.
#include "dataplane/slowpath/packet_socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>

#include "agent/ports/netlink/test_namespace.h"
#include "agent/runtime/loop.h"
#include "dataplane/slowpath/server.h"
#include "dataplane/slowpath/test_frames.h"
#include "dataplane/slowpath/test_golden.h"
#include "dataplane/slowpath/wire/slow_path_wire.h"

namespace fairlead::slowpath {
namespace {

using Kind = PacketSocket::Received::Kind;

// A pair "rep0" (the host's, which is the representor) and "prep0" (the guest's).
class PacketSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    netlink::EnterNewNetworkNamespace();
    network_ = std::make_unique<netlink::TestNetwork>();
    ifindex_ = network_->AddEthernet("rep0");
    SetLink("rep0", true);
    // The guest's end, without any filter: all that leaves the representor.
    guest_ =
        UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex("prep0"));
    ASSERT_EQ(::bind(guest_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const int on = 1;
    ASSERT_EQ(
        ::setsockopt(guest_.get(), SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &on, sizeof(on)),
        0);
  }
  void SetLink(const char* name, bool up) {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    ASSERT_EQ(::ioctl(fd.get(), SIOCGIFFLAGS, &request), 0);
    request.ifr_flags =
        static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    ASSERT_EQ(::ioctl(fd.get(), SIOCSIFFLAGS, &request), 0);
  }
  void GuestSends(const Octets& frame) {
    ASSERT_EQ(::send(guest_.get(), frame.data(), frame.size(), 0),
              static_cast<ssize_t>(frame.size()))
        << std::strerror(errno);
  }
  // A frame for the guest that it did not expect to be anything; others are passed over: the
  // kernel itself speaks IPv6 there.
  bool GuestGets(const std::string& hex) {
    for (int i = 0; i < 200; ++i) {
      pollfd watch{guest_.get(), POLLIN, 0};
      ::poll(&watch, 1, 50);
      Octets frame(65536);
      const ssize_t size = ::recv(guest_.get(), frame.data(), frame.size(), 0);
      if (size <= 0) continue;
      frame.resize(static_cast<size_t>(size));
      if (ToHex(frame) == hex) return true;
    }
    return false;
  }
  std::vector<std::string> Frames(PacketSocket& socket) {
    std::vector<std::string> out;
    Octets buffer(65536);
    while (true) {
      const auto received = socket.Receive(buffer);
      EXPECT_TRUE(received.ok()) << received.status();
      if (!received.ok() || received->kind == Kind::kNothing) return out;
      if (received->kind == Kind::kIgnored) continue;
      out.push_back(
          ToHex(Octets(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(received->size))));
    }
  }

  std::unique_ptr<netlink::TestNetwork> network_;
  uint32_t ifindex_ = 0;
  UniqueFd guest_;
  LinuxPacketSockets sockets_;
};

TEST_F(PacketSocketTest, QuestionsComeInAndNothingElse) {
  auto socket = sockets_.Open(ifindex_);
  ASSERT_TRUE(socket.ok()) << socket.status();
  Frames(**socket);  // of the kernel at the guest's end, on its own address
  const Octets other =
      EthernetFrame(kOtherMac, kGuestMac, 0x0800, Ip4Packet(kGuest4, "10.0.0.7", 17, Octets(100)));
  Octets tagged = ArpRequest("10.0.0.7");
  const Octets tag = Hex("81000064");
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  GuestSends(other);
  GuestSends(tagged);
  GuestSends(ArpRequest("10.0.0.1"));
  GuestSends(other);
  std::vector<std::string> wanted = {ToHex(ArpRequest("10.0.0.1"))};
  for (const Octets& question : AllQuestions()) {
    GuestSends(question);
    wanted.push_back(ToHex(question));
  }
  std::vector<std::string> got = Frames(**socket);
  // The kernel's own solicitations have another MAC.
  std::erase_if(
      got, [](const std::string& frame) { return frame.substr(12, 12) != ToHex(Mac(kGuestMac)); });
  EXPECT_EQ(got, wanted);
}

TEST_F(PacketSocketTest, AnswersLeaveAndAreNotHeard) {
  auto socket = sockets_.Open(ifindex_);
  ASSERT_TRUE(socket.ok()) << socket.status();
  const Octets answer = Hex(golden::kArpGateway);
  ASSERT_TRUE((*socket)->Send(answer).ok());
  EXPECT_TRUE(GuestGets(ToHex(answer)));
  for (const std::string& frame : Frames(**socket)) EXPECT_NE(frame, ToHex(answer));
  EXPECT_FALSE((*socket)->Send(Octets(4000)).ok());  // larger than the netdev's MTU
}

TEST_F(PacketSocketTest, ANetdevThatIsDownAndUpAgain) {
  SetLink("rep0", false);
  auto socket = sockets_.Open(ifindex_);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_EQ(Frames(**socket).size(), 0U);
  EXPECT_FALSE((*socket)->Send(Hex(golden::kArpGateway)).ok());
  SetLink("rep0", true);
  GuestSends(ArpRequest("10.0.0.1"));
  std::vector<std::string> got = Frames(**socket);
  EXPECT_NE(std::find(got.begin(), got.end(), ToHex(ArpRequest("10.0.0.1"))), got.end());
  SetLink("rep0", false);
  EXPECT_EQ(Frames(**socket).size(), 0U);
}

TEST_F(PacketSocketTest, ANetdevThatGoes) {
  auto socket = sockets_.Open(ifindex_);
  ASSERT_TRUE(socket.ok()) << socket.status();
  network_->DeleteLink("rep0");
  Octets buffer(2048);
  EXPECT_EQ((*socket)->Receive(buffer).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(sockets_.Open(ifindex_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PacketSocketTest, WhatDoesNotFitIsDroppedAndCounted) {
  auto socket = sockets_.Open(ifindex_);
  ASSERT_TRUE(socket.ok()) << socket.status();
  for (int i = 0; i < 2000; ++i) GuestSends(ArpRequest("10.0.0.1"));
  EXPECT_GT((*socket)->TakeDropped(), 0U);
  EXPECT_EQ((*socket)->TakeDropped(), 0U);
}

UniqueFd Connect(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return UniqueFd();
  }
  return fd;
}

class RealServerTest : public PacketSocketTest {
 protected:
  void SetUp() override {
    PacketSocketTest::SetUp();
    char folder[] = "/tmp/fairlead-slowpath-XXXXXX";
    folder_ = ::mkdtemp(folder);
    options_.path = folder_ + "/control.sock";
    options_.advertise_min = options_.advertise_max = std::chrono::hours(1);
    auto server = Server::Start(options_, &loop_, &clock_, &sockets_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~RealServerTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Turn() {
    for (int i = 0; i < 100; ++i) {
      loop_.Poll();
      ::usleep(1000);
    }
  }
  std::string folder_;
  ServerOptions options_;
  SystemClock clock_;
  Loop loop_;
  std::unique_ptr<Server> server_;
};

TEST_F(RealServerTest, AGuestIsAnsweredThroughTheKernel) {
  const UniqueFd agent = Connect(options_.path);
  ASSERT_TRUE(agent.valid());
  std::vector<SlowPathEntry> all = TestNetwork();
  std::get<SlowPathPort>(all[1]).ifindex = ifindex_;
  const std::string message = EncodeSlowPathUpdates(1, true, true, all, {})->front();
  ASSERT_EQ(::send(agent.get(), message.data(), message.size(), 0),
            static_cast<ssize_t>(message.size()));
  Turn();
  ASSERT_TRUE(server_->Report().deaf_ports.empty());
  const std::vector<std::pair<Octets, const char*>> cases = {
      {ArpRequest("10.0.0.1"), golden::kArpGateway},
      {NeighbourSolicitation(kGuest6, "2001:db8::1"), golden::kNaGateway},
      {RouterSolicitation(kGuestLinkLocal, true), golden::kRa},
      {Dhcp4(DhcpOption(53, {1}) + DhcpOption(61, Hex("01525400000005"))), golden::kOffer},
      {Ping4(), golden::kEcho4},
      {LastHop6(), golden::kExceeded6}};
  for (const auto& [question, answer] : cases) {
    GuestSends(question);
    Turn();
    EXPECT_TRUE(GuestGets(ToHex(Hex(answer)))) << ToHex(question);
  }
  EXPECT_GE(server_->Report().counters.answered, cases.size());
}

TEST_F(RealServerTest, AnotherUserMayNotConnect) {
  // Even past the modes of the file and its folder.
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(options_.path.c_str(), 0666), 0);
  int wait[2];
  ASSERT_EQ(::pipe(wait), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(2);
    const UniqueFd agent = Connect(options_.path);
    if (!agent.valid()) ::_exit(3);
    (void)!::write(wait[1], "x", 1);
    pollfd watch{agent.get(), POLLIN, 0};
    ::poll(&watch, 1, 20'000);
    char byte;
    ::_exit(::recv(agent.get(), &byte, 1, 0) == 0 ? 0 : 4);
  }
  char byte;
  ASSERT_EQ(::read(wait[0], &byte, 1), 1);
  Turn();
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::close(wait[0]);
  ::close(wait[1]);
}

}  // namespace
}  // namespace fairlead::slowpath
