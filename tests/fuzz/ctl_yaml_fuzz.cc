// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as an object file: problems or objects, never a crash; what was read
// without a problem is a message that can be sent.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/ctl/yaml_objects.h"
#include "fairlead/v1/intent.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fairlead::v1::Apply apply;
  const auto problems = fairlead::ReadObjects({reinterpret_cast<const char*>(data), size}, &apply);
  if (problems.size() > fairlead::kMaxYamlProblems) std::abort();
  if (problems.empty() && apply.upsert_size() == 0) std::abort();
  return 0;
}
