// SPDX-License-Identifier: Apache-2.0
//
// fairlead-sysfs-write [--root DIR] PATH VALUE
//
// Purpose: writes VALUE to the file PATH, which must lie below DIR (default
// /sys). A process of its own, because a write inside the kernel can block for
// minutes and cannot be called back: the agent waits for this process only as
// long as it likes.
//
// Exit: 0 when the kernel took the value; the errno when it did not; 255 for
// arguments that it refuses (no errno has that number). Says nothing.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace {

constexpr int kRefused = 255;
// A sysfs attribute holds at most one page.
constexpr size_t kMaxValue = 4096;

int ExitCode(int err) {
  // Drivers return errnos above what an exit status can hold, ENOTSUPP (524,
  // include/linux/errno.h) being the one that occurs.
  return err > 0 && err < kRefused ? err : EOPNOTSUPP;
}

struct Free {
  void operator()(char* p) const { std::free(p); }
};
using CString = std::unique_ptr<char, Free>;

}  // namespace

int main(int argc, char** argv) {
  const char* root = "/sys";
  int next = 1;
  if (argc == 5 && std::strcmp(argv[1], "--root") == 0) {
    root = argv[2];
    next = 3;
  }
  if (argc - next != 2) return kRefused;
  const char* path = argv[next];
  const std::string_view value = argv[next + 1];
  if (path[0] != '/' || root[0] != '/' || value.size() > kMaxValue) return kRefused;

  // Links are part of sysfs (bus/pci/devices/* are all links), so what counts is
  // where the path really leads.
  const CString real_root(::realpath(root, nullptr));
  if (real_root == nullptr) return kRefused;
  const CString real_path(::realpath(path, nullptr));
  if (real_path == nullptr) return ExitCode(errno);
  std::string prefix = real_root.get();
  if (prefix != "/") prefix += '/';
  if (std::string_view(real_path.get()).substr(0, prefix.size()) != prefix) return kRefused;

  const int fd = ::open(real_path.get(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return ExitCode(errno);
  // One write only: sysfs hands each write to the driver as a value of its own.
  const ssize_t written = ::write(fd, value.data(), value.size());
  if (written < 0) return ExitCode(errno);
  return static_cast<size_t>(written) == value.size() ? 0 : EIO;
}
