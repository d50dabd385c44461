// SPDX-License-Identifier: Apache-2.0
//
// What sysfs shows of one PCI function, made of any bytes: the port must answer or
// refuse. Its parsing is one with reading files and links, so the bytes become a
// folder tree: fields, each ended by a zero byte, are the attributes, links and
// names in the order below. The numbers' parsers get the bytes as they are, too.
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/text.h"
#include "agent/ports/sysfs/linux_sysfs_port.h"
#include "agent/ports/sysfs/sysfs_files.h"

namespace {

namespace fs = std::filesystem;

constexpr char kAddress[] = "0000:01:00.0";
// Of the device's folder. Attributes first, then links, then names of links
// ("virtfn..." is what the port looks for) and of netdevs.
constexpr const char* kAttributes[] = {
    "vendor",         "device",       "driver_override",        "numa_node",
    "sriov_totalvfs", "sriov_numvfs", "sriov_drivers_autoprobe"};
constexpr const char* kLinks[] = {"driver", "iommu_group", "physfn", "virtfn0", "virtfn1"};

// Takes away the tree when the fuzzer ends.
struct Tree {
  Tree() {
    // In memory where there is such a place: on a disk it is many times slower.
    std::string name = fairlead::StrCat(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
                                        "/fairlead-sysfs-fuzz-XXXXXX");
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    root = name;
  }
  ~Tree() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  fs::path root;
};

std::vector<std::string> Fields(std::string_view data) {
  std::vector<std::string> fields;
  while (!data.empty() && fields.size() < 40) {
    const size_t end = data.find('\0');
    fields.emplace_back(data.substr(0, end));
    data.remove_prefix(end == std::string_view::npos ? data.size() : end + 1);
  }
  return fields;
}

// Whether the file system takes it as a name.
bool IsName(const std::string& text) {
  return !text.empty() && text != "." && text != ".." && text.size() < 200 &&
         text.find('/') == std::string::npos;
}

void Write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// An empty field leaves the file out.
void Fill(const fs::path& device, const fs::path& group, const std::vector<std::string>& fields) {
  size_t next = 0;
  const auto take = [&] { return next < fields.size() ? fields[next++] : std::string(); };
  std::error_code ignored;
  for (const char* name : kAttributes) {
    if (const std::string text = take(); !text.empty()) Write(device / name, text);
  }
  for (const char* name : kLinks) {
    const std::string text = take();
    if (!text.empty()) fs::create_symlink(text, device / name, ignored);
  }
  if (const std::string name = take(); IsName(name)) {
    fs::create_symlink("../0000:01:00.1", device / ("virtfn" + name), ignored);
  }
  if (const std::string name = take(); IsName(name)) {
    fs::create_directories(device / "net" / name, ignored);
  }
  // A bridge in one half of the runs, with what it leads to.
  Write(device / "class", fields.size() % 2 == 0 ? "0x060400\n" : "0x020000\n");
  if (const std::string name = take(); IsName(name)) {
    fs::create_directories(device / name, ignored);
    fs::create_directories(device / ("virtio" + name) / "net" / "eth0", ignored);
  }
  while (next < fields.size()) {
    const std::string name = take();
    const std::string pci_class = take();
    if (!IsName(name)) continue;
    fs::create_directories(group / name, ignored);
    Write(group / name / "class", pci_class);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  static const Tree tree;
  static const PciAddress address = PciAddress::Parse(kAddress).value();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto number = ParseSysfsNumber(text, 1000, "fuzz");
  if (number.ok() && *number > 1000) std::abort();
  const auto small = ParseSysfsInt(text, -1, 7, "fuzz");
  if (small.ok() && (*small < -1 || *small > 7)) std::abort();

  const fs::path device = tree.root / "bus/pci/devices" / kAddress;
  const fs::path group = tree.root / "kernel/iommu_groups/7/devices";
  fs::remove_all(device);
  fs::remove_all(group);
  fs::create_directories(device);
  fs::create_directories(group);
  Fill(device, group, Fields(text));

  static LinuxSysfsPort port({.sysfs = tree.root.string(),
                              .dev = tree.root.string(),
                              .write_helper = FAIRLEAD_SYSFS_WRITE});
  if (const auto shown = port.Device(address); shown.ok()) {
    if (!(shown->address == address) || shown->driver.find('/') != std::string::npos) std::abort();
    if (!shown->total_vfs.has_value() && !shown->virtfns.empty()) std::abort();
  }
  (void)port.Behind(address);
  (void)port.IommuGroup(7);
  (void)port.PciOfNetdev(text);
  return 0;
}
