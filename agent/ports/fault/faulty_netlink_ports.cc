// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <span>
#include <utility>

#include "agent/ports/fault/fault_calls.h"
#include "agent/ports/fault/faulty_ports.h"

namespace fairlead {
namespace {

class FaultyRtnetlinkPort final : public RtnetlinkPort {
 public:
  FaultyRtnetlinkPort(std::unique_ptr<RtnetlinkPort> port, FaultPlan* plan)
      : port_(std::move(port)), calls_("rtnetlink", plan) {}

  absl::StatusOr<LinkInfo> GetLink(std::string_view name) override {
    return calls_.Look("GetLink", std::string(name), [&] { return port_->GetLink(name); });
  }
  absl::StatusOr<LinkInfo> GetLink(uint32_t ifindex) override {
    return calls_.Look("GetLink", StrCat(ifindex), [&] { return port_->GetLink(ifindex); });
  }
  absl::StatusOr<LinkInfo> GetLinkWithVfs(uint32_t ifindex) override {
    return calls_.Look("GetLinkWithVfs", StrCat(ifindex),
                       [&] { return port_->GetLinkWithVfs(ifindex); });
  }
  absl::StatusOr<std::vector<LinkInfo>> ListLinks() override {
    return calls_.Look("ListLinks", "", [&] { return port_->ListLinks(); });
  }
  absl::Status SetLinkUp(uint32_t ifindex, bool up) override {
    return calls_.Change("SetLinkUp", StrCat(ifindex, up ? ", up" : ", down"),
                         [&] { return port_->SetLinkUp(ifindex, up); });
  }
  absl::Status SetMtu(uint32_t ifindex, uint32_t mtu) override {
    return calls_.Change("SetMtu", StrCat(ifindex, ", ", mtu),
                         [&] { return port_->SetMtu(ifindex, mtu); });
  }
  absl::Status SetAlias(uint32_t ifindex, std::string_view alias) override {
    return calls_.Change("SetAlias", StrCat(ifindex, ", ", alias),
                         [&] { return port_->SetAlias(ifindex, alias); });
  }
  absl::Status SetAddrGenNone(uint32_t ifindex, bool none) override {
    return calls_.Change("SetAddrGenNone", StrCat(ifindex, none ? ", none" : ", eui64"),
                         [&] { return port_->SetAddrGenNone(ifindex, none); });
  }
  absl::Status SetVfMac(uint32_t pf, uint16_t vf, const MacAddress& mac) override {
    return calls_.Change("SetVfMac", StrCat(pf, ", ", vf, ", ", mac.ToString()),
                         [&] { return port_->SetVfMac(pf, vf, mac); });
  }
  absl::Status SetVfVlan(uint32_t pf, uint16_t vf, uint16_t vlan) override {
    return calls_.Change("SetVfVlan", StrCat(pf, ", ", vf, ", ", vlan),
                         [&] { return port_->SetVfVlan(pf, vf, vlan); });
  }
  absl::Status SetVfSpoofCheck(uint32_t pf, uint16_t vf, bool on) override {
    return calls_.Change("SetVfSpoofCheck", StrCat(pf, ", ", vf, on ? ", on" : ", off"),
                         [&] { return port_->SetVfSpoofCheck(pf, vf, on); });
  }
  absl::Status SetVfTrust(uint32_t pf, uint16_t vf, bool on) override {
    return calls_.Change("SetVfTrust", StrCat(pf, ", ", vf, on ? ", on" : ", off"),
                         [&] { return port_->SetVfTrust(pf, vf, on); });
  }
  absl::Status SetVfRate(uint32_t pf, uint16_t vf, uint32_t most, uint32_t least) override {
    return calls_.Change("SetVfRate", StrCat(pf, ", ", vf, ", ", most, ", ", least),
                         [&] { return port_->SetVfRate(pf, vf, most, least); });
  }
  absl::Status SetVfLinkDisabled(uint32_t pf, uint16_t vf, bool disabled) override {
    return calls_.Change("SetVfLinkDisabled", StrCat(pf, ", ", vf, disabled ? ", off" : ", auto"),
                         [&] { return port_->SetVfLinkDisabled(pf, vf, disabled); });
  }
  absl::StatusOr<uint32_t> CreateTunnel(const TunnelParams& params) override {
    return calls_.Change("CreateTunnel", params.name, [&] { return port_->CreateTunnel(params); });
  }
  absl::Status DeleteLink(uint32_t ifindex) override {
    return calls_.Change("DeleteLink", StrCat(ifindex), [&] { return port_->DeleteLink(ifindex); });
  }
  absl::StatusOr<RouteInfo> GetRoute(const IpAddress& destination) override {
    return calls_.Look("GetRoute", destination.ToString(),
                       [&] { return port_->GetRoute(destination); });
  }
  absl::StatusOr<uint32_t> LinkOfAddress(const IpAddress& address) override {
    return calls_.Look("LinkOfAddress", address.ToString(),
                       [&] { return port_->LinkOfAddress(address); });
  }
  absl::StatusOr<std::vector<uint32_t>> DefaultRouteLinks() override {
    return calls_.Look("DefaultRouteLinks", "", [&] { return port_->DefaultRouteLinks(); });
  }
  absl::StatusOr<std::vector<IpAddress>> LinkAddresses(uint32_t ifindex) override {
    return calls_.Look("LinkAddresses", StrCat(ifindex),
                       [&] { return port_->LinkAddresses(ifindex); });
  }
  absl::StatusOr<NeighbourInfo> GetNeighbour(uint32_t ifindex, const IpAddress& address) override {
    return calls_.Look("GetNeighbour", StrCat(ifindex, ", ", address.ToString()),
                       [&] { return port_->GetNeighbour(ifindex, address); });
  }
  absl::Status ManageNeighbour(uint32_t ifindex, const IpAddress& address) override {
    return calls_.Change("ManageNeighbour", StrCat(ifindex, ", ", address.ToString()),
                         [&] { return port_->ManageNeighbour(ifindex, address); });
  }
  absl::Status DeleteNeighbour(uint32_t ifindex, const IpAddress& address) override {
    return calls_.Change("DeleteNeighbour", StrCat(ifindex, ", ", address.ToString()),
                         [&] { return port_->DeleteNeighbour(ifindex, address); });
  }
  absl::StatusOr<std::vector<NeighbourInfo>> ListOwnNeighbours() override {
    return calls_.Look("ListOwnNeighbours", "", [&] { return port_->ListOwnNeighbours(); });
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const RtnetlinkEvent&)> on_event) override {
    return port_->Subscribe(calls_.Filtered<RtnetlinkEvent>(std::move(on_event)));
  }

