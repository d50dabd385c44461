// SPDX-License-Identifier: Apache-2.0
#include "agent/simulate/simulation.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "agent/base/clock.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/daemon/agent.h"
#include "agent/daemon/private_folder.h"
#include "agent/simulate/host_config.h"
#include "agent/simulate/machine.h"
#include "agent/transport/ipc_endpoint.h"

namespace fairlead {
namespace {

thread_local std::string host_of_thread;

absl::StatusOr<std::string> Absolute(const std::string& folder) {
  std::error_code error;
  std::string path = std::filesystem::absolute(folder, error).lexically_normal().string();
  if (error) return SystemError(error.value(), StrCat("find the run folder ", folder));
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

class SimulatedHost {
 public:
  SimulatedHost(const HostModel& model, bool latency, DaemonConfig config)
      : name_(model.name),
        config_(std::move(config)),
        machine_(model, latency,
                 [loop = &loop_, post = loop_.poster()](std::chrono::milliseconds delay,
                                                        std::function<void()> fn) {
                   post([loop, delay, fn = std::move(fn)] { loop->After(delay, fn); });
                 }) {}
  ~SimulatedHost() {
    Stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start() {
    std::promise<absl::Status> started;
    std::future<absl::Status> result = started.get_future();
    thread_ = std::thread([this, &started] {
      host_of_thread = name_;
      const absl::StatusOr<std::unique_ptr<Agent>> agent =
          Agent::Start(&loop_, &clock_, config_, machine_.ports());
      if (!agent.ok()) return started.set_value(agent.status());
      // In the loop, so that no Stop comes before its Run.
      loop_.poster()([&started] { started.set_value(absl::OkStatus()); });
      loop_.Run();
    });
    const absl::Status status = result.get();
    if (!status.ok()) thread_.join();
    return Annotate(status, StrCat("simulated host ", name_));
  }

  // Does not wait.
  void Stop() {
    machine_.EndLatency();
    loop_.Stop();
  }

 private:
  const std::string name_;
  const DaemonConfig config_;
  const SystemClock clock_;
  Loop loop_;
  Machine machine_;
  std::thread thread_;
};

absl::Status WriteConfiguration(const std::string& path, const std::string& yaml) {
  errno = 0;
  std::ofstream file(path);
  file << "# What this simulated host's agent runs with. Made anew at each start.\n" << yaml;
  file.close();
  if (file) return absl::OkStatus();
  return SystemError(errno == 0 ? EIO : errno, StrCat("write ", path));
}

// A host as it is to run; nothing was made for it yet.
struct PlannedHost {
  HostModel model;
  Simulation::Host host;
  std::string yaml;
  DaemonConfig config;
};

// What no two hosts may have.
class Taken {
 public:
  absl::Status Take(const PlannedHost& host) {
    for (const std::string& own : {host.host.requests, host.host.events, host.config.state_dir}) {
      if (!places_.insert(own).second) {
        return absl::InvalidArgumentError(
            StrCat("two hosts would use ", own,
                   ": the model's config may say neither endpoint nor "
                   "state_dir when there are several hosts"));
      }
    }
    for (const PfConfig& pf : host.config.providers.pfs) FAIRLEAD_RETURN_IF_ERROR(TakeMac(pf.mac));
    for (const HotplugPortModel& port : host.model.hotplug_ports) {
      for (const FunctionModel& function : port.functions) {
        FAIRLEAD_RETURN_IF_ERROR(TakeMac(function.mac));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status TakeMac(const MacAddress& mac) {
    if (macs_.insert(mac).second) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("two hosts would have a NIC ", mac.ToString(),
                                             ": the model's MACs leave no room to count up"));
  }

  std::set<std::string> places_;
  std::set<MacAddress> macs_;
};

absl::StatusOr<PlannedHost> PlanHost(HostModel model, const std::string& run_dir) {
  PlannedHost plan;
  plan.model = std::move(model);
  plan.host.name = plan.model.name;
  plan.host.folder = StrCat(run_dir, "/", plan.model.name);
  const std::string socket = StrCat("ipc://", plan.host.folder, "/events.sock");
  FAIRLEAD_RETURN_IF_ERROR(
      Annotate(PathOfEndpoint(socket).status(), "a shorter run folder is needed"));
  plan.yaml = WriteConfig(plan.model, plan.host.folder).yaml;
  FAIRLEAD_ASSIGN_OR_RETURN(plan.config, ParseConfig(plan.yaml));
  plan.host.requests = plan.config.server.requests;
  plan.host.events = plan.config.server.events;
  plan.host.tunnel = plan.config.providers.tunnel.local.ToString();
  return plan;
}

// A store elsewhere may be another's; it would be made a simulated host's.
absl::Status CheckStateDir(const HostModel& model, const std::string& run_dir) {
  const int line = LineOfConfig(model, "state_dir");
  if (line == 0) return absl::OkStatus();
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string run, Absolute(run_dir));
  FAIRLEAD_ASSIGN_OR_RETURN(const DaemonConfig config, ConfigOf(model, run));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string store, Absolute(config.state_dir));
  if (store.starts_with(StrCat(run, "/"))) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("line ", line, ": config.state_dir is ", Quoted(store),
                                           ", which is not below the run folder ", Quoted(run),
                                           "; without it the store is in the host's own folder"));
}

absl::StatusOr<std::vector<PlannedHost>> Plan(const HostModel& model,
                                              const SimulationOptions& options) {
  if (options.hosts < 1 || options.hosts > kMostSimulatedHosts) {
    return absl::InvalidArgumentError(StrCat("1 to ", kMostSimulatedHosts,
                                             " hosts can be "
                                             "simulated"));
  }
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string run_dir, Absolute(options.run_dir));
  FAIRLEAD_RETURN_IF_ERROR(CheckStateDir(model, run_dir));
  std::vector<PlannedHost> plans;
  Taken taken;
  for (uint32_t number = 0; number < options.hosts; ++number) {
    absl::StatusOr<HostModel> host = model;
    if (options.hosts > 1) host = NumberedHost(model, number);
    if (!host.ok()) return host.status();
    FAIRLEAD_ASSIGN_OR_RETURN(PlannedHost plan, PlanHost(*std::move(host), run_dir));
    FAIRLEAD_RETURN_IF_ERROR(taken.Take(plan));
    plans.push_back(std::move(plan));
  }
  return plans;
}

class SimulationImpl final : public Simulation {
 public:
  ~SimulationImpl() override {
    // All at once, and then waited for.
    for (const auto& host : running_) host->Stop();
  }

