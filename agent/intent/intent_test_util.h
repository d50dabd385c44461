// SPDX-License-Identifier: Apache-2.0
//
// Purpose: requests from text, worlds from requests, and what must hold of every
// world, for the tests and fuzz targets of this folder.
// Threading: pure functions.
#pragma once

#include <string>

#include "agent/intent/admit.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {

// From protobuf text form; a request that does not parse fails loudly.
v1::Request RequestFromText(const std::string& text);

// Admits and applies; fails loudly when refused.
void MustApply(const std::string& text, World* world);

// vpc red (VNI 100) with subnets red-1 (10.0.0.0/24, 2001:db8::/64) and red-2
// (10.0.1.0/24), vpc blue (200) with blue-1 (10.0.0.0/24); vms a and b; port a0
// of a in red-1 with MAC ..:0a and 10.0.0.5; endpoint far of red-1 with MAC ..:0f
// and 10.0.0.9 behind 192.0.2.2.
World SmallWorld();

// What is wrong with the world, "" if nothing: duplicate VNI, MAC, address (a
// gateway's too), UUID or ordinal, references that do not resolve, addresses out
// of subnet, overlapping subnets.
std::string BrokenInvariant(const World& world);

// All objects as text, to compare worlds.
std::string Dump(const World& world);

}  // namespace fairlead
