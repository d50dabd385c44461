// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "agent/ctl/commands.h"
#include "agent/ctl/fd_stream.h"

namespace {

volatile sig_atomic_t signalled = 0;

void OnSignal(int) { signalled = 1; }

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESETHAND;  // a second one ends it at once
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

// The reader of a pipe that went away shows without writing to it.
bool NobodyReads() {
  struct pollfd item = {STDOUT_FILENO, 0, 0};
  return ::poll(&item, 1, 0) == 1 && (item.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

int main(int argc, char** argv) {
  fairlead::HoldStandardDescriptors();
  ::signal(SIGPIPE, SIG_IGN);
  const auto caught = [] { return signalled != 0; };
  fairlead::FdStreambuf buffer(STDOUT_FILENO, caught);
  std::ostream out(&buffer);
  fairlead::FdInputbuf input(STDIN_FILENO);
  std::istream in(&input);
  fairlead::CtlWorld world;
  world.in = &in;
  world.out = &out;
  world.err = &std::cerr;
  world.out_error = [&buffer] { return buffer.error(); };
  world.terminal = ::isatty(STDERR_FILENO) != 0;
  world.defaults = {Environment("FAIRLEAD_ENDPOINT"), Environment("FAIRLEAD_EVENTS")};
  world.connect = [caught](const std::string& endpoint) {
    return fairlead::Client::Connect(endpoint, caught);
  };
  world.subscribe = [](const std::string& endpoint) {
    return fairlead::Subscriber::Connect(endpoint, "");
  };
  world.now = &std::chrono::steady_clock::now;
  world.wall = &std::chrono::system_clock::now;
  world.sleep = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
  world.catch_signals = &CatchSignals;
  world.stopped = [caught] { return caught() || NobodyReads(); };
  return fairlead::RunCtl({argv + 1, argv + argc}, world);
}
