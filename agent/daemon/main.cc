// SPDX-License-Identifier: Apache-2.0
//
// fairleadd: reads its configuration, opens the kernel's ports, runs an agent
// until SIGTERM or SIGINT. With --simulate: agents on machines that a file tells of.
#include <signal.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/daemon/config.h"
#include "agent/daemon/run.h"
#include "agent/runtime/lane.h"
#include "agent/runtime/loop.h"
#include "agent/simulate/host_model.h"
#include "agent/simulate/simulation.h"
#include "agent/store/store.h"

namespace fairlead {
namespace {

// Exit codes; README.md lists them for operators.
constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

constexpr char kNotWritten[] = "the output could not be written";

// "gpu-host-1: ", of the simulated host that a line comes from.
class HostFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string& name = SimulatedHostName();
    if (name.empty()) return;
    out.append(name.data(), name.data() + name.size());
    out.append(kColon, kColon + 2);
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<HostFlag>();
  }

 private:
  static constexpr char kColon[] = ": ";
};

void SetUpLog(const std::string& level) {
  auto log = spdlog::stderr_logger_mt("fairleadd");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<HostFlag>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %*%v");
  log->set_formatter(std::move(formatter));
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(log));
}

absl::Status Simulate(const HostModel& model, const SimulationOptions& options) {
  SetUpProcess();
  const uint64_t need = FilesOfSimulation(options.hosts);
  if (const uint64_t files = RaiseFileLimit(); files < need) {
    return absl::ResourceExhaustedError(
        StrCat(options.hosts, " simulated hosts and a few clients of each need ", need,
               " file descriptors, and this process may have ", files, " (ulimit -n)"));
  }
  Loop loop;  // only waits for a signal; each agent has a loop of its own
  FAIRLEAD_RETURN_IF_ERROR(loop.OnSignals({SIGTERM, SIGINT}, [&loop](int signal) {
    spdlog::info("signal {}: stopping", signal);
    loop.Stop();
  }));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::unique_ptr<Simulation> simulation,
                            Simulation::Start(model, options));
  for (const Simulation::Host& host : simulation->hosts()) {
    std::cout << "host " << host.name << ", tunnel " << host.tunnel << "\n"
              << "  requests " << host.requests << "\n"
              << "  events   " << host.events << "\n"
              << "  fairleadctl --endpoint " << host.requests << " status\n";
  }
  std::cout << "simulated, with latency " << (options.latency ? "realistic" : "none")
            << "; Ctrl-C or SIGTERM ends it, the stores stay" << std::endl;
  if (!std::cout) return absl::DataLossError(kNotWritten);  // nobody learns how to reach them
  loop.Run();
  return absl::OkStatus();
}

// What is exited with where all there was to do was to print.
int Printed() {
  if (std::cout.flush()) return kOk;
  std::cerr << "fairleadd: " << kNotWritten << "\n";
  return kFailed;
}

int Ended(const absl::Status& status) {
  if (status.ok()) return kOk;
  spdlog::error("{}", std::string(status.message()));
  return kFailed;
}

// For whoever is about to remove the store: what goes on by it. Waits for nobody: the store of
// an agent that runs is refused.
int PrintLeases(const std::string& state_dir) {
  const std::string path = StrCat(state_dir, "/store.sqlite");
  const auto contents = [&path]() -> absl::StatusOr<StoreContents> {
    FAIRLEAD_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store,
                              OpenSqliteStore({.path = path, .read_only = true}));
    return store->Load();
  }();
  // A file that an agent has made and not yet written to is there and has nothing.
  const bool empty = absl::IsNotFound(contents.status()) && ::access(path.c_str(), F_OK) == 0;
  if (empty) return kOk;
  if (!contents.ok()) {
    std::cerr << "fairleadd: " << contents.status().message() << "\n";
    return kFailed;
  }
  for (const Attachment& lease : contents->attachments) {
    std::cout << "port/" << lease.port << " of vm/" << lease.vm << ", VF " << lease.vf.ToString()
              << "\n";
  }
  return Printed();
}

int SimulateMain(const std::string& path, const SimulationOptions& options, bool check) {
  const absl::StatusOr<HostModel> model = LoadHostModel(path);
  if (!model.ok()) {
    std::cerr << "fairleadd: " << model.status().message() << "\n";
    return kUsage;
  }
  const absl::StatusOr<std::vector<HostModel>> hosts = SimulatedHosts(*model, options);
  if (!hosts.ok()) {
    std::cerr << "fairleadd: " << path << ": " << hosts.status().message() << "\n";
    return kUsage;
  }
  if (check) {
    std::cout << path << ": good\n";
    for (const HostModel& host : *hosts) std::cout << DescribeHost(host);
    return Printed();
  }
  SetUpLog(model->log_level);
  return Ended(Simulate(*model, options));
}

int Main(int argc, char** argv) {
  CLI::App app{
      "The Fairlead agent: makes this host's SR-IOV NICs serve its VMs' networks.\n\n"
      "Exit codes: 0 stopped by a signal, 1 could not start or go on, or print what was asked "
      "for, 2 usage or configuration."};
  std::string path = "/etc/fairlead/fairleadd.yaml";
  bool check = false;
  CLI::Option* config_file =
      app.add_option("-c,--config", path, "The configuration file")->capture_default_str();
  CLI::Option* only_check =
      app.add_flag("--check", check, "Only say whether the configuration, or the model, is good");
  std::string leases;
  CLI::Option* print_leases =
      app.add_option("--leases", leases,
                     "Only print what the store in this folder, of an agent that does not run, "
                     "has leased, a VF a line")
          ->excludes(config_file)
          ->excludes(only_check);
  std::string model, latency = "none";
  SimulationOptions simulation;
  simulation.run_dir = DefaultRunDir();
  CLI::Option* simulate =
      app.add_option("--simulate", model, "Run on the host that this file tells of; needs no root")
          ->excludes(config_file)
          ->excludes(print_leases);
  app.add_option("--run-dir", simulation.run_dir, "With --simulate: for sockets and stores")
      ->needs(simulate)
      ->capture_default_str();
  app.add_option(
         "--hosts", simulation.hosts,
         "With --simulate: so many hosts, NAME-0, NAME-1 ..., as far as the model's addresses "
         "can be counted up; each takes some 14 file descriptors and 5 threads, and one "
         "thread for each of its NICs and VMs")
      ->needs(simulate)
      ->check(CLI::Range(1U, kMostSimulatedHosts))
      ->capture_default_str();
  app.add_option("--latency", latency, "With --simulate: as long as the model says, or not at all")
      ->needs(simulate)
      ->check(CLI::IsMember({"none", "realistic"}))
      ->capture_default_str();
  app.set_version_flag("--version", std::string("fairleadd ") + kFairleadVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? Printed() : kUsage;
  }
  if (*simulate) {
    simulation.latency = latency == "realistic";
    return SimulateMain(model, simulation, check);
  }
  if (*print_leases) return PrintLeases(leases);
  const absl::StatusOr<DaemonConfig> config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << "fairleadd: " << config.status().message() << "\n";
    return kUsage;
  }
  if (check) {
    std::cout << path << ": good\n";
    return Printed();
  }
  SetUpLog(config->log_level);
  KernelPorts kernel;
  return Ended(RunAgent(*config, kernel.ports()));
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  const int code = fairlead::Main(argc, argv);
  // A thread that hangs in the kernel would go on using what exit() destroys.
  if (fairlead::ThreadLane::Abandoned() > 0) ::_exit(code);
  return code;
}
