// SPDX-License-Identifier: Apache-2.0
#include "agent/daemon/private_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fairlead {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kSomebodyElse = 65534;

class PrivateFolder : public ::testing::Test {
 protected:
  PrivateFolder() {
    std::string folder = ::testing::TempDir() + "/private-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) std::abort();
    above_ = folder;
    path_ = folder + "/a/b";
  }
  ~PrivateFolder() override { std::filesystem::remove_all(above_); }

  unsigned Mode() const {
    struct stat info {};
    EXPECT_EQ(::stat(path_.c_str(), &info), 0);
    return info.st_mode & 0777;
  }
  std::string Refusal() const { return std::string(MakePrivateFolder(path_).message()); }

  std::string above_, path_;
};

TEST_F(PrivateFolder, IsMadeForItsOwnerAlone) {
  ASSERT_EQ(Refusal(), "");
  EXPECT_EQ(Mode(), 0700U);
}

TEST_F(PrivateFolder, OneThatIsThereKeepsItsMode) {
  ASSERT_EQ(Refusal(), "");
  ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
  EXPECT_EQ(Refusal(), "");
  EXPECT_EQ(Mode(), 0755U);
}

TEST_F(PrivateFolder, OneThatOthersMayWriteIsRefusedWithTheCommandThatMendsIt) {
  ASSERT_EQ(Refusal(), "");
  for (const mode_t mode : {0720, 0702}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_THAT(Refusal(), HasSubstr("'chmod go-w " + path_ + "'")) << mode;
  }
}

TEST_F(PrivateFolder, AFileInItsPlaceIsRefused) {
  std::filesystem::create_directories(above_ + "/a");
  std::ofstream(path_) << "x";
  EXPECT_THAT(Refusal(), HasSubstr(path_));
}

TEST_F(PrivateFolder, ALinkOfOnesOwnIsFollowed) {
  ASSERT_TRUE(MakePrivateFolder(above_ + "/elsewhere").ok());
  std::filesystem::create_directories(above_ + "/a");
  std::filesystem::create_symlink(above_ + "/elsewhere", path_);
  EXPECT_EQ(Refusal(), "");
}

TEST_F(PrivateFolder, WhatIsSomebodyElsesIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  ASSERT_EQ(Refusal(), "");
  ASSERT_EQ(::chown(path_.c_str(), kSomebodyElse, kSomebodyElse), 0);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("the folder"), HasSubstr("belongs to user 65534")));
  std::filesystem::rename(path_, above_ + "/a/c");
  ASSERT_EQ(::chown((above_ + "/a/c").c_str(), 0, 0), 0);
  std::filesystem::create_symlink(above_ + "/a/c", path_);
  ASSERT_EQ(::lchown(path_.c_str(), kSomebodyElse, kSomebodyElse), 0);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("the link"), HasSubstr("belongs to user 65534")));
}

}  // namespace
}  // namespace fairlead
