// SPDX-License-Identifier: Apache-2.0
//
// Purpose: building text for people. Debian 12's Abseil is built with a
// string_view of its own, which std::string_view does not convert to, so
// absl::StrCat takes none; StrCat and StrAppend here do, and take Abseil's too
// (status messages).
//
// Threading: free functions on values. Errors: none.
#pragma once

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace fairlead {

// Abseil's view as the standard's, and back. Nothing is copied.
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }
inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

// One argument of StrCat: text, or a whole number in decimal. Lives only as long
// as the call.
class TextPiece {
 public:
  TextPiece(std::string_view text) : text_(text) {}    // NOLINT
  TextPiece(const std::string& text) : text_(text) {}  // NOLINT
  TextPiece(const char* text) : text_(text) {}         // NOLINT
  template <typename View>
  requires(std::same_as<View, absl::string_view> && !std::same_as<View, std::string_view>)
      TextPiece(View text)
      : text_(text.data(), text.size()) {}  // NOLINT
  template <std::integral Number>
  requires(!std::same_as<Number, char> && !std::same_as<Number, bool>)
      TextPiece(Number number) {  // NOLINT
    auto end = std::to_chars(digits_, digits_ + sizeof(digits_), number).ptr;
    text_ = {digits_, static_cast<size_t>(end - digits_)};
  }
  TextPiece(const TextPiece&) = delete;
  TextPiece& operator=(const TextPiece&) = delete;

  std::string_view text() const { return text_; }

 private:
  char digits_[24];  // a 64-bit number has at most 20 characters
  std::string_view text_;
};

void AppendPieces(std::string& out, std::initializer_list<std::string_view> pieces);

// No argument may be a part of `*out`.
template <typename... Args>
void StrAppend(std::string* out, const Args&... args) {
  AppendPieces(*out, {TextPiece(args).text()...});
}

template <typename... Args>
std::string StrCat(const Args&... args) {
  std::string out;
  AppendPieces(out, {TextPiece(args).text()...});
  return out;
}

// Elements of `range` (each text or a number), with `separator` between.
template <typename Range>
std::string StrJoin(const Range& range, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& element : range) {
    if (!first) out += separator;
    first = false;
    out += TextPiece(element).text();
  }
  return out;
}

// Input from outside as an error message shows it: in single quotes, escaped so
// that it is harmless to a terminal, and cut when long.
std::string Quoted(std::string_view text);

}  // namespace fairlead
