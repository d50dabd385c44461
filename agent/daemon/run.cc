// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/run.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <google/protobuf/stubs/logging.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/version.h"
#include "agent/daemon/agent.h"
#include "agent/daemon/private_folder.h"
#include "agent/daemon/service_manager.h"
#include "agent/ports/conntrack/linux_conntrack_port.h"
#include "agent/ports/devlink/linux_devlink_port.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/slow_path/linux_slow_path_socket.h"
#include "agent/ports/tc/linux_tc_port.h"
#include "agent/runtime/loop.h"

namespace fairlead {
namespace {

// The folder that holds the store: root's alone.
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

LinuxSysfsOptions SysfsOptions() {
  LinuxSysfsOptions options;
  options.write_helper = WriteHelper();
  return options;
}

}  // namespace

KernelPorts::KernelPorts() : sysfs_(SysfsOptions()) {}

Ports KernelPorts::ports() {
  Ports ports;
  ports.sysfs = &sysfs_;
  ports.qmp = &qmp_;
  ports.uevent = &uevent_;
  ports.rtnetlink = [] { return LinuxRtnetlinkPort::Create(); };
  ports.tc = [] { return LinuxTcPort::Create(); };
  ports.conntrack = [] { return LinuxConntrackPort::Create(); };
  ports.devlink = [] { return LinuxDevlinkPort::Create(); };
  ports.slow_path = [](const std::string& path) {
    LinuxSlowPathSocket::Options options;
    options.path = path;
    options.deadline = std::chrono::seconds(30);  // for 200,000 neighbours on a busy host
    return absl::StatusOr<std::unique_ptr<SlowPathSocket>>(
        std::make_unique<LinuxSlowPathSocket>(std::move(options)));
  };
  return ports;
}

void SetUpProcess() {
  // A peer that goes away must not take the agent along.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);  // there is nothing to reload; VMs must not notice
  // What is wrong with a message is told to its sender, not to the log.
  google::protobuf::SetLogHandler(nullptr);
}

uint64_t RaiseFileLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  const rlim_t before = std::exchange(files.rlim_cur, files.rlim_max);
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : before;
}

absl::Status RunAgent(const DaemonConfig& config, const Ports& ports) {
  FAIRLEAD_RETURN_IF_ERROR(Annotate(MakePrivateFolder(config.state_dir), "state_dir"));
  for (const std::string& endpoint : {config.server.requests, config.server.events}) {
    const std::string folder = SocketFolder(endpoint);
    std::error_code error;
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
  }
  SetUpProcess();
  RaiseFileLimit();
  const SystemClock clock;
  Loop loop;
  FAIRLEAD_RETURN_IF_ERROR(loop.OnSignals({SIGTERM, SIGINT}, [&loop](int signal) {
    spdlog::info("signal {}: stopping; what runs for VMs stays as it is", signal);
    loop.Stop();
  }));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::unique_ptr<Agent> agent,
                            Agent::Start(&loop, &clock, config, ports));
  spdlog::info("fairleadd {} answers at {}", kFairleadVersion, config.server.requests);
  const ServiceManager service_manager(&loop, &clock, [&agent] { return agent->standing(); });
  loop.Run();
  return absl::OkStatus();
}

}  // namespace fairlead
