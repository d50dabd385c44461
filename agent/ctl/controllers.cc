// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/controllers.h"

#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/json.h"
#include "agent/ctl/session.h"
#include "agent/ctl/table.h"

namespace fairlead {

int RunControllerList(Session& s) {
  v1::Request request;
  v1::Reply reply;
  request.mutable_get_controllers();
  if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
  if (!reply.has_controllers()) return s.Unexpected();
  if (!s.table()) {
    s.PrintDocument(ToJson(reply));
    return kOk;
  }
  Table table({"CONTROLLER", "EPOCH", "REVISION", "ANSWERS KEPT"});
  for (const v1::Controller& controller : reply.controllers().controllers()) {
    table.Row({controller.id(), StrCat(controller.epoch()), StrCat(controller.revision()),
               StrCat(controller.answers())});
  }
  *s.world().out << table.Print() << table.rows() << " of " << reply.controllers().most()
                 << " places taken\n";
  return kOk;
}

int RunControllerForget(Session& s) {
  v1::Request request;
  v1::Reply reply;
  request.mutable_forget_controller()->set_id(s.options().id);
  request.mutable_forget_controller()->set_epoch(s.options().epoch);
  s.set_describe_path([](const std::string&) { return std::string(); });
  if (int code = s.Ask(std::move(request), &reply); code != kOk) return code;
  if (!reply.has_controller_forgotten()) return s.Unexpected();
  if (s.table()) {
    *s.world().out << "controller " << Printable(reply.controller_forgotten().controller().id())
                   << " is forgotten: whoever speaks next under that id is taken for new\n";
  } else {
    s.PrintDocument(ToJson(reply));
  }
  return kOk;
}

}  // namespace fairlead
