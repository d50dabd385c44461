# SPDX-License-Identifier: Apache-2.0
#
# fairlead_library(NAME SOURCES ... DEPENDS ...): one library per folder, with
# the design's arrows enforced: a dependency that FAIRLEAD_ALLOWED_<name> does
# not list stops the configuration with a sentence.
#
# fairlead_test(NAME SOURCES ... DEPENDS ... [LABELS ...]): one GoogleTest
# binary, registered with CTest.

# What each layer may depend on, Fairlead's own libraries and the outside ones.
set(FAIRLEAD_ALLOWED_base absl)
set(FAIRLEAD_ALLOWED_yaml_tree base absl yaml)
set(FAIRLEAD_ALLOWED_model base absl)
set(FAIRLEAD_ALLOWED_proto protobuf)
set(FAIRLEAD_ALLOWED_intent base model proto absl protobuf)
set(FAIRLEAD_ALLOWED_store base model proto absl protobuf sqlite)
set(FAIRLEAD_ALLOWED_store_testing sqlite)  # a disk for the tests of the store
set(FAIRLEAD_ALLOWED_pipeline base model absl)
set(FAIRLEAD_ALLOWED_pipeline_model base model absl)  # judges the pipeline, for tests
set(FAIRLEAD_ALLOWED_compile base model pipeline absl)
set(FAIRLEAD_ALLOWED_plan base model absl)
set(FAIRLEAD_ALLOWED_runtime base absl asio threads)
set(FAIRLEAD_ALLOWED_transport base absl asio zmq threads)
set(FAIRLEAD_ALLOWED_ports_sysfs base absl threads)
set(FAIRLEAD_ALLOWED_ports_uevent base absl threads)
set(FAIRLEAD_ALLOWED_ports_netlink base absl nl threads)
set(FAIRLEAD_ALLOWED_ports_rtnetlink base absl nl threads ports_netlink)
set(FAIRLEAD_ALLOWED_ports_tc base absl nl threads ports_netlink)
set(FAIRLEAD_ALLOWED_ports_devlink base absl nl threads ports_netlink)
set(FAIRLEAD_ALLOWED_ports_conntrack base absl nl threads ports_netlink)
set(FAIRLEAD_ALLOWED_ports_qmp base absl json threads)
set(FAIRLEAD_ALLOWED_slow_path_wire base model proto absl protobuf)
set(FAIRLEAD_ALLOWED_ports_slow_path base model slow_path_wire absl threads)
# Any port with faults: for tests.
set(FAIRLEAD_ALLOWED_ports_fault base absl ports_sysfs ports_uevent ports_rtnetlink ports_tc ports_devlink ports_conntrack
    ports_qmp ports_slow_path)
set(FAIRLEAD_ALLOWED_dataplane_tc base model absl ports_tc)
set(FAIRLEAD_ALLOWED_providers base model pipeline absl ports_sysfs ports_rtnetlink ports_tc ports_devlink ports_qmp
    dataplane_tc)
set(FAIRLEAD_ALLOWED_reconcile base model store pipeline compile plan absl)
set(FAIRLEAD_ALLOWED_daemon base model proto intent store pipeline compile plan reconcile runtime
    transport ports_sysfs ports_uevent ports_rtnetlink ports_tc ports_devlink ports_conntrack ports_qmp ports_slow_path dataplane_tc providers absl protobuf yaml_tree spdlog
    cli11 systemd threads)
# The agent on the ports' fakes, which this library alone may use outside of tests.
set(FAIRLEAD_ALLOWED_simulate base model absl yaml_tree runtime transport daemon ports_sysfs ports_rtnetlink ports_tc
    ports_devlink ports_conntrack ports_qmp ports_slow_path ports_uevent threads)
# fairlead-slowpath, a process of its own: what it was told, what guests ask, and sockets.
set(FAIRLEAD_ALLOWED_slowpath base model slow_path_wire runtime absl spdlog)
set(FAIRLEAD_ALLOWED_ctl base proto transport absl protobuf json yaml_tree cli11)

set(FAIRLEAD_TARGET_absl absl::status absl::statusor absl::strings absl::flat_hash_map
    absl::flat_hash_set absl::btree)
set(FAIRLEAD_TARGET_asio fairlead_external_asio)
set(FAIRLEAD_TARGET_threads Threads::Threads)
set(FAIRLEAD_TARGET_protobuf protobuf::libprotobuf)
set(FAIRLEAD_TARGET_sqlite SQLite::SQLite3)
set(FAIRLEAD_TARGET_zmq fairlead_external_zmq)
set(FAIRLEAD_TARGET_nl PkgConfig::NL)
set(FAIRLEAD_TARGET_json nlohmann_json::nlohmann_json)
set(FAIRLEAD_TARGET_yaml fairlead_external_yaml)
set(FAIRLEAD_TARGET_spdlog spdlog::spdlog)
set(FAIRLEAD_TARGET_cli11 CLI11::CLI11)
set(FAIRLEAD_TARGET_systemd PkgConfig::SYSTEMD)

