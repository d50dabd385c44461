// SPDX-License-Identifier: Apache-2.0
//
// Purpose: the one door to devlink: a NIC's eswitch, the ports that stand for its
// functions (representors), what can be set of a function from outside, reload.
// Numbers and names as in uapi/linux/devlink.h; behaviour as in net/devlink of the
// kernels 6.1 to 7.2.
//
// Left for later: events of rates, parameters, health, flashing.
//
// Threading: calls block; call from a lane. One instance belongs to one thread at
// a time (its own netlink socket). SetEswitch, Reload and SetPortFunction run the
// driver's work inside the call, which may take minutes: give the lane a deadline.
// Errors: SystemError with the kernel's errno and its extended-ACK text.
//   kNotFound           ENODEV: no such device, port, leaf or node
//   kUnimplemented      EOPNOTSUPP, or a kernel without devlink. Drivers answer so
//                       for what they cannot do now, too ("Can't set encapsulation
//                       when flows are configured"): only the words tell
//   kInvalidArgument    among others, an attribute or value that this kernel does
//                       not know; the message names it
//   kFailedPrecondition CAP_NET_ADMIN is missing (GetEswitch needs it as well)
// Messages from the kernel are validated; a malformed one is kDataLoss.
// Ownership: values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/eswitch.h"
#include "agent/base/types.h"

namespace fairlead {

// "pci/0000:01:00.0", "netdevsim/netdevsim1". A PF is a device of its own, so is each
// function below it, and so is an mlx5 PF's Ethernet side ("auxiliary/mlx5_core.eth.0",
// in 6.12 and 7.2), which has the uplink's port; representors are ports of the PF.
struct DevlinkHandle {
  std::string bus;
  std::string device;

  static constexpr size_t kMaxName = 255;  // of either; the kernel sets no bound
  static absl::StatusOr<DevlinkHandle> Parse(std::string_view text);
  static DevlinkHandle Pci(const PciAddress& address);
  std::string ToString() const;
  friend auto operator<=>(const DevlinkHandle&, const DevlinkHandle&) = default;
};

struct DevlinkDevice {
  DevlinkHandle handle;
  bool reload_failed = false;  // the last reload left it without ports
  friend bool operator==(const DevlinkDevice&, const DevlinkDevice&) = default;
};

// What a device has, or what to set.
using DevlinkEswitch = EswitchSettings;

// DEVLINK_PORT_TYPE_*.
enum class DevlinkPortType : uint16_t { kNotSet, kAuto, kEthernet, kInfiniband };
// DEVLINK_PORT_FLAVOUR_*; kOther: none was given, or one of a newer kernel.
enum class DevlinkFlavour : uint16_t {
  kPhysical,
  kCpu,
  kDsa,
  kPciPf,
  kPciVf,
  kVirtual,
  kUnused,
  kPciSf,
  kOther = 0xffff,
};
std::string_view Name(DevlinkFlavour flavour);  // "pcivf", as devlink(8) prints it

// What the eswitch's side shows and sets of a function (DEVLINK_ATTR_PORT_FUNCTION),
// where the driver has it. To be set before the function's driver binds.
struct DevlinkPortFunction {
  std::optional<MacAddress> hw_addr;  // absent for InfiniBand's too
  // Capabilities, in 6.12, not in 6.1. All but RoCE are of VFs only.
  std::optional<bool> roce;
  std::optional<bool> migratable;
  std::optional<bool> ipsec_crypto;
  std::optional<bool> ipsec_packet;
  std::optional<uint32_t> max_io_eqs;  // event queues for I/O; in 6.12, not in 6.1
  std::optional<bool> active;          // DEVLINK_PORT_FN_ATTR_STATE
  std::optional<bool> attached;        // ..._OPSTATE, a driver is bound; read only
  friend bool operator==(const DevlinkPortFunction&, const DevlinkPortFunction&) = default;
};

// kInvalidArgument when `wanted` asks for what can only be read.
absl::Status CheckSettable(const DevlinkPortFunction& wanted);

// A port of a device's switch.
struct DevlinkPortInfo {
  DevlinkHandle device;
  uint32_t index = 0;
  DevlinkPortType type = DevlinkPortType::kNotSet;
  uint32_t ifindex = 0;  // of its netdev; 0: it has none (yet)
  std::string netdev;    // its name now; good for messages only
  std::string ibdev;     // of an InfiniBand port
  DevlinkFlavour flavour = DevlinkFlavour::kOther;
  std::optional<uint32_t> port_number;  // kPhysical, kCpu, kDsa
  std::optional<uint32_t> controller;   // kPci*: 0 is the local one
  std::optional<uint16_t> pf;           // kPci*
  std::optional<uint16_t> vf;           // kPciVf, from 0
  std::optional<uint32_t> sf;           // kPciSf
  bool external = false;                // the function belongs to another host (a DPU's view)
  bool splittable = false;
  uint32_t lanes = 0;  // 0: not said
  std::optional<DevlinkPortFunction> function;
  friend bool operator==(const DevlinkPortInfo&, const DevlinkPortInfo&) = default;
};

// Which VF: its number from 0 and, where the device's switch knows several PFs, that
// of its PF. mlx5 gives the PCI function number, netdevsim always 0; absent: any.
struct DevlinkVf {
  uint16_t vf = 0;
  std::optional<uint16_t> pf;
};

// The port that represents a VF of this host, among those of its PF's device: by
// flavour and numbers, never by name. Pure.
//   kNotFound            none does: legacy mode, no such VF
//   kUnavailable         one does but has no netdev (yet)
//   kFailedPrecondition  several do: say the PF
absl::StatusOr<DevlinkPortInfo> FindVfRepresentor(std::span<const DevlinkPortInfo> ports,
                                                  const DevlinkVf& vf);

// What `devlink dev info` shows. Text of the device is made printable.
struct DevlinkInfo {
  struct Version {
    std::string name;  // "fw.mgmt"
    std::string value;
    friend bool operator==(const Version&, const Version&) = default;
  };
  std::string driver;
  std::string serial_number;  // "" where the driver says none (mlx5 on 6.12)
  std::string board_serial_number;
  std::vector<Version> fixed;
  std::vector<Version> running;
  std::vector<Version> stored;  // used after the next reset
  friend bool operator==(const DevlinkInfo&, const DevlinkInfo&) = default;
};

// A place in what schedules a device's transmission (devlink-rate(8), net/devlink/rate.c): a
// leaf is one function's, by its port; a node has leaves below it, and nodes where the driver
// knows such (netdevsim; of mlx5 7.2 alone). Drivers have them in switchdev mode only.
struct DevlinkRateId {
  std::optional<uint32_t> port;  // of a leaf: its port's index
  std::string node;              // of a node: its name; "" = a leaf