 private:
  std::unique_ptr<RtnetlinkPort> port_;
  FaultCalls calls_;
};

std::string Place(const TcAttachPoint& at, const TcFilterId& id) {
  return StrCat(at.block != 0 ? StrCat("block ", at.block) : StrCat("ifindex ", at.ifindex),
                " chain ", id.chain, " prio ", id.priority, " handle ", id.handle);
}

class FaultyTcPort final : public TcPort {
 public:
  FaultyTcPort(std::unique_ptr<TcPort> port, FaultPlan* plan)
      : port_(std::move(port)), calls_("tc", plan) {}

  absl::StatusOr<TcQdiscInfo> GetQdisc(uint32_t ifindex) override {
    return calls_.Look("GetQdisc", StrCat(ifindex), [&] { return port_->GetQdisc(ifindex); });
  }
  absl::Status AddClsact(uint32_t ifindex, uint32_t block) override {
    return calls_.Change("AddClsact", StrCat(ifindex, ", ", block),
                         [&] { return port_->AddClsact(ifindex, block); });
  }
  absl::Status AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) override {
    return calls_.Change("AddMarkedClsact", StrCat(ifindex),
                         [&] { return port_->AddMarkedClsact(ifindex, mark); });
  }
  absl::Status DeleteClsact(uint32_t ifindex) override {
    return calls_.Change("DeleteClsact", StrCat(ifindex),
                         [&] { return port_->DeleteClsact(ifindex); });
  }
  // One by one, so that the plan comes between any two of them.
  std::vector<absl::Status> Apply(std::span<const TcChange> changes) override {
    std::vector<absl::Status> results;
    for (const TcChange& change : changes) {
      results.push_back(calls_.Change(change.verb == TcChange::Verb::kPut ? "Put" : "Delete",
                                      Place(change.at, change.filter.id),
                                      [&] { return port_->Apply(std::span(&change, 1)).front(); }));
    }
    return results;
  }
  std::vector<absl::StatusOr<TcFilterInfo>> Get(std::span<const TcFilterRef> refs) override {
    std::vector<absl::StatusOr<TcFilterInfo>> results;
    for (const TcFilterRef& ref : refs) {
      results.push_back(calls_.Look("Get", Place(ref.at, ref.id),
                                    [&] { return port_->Get(std::span(&ref, 1)).front(); }));
    }
    return results;
  }
  absl::StatusOr<std::vector<TcFilterInfo>> Dump(const TcAttachPoint& at,
                                                 TcDumpDetail detail) override {
    return calls_.Look("Dump", Place(at, {}), [&] { return port_->Dump(at, detail); });
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override {
    return port_->Subscribe(calls_.Filtered<Event>(std::move(on_event)));
  }

 private:
  std::unique_ptr<TcPort> port_;
  FaultCalls calls_;
};

std::string Of(uint16_t zone, const ConnectionTuple& tuple) {
  return StrCat("zone ", zone, " ", tuple.ToString());
}

class FaultyConntrackPort final : public ConntrackPort {
 public:
  FaultyConntrackPort(std::unique_ptr<ConntrackPort> port, FaultPlan* plan)
      : port_(std::move(port)), calls_("conntrack", plan) {}

