// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "agent/ctl/commands.h"

int main(int argc, char** argv) {
  fairlead::CtlWorld world;
  world.in = &std::cin;
  world.out = &std::cout;
  world.err = &std::cerr;
  world.terminal = ::isatty(STDERR_FILENO) != 0;
  if (const char* endpoint = std::getenv("FAIRLEAD_ENDPOINT")) world.default_endpoint = endpoint;
  world.connect = &fairlead::Client::Connect;
  world.now = &std::chrono::steady_clock::now;
  world.sleep = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
  return fairlead::RunCtl({argv + 1, argv + argc}, world);
}
