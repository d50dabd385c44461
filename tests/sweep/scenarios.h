// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what the sweeps over all that an operation changes are about: a host, what is asked of
// its agent, and what becomes of it; and a run of one on a host of its own.
//
// Threading: one thread. Ownership: a run owns its host.
#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/sweep/stepped_host.h"

namespace fairlead {

struct Scenario {
  const char* name;
  FakeMachineOptions machine;
  // Comes before what is swept.
  std::function<void(SteppedHost&)> prepare;
  std::function<v1::Request(SteppedHost&)> request;
  // The port that it is about is ready at the end, or gone.
  bool ready;
};

void PrintTo(const Scenario& scenario, std::ostream* out);

std::vector<Scenario> Attaches();
std::vector<Scenario> Detaches();
std::vector<Scenario> Quarantines();  // VFs that are given back dirty, and the release of one
std::vector<Scenario> Moves();
std::vector<Scenario> Hotplugs();
std::vector<Scenario> TakeOvers();

// The port that scenarios are about.
inline constexpr char kSweptPort[] = "a-red";

// Crashes at one change, before or after it, if told so: from then on nothing has an effect and
// nothing is told, as of a process that is no more. And refuses what it is told to.
class PlannedFaults final : public FaultPlan {
 public:
  enum class When { kBefore, kAfter };
  using IsRefused = std::function<bool(const PortCall&)>;
  explicit PlannedFaults(SteppedHost* host) : host_(host) {}

  void CrashAt(size_t change, When when);
  // These for good, each time. Null: none.
  void Refuse(IsRefused refused) { refused_ = std::move(refused); }
  // The next agent meets no crash.
  void Over() { crashed_ = false; }

  absl::Status Before(const PortCall& call) override;
  absl::Status After(const PortCall& call) override;
  bool Tells(std::string_view) override { return !crashed_; }

  bool crashed() const { return crashed_; }
  bool crashed_once() const { return crashed_once_; }

 private:
  void Crash();

  SteppedHost* host_;
  std::optional<size_t> at_;
  When when_ = When::kBefore;
  size_t seen_ = 0;
  bool armed_ = false, crashed_ = false, crashed_once_ = false;
  IsRefused refused_;
};

// A host that is ready for the request, and quiet.
class ScenarioRun {
 public:
  explicit ScenarioRun(const Scenario& scenario);

  // Sends the request; a controller that had no answer sends the same one again.
  void Ask();
  // And until it is quiet.
  void AskAndSettle();
  // The host's picture, and what the agent says of the VFs.
  std::string Seen();

  SteppedHost host;
  PlannedFaults plan;
  v1::Request request;
};

}  // namespace fairlead
