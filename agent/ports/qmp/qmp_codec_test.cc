// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/qmp/qmp_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/error.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::Optional;
using Message = QmpMessage::Kind;

TEST(QmpLinesTest, CutsLinesAcrossPiecesAndDropsEmptyOnes) {
  QmpLines lines;
  ASSERT_TRUE(lines.Append("{\"a\"").ok());
  EXPECT_FALSE(lines.Next().has_value());
  EXPECT_EQ(lines.pending(), 4U);
  ASSERT_TRUE(lines.Append(":1}\r\n\r\n\n{}\n{").ok());
  EXPECT_THAT(lines.Next(), Optional(Eq("{\"a\":1}")));
  EXPECT_THAT(lines.Next(), Optional(Eq("{}")));
  EXPECT_FALSE(lines.Next().has_value());
  EXPECT_EQ(lines.pending(), 1U);
}

TEST(QmpLinesTest, LineTooLongIsRefusedWhetherOrNotItHasEnded) {
  QmpLines open(8);
  EXPECT_TRUE(open.Append("12345678").ok());
  EXPECT_TRUE(absl::IsDataLoss(open.Append("9")));
  QmpLines closed(8);
  EXPECT_TRUE(absl::IsDataLoss(closed.Append("123456789\n{}\n")));
  EXPECT_TRUE(absl::IsDataLoss(closed.Append("{}\n"))) << "nothing after it can be trusted";
  QmpLines many(8);
  EXPECT_TRUE(many.Append("12345678\n12345678\n1234").ok());
}

TEST(QmpGreetingTest, TellsTheVersion) {
  EXPECT_THAT(*DecodeQmpGreeting(R"({"QMP": {"version": {"qemu": {"micro": 3, "minor": 1,
      "major": 11}, "package": "Debian"}, "capabilities": ["oob"]}})"),
              "11.1.3");
}

TEST(QmpGreetingTest, AnythingElseIsDataLoss) {
  for (const char* bad :
       {"", "x", "[]", "{}", R"({"QMP": []})", R"({"QMP": {"version": {"qemu": 7}}})",
        R"({"QMP": {"version": {"qemu": {"major": "1", "minor": 1, "micro": 1}}}})",
        R"({"QMP": {"version": {"qemu": {"major": -1, "minor": 1, "micro": 1}}}})",
        R"({"QMP": {"version": {"qemu": {"major": 1, "minor": 1, "micro": 1}}}} x)",
        "SSH-2.0-OpenSSH_9.2"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeQmpGreeting(bad).status())) << bad;
  }
}

TEST(QmpMessageTest, ReturnAndErrorCarryTheirId) {
  const auto result = DecodeQmpMessage(R"({"return": {"UUID": "x"}, "id": "42"})");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->kind, Message::kReturn);
  EXPECT_EQ(result->id, 42U);
  const auto error = DecodeQmpMessage(
      R"({"id": "7", "error": {"class": "GenericError", "desc": "Bus 'rp9' not found"}})");
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_EQ(error->kind, Message::kError);
  EXPECT_EQ(error->id, 7U);
  EXPECT_EQ(error->error_class, "GenericError");
  EXPECT_EQ(error->error_desc, "Bus 'rp9' not found");
}

TEST(QmpMessageTest, EventsOfDevicesNameThem) {
  const auto event = DecodeQmpMessage(
      R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED",
          "data": {"device": "nic0", "path": "/machine/peripheral/nic0"}})");
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->kind, Message::kEvent);
  EXPECT_EQ(event->event.kind, QmpEvent::Kind::kDeviceDeleted);
  EXPECT_EQ(event->event.device, "nic0");
}

TEST(QmpMessageTest, DeletionOfAPartOfADeviceIsNotTheDevices) {
  const auto event = DecodeQmpMessage(
      R"({"event": "DEVICE_DELETED", "data": {"path": "/machine/peripheral/nic0/virtio-backend"}})");
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->kind, Message::kIgnoredEvent);
}