  absl::StatusOr<std::vector<Connection>> Dump(uint16_t zone) override {
    return calls_.Look("Dump", StrCat("zone ", zone), [&] { return port_->Dump(zone); });
  }
  absl::StatusOr<std::optional<Connection>> Find(uint16_t zone,
                                                 const ConnectionTuple& tuple) override {
    return calls_.Look("Find", Of(zone, tuple), [&] { return port_->Find(zone, tuple); });
  }
  // One by one, so that the plan comes between any two of them.
  std::vector<absl::Status> Delete(std::span<const Connection> connections) override {
    std::vector<absl::Status> results;
    for (const Connection& connection : connections) {
      results.push_back(calls_.Change("Delete", Of(connection.zone, connection.original), [&] {
        return port_->Delete(std::span(&connection, 1)).front();
      }));
    }
    return results;
  }

 private:
  std::unique_ptr<ConntrackPort> port_;
  FaultCalls calls_;
};

class FaultyDevlinkPort final : public DevlinkPort {
 public:
  FaultyDevlinkPort(std::unique_ptr<DevlinkPort> port, FaultPlan* plan)
      : port_(std::move(port)), calls_("devlink", plan) {}

  absl::StatusOr<std::vector<DevlinkDevice>> ListDevices() override {
    return calls_.Look("ListDevices", "", [&] { return port_->ListDevices(); });
  }
  absl::StatusOr<DevlinkEswitch> GetEswitch(const DevlinkHandle& device) override {
    return calls_.Look("GetEswitch", device.ToString(), [&] { return port_->GetEswitch(device); });
  }
  absl::Status SetEswitch(const DevlinkHandle& device, const DevlinkEswitch& wanted) override {
    return calls_.Change("SetEswitch", device.ToString(),
                         [&] { return port_->SetEswitch(device, wanted); });
  }
  absl::StatusOr<std::vector<DevlinkPortInfo>> ListPorts(const DevlinkHandle& device) override {
    return calls_.Look("ListPorts", device.ToString(), [&] { return port_->ListPorts(device); });
  }
  absl::StatusOr<DevlinkPortInfo> GetPort(const DevlinkHandle& device, uint32_t index) override {
    return calls_.Look("GetPort", StrCat(device.ToString(), ", ", index),
                       [&] { return port_->GetPort(device, index); });
  }
  absl::Status SetPortFunction(const DevlinkHandle& device, uint32_t index,
                               const DevlinkPortFunction& wanted) override {
    return calls_.Change("SetPortFunction", StrCat(device.ToString(), ", ", index),
                         [&] { return port_->SetPortFunction(device, index, wanted); });
  }
  absl::StatusOr<std::vector<DevlinkRate>> ListRates(const DevlinkHandle& device) override {
    return calls_.Look("ListRates", device.ToString(), [&] { return port_->ListRates(device); });
  }
  absl::Status SetRate(const DevlinkHandle& device, const DevlinkRateId& id,
                       const DevlinkRateSettings& wanted) override {
    return calls_.Change("SetRate", StrCat(device.ToString(), ", ", id.ToString()),
                         [&] { return port_->SetRate(device, id, wanted); });
  }
  absl::Status AddRateNode(const DevlinkHandle& device, const std::string& name) override {
    return calls_.Change("AddRateNode", StrCat(device.ToString(), ", ", name),
                         [&] { return port_->AddRateNode(device, name); });
  }
  absl::Status DeleteRateNode(const DevlinkHandle& device, const std::string& name) override {
    return calls_.Change("DeleteRateNode", StrCat(device.ToString(), ", ", name),
                         [&] { return port_->DeleteRateNode(device, name); });
  }
  absl::StatusOr<DevlinkInfo> GetInfo(const DevlinkHandle& device) override {
    return calls_.Look("GetInfo", device.ToString(), [&] { return port_->GetInfo(device); });
  }
  absl::Status Reload(const DevlinkHandle& device) override {
    return calls_.Change("Reload", device.ToString(), [&] { return port_->Reload(device); });
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      std::function<void(const Event&)> on_event) override {
    return port_->Subscribe(calls_.Filtered<Event>(std::move(on_event)));
  }

 private:
  std::unique_ptr<DevlinkPort> port_;
  FaultCalls calls_;
};

}  // namespace

std::string PortCall::ToString() const { return StrCat(port, " ", method, "(", about, ")"); }

std::unique_ptr<RtnetlinkPort> WithFaults(std::unique_ptr<RtnetlinkPort> port, FaultPlan* plan) {
  return std::make_unique<FaultyRtnetlinkPort>(std::move(port), plan);
}
std::unique_ptr<TcPort> WithFaults(std::unique_ptr<TcPort> port, FaultPlan* plan) {
  return std::make_unique<FaultyTcPort>(std::move(port), plan);
}
std::unique_ptr<ConntrackPort> WithFaults(std::unique_ptr<ConntrackPort> port, FaultPlan* plan) {
  return std::make_unique<FaultyConntrackPort>(std::move(port), plan);
}
std::unique_ptr<DevlinkPort> WithFaults(std::unique_ptr<DevlinkPort> port, FaultPlan* plan) {
  return std::make_unique<FaultyDevlinkPort>(std::move(port), plan);
}

}  // namespace fairlead
