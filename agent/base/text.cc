// SPDX-License-Identifier: Apache-2.0
#include "agent/base/text.h"

#include "absl/strings/escaping.h"

namespace fairlead {

void AppendPieces(std::string& out, std::initializer_list<std::string_view> pieces) {
  size_t size = out.size();
  for (std::string_view piece : pieces) size += piece.size();
  out.reserve(size);
  for (std::string_view piece : pieces) out += piece;
}

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 80;
  const std::string shown = absl::CHexEscape(AbslView(text.substr(0, kShown)));
  if (text.size() <= kShown) return StrCat("'", shown, "'");
  return StrCat("'", shown, "...' (", text.size(), " bytes)");
}

}  // namespace fairlead
