// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/explain.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "agent/ctl/commands.h"
#include "agent/ctl/options.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Answers one reply, in protobuf's text form, to whatever is asked.
class ExplainCommand : public ::testing::Test {
 protected:
  class FixedClient final : public Client {
   public:
    explicit FixedClient(ExplainCommand* test) : test_(*test) {}
    absl::StatusOr<std::string> Call(std::string_view payload, std::chrono::milliseconds) override {
      EXPECT_TRUE(test_.asked_.ParseFromString(std::string(payload)));
      v1::Reply reply;
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(test_.reply_, &reply));
      reply.set_request_id(test_.asked_.request_id());
      return reply.SerializeAsString();
    }

   private:
    ExplainCommand& test_;
  };

  int Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"explain", "flow"});
    std::ostringstream out, err;
    CtlWorld world;
    world.out = &out;
    world.err = &err;
    world.connect = [this](const std::string&) -> absl::StatusOr<std::unique_ptr<Client>> {
      return std::make_unique<FixedClient>(this);
    };
    asked_.Clear();
    const int code = RunCtl(std::move(args), world);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  std::string reply_ = "flow { from: 'port/a0' verdict { kind: 'dropped' why: 'why' } }";
  v1::Request asked_;
  std::string out_, err_;
};

constexpr char kRouted[] = R"pb(
  flow {
    from: "port/a0"
    packet {
      src_mac: "52:54:00:00:01:00"
      dst_mac: "02:66:6c:00:00:01"
      src: "10.0.0.5"
      dst: "10.0.1.9"
      protocol: 6
      dst_port: 443
      ttl: 64
    }
    lookup {
      question: "ARP: who has 10.0.0.1?"
      mac: "02:66:6c:00:00:01"
      why: "the gateway of subnet red-1"
    }
    steps {
      stage: "admit"
      location: "block-1000/0/1100/7"
      rule: "ip in representor(x)@5 -> goto 2"
      does: "on to subnet red-1"
      owner: "port/a0"
      state: "hardware"
      in_hw_count: 2
      reached: true
    }
    steps {
      stage: "subnet red-1"
      location: "block-1000/2/1010/2"
      rule: "ip dst_mac 02:66:6c:00:00:01 -> goto 1"
      does: "on to routes of VPC red"
      owner: "subnet/red-1"
      state: "missing"
    }
    verdict { kind: "encapsulated" vtep: "192.0.2.2" vni: 1000 }
    compiled { kind: "delivered" port: "b0" }
    out { src_mac: "02:66:6c:00:00:01" dst_mac: "52:54:00:00:09:01" ttl: 63 }
    header {
      vni: 1000
      local: "192.0.2.1"
      remote: "192.0.2.2"
      udp_port: 4789
      ttl: 64
      next_hop: "192.0.2.2 FAILED"
    }
    path: "slow path"
    path_why: "the next hop to 192.0.2.2 is not resolved: 192.0.2.2 FAILED"
    disagreements: "block-1000/2/1010/2 is missing"
    notes: "port/a0 is degraded: \x1b[31m"
  })pb";

TEST_F(ExplainCommand, IsShortAndReadable) {
  reply_ = kRouted;
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.1.9"}), kOk) << err_;
  EXPECT_EQ(out_,
            "port/a0 -> 10.0.1.9: TCP to port 443, source 10.0.0.5 at 52:54:00:00:01:00, TTL 64\n"
            "  asks ARP: who has 10.0.0.1? 02:66:6c:00:00:01, the gateway of subnet red-1\n"
            "  sent to 02:66:6c:00:00:01\n"
            "  admit: block-1000/0/1100/7, hardware on 2, of port/a0\n"
            "      ip in representor(x)@5 -> goto 2\n"
            "      on to subnet red-1\n"
            "! subnet red-1: block-1000/2/1010/2, missing, of subnet/red-1; not reached\n"
            "      ip dst_mac 02:66:6c:00:00:01 -> goto 1\n"
            "      on to routes of VPC red\n"
            "encapsulated to VTEP 192.0.2.2 with VNI 1000\n"
            "  as compiled: delivered to port/b0\n"
            "  comes out as 02:66:6c:00:00:01 -> 52:54:00:00:09:01, TTL 63\n"
            "  in one header: VNI 1000, 192.0.2.1 -> 192.0.2.2, UDP port 4789, TTL 64; next hop "
            "192.0.2.2 FAILED\n"
            "path: slow path: the next hop to 192.0.2.2 is not resolved: 192.0.2.2 FAILED\n"
            "otherwise: block-1000/2/1010/2 is missing\n"
            "note: port/a0 is degraded: \\x1b[31m\n");
}

