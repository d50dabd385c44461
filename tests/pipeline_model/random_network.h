// SPDX-License-Identifier: Apache-2.0
//
// Purpose: networks and frames by chance, the same ones for the same seed: VPCs that share MACs,
// addresses and VTEPs, subnets with and without gateways, routes; frames that are right, nearly
// right, and wrong.
//
// Threading: plain values.
#pragma once

#include <random>

#include "tests/pipeline_model/model.h"

namespace fairlead::pipeline_model {

using Random = std::mt19937_64;

Network RandomNetwork(Random& random);
Frame RandomFrame(const Network& network, Random& random);

}  // namespace fairlead::pipeline_model
