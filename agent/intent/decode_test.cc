// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "agent/base/text.h"
#include "agent/intent/intent_test_util.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

std::vector<Violation> Decode(const v1::Request& request) {
  v1::Request out;
  return DecodeRequest(request.SerializeAsString(), &out);
}

void ExpectOnly(const std::vector<Violation>& list, const std::string& path, ViolationCode code,
                const std::string& words) {
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].path, path);
  EXPECT_EQ(list[0].code, code);
  EXPECT_THAT(list[0].reason, HasSubstr(words));
}

TEST(DecodeRequest, ReadsAGoodRequest) {
  v1::Request request = RequestFromText("apply { upsert { vpc { id: 'x' vni: 5 } } }");
  v1::Request out;
  EXPECT_TRUE(DecodeRequest(request.SerializeAsString(), &out).empty());
  EXPECT_EQ(out.SerializeAsString(), request.SerializeAsString());
}

TEST(DecodeRequest, RefusesAFrameThatIsTooLargeButFindsItsId) {
  v1::Request request = RequestFromText("apply { upsert { vpc { vni: 5 } } }");
  request.mutable_apply()->mutable_upsert(0)->mutable_vpc()->set_id(
      std::string(kMaxMessageBytes, 'x'));
  v1::Request out;
  auto list = DecodeRequest(request.SerializeAsString(), &out);
  ExpectOnly(list, "", ViolationCode::kMalformed, "1048576");
  EXPECT_EQ(out.request_id(), "r1");
}

TEST(DecodeRequest, RefusesBytesThatAreNoRequestButFindsTheIdBeforeThem) {
  v1::Request out;
  std::string frame = RequestFromText("get { }").SerializeAsString() + "\xff\xff\xff";
  ExpectOnly(DecodeRequest(frame, &out), "", ViolationCode::kMalformed,
             "not a fairlead.v1.Request");
  EXPECT_EQ(out.request_id(), "r1");
}

TEST(DecodeRequest, RefusesTextThatIsNotUtf8) {
  v1::Request request = RequestFromText("get { id: 'abcd' }");
  std::string frame = request.SerializeAsString();
  frame.replace(frame.find("abcd"), 2, "\xc3\x28");
  v1::Request out;
  ExpectOnly(DecodeRequest(frame, &out), "", ViolationCode::kMalformed, "UTF-8");
}

TEST(DecodeRequest, RefusesAnUnknownFieldByPathAndNumber) {
  v1::Request request =
      RequestFromText("apply { upsert { vm { id: 'x' } } upsert { port { id: 'p' } } }");
  v1::Port* port = request.mutable_apply()->mutable_upsert(1)->mutable_port();
  port->GetReflection()->MutableUnknownFields(port)->AddVarint(4711, 1);
  ExpectOnly(Decode(request), "apply.upsert[1].port", ViolationCode::kUnsupported, "4711");
}

TEST(DecodeRequest, RefusesAnUnknownFieldOfTheRequestItself) {
  v1::Request request = RequestFromText("get { }");
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(99, "x");
  ExpectOnly(Decode(request), "", ViolationCode::kUnsupported, "99");
}

TEST(DecodeRequest, RefusesAnUnknownEnumValue) {
  v1::Request request = RequestFromText("apply { upsert { port { id: 'p' network: 42 } } }");
  ExpectOnly(Decode(request), "apply.upsert[0].port.network", ViolationCode::kUnsupported, "42");
}

TEST(DecodeRequest, RefusesAnotherProtocolVersion) {
  v1::Request request = RequestFromText("get { }");
  request.set_protocol_version(2);
  ExpectOnly(Decode(request), "protocol_version", ViolationCode::kUnsupported, "speaks 1");
}

TEST(DecodeRequest, ChecksRequestAndControllerId) {
  v1::Request request = RequestFromText("get { }");
  request.set_request_id("");
  ExpectOnly(Decode(request), "request_id", ViolationCode::kInvalid, "0 characters");
  request.set_request_id(std::string(129, 'x'));
  ExpectOnly(Decode(request), "request_id", ViolationCode::kInvalid, "129");
  request.set_request_id("a\nb");
  ExpectOnly(Decode(request), "request_id", ViolationCode::kInvalid, "printable");
  request.set_request_id(std::string(128, '~'));
  EXPECT_TRUE(Decode(request).empty());
  request.set_controller_id("");
  ExpectOnly(Decode(request), "controller_id", ViolationCode::kInvalid, "missing");
}

TEST(DecodeRequest, WantsExactlyOneBody) {
  ExpectOnly(Decode(RequestFromText("")), "", ViolationCode::kMalformed, "asks for nothing");
  v1::Request second;
  second.mutable_get_host();
  const std::string two =
      RequestFromText("apply { }").SerializeAsString() + second.SerializeAsString();
  v1::Request out;
  ExpectOnly(DecodeRequest(two, &out), "", ViolationCode::kMalformed, "apply and get_host");
}

TEST(DecodeRequest, WantsExactlyOneObjectInAnUpsert) {
  // Field 1 (vpc) and then field 3 (vm) of an Object: protobuf keeps the vm.
  const std::string object("\x0a\x00\x1a\x00", 4);
  const std::string upsert = std::string("\x0a\x04", 2) + object;
  const std::string apply = std::string("\x52\x06", 2) + upsert;
  v1::Request header = RequestFromText("");
  v1::Request out;
  ExpectOnly(DecodeRequest(header.SerializeAsString() + apply, &out), "apply.upsert[0]",
             ViolationCode::kMalformed, "vpc and vm");
}

TEST(DecodeRequest, AnUnknownFieldOfAPairIsNamedWithItsPlace) {
  v1::Request request = RequestFromText(
      "apply { upsert { port { id: 'p' allowed_pairs { prefix: '10.0.0.1' } allowed_pairs { } } } "
      "}");
  v1::AddressPair* pair =
      request.mutable_apply()->mutable_upsert(0)->mutable_port()->mutable_allowed_pairs(1);
  pair->GetReflection()->MutableUnknownFields(pair)->AddVarint(77, 1);
  ExpectOnly(Decode(request), "apply.upsert[0].port.allowed_pairs[1]", ViolationCode::kUnsupported,
             "field number 77 of AddressPair");
}

TEST(DecodeRequest, ReportsSeveralMistakesAtOnce) { EXPECT_GE(Decode(v1::Request()).size(), 4U); }

TEST(DecodeRequest, AnEmptyFrameIsNoCrash) {
  v1::Request out;
  EXPECT_FALSE(DecodeRequest("", &out).empty());
  EXPECT_FALSE(DecodeRequest({}, &out).empty());
}

}  // namespace
}  // namespace fairlead
