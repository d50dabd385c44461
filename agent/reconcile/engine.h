// SPDX-License-Identifier: Apache-2.0
//
// Purpose: keeps the host equal to the accepted intent. It compiles dirty units,
// compares wanted with observed, asks the executor for the first operations that
// can run, learns from what they found, and goes on until nothing differs.
// Everything is level-triggered: a lost event costs time, never correctness.
//
// An attach is a transaction over what the port alone owns. It starts with a
// lease that is durable, and ends ready, or rolled back: the difference towards
// "wanted without this port" is applied and the lease ended. Once a port was
// ready it is repaired and never torn down by the engine itself.
//
// Threading: all on the loop thread; no I/O, no clock of its own.
// Ownership: does not own executor and clock, which outlive it.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "agent/base/clock.h"
#include "agent/compile/compile.h"
#include "agent/compile/take_over.h"
#include "agent/model/facts.h"
#include "agent/model/flow_explanation.h"
#include "agent/model/rule_list.h"
#include "agent/model/sanitation.h"
#include "agent/model/status.h"
#include "agent/model/world.h"
#include "agent/plan/plan.h"
#include "agent/plan/sanitation.h"
#include "agent/reconcile/executor.h"
#include "agent/reconcile/inquiry.h"
#include "agent/reconcile/observed.h"
#include "agent/reconcile/table_reads.h"
#include "agent/reconcile/unit.h"

