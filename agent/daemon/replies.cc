// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/replies.h"

namespace fairlead {

std::string Serialise(const v1::Reply& reply) { return reply.SerializeAsString(); }

v1::Reply ReplyTo(const v1::Request& request) {
  v1::Reply reply;
  reply.set_protocol_version(kProtocolVersion);
  reply.set_request_id(request.request_id());
  return reply;
}

std::string Rejection(const v1::Request& request, const std::vector<Violation>& violations) {
  v1::Reply reply = ReplyTo(request);
  v1::Rejected* rejected = reply.mutable_rejected();
  for (const Violation& violation : violations) {
    v1::Rejected::Violation* out = rejected->add_violations();
    out->set_path(violation.path);
    out->set_code(static_cast<v1::Rejected::Code>(violation.code));
    out->set_reason(violation.reason);
  }
  return Serialise(reply);
}

}  // namespace fairlead
