// SPDX-License-Identifier: Apache-2.0
//
// Purpose: from a controller's message to a change of the world, or to the full
// list of reasons why not. Convenience intents expand here to the same objects
// that an Apply holds.
//
// Nothing is changed by these functions. A change is all or nothing: the result
// as a whole is checked (order within a message does not matter).
//
// Threading: pure functions. Errors: as violations, every one found, at most
// kMaxViolations; each names its field's path.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/model/facts.h"
#include "agent/model/world.h"

namespace fairlead::v1 {
class Request;
class AddressPair;
class Object;
class ObjectStatus;
class Drift;
class LastError;
}  // namespace fairlead::v1

namespace fairlead {

struct ObjectStatus;
struct Drift;
struct ErrorRecord;

inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kMaxMessageBytes = 1 << 20;
inline constexpr size_t kMaxItemsPerMessage = 1024;
inline constexpr size_t kMaxViolations = 256;

enum class ViolationCode : uint8_t {  // values of v1.Rejected.Code
  kMalformed = 1,
  kUnsupported = 2,
  kInvalid = 3,
  kNotFound = 4,
  kConflict = 5,
  kStale = 6,
  kBusy = 7,
  kStore = 8,
  kInternal = 9,
};

struct Violation {
  std::string path;
  ViolationCode code = ViolationCode::kInvalid;
  std::string reason;
  friend bool operator==(const Violation&, const Violation&) = default;
};

// What this host can take; a change beyond that is refused.
struct AdmissionLimits {
  size_t max_objects = 1'000'000;
  // Where its tunnel ends: a VTEP of the other address family cannot be reached.
  // None: not checked.
  std::optional<IpAddress> tunnel_local;
  // The hot-plug ports of its configuration.
  struct HotplugPort {
    NetworkKind network = NetworkKind::kCompute;
    FunctionIdentity identity = FunctionIdentity::kMac;
  };
  std::vector<HotplugPort> hotplug_ports;
};

// What is known of the host, beside the intents.
struct HostKnowledge {
  // Null: nothing yet. With it, a MAC that no VF of a fitting NIC can have is refused.
  const HostFacts* facts = nullptr;
  // The port here that has a MAC in a VPC, also one that came with its VF.
  std::function<std::optional<std::string>(const std::string& vpc, const MacAddress& mac)>
      port_with_mac;
};

// Parses one frame: size, protobuf form, UTF-8, unknown fields (refused by path
// and number), protocol version, request and controller id, exactly one body.
// `out` is filled even when there are violations, as far as it could be read, so
// that the answer can carry the request's id.
std::vector<Violation> DecodeRequest(std::string_view frame, v1::Request* out);

// Compiles the body of a changing request (apply, add_vm_to_vpc,
// remove_vm_from_vpc) against the world. An upsert that changes nothing keeps
// its generation and is left out of the change.
std::variant<Change, std::vector<Violation>> Admit(const v1::Request& request, const World& world,
                                                   const HostKnowledge& host,
                                                   const AdmissionLimits& limits);

// The wire form of stored objects, of their status, and of times.
uint64_t UnixNanoseconds(std::chrono::system_clock::time_point time);
void ToProto(const Object& object, v1::Object* out);
void ToProto(const AddressPair& pair, v1::AddressPair* out);
void ToProto(const ObjectStatus& status, v1::ObjectStatus* out);
void ToProto(const ErrorRecord& record, v1::LastError* out);
void ToProto(const Drift& drift, v1::Drift* out);

}  // namespace fairlead