  const std::vector<Host>& hosts() const override { return hosts_; }

  absl::Status Add(PlannedHost plan, bool latency) {
    FAIRLEAD_RETURN_IF_ERROR(MakePrivateFolder(plan.host.folder));
    FAIRLEAD_RETURN_IF_ERROR(MakePrivateFolder(plan.config.state_dir));
    for (const std::string& endpoint : {plan.host.requests, plan.host.events}) {
      FAIRLEAD_ASSIGN_OR_RETURN(const std::string path, PathOfEndpoint(endpoint));
      std::error_code error;  // binding says it better
      std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    }
    running_.push_back(
        std::make_unique<SimulatedHost>(plan.model, latency, std::move(plan.config)));
    hosts_.push_back(plan.host);
    FAIRLEAD_RETURN_IF_ERROR(running_.back()->Start());
    // Only now: one that is refused must not overwrite another's.
    return WriteConfiguration(StrCat(plan.host.folder, "/fairleadd.yaml"), plan.yaml);
  }

 private:
  std::vector<Host> hosts_;
  std::vector<std::unique_ptr<SimulatedHost>> running_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Simulation>> Simulation::Start(const HostModel& model,
                                                              const SimulationOptions& options) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::vector<PlannedHost> plans, Plan(model, options));
  FAIRLEAD_ASSIGN_OR_RETURN(const std::string run_dir, Absolute(options.run_dir));
  FAIRLEAD_RETURN_IF_ERROR(MakePrivateFolder(run_dir));
  auto simulation = std::make_unique<SimulationImpl>();
  for (PlannedHost& plan : plans) {
    FAIRLEAD_RETURN_IF_ERROR(simulation->Add(std::move(plan), options.latency));
  }
  return simulation;
}

absl::StatusOr<std::vector<HostModel>> SimulatedHosts(const HostModel& model,
                                                      const SimulationOptions& options) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::vector<PlannedHost> plans, Plan(model, options));
  std::vector<HostModel> hosts;
  for (PlannedHost& plan : plans) hosts.push_back(std::move(plan.model));
  return hosts;
}

uint64_t FilesOfSimulation(uint32_t hosts) {
  constexpr uint64_t kOfTheProcess = 32, kOfAHost = 14, kOfItsClients = 4;
  return kOfTheProcess + hosts * (kOfAHost + kOfItsClients);
}

std::string DefaultRunDir() {
  const char* runtime = ::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return StrCat(runtime, "/fairlead-sim");
  return StrCat("/tmp/fairlead-sim-", ::geteuid());
}

const std::string& SimulatedHostName() { return host_of_thread; }

}  // namespace fairlead
