// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a whole agent on the in-memory fakes, as a controller meets it: the
// real daemon with its loop, lanes, store and endpoints, and a client of it.
//
// Threading: the agent runs on a thread of its own; everything here is called on
// the test's thread. The fakes may be changed while it runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "agent/daemon/agent.h"
#include "agent/transport/client.h"
#include "tests/integration/controller.h"
#include "tests/integration/fake_machine.h"

namespace fairlead {

using FakeHostOptions = FakeMachineOptions;

class FakeHost : public FakeMachine, public Controller {
 public:
  explicit FakeHost(FakeHostOptions options = {}) : FakeMachine(options) {}
  ~FakeHost() override;

  // The agent; Start fails the test when it does not come up. Stop ends it in
  // order, and the state on the fakes and in the store stays.
  void Start();
  void Stop();

  v1::Reply SendBytes(std::string_view bytes);
  // Polls until `done`. Gives up after half a minute and fails the test.
  void WaitUntil(const std::string& what, const std::function<bool()>& done);
  // The same for a port's status (none: the port is gone), which it returns.
  std::optional<v1::ObjectStatus> WaitPort(
      const std::string& port,
      const std::function<bool(const std::optional<v1::ObjectStatus>&)>& done);
  v1::ObjectStatus WaitReady(const std::string& port);
  v1::ObjectStatus WaitFailed(const std::string& port);
  void WaitGone(const std::string& port);
  // True once every PF has the VFs that its configuration asks for.
  bool HasItsVfs();

 private:
  v1::Reply Call(const v1::Request& request) override;

  SystemClock clock_;
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  std::unique_ptr<Client> client_;
};

}  // namespace fairlead