TEST_F(ExplainCommand, WhatIsNotSentIsSaidSo) {
  reply_ = R"pb(flow {
                  from: "port/a0"
                  packet { dst: "10.0.0.9" src: "10.0.0.5" src_mac: "m" protocol: 58 ttl: 64 }
                  lookup { question: "ARP: who has 10.0.0.9?" why: "nobody has it" }
                  verdict { kind: "not sent" why: "nobody has it, so nobody answers its guest" }
                })pb";
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.9"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("ICMPv6"));
  EXPECT_THAT(out_, HasSubstr("asks ARP: who has 10.0.0.9? Nobody answers: nobody has it\n"));
  EXPECT_THAT(out_, Not(HasSubstr("sent to")));
  EXPECT_THAT(out_, HasSubstr("\nnot sent: nobody has it, so"));
}

TEST_F(ExplainCommand, IsADocumentForScripts) {
  reply_ = kRouted;
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.1.9", "-o", "json"}), kOk) << err_;
  const nlohmann::json flow = nlohmann::json::parse(out_);
  EXPECT_EQ(flow["verdict"]["kind"], "encapsulated");
  EXPECT_EQ(flow["steps"][1]["state"], "missing");
  EXPECT_EQ(flow["steps"][0]["reached"], true);
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.1.9", "-o", "yaml"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("kind: encapsulated\n"));
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.1.9", "-o", "text"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("! subnet red-1"));
}

TEST_F(ExplainCommand, EveryOptionIsAsked) {
  EXPECT_EQ(
      Run({"--from", "port/a0", "--to", "10.0.0.6", "--proto", "udp", "--dport", "53", "--sport",
           "0", "--src", "10.0.0.5", "--src-mac", "m1", "--dst-mac", "m2", "--ttl", "1"}),
      kOk)
      << err_;
  const v1::ExplainFlow ask = asked_.explain_flow();
  EXPECT_EQ(ask.port(), "a0");
  EXPECT_EQ(ask.to(), "10.0.0.6");
  EXPECT_EQ(ask.protocol(), 17U);
  EXPECT_EQ(ask.dst_port(), 53U);
  EXPECT_TRUE(ask.has_src_port());
  EXPECT_EQ(ask.src(), "10.0.0.5");
  EXPECT_EQ(ask.src_mac(), "m1");
  EXPECT_EQ(ask.dst_mac(), "m2");
  EXPECT_EQ(ask.ttl(), 1U);
  EXPECT_FALSE(ask.fragment());
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6", "--fragment"}), kOk) << err_;
  EXPECT_TRUE(asked_.explain_flow().fragment());
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6"}), kOk) << err_;
  const v1::ExplainFlow& least = asked_.explain_flow();
  EXPECT_FALSE(least.has_protocol() || least.has_ttl());
  EXPECT_FALSE(least.has_src_port() || least.has_dst_port());
}

TEST_F(ExplainCommand, ProtocolsHaveNamesAndNumbers) {
  for (const auto& [proto, to, number] : {std::tuple("icmp", "10.0.0.6", 1U),
                                          {"icmp", "2001:db8::6", 58U},
                                          {"tcp", "10.0.0.6", 6U},
                                          {"132", "10.0.0.6", 132U},
                                          {"0", "10.0.0.6", 0U}}) {
    EXPECT_EQ(Run({"--from", "a0", "--to", to, "--proto", proto}), kOk) << err_;
    EXPECT_TRUE(asked_.explain_flow().has_protocol());
    EXPECT_EQ(asked_.explain_flow().protocol(), number);
  }
  for (const char* bad : {"256", "tpc", "-1", "6x"}) {
    EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6", std::string("--proto=") + bad}), kUsage);
    EXPECT_THAT(err_,
                HasSubstr("is none of tcp, udp, icmp, arp and nd, and no number from 0 to 255"));
  }
}

