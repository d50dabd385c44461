// SPDX-License-Identifier: Apache-2.0
//
// `get rules` against an agent that has so many of them.
#include "agent/ctl/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/commands.h"
#include "agent/ctl/options.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class GetRules : public ::testing::Test {
 protected:
  class PagingClient final : public Client {
   public:
    explicit PagingClient(GetRules* test) : test_(*test) {}
    absl::StatusOr<std::string> Call(std::string_view payload, std::chrono::milliseconds) override {
      v1::Request request;
      EXPECT_TRUE(request.ParseFromString(std::string(payload)));
      test_.asked_.push_back(request.list_rules());
      v1::Reply reply = test_.Answer(request.list_rules());
      reply.set_request_id(request.request_id());
      return reply.SerializeAsString();
    }

   private:
    GetRules& test_;
  };

  // Rule n is at "block-1000/0/1000/n".
  v1::Reply Answer(const v1::ListRules& ask) {
    v1::Reply reply;
    if (!refused_.empty()) {
      v1::Rejected::Violation* violation = reply.mutable_rejected()->add_violations();
      violation->set_path("list_rules.port");
      violation->set_reason(refused_);
      return reply;
    }
    v1::RuleList* list = reply.mutable_rules();
    list->set_counters_problem(problem_);
    const std::string& after = ask.after();
    int n = after.empty() ? 1 : std::stoi(after.substr(after.rfind('/') + 1)) + 1;
    for (uint32_t i = 0; n <= there_ && i < std::min(ask.limit(), page_); ++i, ++n) {
      v1::RuleList::Rule* rule = list->add_rules();
      rule->set_location(StrCat("block-1000/0/1000/", n));
      rule->set_state("in software");
      rule->set_text("ip -> drop");
      if (n == 1 && ask.counters()) {
        rule->mutable_counters()->set_packets(7);
        rule->mutable_counters()->set_bytes(588);
        rule->mutable_counters()->set_hardware_packets(2);
        rule->mutable_counters()->set_hardware_bytes(168);
      }
    }
    if (n <= there_) list->set_next(StrCat("block-1000/0/1000/", stuck_ ? 5 : n - 1));
    return reply;
  }

  int Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"get", "rules"});
    std::ostringstream out, err;
    CtlWorld world;
    world.out = &out;
    world.err = &err;
    world.connect = [this](const std::string&) -> absl::StatusOr<std::unique_ptr<Client>> {
      return std::make_unique<PagingClient>(this);
    };
    asked_.clear();
    const int code = RunCtl(std::move(args), world);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  int there_ = 3;
  uint32_t page_ = 1000;  // what the agent gives at most
  bool stuck_ = false;
  std::string refused_, problem_;
  std::vector<v1::ListRules> asked_;
  std::string out_, err_;
};

TEST_F(GetRules, AreListedWithoutCountersUnlessAskedFor) {
  EXPECT_EQ(Run({"port/a0"}), kOk) << err_;
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_EQ(asked_[0].match(), "port/a0");
  EXPECT_EQ(asked_[0].limit(), 1000U);
  EXPECT_FALSE(asked_[0].counters());
  EXPECT_EQ(out_.substr(0, out_.find('\n')),
            "LOCATION             STAGE  OWNER  STATE        IN-HW  RULE        DETAIL");
  EXPECT_THAT(out_, HasSubstr("block-1000/0/1000/3  -      -      in software  0      ip -> drop"));
}

TEST_F(GetRules, CountersAreBesideThemAndThoseNotReadAreNotZero) {
  EXPECT_EQ(Run({"--port", "a0", "--counters"}), kOk) << err_;
  EXPECT_EQ(asked_[0].port(), "a0");
  EXPECT_TRUE(asked_[0].counters());
  EXPECT_THAT(out_, HasSubstr("PACKETS  BYTES  HW-PACKETS  HW-BYTES"));
  EXPECT_THAT(out_, HasSubstr("7        588    2           168"));
  EXPECT_THAT(out_, HasSubstr("block-1000/0/1000/2  -      -      in software  0      -        -"));
  problem_ = "the counters of tunnel were not read";
  EXPECT_EQ(Run({"--counters"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("No counters: the counters of tunnel were not read\n"));
}

TEST_F(GetRules, AreAskedForPageByPageUntilThereAreEnough) {
  there_ = 2500;
  EXPECT_EQ(Run({"--limit", "2200", "-o", "json"}), kOk) << err_;
  std::vector<uint32_t> limits;
  for (const v1::ListRules& ask : asked_) limits.push_back(ask.limit());
  EXPECT_THAT(limits, ElementsAre(1000, 1000, 200));
  EXPECT_EQ(asked_[1].after(), "block-1000/0/1000/1000");
  const auto json = nlohmann::json::parse(out_);
  EXPECT_EQ(json["rules"].size(), 2200U);
  EXPECT_EQ(json["next"], "block-1000/0/1000/2200") << "where to go on";
  EXPECT_EQ(Run({"--limit", "2200"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("Stopped at 2200; there may be more: --after "));
  asked_.clear();
  EXPECT_EQ(Run({"--after", "block-1000/0/1000/2200"}), kOk) << err_;
  EXPECT_EQ(asked_[0].after(), "block-1000/0/1000/2200");
  EXPECT_EQ(Run({"--limit", "3000"}), kOk) << err_;
  EXPECT_THAT(out_, Not(HasSubstr("there may be more")));
  page_ = 0;  // it looked at many, and found none of these yet
  stuck_ = true;
  EXPECT_EQ(Run({}), kUnreachable) << "an agent that does not go on is not asked for ever";
}

TEST_F(GetRules, NoneOfThatNameAndARefusalAreTold) {
  there_ = 0;
  EXPECT_EQ(Run({"port/zz"}), kRejected);
  EXPECT_THAT(err_, HasSubstr("rule/port/zz is not there"));
  EXPECT_EQ(Run({}), kOk) << err_;
  refused_ = "port/zz is not there";
  EXPECT_EQ(Run({"--port", "zz"}), kRejected);
  EXPECT_EQ(err_, "--port: port/zz is not there\n");
}

TEST(GetRulesLine, ItsOptionsAreOfRulesAlone) {
  EXPECT_TRUE(ParseCommandLine({"get", "rules", "--counters", "--limit", "5"}, {}).options);
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--counters"},
                                               {"--port", "a"},
                                               {"--limit", "5"},
                                               {"--after", "x"}}) {
    std::vector<std::string> args = {"get", "ports"};
    args.insert(args.end(), more.begin(), more.end());
    const ParsedLine line = ParseCommandLine(args, {});
    EXPECT_EQ(line.exit_code, kUsage);
    EXPECT_THAT(line.err, HasSubstr(more[0] + " is of `get rules` alone"));
  }
  for (const char* limit : {"0", "1000001", "x", "-1"}) {
    EXPECT_EQ(ParseCommandLine({"get", "rules", "--limit", limit}, {}).exit_code, kUsage) << limit;
  }
  for (const char* port : {"", "a b"}) {
    EXPECT_EQ(ParseCommandLine({"get", "rules", "--port", port}, {}).exit_code, kUsage);
  }
}

}  // namespace
}  // namespace fairlead
