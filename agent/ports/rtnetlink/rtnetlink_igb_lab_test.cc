// SPDX-License-Identifier: Apache-2.0
//
// The contract of VFs on Intel's igb driver, as root, in the lab's guest with the face
// igb, whose PF it changes; on another face it is skipped.
#include <gtest/gtest.h>
#include <net/if.h>

#include <fstream>
#include <stdexcept>

#include "agent/base/text.h"
#include "agent/ports/rtnetlink/linux_rtnetlink_port.h"
#include "agent/ports/rtnetlink/rtnetlink_vf_contract.h"
#include "agent/ports/test_lab.h"

namespace fairlead {
namespace {

class IgbEnv final : public RtnetlinkVfEnv {
 public:
  explicit IgbEnv(const std::string& netdev)
      : port_(*LinuxRtnetlinkPort::Create()),
        device_(StrCat("/sys/class/net/", netdev, "/device/")),
        pf_(::if_nametoindex(netdev.c_str())) {
    // A VF's driver would set it in its own way.
    Write("sriov_drivers_autoprobe", "0");
    Write("sriov_numvfs", StrCat(RtnetlinkVfContract::kVfs));
    WaitForLink(port_.get(), pf_);  // which igb takes away to make VFs
  }
  ~IgbEnv() override {
    EXPECT_TRUE(port_->SetLinkUp(pf_, true).ok());
    EXPECT_NO_THROW(Write("sriov_numvfs", "0"));
    EXPECT_NO_THROW(Write("sriov_drivers_autoprobe", "1"));
  }
  RtnetlinkPort& port() override { return *port_; }
  uint32_t Pf() override { return pf_; }

 private:
  void Write(const std::string& file, const std::string& text) {
    std::ofstream out(device_ + file);
    out << text << std::flush;
    if (!out) throw std::runtime_error(StrCat("cannot write '", text, "' to ", device_, file));
  }

  const std::unique_ptr<RtnetlinkPort> port_;
  const std::string device_;
  const uint32_t pf_;
};

std::unique_ptr<RtnetlinkVfEnv> MakeIgb() {
  const nlohmann::json facts = LabFacts();
  if (facts.at("face") != "igb") return nullptr;
  return std::make_unique<IgbEnv>(facts.at("pfs").at(0).at("netdev").get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Igb, RtnetlinkVfContract, ::testing::Values(MakeIgb));
INSTANTIATE_TEST_SUITE_P(Igb, RtnetlinkIgbVfContract, ::testing::Values(MakeIgb));

}  // namespace
}  // namespace fairlead