TEST(QmpMessageTest, EventsMapToTheirKinds) {
  struct Case {
    const char* name;
    QmpEvent::Kind kind;
  };
  for (const Case& c :
       {Case{"RESET", QmpEvent::Kind::kReset}, Case{"SHUTDOWN", QmpEvent::Kind::kShutdown},
        Case{"STOP", QmpEvent::Kind::kRunState}, Case{"RESUME", QmpEvent::Kind::kRunState},
        Case{"SUSPEND", QmpEvent::Kind::kRunState}, Case{"WAKEUP", QmpEvent::Kind::kRunState}}) {
    const auto event = DecodeQmpMessage(std::string(R"({"event": ")") + c.name + "\"}");
    ASSERT_TRUE(event.ok()) << event.status();
    EXPECT_EQ(event->kind, Message::kEvent);
    EXPECT_EQ(event->event.kind, c.kind) << c.name;
  }
  EXPECT_EQ(DecodeQmpMessage(R"({"event": "RTC_CHANGE", "data": {"offset": 7}})")->kind,
            Message::kIgnoredEvent);
}

TEST(QmpMessageTest, JunkIsDataLoss) {
  for (const std::string& bad : {
           std::string("7"),
           std::string("{}"),
           std::string(R"({"return": {}})"),           // whose?
           std::string(R"({"return": {}, "id": 7})"),  // Fairlead sends strings
           std::string(R"({"return": {}, "id": "7 "})"),
           std::string(R"({"return": {}, "id": "-1"})"),
           std::string(R"({"return": {}, "id": "99999999999999999999"})"),
           std::string(R"({"return": {}, "event": "RESET", "id": "7"})"),
           std::string(R"({"error": {"class": "GenericError"}, "id": "7"})"),
           std::string(R"({"error": "no", "id": "7"})"),
           std::string(R"({"event": 7})"),
           std::string(R"({"event": "DEVICE_DELETED"})"),
           std::string(R"({"event": "DEVICE_DELETED", "data": {"device": 7}})"),
           std::string(R"({"event": "DEVICE_DELETED", "data": {"device": ""}})"),
           std::string("{\"event\": \"\xff\"}"),
           std::string("{\"event\": \"RESET\"}\0x", 20),
           std::string(R"({"event": "RESET"} {"event": "RESET"})"),
           std::string(R"({"event": "RESET", "data": 1e999})"),
       }) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeQmpMessage(bad).status())) << bad;
  }
}

TEST(QmpMessageTest, DepthAndNumberOfValuesAreBoundedBeforeParsing) {
  const auto nested = [](int depth) {
    return R"({"event": "RESET", "data": )" + std::string(depth, '[') + std::string(depth, ']') +
           "}";
  };
  EXPECT_TRUE(DecodeQmpMessage(nested(kMaxQmpDepth - 1)).ok());
  EXPECT_TRUE(absl::IsDataLoss(DecodeQmpMessage(nested(kMaxQmpDepth)).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeQmpMessage(std::string(1 << 20, '[')).status()));
  std::string wide = R"({"event": "RESET", "data": [0)";
  for (size_t i = 0; i < kMaxQmpValues; ++i) wide += ",0";
  EXPECT_TRUE(absl::IsDataLoss(DecodeQmpMessage(wide + "]}").status()));
  // Brackets inside a string are text.
  EXPECT_TRUE(
      DecodeQmpMessage(R"({"event": "RESET", "data": "\"[[[[)" + std::string(100, '[') + "\"}")
          .ok());
}

