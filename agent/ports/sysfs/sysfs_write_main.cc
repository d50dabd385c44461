// SPDX-License-Identifier: Apache-2.0
//
// fairlead-sysfs-write [--root DIR] PATH VALUE
// fairlead-sysfs-write [--root DIR] --read
//
// Purpose: writes VALUE to the file PATH, which must lie below DIR (default
// /sys). A process of its own, because a write inside the kernel can block for
// minutes and cannot be called back: the agent waits for this process only as
// long as it likes.
//
// With --read it answers, until its input ends, each packet of it (a path, below DIR too)
// with one: an errno as an int, 0 for none, and the file's content, cut off past 64 KiB.
// Its input is a packet socket. Reads block as writes do.
//
// Exit: 0 when the kernel took the value; the errno when it did not; 255 for
// arguments that it refuses (no errno has that number). Says nothing.
#include <fcntl.h>
#include <sys/socket.h>
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
constexpr size_t kMaxContent = 64 * 1024;

int ExitCode(int err) {
  // Drivers return errnos above what an exit status can hold, ENOTSUPP (524,
  // include/linux/errno.h) being the one that occurs.
  return err > 0 && err < kRefused ? err : EOPNOTSUPP;
}

struct Free {
  void operator()(char* p) const { std::free(p); }
};
using CString = std::unique_ptr<char, Free>;

// 0 and where the path really leads, when that is below `root`; else an exit code. Links
// are part of sysfs: bus/pci/devices/* are all links.
int Resolve(const char* root, const char* path, std::string* real) {
  if (path[0] != '/' || root[0] != '/') return kRefused;
  const CString real_root(::realpath(root, nullptr));
  if (real_root == nullptr) return kRefused;
  const CString real_path(::realpath(path, nullptr));
  if (real_path == nullptr) return ExitCode(errno);
  std::string prefix = real_root.get();
  if (prefix != "/") prefix += '/';
  *real = real_path.get();
  return real->compare(0, prefix.size(), prefix) == 0 ? 0 : kRefused;
}

// 0, or an errno.
int Read(const char* root, const char* path, std::string* content) {
  std::string real;
  if (const int err = Resolve(root, path, &real); err != 0) return err == kRefused ? EPERM : err;
  const int fd = ::open(real.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno;
  int err = 0;
  char buffer[4096];
  while (content->size() <= kMaxContent) {
    const ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n < 0) err = errno;
    if (n <= 0) break;
    content->append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  if (content->size() > kMaxContent) content->resize(kMaxContent + 1);
  return err;
}

int AnswerReads(const char* root) {
  char path[PATH_MAX];
  while (true) {
    const ssize_t n = ::recv(0, path, sizeof(path) - 1, 0);
    if (n <= 0) return 0;
    path[n] = '\0';
    std::string content;
    const int err = Read(root, path, &content);
    std::string answer(reinterpret_cast<const char*>(&err), sizeof(err));
    answer += content;
    if (::send(0, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* root = "/sys";
  int next = 1;
  if (argc >= 3 && std::strcmp(argv[1], "--root") == 0) {
    root = argv[2];
    next = 3;
  }
  if (argc - next == 1 && std::strcmp(argv[next], "--read") == 0) return AnswerReads(root);
  if (argc - next != 2) return kRefused;
  const char* path = argv[next];
  const std::string_view value = argv[next + 1];
  if (value.size() > kMaxValue) return kRefused;
  std::string real;
  if (const int code = Resolve(root, path, &real); code != 0) return code;

  const int fd = ::open(real.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return ExitCode(errno);
  // One write only: sysfs hands each write to the driver as a value of its own.
  const ssize_t written = ::write(fd, value.data(), value.size());
  if (written < 0) return ExitCode(errno);
  return static_cast<size_t>(written) == value.size() ? 0 : EIO;
}
