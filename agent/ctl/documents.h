// SPDX-License-Identifier: Apache-2.0
//
// Purpose: what is printed for scripts, where it is not simply a message of the
// agent: JSON texts, in json.h's mapping.
//
//   get pfs, vfs, drifts, {"pfs": [...]}, {"vfs": [...]}, {"drifts": [...]},
//   foreign               {"foreign": [...]}
//   describe              {"objects": [...], "pfs": [...], "vfs": [...]}; of these
//                         only what was asked for
//   watch -o json         one object a line, by its "type"
//
// Threading: pure functions. Errors: none.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace fairlead::v1 {
class Event;
class GetReply;
class HostState;
class ObjectStatus;
class ObjectWithStatus;
}  // namespace fairlead::v1

namespace fairlead {

// With an id (as for RenderPfs and the like) only those; "" when there is none of
// that id. A PF is shown without its VFs, a VF with the MAC of its PF as "pf".
std::string PfsDocument(const v1::HostState& host, std::string_view id);
std::string VfsDocument(const v1::HostState& host, std::string_view id);
std::string DriftsDocument(const v1::HostState& host, std::string_view id);
std::string ForeignDocument(const v1::HostState& host, std::string_view id);

// Gathers what one `describe` was asked for.
class Description {
 public:
  Description();
  ~Description();
  // `all` is where its relatives are found.
  void AddObject(const v1::ObjectWithStatus& object, const v1::GetReply& all);
  // False: the host has no such PF or VF. A PF is shown with its VFs.
  bool AddPf(const v1::HostState& host, std::string_view id);
  bool AddVf(const v1::HostState& host, std::string_view id);
  std::string Print() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// Lines of `watch -o json`, each with its newline.
std::string StateLine(const v1::ObjectWithStatus& object);
std::string GoneLine(const v1::ObjectStatus& last);  // `last`: as it was last seen
std::string EventLine(const v1::Event& event);
std::string NoteLine(std::string_view note, std::string_view text);
std::string SyncedLine();

}  // namespace fairlead
