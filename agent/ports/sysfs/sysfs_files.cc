// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/sysfs/sysfs_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "absl/strings/ascii.h"

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/base/unique_fd.h"

namespace fairlead {
namespace {

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

absl::Status Junk(std::string_view path, std::string_view text, std::string_view wanted) {
  return absl::DataLossError(
      StrCat(path, " holds ", Quoted(text), " where ", wanted, " is expected"));
}

// The kernel shows a folder only for as long as the device lives: both mean
// that it is not there.
bool MeansAbsent(int err) { return err == ENOENT || err == ENOTDIR; }

absl::StatusOr<std::optional<std::string>> Read(const std::string& path) {
  // O_NONBLOCK: a FIFO in the place of an attribute must not hold us up.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    if (MeansAbsent(errno)) return std::optional<std::string>();
    return SystemError(errno, StrCat("open ", path));
  }
  std::string content;
  char buffer[4096];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(errno, StrCat("read ", path));
    if (n == 0) break;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > kMaxSysfsFile) {
      return absl::DataLossError(
          StrCat(path, " holds more than ", kMaxSysfsFile, " bytes, which no attribute does"));
    }
  }
  absl::StripTrailingAsciiWhitespace(&content);
  return std::optional<std::string>(std::move(content));
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadOptionalSysfsFile(const std::string& path) {
  return Read(path);
}

absl::StatusOr<std::string> ReadSysfsFile(const std::string& path) {
  FAIRLEAD_ASSIGN_OR_RETURN(std::optional<std::string> content, Read(path));
  if (!content.has_value()) return SystemError(ENOENT, StrCat("read ", path));
  return *std::move(content);
}

absl::StatusOr<std::optional<std::string>> ReadLinkName(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof(target));
  if (n < 0) {
    if (MeansAbsent(errno)) return std::optional<std::string>();
    if (errno == EINVAL) return Junk(path, "", "a link");
    return SystemError(errno, StrCat("read the link ", path));
  }
  const std::string_view text(target, static_cast<size_t>(n));
  if (text.size() == sizeof(target)) return Junk(path, text, "a shorter link");
  const std::string_view name = text.substr(text.rfind('/') + 1);  // npos + 1 is 0
  if (name.empty() || name == "." || name == "..") return Junk(path, text, "a link to a name");
  return std::optional<std::string>(name);
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::unique_ptr<DIR, CloseDir> dir(::opendir(path.c_str()));
  if (dir == nullptr) {
    if (MeansAbsent(errno)) return absl::NotFoundError(StrCat("there is no ", path));
    return SystemError(errno, StrCat("list ", path));
  }
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) return SystemError(errno, StrCat("list ", path));
      break;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == kMaxSysfsEntries) {
      return absl::DataLossError(StrCat(path, " has more than ", kMaxSysfsEntries, " entries"));
    }
    names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status WriteSysfsFile(const std::string& path, std::string_view value,
                            std::string_view asked) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return SystemError(errno, asked, StrCat("cannot open ", path));
  ssize_t n;
  do {
    n = ::write(fd.get(), value.data(), value.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return SystemError(errno, asked);
  if (static_cast<size_t>(n) != value.size()) return SystemError(EIO, asked);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ParseSysfsNumber(std::string_view text, uint64_t max,
                                          std::string_view path) {
  std::string_view digits = text;
  int base = 10;
  if (digits.substr(0, 2) == "0x") {
    digits.remove_prefix(2);
    base = 16;
  }
  uint64_t value = 0;
  const auto [end, err] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || err != std::errc() || end != digits.data() + digits.size() || value > max) {
    return Junk(path, text, StrCat("a number from 0 to ", max));
  }
  return value;
}

absl::StatusOr<int> ParseSysfsInt(std::string_view text, int min, int max, std::string_view path) {
  int value = 0;
  const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || err != std::errc() || end != text.data() + text.size() || value < min ||
      value > max) {
    return Junk(path, text, StrCat("a number from ", min, " to ", max));
  }
  return value;
}

}  // namespace fairlead
