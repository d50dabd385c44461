// SPDX-License-Identifier: Apache-2.0
//
// Purpose: bounded reads of sysfs files and links, and strict parsing of what
// they hold.
//
// Threading: free functions; safe from any thread.
// Errors: SystemError with the errno of the failed call; kDataLoss for content
// that is too long or not what the file is documented to hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fairlead {

inline constexpr size_t kMaxSysfsFile = 64 * 1024;
// Of one folder; a PF of the SR-IOV specification can have 65535 VFs, each a
// link in the PF's folder.
inline constexpr size_t kMaxSysfsEntries = 70000;

// The file's content without trailing white space.
absl::StatusOr<std::string> ReadSysfsFile(const std::string& path);
// nullopt when there is no such file.
absl::StatusOr<std::optional<std::string>> ReadOptionalSysfsFile(const std::string& path);

// The last part of what the link points to ("vfio-pci"); nullopt when there is
// no such link.
absl::StatusOr<std::optional<std::string>> ReadLinkName(const std::string& path);

// Names in the folder without "." and "..", sorted; kNotFound when it is not there.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// A plain write that does not block for long.
absl::Status WriteSysfsFile(const std::string& path, std::string_view value,
                            std::string_view asked);

// The whole text must be the number, in [0, max]. "0x" makes it hexadecimal.
// `path` is for the message.
absl::StatusOr<uint64_t> ParseSysfsNumber(std::string_view text, uint64_t max,
                                          std::string_view path);
absl::StatusOr<int> ParseSysfsInt(std::string_view text, int min, int max, std::string_view path);

}  // namespace fairlead