  // The kernel's messages have room for it, and tools show it whole.
  static constexpr size_t kMaxNode = 255;
  static DevlinkRateId Leaf(uint32_t port);
  // kInvalidArgument: empty, only digits (which devlink takes for a port), too long, or with
  // characters that no file has (the driver may make one of that name) or no terminal shows.
  static absl::StatusOr<DevlinkRateId> Node(std::string_view name);
  std::string ToString() const;  // "leaf 128", "node tenant-1"
  friend auto operator<=>(const DevlinkRateId&, const DevlinkRateId&) = default;
};

// 1 Mbit/s (10^6 bits), as devlink counts: bytes a second.
inline constexpr uint64_t kDevlinkMbit = 125'000;

// What is set of one. Drivers count in kDevlinkMbit and refuse what is not a multiple of it, or
// more than the link carries.
struct DevlinkRateSettings {
  std::optional<uint64_t> share;      // bytes a second that it has when others want more; 0: none
  std::optional<uint64_t> max;        // bytes a second at most; 0: no limit
  std::optional<std::string> parent;  // the node that it is below; "" = none
  friend bool operator==(const DevlinkRateSettings&, const DevlinkRateSettings&) = default;
};

struct DevlinkRate {
  DevlinkRateId id;
  uint64_t share = 0;  // as in DevlinkRateSettings, like the next two
  uint64_t max = 0;
  std::string parent;
  friend bool operator==(const DevlinkRate&, const DevlinkRate&) = default;
};

class DevlinkPort {
 public:
  virtual ~DevlinkPort() = default;

  // Those of the port's network namespace.
  virtual absl::StatusOr<std::vector<DevlinkDevice>> ListDevices() = 0;

  virtual absl::StatusOr<DevlinkEswitch> GetEswitch(const DevlinkHandle& device) = 0;
  // Sets what is there, one after another: mode, inline mode, encapsulation. The
  // first refusal ends it, is named, and leaves what came before: read back. A
  // success means that the driver did not say no (mlx5 forgets an error of the inline
  // mode): read back. Changing the mode takes representors, with all that hangs
  // there, away or brings them.
  virtual absl::Status SetEswitch(const DevlinkHandle& device, const DevlinkEswitch& wanted) = 0;

  virtual absl::StatusOr<std::vector<DevlinkPortInfo>> ListPorts(const DevlinkHandle& device) = 0;
  virtual absl::StatusOr<DevlinkPortInfo> GetPort(const DevlinkHandle& device, uint32_t index) = 0;
  // Sets what is there, one after another, `active` last; as SetEswitch otherwise.
  // kInvalidArgument for `attached`.
  virtual absl::Status SetPortFunction(const DevlinkHandle& device, uint32_t index,
                                       const DevlinkPortFunction& wanted) = 0;

  // Leaves and nodes, in no order; none in legacy mode, and where the driver has none.
  virtual absl::StatusOr<std::vector<DevlinkRate>> ListRates(const DevlinkHandle& device) = 0;
  // Sets what is there, one after another: share, max, parent; as SetEswitch otherwise. What is
  // not there stays as it is. kNotFound also where the parent is not there.
  virtual absl::Status SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                               const DevlinkRateSettings& wanted) = 0;
  // With no share, no limit and no parent. kAlreadyExists: there is one of that name. A device
  // that has nodes changes no mode (EBUSY).
  virtual absl::Status AddRateNode(const DevlinkHandle& device, const std::string& name) = 0;
  // kUnavailable (EBUSY): something is below it.
  virtual absl::Status DeleteRateNode(const DevlinkHandle& device, const std::string& name) = 0;

  virtual absl::StatusOr<DevlinkInfo> GetInfo(const DevlinkHandle& device) = 0;
  // Takes the driver down and up again (driver_reinit): netdevs, VFs of some drivers
  // and ports are new after it. One that fails on the way up leaves the device
  // without ports, see DevlinkDevice::reload_failed; another may help.
  virtual absl::Status Reload(const DevlinkHandle& device) = 0;

  // Told from a thread of the port's own when devices and ports come, change or go
  // (group "config"); kLost when messages were lost. A port is first told without
  // its netdev, then again with it. The kernel tells nothing of an eswitch's mode;
  // ports that come and go are its only sign, and without VFs there is none.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  struct Event {
    enum class Kind : uint8_t { kLost, kDeviceChanged, kDeviceGone, kPortChanged, kPortGone };
    Kind kind = Kind::kLost;
    DevlinkDevice device;                 // the handle, of all but kLost
    std::optional<DevlinkPortInfo> port;  // of kPort*
  };
  virtual absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) = 0;
};

}  // namespace fairlead
