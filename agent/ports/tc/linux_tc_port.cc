// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/tc/linux_tc_port.h"

#include <errno.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/ports/tc/tc_codec.h"

namespace fairlead {
namespace {

using netlink::Answer;
using netlink::Message;

std::string Device(uint32_t ifindex) { return StrCat("the device with ifindex ", ifindex); }

absl::Status CheckIfIndex(uint32_t ifindex) {
  if (ifindex != 0 && ifindex <= INT32_MAX) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("ifindex ", ifindex, " is not one of a device"));
}

// Whether a deletion was refused because there is nothing to delete.
bool IsGone(const Answer& answer) {
  if (!answer.transport.ok()) return false;
  if (answer.error == ENOENT || answer.error == ENODEV) return true;
  // EINVAL says that the block, the clsact qdisc or a filter of this protocol is
  // not there, and all else too; only the words tell (net/sched/cls_api.c; 7.2 has
  // words of its own for a priority whose filters are of another protocol).
  return answer.error == EINVAL &&
         (absl::StrContains(answer.words, "Block of given index was not found") ||
          absl::StrContains(answer.words, "Parent Qdisc doesn't exist") ||
          absl::StrContains(answer.words, "Specified class not found") ||
          absl::StrContains(answer.words, "Cannot find specified filter chain") ||
          absl::StrContains(answer.words, "Filter with specified priority/protocol not found") ||
          absl::StrContains(answer.words, "Protocol mismatch for filter with specified priority"));
}

std::string Asked(const TcChange& change) {
  return StrCat(change.verb == TcChange::Verb::kPut ? "put " : "delete ",
                netlink::Describe(change.at, change.filter.id));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcPort>> LinuxTcPort::Create() {
  FAIRLEAD_ASSIGN_OR_RETURN(auto socket, netlink::RequestSocket::Open());
  return std::unique_ptr<TcPort>(new LinuxTcPort(std::move(socket)));
}

absl::StatusOr<TcQdiscInfo> LinuxTcPort::GetQdisc(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  const std::string asked = StrCat("look up the clsact qdisc of ", Device(ifindex));
  Message request = netlink::GetClsactRequest(ifindex);
  const Answer answer = socket_->Transact(request);
  if (answer.transport.ok() && answer.error == ENOENT) return TcQdiscInfo{};
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(asked));
  for (const auto& reply : answer.replies) {
    if (reply.type != RTM_NEWQDISC) continue;
    auto qdisc = netlink::DecodeQdisc(reply.payload);
    if (!qdisc.ok()) return Annotate(qdisc.status(), asked);
    if (*qdisc) return **qdisc;
  }
  // A device that once had one answers with nothing at all.
  return TcQdiscInfo{};
}

absl::Status LinuxTcPort::AddClsact(uint32_t ifindex, uint32_t ingress_block) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  Message request = netlink::AddClsactRequest(ifindex, ingress_block);
  return socket_->Transact(request).ToStatus(
      StrCat("add a clsact qdisc to ", Device(ifindex),
             ingress_block == 0 ? "" : StrCat(" with ingress block ", ingress_block)));
}

absl::Status LinuxTcPort::AddMarkedClsact(uint32_t ifindex, const TcFilter& mark) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  const TcChange put{TcChange::Verb::kPut, {.ifindex = ifindex}, mark};
  auto filter = netlink::PutFilterRequest(put.at, mark);
  if (!filter.ok()) return Annotate(filter.status(), Asked(put));
  std::vector<Message> both;
  both.push_back(netlink::AddClsactRequest(ifindex, 0));
  both.push_back(*std::move(filter));
  const std::vector<Answer> answers = socket_->Transact(both);
  const absl::Status added = answers[0].ToStatus(StrCat("add a clsact qdisc to ", Device(ifindex)));
  const absl::Status marked = answers[1].ToStatus(Asked(put));
  if (absl::IsAlreadyExists(added) && marked.ok()) {  // somebody else was first
    const TcChange remove{TcChange::Verb::kDelete, put.at, mark};
    Apply({&remove, 1}).front().IgnoreError();
  }
  if (!added.ok()) return added;
  if (!marked.ok()) DeleteClsact(ifindex).IgnoreError();
  return marked;
}

