// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/rules.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/text.h"
#include "agent/ctl/json.h"
#include "agent/ctl/render.h"
#include "agent/ctl/session.h"
#include "agent/ctl/table.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

constexpr uint32_t kPage = 1000;  // agent.proto, ListRules.limit

// What is named on the command line, by the field of the request.
std::string OptionOf(const std::string& path) {
  if (path == "list_rules.port") return "--port";
  if (path == "list_rules.after") return "--after";
  return path == "list_rules.match" ? "ID" : "";
}

// All pages until so many rules are there as were asked for; `next` is that of the last one.
int AskRules(Session& s, v1::RuleList* list) {
  const Options& o = s.options();
  s.set_describe_path(OptionOf);
  list->set_next(o.after);
  do {
    v1::Request request;
    v1::ListRules* ask = request.mutable_list_rules();
    ask->set_match(o.id);
    ask->set_port(o.port);
    ask->set_counters(o.counters);
    ask->set_after(list->next());
    ask->set_limit(std::min(kPage, o.limit - static_cast<uint32_t>(list->rules_size())));
    v1::Reply reply;
    if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
    if (!reply.has_rules()) return s.Unexpected();
    v1::RuleList& page = *reply.mutable_rules();
    // One that does not go on would be asked for again and again.
    if (!page.next().empty() && page.next() == list->next()) return s.Unexpected();
    list->set_next(page.next());
    if (!page.counters_problem().empty()) list->set_counters_problem(page.counters_problem());
    for (auto& rule : *page.mutable_rules()) list->add_rules()->Swap(&rule);
  } while (!list->next().empty() && static_cast<uint32_t>(list->rules_size()) < o.limit);
  return kOk;
}

// "3/4"; "-": not read since the start.
std::string InHardwareText(const v1::RuleList::Rule& rule) {
  if (rule.in_hw_count() == 0 && rule.state() == "in hardware") return "-";
  const std::string count = StrCat(rule.in_hw_count());
  return rule.offered() == 0 ? count : StrCat(count, "/", rule.offered());
}

}  // namespace

std::string CountersText(const v1::Counters& counters) {
  return StrCat(counters.packets(), " packets, ", counters.bytes(), " bytes; ",
                counters.hardware_packets(), " packets, ", counters.hardware_bytes(),
                " bytes of that in hardware");
}

std::string RenderRules(const v1::RuleList& list, bool counters) {
  std::vector<std::string> header{"LOCATION", "STAGE", "OWNER", "STATE", "IN-HW"};
  if (counters) header.insert(header.end(), {"PACKETS", "BYTES", "HW-PACKETS", "HW-BYTES"});
  header.insert(header.end(), {"RULE", "DETAIL"});
  Table table(std::move(header));
  for (const auto& rule : list.rules()) {
    std::vector<std::string> row{rule.location(), rule.stage(), rule.owner(), rule.state(),
                                 InHardwareText(rule)};
    if (counters && rule.has_counters()) {
      const v1::Counters& met = rule.counters();
      row.insert(row.end(), {StrCat(met.packets()), StrCat(met.bytes()),
                             StrCat(met.hardware_packets()), StrCat(met.hardware_bytes())});
    } else if (counters) {
      row.resize(row.size() + 4);
    }
    row.insert(row.end(), {rule.text(), rule.detail()});
    table.Row(std::move(row));
  }
  std::string out = table.Print();
  if (!list.next().empty()) {
    StrAppend(&out, "Stopped at ", list.rules_size(), "; there may be more: --after ",
              Printable(list.next()), ", --limit, --port, or a part of a location or an owner\n");
  }
  if (!list.counters_problem().empty()) {
    StrAppend(&out, "No counters: ", Printable(list.counters_problem()), "\n");
  }
  return out;
}

int RunGetRules(Session& s) {
  const Options& o = s.options();
  v1::RuleList list;
  if (int code = AskRules(s, &list); code != kOk) return code;
  if (!o.id.empty() && o.after.empty() && list.rules().empty() && list.next().empty()) {
    return s.NotThere(StrCat("rule/", o.id));
  }
  if (s.table()) {
    *s.world().out << RenderRules(list, o.counters);
  } else {
    s.PrintDocument(ToJson(list));
  }
  return kOk;
}

}  // namespace fairlead
