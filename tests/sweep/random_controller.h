// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a controller, and an operator, who want random things of an agent in a storm, ask until
// they have an answer, and remember what was accepted: that is what has to be so when it is over.
//
// Threading: one thread. Ownership: the host is borrowed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/v1/agent.pb.h"
#include "tests/sweep/random_host.h"

namespace fairlead {

// What was accepted.
struct Wanted {
  std::map<std::string, v1::Vpc> networks;  // each with a subnet "<id>-1"
  std::map<std::pair<std::string, std::string>, v1::AddVmToVpc> ports;  // by VM and VPC
  std::map<std::string, v1::Endpoint> endpoints;
  std::map<std::string, v1::Route> routes;
};

class RandomController {
 public:
  explicit RandomController(RandomHost* on) : on_(*on), dice_(on->dice) {}

  void MakeNetworks();
  // One change by chance.
  void Attach();
  void Detach();
  void Endpoint();
  void Route();
  void ChangeVni();
  // An operator tries to release some VF, whatever state it is in.
  void ReleaseSomeVf();
  // The store is lost; all is sent again, and what was found is adopted, or purged.
  void LoseStore();

  // What is still there of lost stores is adopted, or not, and what then is left is purged.
  void EndLostStores();
  // All that are quarantined, whose number is returned.
  int ReleaseAll();
  void RemoveAll();

  const Wanted& wanted() const { return wanted_; }

 private:
  // Sends until it has an answer. False: it was refused.
  bool Ask(v1::Request request);
  bool TakeOver(v1::TakeOver::Mode mode, const std::string& store);
  v1::Reply Release(const std::string& vf, bool force);
  // Of what is listed as somebody else's.
  std::set<std::string> ListedStores();
  void SendVms();
  void SendAllAgain();
  bool PutNetwork(const v1::Vpc& vpc);
  void Detach(const std::pair<std::string, std::string>& port);
  std::string AnOverlay() { return dice_.Of(std::vector<std::string>{"red", "blue"}); }
  size_t VfPortsOf(const std::string& vm) const;

  RandomHost& on_;
  Dice& dice_;
  Wanted wanted_;
  int requests_ = 0;
  std::string refusal_;         // the last that was for good
  std::set<std::string> lost_;  // stores
};

}  // namespace fairlead
