// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/netlink/generic.h"

#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

namespace fairlead::netlink {
namespace {

Bytes Payload(const Message& message) { return message.bytes().subspan(sizeof(nlmsghdr)); }

Message Devlink() {
  Message message = GenericRequest(GENL_ID_CTRL, CTRL_CMD_NEWFAMILY, 2, 0);
  message.PutString(CTRL_ATTR_FAMILY_NAME, "devlink").PutU16(CTRL_ATTR_FAMILY_ID, 21);
  return message;
}

TEST(FamilyRequest, AsksTheControllerByName) {
  const Message message = FamilyRequest("devlink");
  ASSERT_TRUE(message.status().ok());
  EXPECT_EQ(ReadStruct<nlmsghdr>(message.bytes())->nlmsg_type, GENL_ID_CTRL);
  EXPECT_EQ(GenericCommand(Payload(message)), CTRL_CMD_GETFAMILY);
  DecodeError error;
  const AttributeSet attributes(GenericAttributes(Payload(message)), &error);
  EXPECT_EQ(attributes.String(CTRL_ATTR_FAMILY_NAME, 15), "devlink");
  EXPECT_TRUE(error.ok());
}

TEST(DecodeFamily, ReadsItsNumberAndItsGroups) {
  Message message = Devlink();
  message.Begin(CTRL_ATTR_MCAST_GROUPS)
      .Begin(1)
      .PutU32(CTRL_ATTR_MCAST_GRP_ID, 7)
      .PutString(CTRL_ATTR_MCAST_GRP_NAME, "config")
      .End()
      .End();
  const auto family = DecodeFamily(Payload(message));
  ASSERT_TRUE(family.ok()) << family.status();
  EXPECT_EQ(family->id, 21);
  ASSERT_EQ(family->groups.size(), 1u);
  EXPECT_EQ(family->groups.at("config"), 7);
}

TEST(DecodeFamily, OneWithoutANumberIsMalformed) {
  const Message message = GenericRequest(GENL_ID_CTRL, CTRL_CMD_NEWFAMILY, 2, 0);
  EXPECT_EQ(DecodeFamily(Payload(message)).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeFamily({}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(GenericCommand, OfAMessageThatIsCutShortIsNone) {
  const uint8_t bytes[] = {3, 1};
  EXPECT_EQ(GenericCommand(bytes), 0);
  EXPECT_TRUE(GenericAttributes(bytes).empty());
}

}  // namespace
}  // namespace fairlead::netlink
