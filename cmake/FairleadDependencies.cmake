# SPDX-License-Identifier: Apache-2.0
#
# What comes from Debian 12, wrapped as targets where the package has none.

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(NL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
find_library(FAIRLEAD_LIBZMQ zmq REQUIRED)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-cpp)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)

add_library(fairlead_external_asio INTERFACE)
target_compile_definitions(fairlead_external_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
target_link_libraries(fairlead_external_asio INTERFACE Threads::Threads)
if(FAIRLEAD_SANITIZE STREQUAL "thread")
  # g++ refuses std::atomic_thread_fence here; asio's mutexes order all that we use.
  target_compile_definitions(fairlead_external_asio INTERFACE ASIO_DISABLE_FENCED_BLOCK)
endif()
add_library(fairlead_external_zmq INTERFACE)
# Not by pkg-config: libzmq's file lists include folders that it does not need, in an
# order that differs from one configuration to the next, and all would be built again.
target_link_libraries(fairlead_external_zmq INTERFACE ${FAIRLEAD_LIBZMQ})
add_library(fairlead_external_yaml INTERFACE)
target_link_libraries(fairlead_external_yaml INTERFACE PkgConfig::YAML)

if(FAIRLEAD_TESTS)
  find_package(GTest REQUIRED)
endif()
