// SPDX-License-Identifier: Apache-2.0
//
// Purpose: streams on file descriptors that tell a failure, and why, which std::cin
// and std::cout do not.
//
// Threading: one thread at a time. Ownership: borrows the descriptor. Errors: the
// stream's badbit. Of output also `error()`; what comes after the first failure is
// dropped. EINTR: it was to stop, and nobody took what was to be written. Of input also
// errno, as read() left it.
#pragma once

#include <array>
#include <functional>
#include <ostream>
#include <streambuf>
#include <utility>

namespace fairlead {

class FdStreambuf final : public std::streambuf {
 public:
  // `stopped` is asked while the reader of a pipe does not read.
  FdStreambuf(int fd, std::function<bool()> stopped) : fd_(fd), stopped_(std::move(stopped)) {
    setp(buffer_.data(), buffer_.data() + buffer_.size());
  }
  // The errno of the first write that failed, 0 if none did.
  int error() const { return error_; }

 protected:
  int_type overflow(int_type c) override;
  int sync() override;

 private:
  const int fd_;
  const std::function<bool()> stopped_;
  int error_ = 0;
  std::array<char, 65536> buffer_;
};

class FdInputbuf final : public std::streambuf {
 public:
  explicit FdInputbuf(int fd) : fd_(fd) {}

 protected:
  int_type underflow() override;

 private:
  const int fd_;
  std::array<char, 65536> buffer_;
};

// Opens /dev/null in place of each of the descriptors 0, 1, 2 that is closed, so
// that no socket gets its number; using it still fails.
void HoldStandardDescriptors();

}  // namespace fairlead