namespace fairlead {

struct FlowHost;   // agent/compile/explain_flow.h
struct FlowScene;  // likewise

struct EngineConfig {
  CompileConfig compile;
  SanitationPolicy sanitation = {};
  std::vector<NicId> pfs;  // that the configuration lists, those that were found
  std::chrono::milliseconds retry_first{500};  // back-off of transient failures
  std::chrono::milliseconds retry_most{30'000};
  std::chrono::milliseconds audit_every{60'000};
  // How long a guest may take to let a device go before the status says so, and
  // before QEMU is asked once more (asking while a request is pending can cancel it).
  std::chrono::milliseconds removal_patience{5'000};
  std::chrono::milliseconds removal_ask_again{60'000};
  // A repair of a guest device that QEMU took away without being asked waits this
  // long first: a guest that is booting loses what is plugged in too early.
  std::chrono::milliseconds replug_after{2'000};
  // How often the slow path is asked whether it is still there.
  std::chrono::milliseconds slow_path_check{2'000};
  // How long an explanation waits for the kernel's rules.
  std::chrono::milliseconds explain_within{5'000};
  // The same for counters of rules.
  std::chrono::milliseconds count_within{2'000};
};

class Engine {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Every change of a status; `gone` when the object was removed and nothing of it is
    // left.
    virtual void OnStatus(const ObjectStatus& status, bool gone) = 0;
    // Once when it is noticed, and once when it is mended.
    virtual void OnDrift(const Drift& drift) = 0;
    // Once, when all that was there at the start was looked at.
    virtual void OnStarted(const StartReport& report) = 0;
  };

  // Does not own `listener`, which outlives it.
  Engine(EngineConfig config, Executor* executor, const Clock* clock, Listener* listener);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Takes over what the store held and begins to observe.
  void Start(StoreContents contents);

  // An accepted and durable change.
  void OnChange(const Change& change);

  // Something outside may have changed: observe that scope anew.
  void OnPfChanged(const NicId& pf);
  // The same where it is not known yet of which NIC it is.
  void OnUnknownNicChanged();
  // A driver was bound to a function, or unbound from it.
  void OnDriverChanged(const PciAddress& function);
  void OnNeighbourChanged();
  // An address or a route came or went.
  void OnAddressChanged();
  // The lane of a PF is past its deadline: it is not waited for any longer.
  void OnPfHung(const NicId& pf);
  void OnTableChanged(const RuleTable& table);
  void OnVmChanged(const std::string& vm);
  // QEMU says that a device is gone, or that the guest refused to let it go.
  void OnGuestDeviceDeleted(const std::string& vm, const std::string& device_id);
  void OnGuestUnplugError(const std::string& vm, const std::string& device_id);
  // A link of this index appeared, changed or vanished.
  void OnLinkChanged(uint32_t ifindex, const std::string& name);
  // What a block ends in may be gone: its representors are looked at.
  void OnBlockChanged(const RuleTable& block);
  // Whoever tells of such changes has lost some: that scope is observed anew, and no other.
  void ObserveNics();
  void ObserveHotplugPorts();
  void ObserveLinks();  // both, the tunnel and its peers
  void ObserveRules();  // and what they stand on
  // Observes everything again.
  void Audit();

  const World& world() const { return world_; }
  const HostFacts& facts() const { return facts_; }
  const std::map<VfId, Attachment>& attachments() const { return attachments_; }
  // PFs that the configuration lists and that could not be observed, and why.
  std::vector<NicId> missing_pfs() const;
  std::string pf_error(const NicId& pf) const;
  // Of what was observed: what carries another store's mark.
  std::vector<ForeignObject> Foreign() const;
  // What became of what was there when this agent started.
  const StartReport& start_report() const { return start_; }
  // The newest kDriftsKept that were noticed since the start, oldest first; and how many
  // there were, and were mended, in all.
  static constexpr size_t kDriftsKept = 64;
  const std::deque<Drift>& drifts() const { return drifts_; }
  uint64_t drifts_noticed() const { return drifts_noticed_; }
  uint64_t drifts_repaired() const { return drifts_repaired_; }
  // Whether it matters that somebody removed the rule at this place: it is wanted, or
  // nobody has said yet whether it is. Handle 0 stands for any of the priority, priority 0
  // for any of the table.
  bool Misses(const RuleLocation& location) const;
  // In what a PF's eswitch is not as configured, and why it is not made so; "" = it is.
  std::string eswitch_problem(const NicId& pf) const;
  // Rules of a NIC that this agent's rules take, if it takes them all: one in a shared block
  // counts once for each of its representors there. Each has a counter.
  uint64_t HardwareRulesOf(const NicId& pf) const;
  // Why the VFs of a PF could not be made; "" = nothing failed.
  std::string pool_problem(const NicId& pf) const;
  // What belongs to no object and could not be made, changed or taken away, and why.
  std::vector<std::string> problems() const;
  // True once everything was observed after the start, or is known to hang.
  bool observed_once() const { return unobserved().empty(); }
  // Why the slow path answers nobody; "" = it does, or no port needs it.
  std::string_view slow_path_problem() const {
    if (!AnyAnswered()) return "";
    const auto message = slow_path_.error.message();
    return {message.data(), message.size()};
  }
  // Why no port is attached by the tunnel: its MTU; "" = that keeps none.
  std::string tunnel_problem() const;
  // In what the tunnel is not as configured; "" = nothing.
  std::string tunnel_note() const;
  const SlowPathCounters& slow_path_counters() const { return slow_path_.counters; }
  // What was not, in words.
  std::vector<std::string> unobserved() const;

  std::optional<ObjectStatus> StatusOf(const ObjectRef& ref) const;
  // The same of an object that is there, without the words.
  ObjectState StateOf(const StoredObject& stored) const;
  // What went wrong last with an object since the start; none: nothing did.
  std::optional<ErrorRecord> LastErrorOf(const ObjectRef& ref) const;
  // Objects that were removed and are still being taken apart.
  std::vector<ObjectStatus> Removing() const;
  // Such an object as it was; null when there is none.
  const Object* RemovedObject(const ObjectRef& ref) const;

  // What was found when the last lease of a VF ended; null: none did.
  const SanitationRecord* SanitationOf(const VfId& vf) const;
  // Frees a quarantined VF: cleaned and checked again, or by `force` as it is. `done` is given
  // its record, once that is durable; still quarantined: what was found is in it.
  // kNotFound: there is no such VF; kFailedPrecondition: it is not quarantined, or in use;
  // kAborted: the store did not take it; else it cannot be done now. `sign` adds who asked to
  // what is committed.
  using ReleaseDone = std::function<void(absl::StatusOr<SanitationRecord>)>;
  void ReleaseVf(const VfId& vf, bool force, const std::string& who,
                 std::function<void(StoreBatch&)> sign, ReleaseDone done);
  // Why a VF is not free, as placement sees it; "" = free.
  std::string WhyNotFree(const VfId& vf) const;
  // Whether a driver that is not ours to take away serves somebody with it.
  bool InUseByOthers(const VfId& vf) const;
  // The port on this host that has a MAC in a VPC, asked for or come with its VF.
  std::optional<std::string> PortWithMac(const std::string& vpc, const MacAddress& mac) const;

  using Counts = std::map<RuleLocation, RuleReading>;
  // What came by the tunnel and was dropped, in packets.
  struct TunnelDrops {
    uint64_t unknown_vni = 0;
    std::map<std::string, uint64_t> by_vpc;  // of its VNI, for nobody here or of no peer
  };
  // Reads them from the kernel, then calls `done`; at once where there is no tunnel.
  // kDeadlineExceeded: not within `count_within`.
  void CountTunnelDrops(std::function<void(absl::StatusOr<TunnelDrops>)> done);

  // The traffic of a port, read as above; none: no rules of this host carry its packets.
  void CountPort(const std::string& port,
                 std::function<void(absl::StatusOr<std::optional<PortTraffic>>)> done);

  // Calls `done` at once where no counters are asked for. kNotFound: the port is not there.
  void ListRules(const RuleQuestion& question, std::function<void(absl::StatusOr<RuleList>)> done);

  // What becomes of a packet: reads the one table that it meets from the kernel, then calls
  // `done`; at once where no table is to be read. Nothing is changed. kNotFound,
  // kFailedPrecondition, kInvalidArgument, kUnimplemented: as SceneOf says
  // (agent/compile/explain_flow.h); kDeadlineExceeded: not within `explain_within`; kUnavailable:
  // ask again.
  void ExplainFlow(const FlowQuestion& question,
                   std::function<void(absl::StatusOr<FlowExplanation>)> done);

  // Observes the VMs that a change is about, then calls `done` with what would
  // be done for it; nothing is changed. An error: the planning itself could not be
  // done, or takes too long.
  struct PlannedStep {
    Operation operation;
    std::string owner;
  };
  struct DryRun {
    std::vector<PlannedStep> steps;
    std::vector<ObjectStatus> blocked;
  };
  void PlanFor(const Change& change, std::function<void(absl::StatusOr<DryRun>)> done);

  // Takes over the objects of another store: kAdopt gives them to those accepted objects
  // that they fit and keeps the rest, kPurge takes apart what no object of this store has.
  // Durable when `done` is called, or refused and nothing changed. No change may be
  // accepted meanwhile. `dry_run`: only says what would be taken. `sign` adds who asked, and the
  // answer, to what is committed. kAborted: the store did not take it.
  enum class TakeOverMode : uint8_t { kAdopt, kPurge };
  using SignTakeOver = std::function<void(const TakeOver&, StoreBatch&)>;
  void TakeOverStore(uint32_t store, TakeOverMode mode, bool dry_run, SignTakeOver sign,
                     std::function<void(absl::StatusOr<TakeOver>)> done, int tries = 25);

 private:
  friend class DryRunner;
  struct VmState {
    std::optional<VmFacts> facts;
    absl::Status error;  // of the last observation
    ErrorRecord last_error;
    bool known = false;  // observed (or found unreachable) since the start
    bool asking = false;
    bool ask_again = false;
  };

  void PlanOn(const Change& change, std::map<std::string, absl::StatusOr<VmObservation>> vms,
              std::function<void(absl::StatusOr<DryRun>)> done);

  // --- units (engine.cc, engine_network.cc)
  Unit& UnitOf(const UnitRef& ref, std::string_view vpc = {});
  Unit* FindUnit(const UnitRef& ref);
  void MarkDirty(const UnitRef& ref);
  void MarkHost();  // its tunnel, and every PF's pool
  void WaitForVpc(Unit& unit);
  void MarkVpcNetwork(const std::string& vpc);  // its VPC, subnet, endpoint, port units
  void SchedulePump();
  void Pump();
  void Reconcile(Unit& unit);
  void ReconcileNetwork(Unit& unit);
  absl::StatusOr<std::vector<Resource>> CompileNetwork(const Unit& unit) const;
  // The blocks of the VPC that are here: of a port that is being taken apart maybe that of a VNI
  // which it had before.
  // --- security groups (engine_policies.cc)
  // What the groups of a VPC allow, after a change of them or of who names them.
  void RefreshPolicies(const std::string& vpc);
  void MarkPolicies(const std::string& vpc);
  UnitRef PolicyRef(const std::string& vpc, uint32_t number) const;
  static uint32_t PolicyNumber(const UnitRef& ref);
  bool IsPolicy(const UnitRef& ref) const;  // it is still wanted
  void WakeJudged(const Unit& settled);
  void AddOldEnds(std::vector<Resource> ends, std::vector<Resource>& wanted) const;
  bool KeepsOldEnds(const Unit& unit, const std::vector<Resource>& wanted) const;
  void AnnounceGroups(const std::string& vpc);
  ObjectStatus StatusOfGroup(const ObjectRef& ref) const;

  // --- connections that are not allowed any more (engine_connections.cc)
  struct ZoneState {
    std::string vpc;      // whose it is, or was
    uint64_t asked = 0;   // how often something changed
    uint64_t judged = 0;  // up to which of these its connections were looked at since
    bool due = false;
    bool in_flight = false;
    bool retry_due = false;  // a timer looks again
    absl::Status error;
  };
  void MarkConnections(const std::string& vpc);
  void MarkZone(uint16_t zone, const std::string& vpc);
  void JudgeZonesSoon();
  void JudgeZones();
  bool MayJudge(const ZoneState& state) const;
  void OnConnections(uint16_t zone, uint64_t asked, absl::StatusOr<std::vector<Connection>> seen);
  void ZoneFailed(uint16_t zone, const absl::Status& why);
  void ZoneJudged(uint16_t zone, uint64_t asked);
  // "" = all are.
  std::string WhyConnectionsUnjudged(const std::string& vpc) const;
  // What of a port that goes is still known to conntrack; "" = nothing.
  std::string ConnectionsLeft(const Attachment& attachment);

  std::set<RuleTable> BlocksOf(const std::string& vpc) const;
  // Why rules of these blocks are not compiled yet; OK = they may be.
  absl::Status WhyNotToCompile(const std::set<RuleTable>& blocks) const;
  absl::StatusOr<std::vector<Resource>> CompileShared(const Unit& unit) const;
  // Of a provider network, by PF.
  std::vector<Resource> CompileProvider(const StoredObject& vpc) const;
  // Whether frames of a port leave by its uplink, or a rule of this agent still stands there.
  bool CarriesProviderNetworks(const NicId& pf) const;
  // Takes the change of an eswitch whose VFs are in use out of what is wanted of a
  // pool's unit, and says by name what is in use; "" = nothing is held back.
  std::string HoldEswitch(std::vector<Resource>& wanted) const;
  // Whether a VM may have the leased VF, or is just being given it.
  bool MayBeHandedOut(const Attachment& attachment) const;
  // Whether the NIC said no for good to what was asked of its eswitch.
  static bool EswitchRefused(const Unit& unit);
  enum class Progress : uint8_t { kSettled, kWorking, kWaiting, kConflict };
  // What of a unit is compared; the rest is left as it is.
  enum class Extent : uint8_t {
    kAll,
    kOnHost,  // not what is in a VM, nor the driver that its device needs
    kRules,
  };
  static bool Within(Extent extent, const ResourceKey& key);
  Progress Converge(Unit& unit, const std::vector<Resource>& wanted, Extent extent = Extent::kAll);
  // All for one lane, or all of rules.
  void Dispatch(Unit& unit, std::vector<Operation> operations);
  void FlushRules();
  struct RuleBatch;
  using RuleBatchPlace = std::pair<size_t, size_t>;  // of a unit's item, of its operation
  void OnRulesApplied(RuleBatch& batch, const std::vector<RuleBatchPlace>& places,
                      std::vector<ApplyResult> results);
  void OnApplied(const UnitRef& ref, const std::vector<Operation>& operations,
                 std::vector<ApplyResult> results);
  void UnitFailed(Unit& unit, std::string step, absl::Status error);
  void RetryLater(Unit& unit);
  std::chrono::milliseconds BackOff(const Unit& unit) const;
  // `attempts`: failures of `who` in a row before this one.
  std::chrono::milliseconds BackOff(std::string_view who, int attempts) const;
  void SettleClaims(Unit& unit, const WantedSet& wanted);
  void SetSettled(Unit& unit, bool settled);
  // Whether something of an adopted store belongs to nobody here.
  bool AnyLeftOf(uint32_t store) const;
  // Whose the qdisc is that another store's agent made; 0: there is none.
  uint32_t StoreOfForeignUplink(const NicId& pf) const;
  void CollectOrphans();

  // --- endpoints (engine_endpoints.cc)
  struct EndpointContext {
    VpcContext vpc;
    VfId any_vf;  // of a bound port
  };
  struct Sweep {
    std::string next;        // the endpoint to go on with; "" = from the first one on
    bool ended = false;      // there is none: it waits for what was sent
    std::optional<Vni> vni;  // of the overlay whose block has the claims
  };
  // What a VPC's endpoints are compiled with; none: nothing is wanted of them here. An error:
  // not yet known.
  absl::StatusOr<std::optional<EndpointContext>> EndpointContextOf(const std::string& vpc) const;
  // What an overlay's rules are compiled with.
  VpcContext OverlayContextOf(const StoredObject& vpc, const TunnelFacts& tunnel) const;
  SubnetContext SubnetContextOf(const std::string& id) const;
  absl::StatusOr<std::vector<Resource>> CompileEndpointUnit(const Unit& unit) const;
  // Why no rule leads to an endpoint; OK = they do.
  absl::Status WhyNotToEndpoint(const Endpoint& endpoint) const;
  Unit& WakeEndpoint(const StoredObject& stored);
  bool MayRest(const Unit& unit) const;
  void RestEndpoint(const Unit& unit);  // which is gone then
  void MarkEndpoints(const std::string& vpc);
  void SweepEndpoints(Unit& unit);
  struct Consignment;
  void LookAtEndpoint(const VpcContext& vpc, const SubnetContext& subnet,
                      const StoredObject& stored, Consignment& missing);
  void TakeUnrenewed(const std::string& vpc, const RuleTable& block);
  void EndSweep(Unit& unit, Sweep& sweep);  // both may be gone then
  void TellAsked();
  bool SweptEndpointsOf(const std::string& vpc) const;
  bool Resolved(const IpAddress& outer) const;  // a tunnel peer's next hop
  // At rest, ready, and there is no more to say.
  bool SimplyReady(const Endpoint& endpoint) const;
  ObjectStatus StatusAtRest(const StoredObject& stored) const;
  const Endpoint* EndpointOfRule(const RuleLocation& at) const;  // null: it is no endpoint's
  // By a unit, or by an endpoint at rest.
  bool Claimed(const RuleLocation& at) const;

  // --- rules of endpoints that are not there yet (engine_arrivals.cc)
  struct Consignment {  // rules of one block that travel together
    struct Item {
      uint32_t ordinal = 0;  // of the endpoint
      std::string id;
      uint32_t rules = 0;  // how many of the rules are its
    };
    std::string vpc;
    RuleTable block;
    bool possible = false;  // what they stand on is there
    std::vector<Item> items;
    std::vector<FlowRule> rules;
    std::vector<RulePlace> places;  // of the rules
  };
  struct Arrivals {                // of a VPC
    std::deque<uint32_t> waiting;  // endpoints that nobody has looked at
    int sent = 0;                  // consignments without an answer
  };
  enum class Coming : uint8_t { kWaits, kSent };
  // Whether the endpoint is one of them, and without a unit.
  bool Comes(uint32_t ordinal) const;
  bool AnySent(const std::string& vpc) const;
  bool SentEnough(const std::string& vpc) const;
  void Arrive(const std::string& vpc, uint32_t ordinal);
  void TakeArrivals(Unit& unit);  // which may be gone then
  Consignment ConsignmentFor(const std::string& vpc,
                             const std::optional<EndpointContext>& context) const;
  bool AddToConsignment(const StoredObject& stored, std::vector<FlowRule> rules, Consignment& out);
  void Send(Consignment rules);
  void FlushConsignments();
  void OnConsignment(const Consignment& sent,
                     const std::vector<absl::StatusOr<RuleEvidence>>& results);
  void OnRefused(const Consignment::Item& item,
                 const std::map<RuleLocation, absl::Status>& refused);

  // --- routes (engine_routes.cc)
  // Who has a route's next hop, that rules here lead to. kNotFound: nobody, and why; kUnavailable:
  // a port whose NIC does not answer.
  absl::StatusOr<NextHop> NextHopOf(const Route& route) const;
  absl::StatusOr<std::vector<Resource>> CompileRouteUnit(const Unit& unit) const;
  bool StandsStill(const Unit& unit) const;
  void MarkRoutesBy(const std::string& vpc, const std::vector<IpAddress>& next_hops);
  void MarkRoutesBy(const std::string& port);
  void AnnounceRoutesBy(const Endpoint& endpoint);
  void AddNextHop(const Route& route, ObjectStatus& status) const;
  // Which route's rule may still send to the attachment's VF; "" = none does.
  std::string RouteStillSentTo(const Attachment& attachment) const;

  // --- ports (engine_port.cc, engine_release.cc, engine_sanitation.cc)
  void ReconcilePort(Unit& unit);
  absl::StatusOr<VfId> Place(const Port& port, const std::set<VfId>& shunned) const;
  // What rules take of a PF (engine_hardware.cc): leases of a block on it, what one more port
  // takes, what an overlay's ports share, and why that is too much; "" = it is not.
  uint64_t LeasesOn(const RuleTable& block, const NicId& pf) const;
  uint64_t HardwareRulesOfOneMore(const StoredObject& port, const PfFacts& pf) const;
  uint64_t RulesInCommon(const std::string& vpc, const VpcContext& context) const;
  std::string WhyFull(const Port& port, const PfFacts& pf) const;
  bool AnotherVfIsFree(const std::string& port) const;
  void TryAttach(Unit& unit, const StoredObject& object);
  void TakeLease(Attachment attachment);
  void DropLease(const Attachment& attachment);
  // The refusal with what is wrong with each NIC; kUnavailable when that may pass.
  absl::Status WithErrorsOfNics(const Port& port, const absl::Status& refused) const;
  // Pending while a NIC that can carry the port is being set up; fails when that failed
  // for each of them.
  void WaitForNic(Unit& unit, const StoredObject& object, const absl::Status& why);
  void ContinueAttach(Unit& unit, const StoredObject& object, Attachment& attachment);
  void Teardown(Unit& unit, Attachment& attachment);
  void SetPhase(Unit& unit, Attachment attachment, AttachmentPhase phase);
  // `generation` is that of the port which was tried.
  void AttachFailed(Unit& unit, std::string step, absl::Status error, uint64_t generation);
  // Takes away what forwards to and from the port. True while that is under way.
  bool CutOff(Unit& unit, const Attachment& attachment);
  bool DeleteRulesFirst(Unit& unit);
  // The operation that takes the link of its VF, or of the VF's representor, down; none:
  // it is down, or cannot be taken down.
  std::optional<Operation> LinkOff(const Unit& unit, const Attachment& attachment) const;
  // Whether a port's end goes on without that, and says so: the NIC cannot do it to a VF,
  // or did not, time and again.
  static bool CutOffRefused(Unit& unit, const Operation& operation, const absl::Status& status);
  bool PlaceAgain(Unit& unit, const Attachment& attachment);
  std::set<std::string> TakenRootPorts(const std::string& vm, const std::string& but) const;
  void ReleaseVmIfUnused(const std::string& vm);
  // With what is known of the VF then; none: nothing was done to it under the lease, or
  // whoever brought it has to know.
  void EndLease(Unit& unit, const Attachment& attachment,
                std::optional<SanitationRecord> record = std::nullopt);
  // Whether a port's end goes on without a part of the cleaning of its VF.
  bool CleaningRefused(Unit& unit, const Operation& operation, const ApplyResult& result);
  static bool GivenUp(const Unit& unit, const ResourceKey& key);
  // Sees to it that the VF of a lease is cleaned before that ends, whatever was done with it.
  void CleanOnce(const Unit& unit, const Attachment& attachment);
  SanitationEvidence EvidenceOf(const Unit& unit, const Attachment& attachment) const;
  // What is known of a VF on which nothing is left to be done; none: it is cleaned, or looked
  // at, once more.
  std::optional<SanitationRecord> Sanitize(Unit& unit, const Attachment& attachment);
  void SetSanitation(SanitationRecord record);
  struct VfRelease;
  absl::Status WhyNotToRelease(const VfId& vf, bool force) const;
  void ObserveReleased(const std::shared_ptr<VfRelease>& release,
                       std::function<void(const VfObservation&)> then);
  void CleanReleased(const std::shared_ptr<VfRelease>& release, const VfObservation& seen);
  void JudgeReleased(const std::shared_ptr<VfRelease>& release, const VfObservation& seen);
  void StoreRelease(const std::shared_ptr<VfRelease>& release, SanitationRecord record);
  void EndRelease(const std::shared_ptr<VfRelease>& release,
                  absl::StatusOr<SanitationRecord> result);
  void ForgetBlockIfUnused(const std::optional<RuleTable>& block);
  void PortUnitFailed(Unit& unit, std::string step, absl::Status error);
  Attachment* AttachmentOf(const std::string& port);
  const Attachment* AttachmentOf(const std::string& port) const;
  bool Outdated(const StoredObject& object, const Attachment& attachment) const;
  // What the choice of VF and root port depends on, as a number to compare.
  uint64_t FactsFingerprint(const std::string& vm) const;
  // What must be observed before the attachment's rules, or all of it, are compared
  // with anything; asks for it. "" = all is known.
  std::string MissingForRules(const Attachment& attachment);
  // Of a NIC that no configuration names any more, what that means for a port.
  static std::string NotListed(const Attachment& attachment);
  // Why what is known of the VF may be out of date; OK = it is not.
  absl::Status ErrorOfNic(const VfId& vf) const;
  std::string MissingObservation(Unit& unit, const Attachment& attachment);
  absl::StatusOr<std::vector<Resource>> CompilePortUnit(const StoredObject& object,
                                                        const Attachment& attachment) const;
  // A port whose function hot-plug brings (engine_hotplug.cc).
  void WaitForFunction(Unit& unit, const StoredObject& object, const absl::Status& why);
  // Ends a lease under which nothing was done yet when somebody took the function since
  // it was chosen. True when that is so.
  bool GiveUpTaken(Unit& unit, const Attachment& attachment);
  // The same when its NIC hangs.
  bool GiveUpHung(Unit& unit, const Attachment& attachment);
  void TakeAsReady(Unit& unit, const StoredObject& object, const Attachment& attachment);
  void ContinueFunction(Unit& unit, const StoredObject& object, Attachment& attachment);
  void LoseFunction(const Attachment& attachment);
  void OnHotplugPortObserved(const NicId& port);
  // By whom a VF that is being attached is used that is none of the agent's; "" = nobody.
  std::string WhyAnothers(const Attachment& attachment) const;
  std::string WhyTakenMeanwhile(const Attachment& attachment) const;
  bool OwnRulesStand(const std::vector<Resource>& wanted) const;
  // Which rule that nobody wants may still send to the VF; "" = none does.
  std::string StillSentTo(const Attachment& attachment) const;
  // Whether the rule stands and sends, or may send, to the VF.
  bool MaySendTo(const ResourceKey& key, const VfId& vf) const;
  void ClaimLeftBehind(Unit& unit, const Attachment& attachment);
  void CountAsSet(const Attachment& attachment);
  VfSpec SpecAsSeen(const Attachment& attachment, const VfFacts& facts) const;
  void WakeFailedPorts();
  void WakeWaitingPorts();
  bool VpcSettled(const std::string& vpc) const;

  // --- observation (engine_observe.cc, engine_vm.cc)
  void SetObserved(const ResourceKey& key, std::optional<ObservedResource> observed);
  // The same for a rule; `saw`: as below.
  void TakeRule(const RuleLocation& at, const RuleEvidence* now, const std::string& foreign,
                bool saw);
  void ForgetTable(const RuleTable& table);  // it is gone, and its rules with it
  // The same for what an observation, and no doing of the agent's, has shown.
  void Saw(const ResourceKey& key, std::optional<ObservedResource> observed);
  bool AsKnown(const ResourceKey& key, const std::optional<ObservedResource>& observed) const;

  // --- drift, and the report of the start (engine_drift.cc)
  void NoteDrift(const ResourceKey& key, const std::optional<ObservedResource>& now);
  void DriftsMended(Unit& unit);

  // --- objects of other stores (engine_take_over.cc)
  struct Survey;
  void Find(uint32_t store, std::function<void(absl::StatusOr<FoundObjects>)> done);
  void OnTakenOver(uint32_t store, TakeOverMode mode, const TakeOver& plan);
  // Why a port waits for an operator: its VM has a device that may be the port's; "" = it has none.
  std::string WhyMayBeFound(const Port& port) const;
  bool OfOurs(const ResourceKey& key) const;  // claimed, and ours by its mark
  void NoteForeign(const VfId& vf, const ObservedResource* representor);
  void NoteForeignDevices(const std::string& vm, const std::vector<GuestDeviceInfo>& devices);
  void CountForStart(const Unit* unit, const Operation& operation);
  void FinishStart();
  bool LookedAtAll() const;
  void ObservePf(const NicId& pf);
  void ObserveTables();
  void OnPfObserved(const NicId& pf, absl::StatusOr<PfObservation> result);
  // Observes one VF for the port that waits for it; `verify`: as the last look
  // before its lease ends.
  void RefreshVf(const VfId& vf, const UnitRef& waiting, bool verify = false);
  // Takes in what was seen of one VF: its facts, and of its resources those that
  // an attachment of ours can have made.
  void TakeVf(const VfId& vf, const VfFacts& facts, const std::vector<ObservedResource>& resources);
  void RepresentorChanged(const ResourceKey& key);
  void UplinkChanged(const NicId& pf, bool was_there);
  void TakeUplink(const NicId& pf, const std::vector<ObservedResource>& resources);
  // Replaces what is known of a table.
  void TakeTable(const RuleTable& table, const ObservedRules& rules);
  bool HasMustPorts(const RuleTable& table) const;
  // What is known of the table may be wrong: nothing is compared with it before it
  // was read again.
  void DistrustTable(const RuleTable& table);
  // The block's last user went and took its rules along, before the one that just came.
  void OnBlockMadeAnew(const RuleTable& block);
  void TakeDriver(const ResourceKey& binding);
  bool BlockInUse(const RuleTable& block) const;
  size_t BoundOn(const RuleTable& block) const;  // ports that are attached by it
  bool BlockBeingRead(const Attachment& attachment) const;
  bool TablesKnown(const std::optional<RuleTable>& block) const;  // TablesOf(block)
  // "" once every NIC that carries a port of the VPC was observed, or hangs.
  std::string UnobservedNicOf(const std::string& vpc) const;
  // Whether a rule of the VPC's block leads, or may lead, to that chain.
  bool LeadsToChain(const RuleTable& block, uint32_t chain) const;
  void ObserveTunnel();
  void ObserveTable(const RuleTable& table);
  void ObserveNeighbours();
  std::optional<std::string> PortOfDevice(const std::string& vm, const std::string& device) const;
  void ObserveVm(const std::string& vm);
  void OnVmObserved(const std::string& vm, absl::StatusOr<VmObservation> result);
  void UpdateBound(const std::string& port);
  void ReadBlockIfMust(const std::string& vpc);
  void TunnelChanged();
  void TakeUnderlay(UnderlayFacts now);
  std::vector<const Attachment*> AttachmentsOfVm(const std::string& vm) const;
  std::optional<Uuid> UuidOf(const std::string& vm) const;
  std::set<VfId> LeasedVfs() const;
  void ScheduleAudit();

  // --- the slow path (engine_slow_path.cc)
  bool ServedBySlowPath(const std::string& port) const;
  bool HasAnsweredPorts(const Subnet* subnet) const;
  bool AnyLeaseInOverlay() const {
    return std::any_of(leases_of_block_.begin(), leases_of_block_.end(), [](const auto& block) {
      return block.first.kind == RuleTable::Kind::kVpcBlock;
    });
  }
  bool AnyAnswered() const { return !bound_.empty() && AnyLeaseInOverlay(); }
  // What it is told of a key; none: that it is no more.
  std::optional<SlowPathEntry> SlowPathEntryOf(const SlowPathKey& key) const;
  void MarkSlowPath(SlowPathKey key);
  void MarkSlowPath(const Object& object);
  void MarkSlowPathSubnet(const std::string& subnet);
  void MarkSlowPathMtu();
  void MarkSlowPathNeighbours(const std::string& subnet, const std::vector<IpAddress>& addresses);
  bool SlowPathWhole() const;
  std::vector<SlowPathEntry> AllForSlowPath() const;
  void TellSlowPathSoon();
  void TellSlowPath();
  struct SlowPathSaid {
    bool whole = false, nothing = false;
  };
  void OnSlowPathTold(const SlowPathSaid& said, absl::StatusOr<SlowPathReport> result);
  // Why nobody answers what a bound port's guest asks; "" = it is answered.
  std::string WhyNotAnswered(const Attachment& attachment) const;
  bool SlowPathIsBeingTold(const std::string& port) const;

  // --- rules listed and counted (engine_rules.cc, engine_counters.cc)
  class RuleLister;
  struct CountInquiry;
  // Of those that are there. kDeadlineExceeded: not within `count_within`.
  void CountRules(const std::vector<RuleToCount>& rules,
                  std::function<void(absl::StatusOr<Counts>)> done);

  // --- the way of one packet (engine_explain.cc)
  struct FlowInquiry;
  FlowHost HostOfFlow() const;
  void ReadForFlow(const std::shared_ptr<FlowInquiry>& inquiry);
  void ReadLater(const std::shared_ptr<FlowInquiry>& inquiry, absl::Status why);
  void WalkFlow(const std::shared_ptr<FlowInquiry>& inquiry, ObservedRules seen);
  void EndFlow(const std::shared_ptr<FlowInquiry>& inquiry, FlowExplanation explanation);
  // Takes out of `seen`, the scene's table as it was read, what is as it is wanted of endpoints
  // that the packet is not for.
  std::vector<FlowRule> CompiledForFlow(const FlowScene& scene, ObservedRules& seen) const;

  // --- status (engine_status.cc)
  std::string WhyNotInHardware(const Attachment& attachment) const;
  std::string WhyOwnRulesNotInHardware(const Attachment& attachment) const;
  std::string WhyRulesNotInHardware(const UnitRef& of, const Attachment& attachment) const;
  // Whom in its VPC a port of a hot-plugged function does not reach by this host; "" = nobody.
  std::string WhyApart(const Attachment& attachment) const;
  ObjectStatus MakeStatus(const ObjectRef& ref) const;
  void AddPeer(const Endpoint& endpoint, ObjectStatus& status) const;
  const Unit* UnitOfObject(const ObjectRef& ref) const;
  void Record(const ObjectRef& ref, std::string_view step, const absl::Status& error,
              ErrorRecord& record) const;
  void Record(Unit& unit, std::string_view step, const absl::Status& error) const;
  // `anyway`: also what was said last.
  void Announce(const ObjectRef& ref, bool anyway = false);
  void AnnounceVm(const std::string& vm);
  void AnnouncePortsOf(const std::string& subnet);  // the bound ones
  // While their block was read they were not judged.
  void AnnounceMustPorts(const RuleTable& block);

  EngineConfig config_;
  Executor* executor_;
  const Clock* clock_;
  Listener* listener_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  World world_;
  HostFacts facts_;
  std::map<std::string, VmState> vms_;
  std::map<VfId, Attachment> attachments_;
  // What finds attachments, kept by TakeLease and DropLease.
  std::map<std::string, VfId> vf_of_port_;
  std::map<std::string, std::set<VfId>> leases_of_vpc_, leases_of_vm_;
  std::map<RuleTable, std::set<VfId>> leases_of_block_;
  std::map<std::string, BoundPort> bound_;                     // by port
  std::map<std::string, std::set<std::string>> bound_of_vpc_;  // ports
  std::map<std::string, std::set<std::string>> bound_of_subnet_;
  std::map<std::pair<std::string, MacAddress>, std::string> bound_macs_;  // VPC, MAC: port
  std::map<std::string, int> unsettled_of_vpc_;                           // network units under way
  Lease next_lease_ = 1;
  uint64_t next_transaction_ = 1;

  Observed observed_;
  std::map<std::string, Sweep> sweeps_;           // by VPC
  std::map<std::string, VpcPolicies> policies_;   // by VPC, of those with security groups
  std::map<std::string, Arrivals> arrivals_;      // by VPC
  absl::flat_hash_map<uint32_t, Coming> coming_;  // endpoints, by ordinal
  std::deque<Consignment> consignments_;          // to be sent
  std::map<uint16_t, ZoneState> zones_;
  bool zones_scheduled_ = false;
  std::map<Lease, uint64_t> zone_of_release_;  // ZoneState::asked that it waits for
  std::map<std::string, std::set<std::string>> waiting_on_zone_;  // ports, by VPC
  mutable std::set<std::string> asked_;  // endpoints that were said to be not known yet
  std::map<std::string, ErrorRecord> errors_at_rest_;  // of endpoints, if anything went wrong
  std::map<ResourceKey, Resource> wanted_;             // of all units, as last compiled
  std::map<ResourceKey, UnitRef> claimant_;
  std::map<UnitRef, Unit> units_;
  std::deque<UnitRef> queue_;
  bool pump_scheduled_ = false;
  bool in_pump_ = false;
  struct RuleBatchItem {
    UnitRef unit;
    std::vector<Operation> operations;
  };
  std::deque<RuleBatchItem> rule_batch_;

  // Scopes: in flight, and asked for again meanwhile.
  struct Scope {
    bool in_flight = false;
    bool again = false;
    bool known = false;
    bool stale = false;      // what is in flight was overtaken: ask again, take nothing
    bool retry_due = false;  // a timer asks again
    bool hangs = false;      // a NIC: it is past its deadline
    int failures = 0;        // in a row
    absl::Status error;
  };
  std::map<NicId, Scope> pf_scope_;
  std::map<RuleTable, Scope> table_scope_;
  Scope tunnel_scope_, neighbour_scope_;
  bool neighbours_due_ = false;  // they are observed in a moment
  bool tunnel_due_ = false;      // likewise

  // What carries another store's mark: representors of VFs that are not leased, and
  // devices of VMs that no lease names.
  std::map<VfId, ObservedResource> foreign_representors_;
  std::map<std::string, std::vector<GuestDeviceInfo>> foreign_devices_;
  // Stores whose objects this one adopted: what nobody wants of them stays until a purge.
  std::set<uint32_t> kept_;
  std::deque<Drift> drifts_;
  uint64_t drifts_noticed_ = 0, drifts_repaired_ = 0;
  StartReport start_;
  std::chrono::steady_clock::time_point started_at_;
  std::set<ResourceKey> touched_;  // made or changed; until the start is complete

  struct SlowPathState {
    bool told = false;   // all there was, since it last answered
    bool whole = false;  // and that there is nothing else
    bool in_flight = false;
    bool scheduled = false;
    bool retry_due = false;  // it did not answer: not before the timer
    bool check_due = false;  // a timer is set
    std::set<SlowPathKey> dirty;
    std::set<std::string> telling, knows;     // ports
    std::map<std::string, std::string> deaf;  // ports without a packet socket, and why
    absl::Status error;
    SlowPathCounters counters;
  };
  SlowPathState slow_path_;
  TableReads table_reads_{executor_};

  std::map<VfId, SanitationRecord> sanitation_;
  Quarantined quarantined_;   // of these, and why
  std::set<VfId> releasing_;  // an operator's release is under way
  std::set<VfId> shunned_;    // an attach failed on them: others are taken first
  std::set<std::string> failed_ports_;
  std::set<std::string> waiting_ports_;  // for an observation, or the host's unit
  std::map<std::string, std::set<std::string>> waiting_on_vpc_;  // ports, by VPC
  bool orphans_pending_ = false;
  bool orphans_left_ = false;  // the last collection could not judge all rules
  std::map<ObjectRef, ObjectStatus> announced_;
  std::map<ObjectRef, Object> removed_;  // and not yet gone
};

}  // namespace fairlead