absl::Status LinuxTcPort::DeleteClsact(uint32_t ifindex) {
  FAIRLEAD_RETURN_IF_ERROR(CheckIfIndex(ifindex));
  auto there = GetQdisc(ifindex);
  if (!there.ok()) {
    return ErrnoOf(there.status()) == ENODEV ? absl::OkStatus() : there.status();
  }
  if (!there->clsact) return absl::OkStatus();
  Message request = netlink::DeleteClsactRequest(ifindex);
  const Answer answer = socket_->Transact(request);
  if (answer.transport.ok() && (answer.error == ENOENT || answer.error == ENODEV)) {
    return absl::OkStatus();
  }
  return answer.ToStatus(StrCat("delete the clsact qdisc of ", Device(ifindex)));
}

std::vector<absl::Status> LinuxTcPort::Apply(std::span<const TcChange> changes) {
  return Send(changes, nullptr);
}

std::vector<absl::StatusOr<TcFilterInfo>> LinuxTcPort::Put(std::span<const TcChange> changes) {
  std::vector<std::optional<TcFilterInfo>> seen(changes.size());
  std::vector<absl::Status> answers = Send(changes, &seen);
  std::vector<absl::StatusOr<TcFilterInfo>> results;
  results.reserve(changes.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    if (!answers[i].ok()) {
      results.emplace_back(std::move(answers[i]));
    } else if (seen[i]) {
      results.emplace_back(*std::move(seen[i]));
    } else {
      const TcChange& change = changes[i];
      const TcFilterRef ref{change.at, change.filter.id, change.filter.match.ethertype};
      results.push_back(std::move(Get({&ref, 1}).front()));
    }
  }
  return results;
}

std::vector<absl::Status> LinuxTcPort::Send(std::span<const TcChange> changes,
                                            std::vector<std::optional<TcFilterInfo>>* seen) {
  std::vector<absl::Status> results(changes.size());
  // A part at a time, so that few messages are kept.
  constexpr size_t kPart = 256;
  netlink::RequestSocket::OnReply on_reply;
  std::vector<Message> messages;
  std::vector<size_t> indices;
  for (size_t begin = 0; begin < changes.size(); begin += kPart) {
    messages.clear();
    indices.clear();
    for (size_t i = begin; i < std::min(begin + kPart, changes.size()); ++i) {
      const TcChange& change = changes[i];
      auto message = change.verb == TcChange::Verb::kPut
                         ? netlink::PutFilterRequest(change.at, change.filter, change.exclusive,
                                                     /*echo=*/seen != nullptr)
                         : netlink::DeleteFilterRequest(change.at, change.filter.id,
                                                        change.filter.match.ethertype);
      if (!message.ok()) {
        results[i] = Annotate(message.status(), Asked(change));
        continue;
      }
      messages.push_back(*std::move(message));
      indices.push_back(i);
    }
    if (seen != nullptr) {
      on_reply = [&](size_t request, const netlink::MessageView& reply) {
        if (reply.type != RTM_NEWTFILTER) return;
        auto filter = netlink::DecodeFilter(reply.payload);
        if (filter.ok()) (*seen)[indices[request]] = std::move(filter->info);
      };
    }
    const std::vector<Answer> answers = socket_->Transact(messages, on_reply);
    for (size_t m = 0; m < answers.size(); ++m) {
      const Answer& answer = answers[m];
      if (answer.ok()) continue;
      const TcChange& change = changes[indices[m]];
      if (change.verb == TcChange::Verb::kDelete && IsGone(answer)) continue;
      const bool other_mask = change.verb == TcChange::Verb::kPut && answer.transport.ok() &&
                              answer.error == EINVAL && answer.words.empty();
      // What comes later in the span has already been sent: it has the last word.
      const auto later = changes.subspan(indices[m] + 1);
      const bool superseded = std::any_of(later.begin(), later.end(), [&](const TcChange& other) {
        return other.at == change.at && other.filter.id == change.filter.id;
      });
      results[indices[m]] = other_mask && !superseded ? Recreate(change, Asked(change), answer)
                                                      : answer.ToStatus(Asked(change));
    }
  }
  return results;
}

