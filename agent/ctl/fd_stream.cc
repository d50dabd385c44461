// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/fd_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

namespace fairlead {
namespace {

// How long it may take until it is seen that it is to stop.
constexpr int kStopSliceMillis = 200;

}  // namespace

FdStreambuf::int_type FdStreambuf::overflow(int_type c) {
  if (sync() != 0) return traits_type::eof();
  if (!traits_type::eq_int_type(c, traits_type::eof())) {
    *pptr() = traits_type::to_char_type(c);
    pbump(1);
  }
  return traits_type::not_eof(c);
}

int FdStreambuf::sync() {
  const char* from = pbase();
  while (error_ == 0 && from < pptr()) {
    // So that a write does not block: a pipe that is ready takes PIPE_BUF bytes (pipe(7)).
    struct pollfd item = {fd_, POLLOUT, 0};
    if (::poll(&item, 1, kStopSliceMillis) <= 0) {
      if (stopped_()) error_ = EINTR;
      continue;
    }
    const size_t most = std::min<size_t>(PIPE_BUF, static_cast<size_t>(pptr() - from));
    const ssize_t written = ::write(fd_, from, most);
    if (written >= 0) {
      from += written;
    } else if (errno != EINTR && errno != EAGAIN) {
      error_ = errno;
    }
  }
  setp(buffer_.data(), buffer_.data() + buffer_.size());
  return error_ == 0 ? 0 : -1;
}

FdInputbuf::int_type FdInputbuf::underflow() {
  ssize_t taken = 0;
  do {
    taken = ::read(fd_, buffer_.data(), buffer_.size());
  } while (taken < 0 && errno == EINTR);
  if (taken < 0) throw std::ios_base::failure("read");  // which the stream makes its badbit
  if (taken == 0) return traits_type::eof();
  setg(buffer_.data(), buffer_.data(), buffer_.data() + taken);
  return traits_type::to_int_type(*gptr());
}

void HoldStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number, which is this one.
    if (::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) return;
  }
}

}  // namespace fairlead
