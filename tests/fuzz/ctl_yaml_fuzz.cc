// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as an object file: problems or objects, never a crash; what was read
// without a problem is a message that can be sent, and each object has a place.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/ctl/yaml_objects.h"
#include "fairlead/v1/intent.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fairlead::v1::Apply apply;
  fairlead::ObjectPlaces places;
  const auto problems =
      fairlead::ReadObjects({reinterpret_cast<const char*>(data), size}, &apply, &places);
  if (problems.size() > fairlead::kMaxYamlProblems) std::abort();
  if (problems.empty() && apply.upsert_size() == 0) std::abort();
  // The last object has a place, whatever its field.
  const std::string last =
      "apply.upsert[" + std::to_string(apply.upsert_size() - 1) + "].port.addresses[3]";
  if (problems.empty() && !places.Describe("f", last).starts_with("f:")) std::abort();
  return 0;
}
