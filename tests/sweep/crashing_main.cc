// SPDX-License-Identifier: Apache-2.0
//
// fairleadd-crashing: fairleadd, its ports wrapped. It writes down each change that it asks the
// kernel or QEMU for, a line each, and ends itself by SIGKILL before or after one of them, if told
// so. For tests in the lab.
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>

#include "agent/base/text.h"
#include "agent/daemon/config.h"
#include "agent/daemon/run.h"
#include "agent/runtime/lane.h"
#include "tests/sweep/ports_with_faults.h"

namespace fairlead {
namespace {

// "before 3 tc Put": the third of that name.
struct KillPoint {
  bool after = false;
  uint64_t nth = 0;
  std::string name;

  static std::optional<KillPoint> Parse(const std::string& text) {
    std::istringstream words(text);
    KillPoint point;
    std::string when, port, method;
    if (!(words >> when >> point.nth >> port >> method) || !words.eof()) return std::nullopt;
    if (when != "before" && when != "after") return std::nullopt;
    point.after = when == "after";
    point.name = StrCat(port, " ", method);
    return point;
  }
};

class KillPlan final : public FaultPlan {
 public:
  KillPlan(const std::string& changes, std::optional<KillPoint> point)
      : changes_(changes), point_(std::move(point)) {}
  bool writes() const { return changes_.good(); }

  absl::Status Before(const PortCall& call) override {
    if (!call.changes) return absl::OkStatus();
    const std::lock_guard lock(mutex_);
    changes_ << call.ToString() << std::endl;
    if (point_ && point_->name == StrCat(call.port, " ", call.method) && ++seen_ == point_->nth) {
      if (!point_->after) ::kill(::getpid(), SIGKILL);
      chosen_ = &call;
    }
    return absl::OkStatus();
  }
  absl::Status After(const PortCall& call) override {
    const std::lock_guard lock(mutex_);
    if (chosen_ == &call) ::kill(::getpid(), SIGKILL);
    return absl::OkStatus();
  }
  bool Tells(std::string_view) override { return true; }

 private:
  std::mutex mutex_;  // of all below
  std::ofstream changes_;
  const std::optional<KillPoint> point_;
  uint64_t seen_ = 0;
  const PortCall* chosen_ = nullptr;
};

int Main(int argc, char** argv) {
  CLI::App app{"fairleadd that kills itself at a change, for tests"};
  std::string path, changes, kill;
  app.add_option("-c,--config", path, "The configuration file")->required();
  app.add_option("--changes", changes, "The file to write each change to")->required();
  app.add_option("--kill", kill, "Where it ends, such as \"before 3 tc Put\"");
  CLI11_PARSE(app, argc, argv);
  const std::optional<KillPoint> point = KillPoint::Parse(kill);
  const absl::StatusOr<DaemonConfig> config = LoadConfig(path);
  KillPlan plan(changes, point);
  if (!config.ok() || !plan.writes() || (!kill.empty() && !point)) {
    std::cerr << "cannot use " << path << ", " << changes << " or '" << kill
              << "': " << config.status().message() << "\n";
    return 2;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("fairleadd"));
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  KernelPorts kernel;
  const PortsWithFaults faulty(kernel.ports(), &plan);
  const absl::Status status = RunAgent(*config, faulty.ports());
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  const int code = fairlead::Main(argc, argv);
  // As fairleadd's own.
  if (fairlead::ThreadLane::Abandoned() > 0) ::_exit(code);
  return code;
}