function(fairlead_resolve_ out)
  set(resolved "")
  foreach(dep IN LISTS ARGN)
    if(DEFINED FAIRLEAD_TARGET_${dep})
      list(APPEND resolved ${FAIRLEAD_TARGET_${dep}})
    else()
      list(APPEND resolved fairlead_${dep})
    endif()
  endforeach()
  set(${out} ${resolved} PARENT_SCOPE)
endfunction()

# What nearly every file includes, compiled once: for the product, and with GoogleTest for
# the tests. No file relies on it: preset release builds without, and tests/headers looks at
# each header alone.
set(FAIRLEAD_PRECOMPILED_HEADERS
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <deque> <filesystem> <fstream> <functional> <map>
    <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread> <utility> <variant> <vector>
    <absl/container/flat_hash_map.h> <absl/status/status.h> <absl/status/statusor.h> <absl/strings/str_cat.h>
    <absl/strings/str_format.h>)

function(fairlead_precompiled_ target from)
  if(NOT FAIRLEAD_PRECOMPILED)
    return()
  endif()
  if(NOT TARGET ${from})
    file(WRITE ${CMAKE_BINARY_DIR}/${from}.cc "")
    add_library(${from} OBJECT ${CMAKE_BINARY_DIR}/${from}.cc)
    target_link_libraries(${from} PRIVATE ${FAIRLEAD_TARGET_absl} ${ARGN})
    fairlead_flags_(${from})
    target_precompile_headers(${from} PRIVATE ${FAIRLEAD_PRECOMPILED_HEADERS})
    if(ARGN)
      target_precompile_headers(${from} PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
    endif()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${from})
endfunction()

function(fairlead_options_ target)
  fairlead_flags_(${target})
  fairlead_precompiled_(${target} fairlead_precompiled)
endfunction()

function(fairlead_flags_ target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  # Of programs too, so that what is precompiled is for them as well.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  target_compile_options(${target} PRIVATE -Wall -Wextra)
  if(FAIRLEAD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(FAIRLEAD_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${FAIRLEAD_SANITIZE}
                           -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${FAIRLEAD_SANITIZE})
  endif()
  if(FAIRLEAD_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

function(fairlead_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(NOT DEFINED FAIRLEAD_ALLOWED_${name})
    message(FATAL_ERROR "Library '${name}' has no line in cmake/FairleadLayers.cmake: say there "
                        "what it may depend on.")
  endif()
  foreach(dep IN LISTS ARG_DEPENDS)
    if(NOT dep IN_LIST FAIRLEAD_ALLOWED_${name})
      message(FATAL_ERROR "'${name}' must not depend on '${dep}': the arrows of the design point "
                          "one way (cmake/FairleadLayers.cmake).")
    endif()
  endforeach()
  add_library(fairlead_${name} STATIC ${ARG_SOURCES})
  fairlead_resolve_(deps ${ARG_DEPENDS})
  target_link_libraries(fairlead_${name} PUBLIC ${deps})
  fairlead_options_(fairlead_${name})
endfunction()

# A program of the product, or one that tests run in the lab.
function(fairlead_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  fairlead_resolve_(deps ${ARG_DEPENDS})
  target_link_libraries(${name} PRIVATE ${deps})
  fairlead_options_(${name})
endfunction()

# LABELS: "unit" unless said otherwise. A "lab" test needs the lab's guest and is
# run there by tests/run, not by a plain ctest.
function(fairlead_test name)
  if(NOT FAIRLEAD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  fairlead_resolve_(deps ${ARG_DEPENDS})
  target_link_libraries(${name} PRIVATE ${deps} GTest::gmock GTest::gtest GTest::gtest_main)
  fairlead_flags_(${name})
  fairlead_precompiled_(${name} fairlead_precompiled_test GTest::gmock GTest::gtest)
  if(NOT "lab" IN_LIST ARG_LABELS)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 120)
    if(FAIRLEAD_SANITIZE STREQUAL "thread")
      set_tests_properties(${name} PROPERTIES ENVIRONMENT
                           "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
    endif()
  endif()
endfunction()

# A libFuzzer target of a decoder; links nothing that talks to the world.
function(fairlead_fuzz name)
  if(NOT FAIRLEAD_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  fairlead_resolve_(deps ${ARG_DEPENDS})
  target_link_libraries(${name} PRIVATE ${deps})
  fairlead_options_(${name})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_property(GLOBAL APPEND PROPERTY FAIRLEAD_FUZZ_TARGETS ${name})
endfunction()
