// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/agent.h"

#include <utility>

#include "agent/base/error.h"
#include "agent/base/text.h"
#include "agent/intent/admit.h"
#include "agent/store/store.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

std::string MalformedAnswer() {
  v1::Reply reply;
  reply.set_protocol_version(kProtocolVersion);
  v1::Rejected::Violation* violation = reply.mutable_rejected()->add_violations();
  violation->set_code(v1::Rejected::CODE_MALFORMED);
  violation->set_reason("a request is one frame (after an empty one, if any)");
  return reply.SerializeAsString();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(Loop* loop, const Clock* clock,
                                                    DaemonConfig config, Ports ports) {
  auto agent = std::make_unique<Agent>();
  Agent* self = agent.get();
  FAIRLEAD_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                            OpenSqliteStore({StrCat(config.state_dir, "/store.sqlite")}));
  FAIRLEAD_ASSIGN_OR_RETURN(StoreContents contents, store->Load());
  // The endpoint is bound before anything is touched: a second agent stops here.
  FAIRLEAD_ASSIGN_OR_RETURN(
      agent->server_,
      Server::Create(loop->context(), config.server,
                     [self](const ReplyAddress& from, std::string_view payload, bool malformed) {
                       if (malformed) {
                         self->server_->Reply(from, MalformedAnswer());
                         return;
                       }
                       self->core_->Handle(payload, [self, from](const std::string& answer) {
                         self->server_->Reply(from, answer);
                       });
                     }));
  FAIRLEAD_ASSIGN_OR_RETURN(
      agent->core_,
      Core::Start(loop, clock, std::move(config), std::move(ports), std::move(store),
                  std::move(contents), [self](const std::string& topic, const std::string& event) {
                    self->server_->Publish(topic, event);
                  }));
  return agent;
}

}  // namespace fairlead