TEST(QmpErrorTest, ClassesAndWordsMapToCodes) {
  EXPECT_TRUE(absl::IsNotFound(QmpErrorStatus("DeviceNotFound", "Device 'x' not found", "a")));
  EXPECT_TRUE(
      absl::IsAlreadyExists(QmpErrorStatus("GenericError", "Duplicate device ID 'x'", "a")));
  EXPECT_TRUE(absl::IsUnimplemented(QmpErrorStatus("CommandNotFound", "The command", "a")));
  const absl::Status other = QmpErrorStatus("GenericError", "Bus 'rp9' not found", "add a NIC");
  EXPECT_TRUE(absl::IsFailedPrecondition(other));
  EXPECT_EQ(PeerWords(other), "Bus 'rp9' not found");
  EXPECT_EQ(std::string(other.message()), "add a NIC: Bus 'rp9' not found");
}

QmpValue Value(std::string_view text) { return *ParseQmpJson(text); }

TEST(QmpAnswerTest, DecodersTakeTheirAnswersAndRefuseOthers) {
  EXPECT_EQ(
      DecodeQueryUuid(Value(R"({"UUID": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"})"))->ToString(),
      "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
  EXPECT_TRUE(absl::IsDataLoss(DecodeQueryUuid(Value(R"({"UUID": "x"})")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeQueryUuid(Value(R"(["UUID"])")).status()));
  EXPECT_EQ(*DecodeQueryStatus(Value(R"({"status": "prelaunch", "running": false})")), "prelaunch");
  EXPECT_TRUE(absl::IsDataLoss(DecodeQueryStatus(Value(R"({"status": 1})")).status()));
  EXPECT_EQ(*DecodeQomString(Value(R"("0000:01:00.1")")), "0000:01:00.1");
  EXPECT_TRUE(absl::IsDataLoss(DecodeQomString(Value("7")).status()));
}

TEST(QmpAnswerTest, QomListGivesChildrenAndNotProperties) {
  EXPECT_THAT(
      *DecodeQomChildren(Value(
          R"([{"name": "type", "type": "string"},
                      {"name": "rp1", "type": "child<pcie-root-port>"},
                      {"name": "device[0]", "type": "child<virtio-rng-pci>"},
                      {"name": "l", "type": "link<bus>"}])")),
      ElementsAre(QomChild{"rp1", "pcie-root-port"}, QomChild{"device[0]", "virtio-rng-pci"}));
  for (const char* bad :
       {"{}", "[7]", R"([{"name": "x"}])", R"([{"name": 7, "type": "string"}])",
        R"([{"name": "a/b", "type": "child<x>"}])", R"([{"name": "", "type": "child<x>"}])"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeQomChildren(Value(bad)).status())) << bad;
  }
}

TEST(QmpAnswerTest, BusIsNamedByTheDeviceThatProvidesIt) {
  EXPECT_EQ(QmpBusOfPath("/machine/peripheral/rp1/rp1"), "rp1");
  EXPECT_EQ(QmpBusOfPath("/machine/peripheral/vs/virtio-backend/vs.0"), "vs");
  EXPECT_EQ(QmpBusOfPath("/machine/peripheral-anon/device[3]/x"),
            "/machine/peripheral-anon/device[3]");
  EXPECT_EQ(QmpBusOfPath("/machine/q35/pcie.0"), "pcie.0");
  EXPECT_EQ(QmpBusOfPath(""), "");
  EXPECT_EQ(QmpBusOfPath("/machine/peripheral"), "peripheral");
}

TEST(QmpEncodeTest, CommandIsOneLineWithItsIdAndArguments) {
  const auto line = EncodeQmpCommand(5, "device_del", {{"id", "a\"b\n"}});
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->find('\n'), line->size() - 1);
  const auto back = nlohmann::json::parse(*line);
  EXPECT_EQ(back["execute"], "device_del");
  EXPECT_EQ(back["id"], "5");
  EXPECT_EQ(back["arguments"]["id"], "a\"b\n");
  EXPECT_TRUE(
      absl::IsInvalidArgument(EncodeQmpCommand(5, "device_del", {{"id", "\xff"}}).status()));
}

}  // namespace
}  // namespace fairlead