TEST_F(ExplainCommand, AQuestionForAMac) {
  reply_ =
      "flow { from: 'port/a0' packet { dst: '10.0.0.6' src: '10.0.0.5' src_mac: 'm' arp_mac: 'n' "
      "neighbour: true vlan: 5 } verdict { kind: 'slow path' } }";
  EXPECT_EQ(
      Run({"--from", "a0", "--to", "10.0.0.6", "--proto", "arp", "--arp-mac", "n", "--vlan", "5"}),
      kOk)
      << err_;
  EXPECT_TRUE(asked_.explain_flow().neighbour());
  EXPECT_FALSE(asked_.explain_flow().has_protocol());
  EXPECT_EQ(asked_.explain_flow().arp_mac(), "n");
  EXPECT_EQ(asked_.explain_flow().vlan(), 5U);
  EXPECT_THAT(out_, HasSubstr("port/a0 -> 10.0.0.6: ARP, who has it?, source 10.0.0.5 at m, which "
                              "calls itself n, tagged with VLAN 5\n"));
  EXPECT_EQ(Run({"--from", "a0", "--to", "fd00::6", "--proto", "nd"}), kOk) << err_;
  EXPECT_TRUE(asked_.explain_flow().neighbour());
  EXPECT_EQ(Run({"--from", "a0", "--to", "fd00::6", "--proto", "arp"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("--proto arp asks for an IPv4 address, and --to fd00::6 is none"));
  EXPECT_EQ(Run({"--from", "a0", "--to", "fd00::6", "--icmp-type", "134"}), kOk) << err_;
  EXPECT_EQ(asked_.explain_flow().icmp_type(), 134U);
}

TEST_F(ExplainCommand, APacketByTheTunnel) {
  EXPECT_EQ(Run({"--from", "vtep:192.0.2.2", "--vni", "1000", "--dst-mac", "m"}), kOk) << err_;
  EXPECT_EQ(asked_.explain_flow().vtep(), "192.0.2.2");
  EXPECT_EQ(asked_.explain_flow().vni(), 1000U);
  EXPECT_EQ(asked_.explain_flow().dst_mac(), "m");
  EXPECT_TRUE(asked_.explain_flow().port().empty());
  EXPECT_EQ(Run({"--from", "vtep:"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("needs the address of the sending host"));
}

TEST_F(ExplainCommand, APacketByAnUplinkAndOneThatLeavesByIt) {
  reply_ =
      "flow { from: 'uplink/pf0' packet { dst_mac: 'm' } verdict { kind: 'leaves by the uplink' "
      "uplink: 'pf0' vlan: 100 copies: 'b0' copies: 'c0' } compiled { kind: 'leaves by the uplink' "
      "uplink: 'pf0' } }";
  EXPECT_EQ(Run({"--from", "uplink:pf0", "--vlan", "100", "--dst-mac", "m"}), kOk) << err_;
  EXPECT_EQ(asked_.explain_flow().uplink(), "pf0");
  EXPECT_EQ(asked_.explain_flow().vlan(), 100U);
  EXPECT_EQ(asked_.explain_flow().dst_mac(), "m");
  EXPECT_TRUE(asked_.explain_flow().port().empty());
  EXPECT_THAT(out_,
              HasSubstr("leaves by the uplink pf0 with VLAN 100, a copy to port/b0, a copy to "
                        "port/c0\n"));
  EXPECT_THAT(out_, HasSubstr("as compiled: leaves by the uplink pf0 untagged\n"));
  EXPECT_EQ(Run({"--from", "uplink:"}), kUsage);
  EXPECT_THAT(err_, HasSubstr("needs the name or the MAC of a PF"));
}

TEST_F(ExplainCommand, AWrongLineAsksNobody) {
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{},
        {"--from", "a0"},
        {"--to", "10.0.0.6"},
        {"--from", "a/b", "--to", "10.0.0.6"},
        {"--from", "", "--to", "10.0.0.6"},
        {"--from", "a0", "--to", "10.0.0.6", "--dport", "x"},
        {"--from", "a0", "--to", "10.0.0.6", "-o", "wide"},
        {"--from", "a0", "--to", "10.0.0.6", "--dmac", "x"}}) {
    EXPECT_EQ(Run(args), kUsage) << out_;
    EXPECT_FALSE(asked_.has_explain_flow());
  }
  EXPECT_THAT(err_, HasSubstr("there is no option '--dmac'; `fairleadctl explain flow --help`"));
}

TEST_F(ExplainCommand, ARefusalNamesTheOption) {
  reply_ =
      "rejected { violations { path: 'explain_flow.dst_port' code: CODE_INVALID reason: 'is bad' } "
      "violations { path: 'explain_flow' code: CODE_INVALID reason: 'another family' } }";
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6"}), kRejected);
  EXPECT_EQ(err_, "--dport: is bad\nanother family\n");
  reply_ = "accepted { }";
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6"}), kUnreachable);
}

TEST_F(ExplainCommand, WhatARuleHasMetIsToldAndThatItIsNotKnown) {
  reply_ =
      "flow { from: 'port/a0' steps { stage: 'admit' location: 'block-1/0/1100/6' state: "
      "'hardware' "
      "counters { packets: 7 bytes: 588 hardware_packets: 2 hardware_bytes: 168 } } "
      "steps { stage: 'subnet s' location: 'block-1/2/1000/7' state: 'hardware' } "
      "verdict { kind: 'dropped' } counters_problem: 'late' }";
  EXPECT_EQ(Run({"--from", "a0", "--to", "10.0.0.6"}), kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("      met 7 packets, 588 bytes; 2 packets, 168 bytes of that in "
                              "hardware\n  subnet s: "));
  EXPECT_THAT(out_, HasSubstr("no counters: late\n"));
}

}  // namespace
}  // namespace fairlead
