// SPDX-License-Identifier: Apache-2.0
#include "agent/ports/uevent/uevent_codec.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace fairlead {
namespace {

absl::StatusOr<Uevent> Parse(std::string_view bytes) {
  return ParseUevent({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}
// A literal with NULs in it, the last one included.
template <size_t N>
std::string Bytes(const char (&text)[N]) {
  return std::string(text, N);
}

constexpr char kAdd[] =
    "add@/devices/pci0000:00/0000:00:1c.0/0000:02:00.0\0ACTION=add\0"
    "DEVPATH=/devices/pci0000:00/0000:00:1c.0/0000:02:00.0\0SUBSYSTEM=pci\0"
    "PCI_CLASS=20000\0PCI_ID=1AF4:1041\0PCI_SLOT_NAME=0000:02:00.0\0SEQNUM=1401";

TEST(UeventCodecTest, AMessageOfTheKernelIsRead) {
  const absl::StatusOr<Uevent> event = Parse(Bytes(kAdd));
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->action, "add");
  EXPECT_EQ(event->devpath, "/devices/pci0000:00/0000:00:1c.0/0000:02:00.0");
  EXPECT_EQ(event->subsystem, "pci");
  EXPECT_FALSE(event->lost);
}

TEST(UeventCodecTest, ADeviceWithoutASubsystemIsOne) {
  const absl::StatusOr<Uevent> event =
      Parse(Bytes("change@/bus/pci\0ACTION=change\0DEVPATH=/bus/pci\0SEQNUM=1"));
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->subsystem, "");
}

TEST(UeventCodecTest, WhatNoKernelWritesIsRefused) {
  const std::string good = Bytes(kAdd);
  EXPECT_FALSE(Parse("").ok());
  EXPECT_FALSE(Parse(std::string_view(good).substr(0, good.size() - 1)).ok()) << "no last NUL";
  EXPECT_FALSE(Parse(std::string(kMaxUeventBytes + 1, '\0')).ok());
  EXPECT_FALSE(Parse(Bytes("libudev")).ok());
  EXPECT_FALSE(Parse(Bytes("@/devices/x\0ACTION=\0DEVPATH=/devices/x")).ok());
  EXPECT_FALSE(Parse(Bytes("ADD@/devices/x\0ACTION=ADD\0DEVPATH=/devices/x")).ok());
  EXPECT_FALSE(Parse(Bytes("add@devices/x\0ACTION=add\0DEVPATH=devices/x")).ok());
  EXPECT_FALSE(Parse(Bytes("add@/devices/\x1b[31m\0ACTION=add\0DEVPATH=/devices/\x1b[31m")).ok());
  EXPECT_FALSE(Parse(Bytes("add@/devices/x\0ACTION=add")).ok()) << "DEVPATH is missing";
  EXPECT_FALSE(Parse(Bytes("add@/devices/x\0ACTION=remove\0DEVPATH=/devices/x")).ok());
  EXPECT_FALSE(Parse(Bytes("add@/devices/x\0ACTION=add\0DEVPATH=/devices/y")).ok());
  EXPECT_FALSE(Parse(Bytes("add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0junk")).ok());
  EXPECT_FALSE(
      Parse(Bytes("add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=p\nci")).ok());
}

}  // namespace
}  // namespace fairlead
