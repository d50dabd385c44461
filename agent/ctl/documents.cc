// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/documents.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/json.h"
#include "agent/ctl/render.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using Json = nlohmann::ordered_json;

Json ValueOf(const google::protobuf::Message& message) {
  Json value = Json::parse(ToJson(message), nullptr, false);
  return value.is_discarded() ? Json::object() : value;
}

std::string Text(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string Line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// `first` before the members of `message`.
Json Prefixed(const char* key, std::string_view value, const google::protobuf::Message& message) {
  Json out = {{key, value}};
  out.update(ValueOf(message));
  return out;
}

Json VfValue(const v1::HostState::Pf& pf, const v1::HostState::Vf& vf) {
  return Prefixed("pf", pf.mac(), vf);
}

std::string List(const char* name, Json items, std::string_view id) {
  if (!id.empty() && items.empty()) return "";
  return Text(Json{{name, std::move(items)}});
}

}  // namespace

std::string PfsDocument(const v1::HostState& host, std::string_view id) {
  Json items = Json::array();
  for (const auto& pf : host.pfs()) {
    if (!MatchesPf(pf, id)) continue;
    Json item = ValueOf(pf);
    item.erase("vfs");
    item["free_vfs"] = FreeVfs(pf);
    items.push_back(std::move(item));
  }
  return List("pfs", std::move(items), id);
}

std::string VfsDocument(const v1::HostState& host, std::string_view id) {
  Json items = Json::array();
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (MatchesVf(pf, vf, id)) items.push_back(VfValue(pf, vf));
    }
  }
  return List("vfs", std::move(items), id);
}

std::string DriftsDocument(const v1::HostState& host, std::string_view id) {
  Json items = Json::array();
  for (const auto& drift : host.drifts()) {
    if (MatchesDrift(drift, id)) items.push_back(ValueOf(drift));
  }
  return List("drifts", std::move(items), id);
}

std::string ForeignDocument(const v1::HostState& host, std::string_view id) {
  Json items = Json::array();
  for (const auto& object : host.foreign()) {
    if (MatchesForeign(object, id)) items.push_back(ValueOf(object));
  }
  return List("foreign", std::move(items), id);
}

struct Description::Parts {
  Json json = Json::object();
};

Description::Description() : parts_(std::make_unique<Parts>()) {}
Description::~Description() = default;

void Description::AddObject(const v1::ObjectWithStatus& object, const v1::GetReply& all) {
  Json item = ValueOf(object);
  Json holds = Json::array();
  for (const auto& other : all.objects()) {
    if (Belongs(other.object(), object.object())) holds.push_back(ValueOf(other));
  }
  item["asked_for"] = AskedOf(object.status());
  item["next"] = NextStep(RefTextOf(object), object.status());
  item["holds"] = std::move(holds);
  parts_->json["objects"].push_back(std::move(item));
}

bool Description::AddPf(const v1::HostState& host, std::string_view id) {
  for (const auto& pf : host.pfs()) {
    if (!MatchesPf(pf, id)) continue;
    parts_->json["pfs"].push_back(ValueOf(pf));
    return true;
  }
  return false;
}

bool Description::AddVf(const v1::HostState& host, std::string_view id) {
  for (const auto& pf : host.pfs()) {
    for (const auto& vf : pf.vfs()) {
      if (!MatchesVf(pf, vf, id)) continue;
      parts_->json["vfs"].push_back(VfValue(pf, vf));
      return true;
    }
  }
  return false;
}

std::string Description::Print() const { return Text(parts_->json); }

std::string StateLine(const v1::ObjectWithStatus& object) {
  return Line(Prefixed("type", "state", object));
}

std::string GoneLine(const v1::ObjectStatus& last) {
  return Line(Json{{"type", "gone"}, {"ref", ValueOf(last.ref())}});
}

std::string EventLine(const v1::Event& event) { return Line(Prefixed("type", "event", event)); }

std::string NoteLine(std::string_view note, std::string_view text) {
  return Line(Json{{"type", "note"}, {"note", note}, {"text", text}});
}

std::string SyncedLine() { return Line(Json{{"type", "synced"}}); }

}  // namespace fairlead
