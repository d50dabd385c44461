// SPDX-License-Identifier: Apache-2.0
//
// Purpose: a change on its way from message to Change: what it asks for, read
// field by field, with the place in the message that each field came from.
//
// Threading: plain values.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/text.h"
#include "agent/model/intent.h"

namespace fairlead {

// Where an object's fields stand in the message that the user wrote.
struct Origin {
  std::string base;  // "apply.upsert[2].port"
  // The port that an AddVmToVpc expands to: its fields are the intent's own.
  bool add_vm_port = false;

  std::string Field(std::string_view field) const {
    if (add_vm_port && field == "id") return StrCat(base, ".port");
    if (add_vm_port && field == "vm") return StrCat(base, ".vm.id");
    return StrCat(base, ".", field);
  }
  std::string Element(std::string_view field, size_t index) const {
    return StrCat(Field(field), "[", index, "]");
  }
};

// An object that the message asks for. Fields that could not be read keep their
// default in `object` and are named in `bad`; whoever checks relations leaves
// those out, so that one mistake is reported once.
struct Candidate {
  Origin origin;
  Object object;
  std::vector<std::string_view> bad;  // literals
  // Index in the message of each of the object's addresses, or of prefix4 and
  // prefix6 of a subnet (in this order, of those that are there).
  std::vector<size_t> positions;
  // The same of a subnet's gateway4 and gateway6.
  std::vector<size_t> gateway_positions = {};

  bool Ok(std::string_view field) const {
    return std::find(bad.begin(), bad.end(), field) == bad.end();
  }
};

struct Removal {
  ObjectRef ref;
  std::string path;
};

struct Draft {
  std::vector<Candidate> upserts;
  std::vector<Removal> removals;
};

}  // namespace fairlead