absl::Status LinuxTcPort::Recreate(const TcChange& change, std::string_view asked,
                                   const Answer& refusal) {
  auto remove =
      netlink::DeleteFilterRequest(change.at, change.filter.id, change.filter.match.ethertype);
  auto put = netlink::PutFilterRequest(change.at, change.filter);
  if (!remove.ok() || !put.ok()) return refusal.ToStatus(asked);
  const Answer removed = socket_->Transact(*remove);
  // Nothing was in the way, so the refusal meant something else.
  if (!removed.ok()) return refusal.ToStatus(asked);
  return socket_->Transact(*put).ToStatus(asked);
}

std::vector<absl::StatusOr<TcFilterInfo>> LinuxTcPort::Get(std::span<const TcFilterRef> refs) {
  std::vector<absl::StatusOr<TcFilterInfo>> results(refs.size(), absl::InternalError("no answer"));
  constexpr size_t kPart = 256;  // as in Apply
  for (size_t begin = 0; begin < refs.size(); begin += kPart) {
    std::vector<Message> messages;
    std::vector<size_t> indices;
    for (size_t i = begin; i < std::min(begin + kPart, refs.size()); ++i) {
      auto message = netlink::GetFilterRequest(refs[i]);
      if (!message.ok()) {
        results[i] = message.status();
        continue;
      }
      messages.push_back(*std::move(message));
      indices.push_back(i);
    }
    const std::vector<Answer> answers = socket_->Transact(messages);
    for (size_t m = 0; m < answers.size(); ++m) {
      const TcFilterRef& ref = refs[indices[m]];
      const std::string asked = StrCat("read back ", netlink::Describe(ref.at, ref.id));
      if (IsGone(answers[m])) {
        results[indices[m]] = absl::NotFoundError(StrCat(asked, ": it is not there"));
        continue;
      }
      if (!answers[m].ok()) {
        results[indices[m]] = answers[m].ToStatus(asked);
        continue;
      }
      for (const auto& reply : answers[m].replies) {
        if (reply.type != RTM_NEWTFILTER) continue;
        auto filter = netlink::DecodeFilter(reply.payload);
        results[indices[m]] = filter.ok() ? absl::StatusOr<TcFilterInfo>(std::move(filter->info))
                                          : Annotate(filter.status(), asked);
      }
    }
  }
  return results;
}

absl::StatusOr<std::vector<TcFilterInfo>> LinuxTcPort::Dump(const TcAttachPoint& at,
                                                            TcDumpDetail detail) {
  FAIRLEAD_RETURN_IF_ERROR(netlink::CheckAttachPoint(at));
  const std::string asked = StrCat("list the filters of ", netlink::Describe(at));
  netlink::FilterDump dump;
  const auto ask = [&](TcDumpDetail how) {
    dump = {};
    Message request = netlink::DumpFiltersRequest(at, how);
    return socket_->Dump(request, [&](const netlink::MessageView& view) { dump.Take(view); });
  };
  Answer answer = ask(detail);
  if (detail == TcDumpDetail::kTerse && answer.transport.ok() && dump.others) {
    answer = ask(TcDumpDetail::kWithHardwareCount);
  }
  if (IsGone(answer)) return std::vector<TcFilterInfo>();
  FAIRLEAD_RETURN_IF_ERROR(answer.ToStatus(asked));
  if (!dump.status.ok()) return Annotate(dump.status, asked);
  if (detail == TcDumpDetail::kTerse) {
    for (TcFilterInfo& filter : dump.filters) filter.in_hw_count = 0;
  }
  return std::move(dump.filters);
}

absl::StatusOr<std::unique_ptr<TcPort::Subscription>> LinuxTcPort::Subscribe(
    std::function<void(const Event&)> on_event) {
  static constexpr int kGroups[] = {RTNLGRP_TC};
  auto lost = [on_event] {
    Event event;
    event.lost = true;
    on_event(event);
  };
  auto message = [on_event, lost](const netlink::MessageView& view) {
    auto event = netlink::DecodeTcEvent(view);
    if (!event.ok()) return lost();
    if (*event) on_event(**event);
  };
  FAIRLEAD_ASSIGN_OR_RETURN(auto listener,
                            netlink::Listener::Start(kGroups, std::move(message), lost));
  return std::make_unique<netlink::ListenerSubscription<Subscription>>(std::move(listener));
}

}  // namespace fairlead
