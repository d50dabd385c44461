// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/private_folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "agent/base/error.h"
#include "agent/base/text.h"

namespace fairlead {
namespace {

absl::Status NotOwn(std::string_view what, const std::string& path, uid_t owner) {
  return absl::FailedPreconditionError(
      StrCat(what, " ", path, " belongs to user ", owner, ", and this runs as user ", ::geteuid(),
             ": name another, or make it that user's if what it holds can be trusted"));
}

}  // namespace

absl::Status MakePrivateFolder(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (error) return SystemError(error.value(), StrCat("make the folder ", path));
  if (made && ::chmod(path.c_str(), 0700) != 0) {
    return SystemError(errno, StrCat("set the mode of ", path));
  }
  // A link in a folder like /tmp could be another user's, and lead into a folder of ours.
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return SystemError(errno, StrCat("look at ", path));
  if (S_ISLNK(info.st_mode) && info.st_uid != ::geteuid()) {
    return NotOwn("the link", path, info.st_uid);
  }
  if (::stat(path.c_str(), &info) != 0) return SystemError(errno, StrCat("look at ", path));
  if (info.st_uid != ::geteuid()) return NotOwn("the folder", path, info.st_uid);
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(StrCat("the folder ", path,
                                                " may be written by others; take that right away "
                                                "with 'chmod go-w ",
                                                path, "'"));
  }
  return absl::OkStatus();
}

}  // namespace fairlead
