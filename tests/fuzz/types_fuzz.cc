// SPDX-License-Identifier: Apache-2.0
//
// What parses prints to text that parses to the same value; nothing else crashes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/base/types.h"

namespace {

template <typename T>
void RoundTrip(std::string_view text) {
  auto value = T::Parse(text);
  if (!value.ok()) {
    // The message is bounded whatever came in.
    if (value.status().message().size() > 1000) std::abort();
    return;
  }
  auto again = T::Parse(value->ToString());
  if (!again.ok() || *again != *value) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  RoundTrip<fairlead::MacAddress>(text);
  RoundTrip<fairlead::IpAddress>(text);
  RoundTrip<fairlead::IpPrefix>(text);
  RoundTrip<fairlead::PciAddress>(text);
  RoundTrip<fairlead::Uuid>(text);
  if (fairlead::CheckObjectId(text).ok() && size > fairlead::kMaxObjectIdLength) std::abort();
  return 0;
}
