// SPDX-License-Identifier: Apache-2.0
//
// fairleadd: reads its configuration, opens the kernel's ports, runs an agent
// until SIGTERM or SIGINT.
#include <fcntl.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <google/protobuf/stubs/logging.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/daemon/agent.h"
#include "agent/daemon/version.h"
#include "agent/ports/qmp/linux_qmp_port.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/sysfs/linux_sysfs_port.h"
#include "agent/ports/tc/linux_tc_port.h"

namespace fairlead {
namespace {

// Exit codes; README.md lists them for operators.
constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

void SetUpLog(const std::string& level) {
  auto log = spdlog::stderr_logger_mt("fairleadd");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(log));
}

// The folder that holds the store: root's alone.
absl::Status PrepareStateDir(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (error) return SystemError(error.value(), StrCat("make the state folder ", path));
  if (made && ::chmod(path.c_str(), 0700) != 0) {
    return SystemError(errno, StrCat("set the mode of ", path));
  }
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return SystemError(errno, StrCat("look at ", path));
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(
        StrCat("the state folder ", path,
               " may be written by others; take that right away with "
               "'chmod go-w ",
               path, "'"));
  }
  return absl::OkStatus();
}

std::string SocketFolder(const std::string& endpoint) {
  const std::string path = endpoint.starts_with("ipc://") ? endpoint.substr(6) : "";
  return std::filesystem::path(path).parent_path().string();
}

// The program for writes that can block stands beside this one in the build
// tree, or in libexec when installed.
std::string WriteHelper() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const std::filesystem::path& candidate :
       {self.parent_path() / "../libexec/fairlead/fairlead-sysfs-write",
        self.parent_path() / "../ports/sysfs/fairlead-sysfs-write"}) {
    if (std::filesystem::exists(candidate, error)) {
      return std::filesystem::weakly_canonical(candidate, error).string();
    }
  }
  return "/usr/libexec/fairlead/fairlead-sysfs-write";
}

absl::Status Run(const DaemonConfig& config) {
  FAIRLEAD_RETURN_IF_ERROR(PrepareStateDir(config.state_dir));
  for (const std::string& endpoint : {config.server.requests, config.server.events}) {
    const std::string folder = SocketFolder(endpoint);
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
  }
  // A peer that goes away must not take the agent along.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);  // there is nothing to reload; VMs must not notice
  // What is wrong with a message is told to its sender, not to the log.
  google::protobuf::SetLogHandler(nullptr);
  const SystemClock clock;
  LinuxSysfsOptions sysfs_options;
  sysfs_options.write_helper = WriteHelper();
  LinuxSysfsPort sysfs(sysfs_options);
  LinuxQmpPort qmp;
  Ports ports;
  ports.sysfs = &sysfs;
  ports.qmp = &qmp;
  ports.rtnetlink = [] { return LinuxRtnetlinkPort::Create(); };
  ports.tc = [] { return LinuxTcPort::Create(); };
  Loop loop;
  FAIRLEAD_RETURN_IF_ERROR(loop.OnSignals({SIGTERM, SIGINT}, [&loop](int signal) {
    spdlog::info("signal {}: stopping; what runs for VMs stays as it is", signal);
    loop.Stop();
  }));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::unique_ptr<Agent> agent,
                            Agent::Start(&loop, &clock, config, ports));
  spdlog::info("fairleadd {} answers at {}", kFairleadVersion, config.server.requests);
  loop.Run();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app{
      "The Fairlead agent: makes this host's SR-IOV NICs serve its VMs' networks.\n\n"
      "Exit codes: 0 stopped by a signal, 1 could not start or go on, 2 usage or "
      "configuration."};
  std::string path = "/etc/fairlead/fairleadd.yaml";
  bool check = false;
  app.add_option("-c,--config", path, "The configuration file")->capture_default_str();
  app.add_flag("--check", check, "Only say whether the configuration is good");
  app.set_version_flag("--version", std::string("fairleadd ") + kFairleadVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kOk : kUsage;
  }
  const absl::StatusOr<DaemonConfig> config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << "fairleadd: " << config.status().message() << "\n";
    return kUsage;
  }
  if (check) {
    std::cout << path << ": good\n";
    return kOk;
  }
  SetUpLog(config->log_level);
  const absl::Status status = Run(*config);
  if (!status.ok()) {
    spdlog::error("{}", std::string(status.message()));
    return kFailed;
  }
  return kOk;
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  const int code = fairlead::Main(argc, argv);
  // A thread that hangs in the kernel would go on using what exit() destroys.
  if (fairlead::Lane::Abandoned() > 0) ::_exit(code);
  return code;
}
