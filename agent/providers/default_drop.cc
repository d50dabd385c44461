// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/default_drop.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "dataplane/pipeline/pipeline.h"
#include "dataplane/tc/lower.h"

namespace fairlead {

namespace {

// `what`: "the drop rule that ends".
absl::Status PutRule(TcPort& tc, const FlowRule& rule, const TcAttachPoint& at,
                     const OwnMarks& marks, std::string_view what) {
  // The rule names no device.
  const DeviceNames no_names = [](uint32_t) { return std::optional<std::string>(); };
  FAIRLEAD_ASSIGN_OR_RETURN(TcFilter filter, Lower(rule, no_names, marks.store()));
  const TcFilterRef ref{at, filter.id, filter.match.ethertype};
  const std::vector<absl::StatusOr<TcFilterInfo>> there = tc.Get({&ref, 1});
  if (there.size() == 1 && there[0].ok()) {
    const std::optional<CookieParts> cookie =
        there[0]->cookie ? ParseCookie(*there[0]->cookie) : std::nullopt;
    if (!cookie || !marks.Owns(cookie->store_id)) {
      return absl::AlreadyExistsError(StrCat("the place of ", what, " ", rule.location.ToString(),
                                             " holds somebody else's rule: left alone"));
    }
    if (cookie->content_hash == rule.ContentHash()) return absl::OkStatus();  // it stands
  }
  const TcChange change{TcChange::Verb::kPut, at, std::move(filter)};
  const std::vector<absl::Status> results = tc.Apply({&change, 1});
  if (results.size() != 1) return absl::InternalError(StrCat("no answer for ", what));
  return Annotate(results.front(), StrCat(what, " ", rule.location.ToString()));
}

absl::StatusOr<bool> HasRule(TcPort& tc, const FlowRule& rule, const TcAttachPoint& at,
                             const OwnMarks& marks) {
  const TcFilterRef ref{at,
                        {rule.location.chain, rule.location.priority, rule.location.handle},
                        rule.match.ethertype};
  const std::vector<absl::StatusOr<TcFilterInfo>> found = tc.Get({&ref, 1});
  if (found.size() != 1) {
    return absl::InternalError(StrCat("no answer about the rule ", rule.location.ToString()));
  }
  if (absl::IsNotFound(found[0].status())) return false;
  if (!found[0].ok()) return found[0].status();
  const std::optional<CookieParts> cookie =
      found[0]->cookie ? ParseCookie(*found[0]->cookie) : std::nullopt;
  return cookie && marks.Owns(cookie->store_id) && cookie->content_hash == rule.ContentHash();
}

}  // namespace

absl::Status PutDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                            const OwnMarks& marks) {
  return PutRule(tc, DefaultDropRule(table), at, marks, "the drop rule that ends");
}

absl::StatusOr<bool> HasDefaultDrop(TcPort& tc, const RuleTable& table, const TcAttachPoint& at,
                                    const OwnMarks& marks) {
  return HasRule(tc, DefaultDropRule(table), at, marks);
}

absl::Status PutUplinkMark(TcPort& tc, const NicId& pf, uint32_t ifindex, const OwnMarks& marks) {
  return PutRule(tc, UplinkMarkRule(pf), {.ifindex = ifindex}, marks, "the rule that marks");
}

absl::StatusOr<bool> HasUplinkMark(TcPort& tc, const NicId& pf, uint32_t ifindex,
                                   const OwnMarks& marks) {
  return HasRule(tc, UplinkMarkRule(pf), {.ifindex = ifindex}, marks);
}

}  // namespace fairlead
