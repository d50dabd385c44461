// SPDX-License-Identifier: Apache-2.0
//
// fairlead-slowpath: answers what guests ask of their network, by what the agent told it, until
// SIGTERM or SIGINT. Needs CAP_NET_RAW and nothing else.
#include <google/protobuf/stubs/logging.h>
#include <linux/capability.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>

#include "agent/base/clock.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/runtime/loop.h"
#include "dataplane/slowpath/server.h"

namespace fairlead::slowpath {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

void SetUpLog() {
  auto log = spdlog::stderr_logger_mt("fairlead-slowpath");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(log));
}

// Keeps CAP_NET_RAW alone of what this process has, and lets it never gain anything. Guests
// speak to it: whoever gets in through a hole has raw sockets, and what its user may, which for
// the unit is nothing.
absl::Status DropRights() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return SystemError(errno, "give up new privileges");
  }
  // Of a user without CAP_SETPCAP the set stays as it is, which no_new_privs makes worthless.
  for (unsigned long right = 0; ::prctl(PR_CAPBSET_READ, right, 0, 0, 0) >= 0; ++right) {
    if (right != CAP_NET_RAW) ::prctl(PR_CAPBSET_DROP, right, 0, 0, 0);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return SystemError(errno, "read capabilities");
  const uint32_t raw = 1U << CAP_NET_RAW;
  const uint32_t kept = data[0].permitted & raw;
  if (kept == 0) {
    spdlog::warn("without CAP_NET_RAW no guest is heard");
  }
  data[0] = {kept, kept, 0};
  data[1] = {0, 0, 0};
  if (::syscall(SYS_capset, &header, data) != 0) return SystemError(errno, "drop capabilities");
  return absl::OkStatus();
}

// Tells systemd (sd_notify(3)) that the process serves and that its loop turns. Nothing without
// NOTIFY_SOCKET.
void TellServiceManager(Loop* loop) {
  ::sd_notify(0, "READY=1\nSTATUS=answers guests");
  uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return;
  const std::chrono::milliseconds beat(std::max<uint64_t>(microseconds / 2000, 1));
  auto again = std::make_shared<std::function<void()>>();
  // The loop, which owns the pending call, ends before this function's caller does.
  *again = [loop, beat, weak = std::weak_ptr<std::function<void()>>(again)] {
    ::sd_notify(0, "WATCHDOG=1");
    if (const auto self = weak.lock()) loop->After(beat, [self] { (*self)(); });
  };
  (*again)();
}

absl::Status Run(const ServerOptions& options) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(options.path).parent_path();
  if (!folder.empty() && !std::filesystem::exists(folder, error) &&
      ::mkdir(folder.c_str(), 0700) != 0) {
    return SystemError(errno, StrCat("make the folder ", folder.string()));
  }
  FAIRLEAD_RETURN_IF_ERROR(DropRights());
  Loop loop;
  FAIRLEAD_RETURN_IF_ERROR(loop.OnSignals({SIGTERM, SIGINT}, [&loop](int signal) {
    spdlog::info("signal {}: stopping", signal);
    loop.Stop();
  }));
  const SystemClock clock;
  LinuxPacketSockets sockets;
  FAIRLEAD_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                            Server::Start(options, &loop, &clock, &sockets));
  spdlog::info("fairlead-slowpath {} listens at {}", kFairleadVersion, options.path);
  TellServiceManager(&loop);
  loop.Run();
  ::sd_notify(0, "STOPPING=1");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app{
      "Answers the ARP, ND, DHCP and router solicitations of guests, by what fairleadd told.\n\n"
      "Exit codes: 0 stopped by a signal, 1 could not start, 2 usage."};
  ServerOptions options;
  options.path = "/run/fairlead-slowpath/control.sock";
  app.add_option("--socket", options.path, "Where fairleadd connects")->capture_default_str();
  app.add_option("--allow-uid", options.allowed_uids,
                 "A user who may connect, beside root and this process's own");
  app.add_option("--rate", options.rate, "Frames a second that are taken from one port")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  app.add_option("--burst", options.burst, "Frames at once that are taken from one port")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  app.set_version_flag("--version", std::string("fairlead-slowpath ") + kFairleadVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    if (code != 0) return kUsage;
    return std::cout.flush() ? kOk : kFailed;
  }
  SetUpLog();
  google::protobuf::SetLogHandler(nullptr);  // what cannot be read is told of here
  ::signal(SIGPIPE, SIG_IGN);                // a log that nobody reads any more ends nothing
  // A packet socket a port. What the limit is, is for who starts the process to say.
  if (rlimit files{}; ::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (const absl::Status status = Run(options); !status.ok()) {
    spdlog::error("{}", std::string(status.message()));
    return kFailed;
  }
  return kOk;
}

}  // namespace
}  // namespace fairlead::slowpath

int main(int argc, char** argv) { return fairlead::slowpath::Main(argc, argv); }
