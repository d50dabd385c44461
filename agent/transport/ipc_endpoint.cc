// SPDX-License-Identifier: Apache-2.0
#include "agent/transport/ipc_endpoint.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <string_view>

#include "agent/base/text.h"
#include "agent/base/unique_fd.h"

namespace fairlead {
namespace {

// sun_path less its final NUL (uapi/linux/un.h, UNIX_PATH_MAX 108).
constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

}  // namespace

absl::StatusOr<std::string> PathOfEndpoint(const std::string& endpoint) {
  constexpr std::string_view kScheme = "ipc://";
  const auto refuse = [&](std::string_view why) {
    return absl::InvalidArgumentError(StrCat("endpoint ", Quoted(endpoint), ": ", why));
  };
  if (endpoint.starts_with("tcp://")) {
    return refuse(
        "tcp is refused, because the channel is neither encrypted nor authenticated; use "
        "ipc:///path, and ssh or a proxy with TLS from other hosts");
  }
  if (!endpoint.starts_with(kScheme)) return refuse("it must have the form ipc:///path");
  std::string path = endpoint.substr(kScheme.size());
  if (path.starts_with("@")) {
    return refuse("an abstract socket has no file mode that says who may connect; use a path");
  }
  if (!path.starts_with("/") || path.ends_with("/")) {
    return refuse("it must name a file by its absolute path, as in ipc:///run/fairlead/x.sock");
  }
  if (path.find('\0') != std::string::npos) return refuse("its path has a zero byte in it");
  if (path.size() > kMaxPath) {
    return refuse(
        StrCat("its path has ", path.size(), " bytes and a socket address holds ", kMaxPath));
  }
  return path;
}

IpcProbe ProbeIpc(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {IpcState::kNothing, ENOENT};
    return {errno == EACCES ? IpcState::kDenied : IpcState::kUnknown, errno};
  }
  if (!S_ISSOCK(info.st_mode)) return {IpcState::kNoSocket, ENOTSOCK};
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return {IpcState::kUnknown, errno};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > kMaxPath) return {IpcState::kUnknown, ENAMETOOLONG};
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return {IpcState::kListening, 0};
  }
  switch (errno) {
    case EAGAIN:  // its queue of connections is full, so somebody has one
      return {IpcState::kListening, 0};
    case ECONNREFUSED:
      return {IpcState::kStale, ECONNREFUSED};
    case ENOENT:
      return {IpcState::kNothing, ENOENT};
    case EACCES:
      return {IpcState::kDenied, EACCES};
    default:
      return {IpcState::kUnknown, errno};
  }
}

}  // namespace fairlead
