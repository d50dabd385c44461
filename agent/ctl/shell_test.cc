// SPDX-License-Identifier: Apache-2.0
//
// The program itself, as a shell starts it: what it does with closed and full
// outputs and with signals, and its completion scripts in their shells.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "agent/ctl/fake_agent.h"
#include "agent/ctl/options.h"

namespace fairlead {
namespace {

using ::testing::HasSubstr;

constexpr char kProgram[] = FAIRLEAD_CTL;

struct Outcome {
  int code = -1;
  std::string out;  // stdout and stderr
};

// `$ctl` is the program, `$endpoint` what it is given.
Outcome Shell(const std::string& script, const std::string& endpoint = "ipc:///nowhere/x.sock",
              const char* shell = "bash") {
  char path[] = "/tmp/fairleadctl-script-XXXXXX";
  const int fd = ::mkstemp(path);
  EXPECT_GE(fd, 0);
  ::close(fd);
  std::ofstream(path) << script;
  ::setenv("ctl", kProgram, 1);
  ::setenv("FAIRLEAD_ENDPOINT", endpoint.c_str(), 1);
  Outcome outcome;
  FILE* pipe = ::popen((std::string(shell) + " " + path + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  for (size_t n = 0; (n = ::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    outcome.out.append(buffer, n);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  ::unlink(path);
  return outcome;
}

TEST(Program, AFullOrClosedOutputIsExitCode6AndSaid) {
  Outcome full = Shell("\"$ctl\" version >/dev/full");
  EXPECT_EQ(full.code, kOutput);
  EXPECT_EQ(full.out, "fairleadctl: the output could not be written: No space left on device\n");
  for (const char* args : {"--help", "get --help", "completion bash"}) {
    EXPECT_EQ(Shell(std::string("\"$ctl\" ") + args + " >/dev/full").code, kOutput) << args;
  }
  Outcome closed = Shell("\"$ctl\" --help >&-");
  EXPECT_EQ(closed.code, kOutput);
  EXPECT_THAT(closed.out, HasSubstr("could not be written: Bad file descriptor"));
  // The reader is gone before anything is written.
  Outcome pipe = Shell(
      "{ exec 3>&1; { read -r; \"$ctl\" version; echo $? >&3; } < <(true) "
      "2>&3 | :; } 3>&1; wait");
  EXPECT_THAT(pipe.out, HasSubstr("6"));
}

TEST(Program, NoSocketTakesTheNumberOfAClosedOutput) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("a0", v1::OBJECT_STATE_READY);
  Outcome closed = Shell("\"$ctl\" get ports >&- <&-", folder.endpoint());
  EXPECT_EQ(closed.code, kOutput) << closed.out;
}

TEST(Program, WatchEndsInOrderOnASignal) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("a0", v1::OBJECT_STATE_READY);
  for (const char* signal : {"INT", "TERM"}) {
    // Signalled once its first lines are there.
    Outcome outcome = Shell(std::string("set -m; coproc \"$ctl\" watch\n"
                                        "pid=$COPROC_PID; read -r line <&\"${COPROC[0]}\"\n"
                                        "kill -") +
                                signal + " $pid; wait $pid; echo \"$line $?\"",
                            folder.endpoint());
    EXPECT_THAT(outcome.out, HasSubstr("REASON 0\n"));
  }
}

// Waits for $pid, and says what it exited with, or that it goes on all the same.
constexpr char kAwaitEnd[] = R"sh(
for i in $(seq 500); do kill -0 $pid 2>/dev/null || break; sleep 0.02; done
kill -KILL $pid 2>/dev/null && echo "did not end"
wait $pid; echo "exit $?"
)sh";

TEST(Program, WatchEndsAtOnceWhileTheAgentHangs) {
  for (const char* signal : {"INT", "TERM"}) {
    SocketFolder folder;
    FakeAgent agent(folder);
    const std::string heard = folder.endpoint().substr(6) + ".heard";
    agent.Hang([&heard] { std::ofstream(heard) << "x"; });
    const Outcome outcome = Shell(
        "set -m; \"$ctl\" --timeout 1h watch & pid=$!\n"
        "until [ -e " +
            heard +
            " ]; do sleep 0.01; done\n"
            "kill -" +
            signal + " $pid\n" + kAwaitEnd,
        folder.endpoint());
    EXPECT_EQ(outcome.out, "exit 0\n") << signal;
    ::unlink(heard.c_str());
  }
}

TEST(Program, WatchEndsOnASignalWhileNobodyTakesWhatItSays) {
  SocketFolder folder;
  FakeAgent agent(folder);
  // Much more than a pipe holds; with its first line there, the pipe is full.
  for (int i = 0; i < 5000; ++i) agent.SetPort("p" + std::to_string(i), v1::OBJECT_STATE_READY);
  for (const char* signal : {"INT", "TERM"}) {
    const Outcome outcome =
        Shell(std::string("set -m; pipe=$0.pipe; mkfifo $pipe; exec 3<>$pipe; rm $pipe\n"
                          "\"$ctl\" watch >&3 & pid=$!; read -r line <&3\n"
                          "kill -") +
                  signal + " $pid\n" + kAwaitEnd,
              folder.endpoint());
    EXPECT_EQ(outcome.out, "exit 0\n") << signal;
  }
}

TEST(Program, WatchEndsInOrderWhenItsReaderIsGone) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("a0", v1::OBJECT_STATE_READY);
  Outcome outcome =
      Shell("set -o pipefail; \"$ctl\" watch -o json | head -n 1; echo $?", folder.endpoint());
  EXPECT_THAT(outcome.out, HasSubstr("{\"type\":\"state\""));
  EXPECT_THAT(outcome.out, ::testing::EndsWith("}\n0\n"));
}

TEST(Completion, TheScriptsAreValid) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = Shell(std::string("set -o pipefail; \"$ctl\" completion ") + shell +
                                  " | " + shell + " -n /dev/stdin");
    EXPECT_EQ(outcome.code, 0) << shell << ": " << outcome.out;
    EXPECT_EQ(outcome.out, "") << shell;
  }
}

// What bash would put into the line "$1" of which the cursor is at the end.
constexpr char kBashLine[] = R"sh(
source <("$ctl" completion bash)
complete -p fairleadctl >/dev/null || exit 1
try() {
  COMP_LINE=$1 COMP_POINT=${#1}
  read -ra COMP_WORDS <<<"$1"
  COMP_LINE="$ctl ${COMP_LINE#fairleadctl }"
  COMP_POINT=${#COMP_LINE}
  __fairleadctl_complete
  echo "$1> ${COMPREPLY[*]}"
}
cd "$(dirname "$0")"
try "fairleadctl desc"
try "fairleadctl get "
try "fairleadctl get ports w"
try "fairleadctl attach --offload "
try "fairleadctl attach --off"
try "fairleadctl get ports --output=js"
try "fairleadctl delete port/w"
try "fairleadctl --endpoint ipc:///nowhere/x.sock get ports "
try "fairleadctl apply -f $0"
)sh";

TEST(Completion, CompletesLinesInBash) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("web-0", v1::OBJECT_STATE_READY);
  agent.SetPort("db-0", v1::OBJECT_STATE_READY);
  const Outcome outcome = Shell(kBashLine, folder.endpoint());
  EXPECT_EQ(outcome.code, 0) << outcome.out;
  for (const char* line :
       {"fairleadctl desc> describe\n",
        "fairleadctl get > vpcs subnets vms ports endpoints routes security-groups pfs vfs rules "
        "drifts foreign\n",
        "fairleadctl get ports w> web-0\n", "fairleadctl attach --offload > must prefer off\n",
        "fairleadctl attach --off> --offload\n",
        // bash puts it after the "=".
        "fairleadctl get ports --output=js> json\n", "fairleadctl delete port/w> port/web-0\n",
        "fairleadctl --endpoint ipc:///nowhere/x.sock get ports > \n"}) {
    EXPECT_THAT(outcome.out, HasSubstr(line));
  }
  EXPECT_THAT(outcome.out, ::testing::ContainsRegex(
                               "apply -f (/tmp/fairleadctl-script-[A-Za-z0-9]*)> /tmp/fairlead"));
}

// What zsh makes of the line "$1" when it completes at its end: an interactive one, on a
// terminal of its own, does so with its first line, and leaves.
constexpr char kZshLine[] = R"sh(
zmodload zsh/zpty || exit 1
export PATH=${ctl:h}:$PATH said=$0.said
rc='autoload -Uz compinit && compinit -u -D; source <("$ctl" completion zsh)
zle-line-init() {
  BUFFER=$line CURSOR=$#line
  zle complete-word
  print -r -- "$BUFFER" >$said
  BUFFER=exit
  zle accept-line
}
zle -N zle-line-init'
try() {
  export line=$1
  zpty shell zsh -f -i
  zpty -w shell "$rc"
  while zpty -r shell ignored; do :; done
  print -r -- "$1> $(<$said)"
  zpty -d shell; rm $said
}
try "fairleadctl desc"
try "fairleadctl get ports w"
try "fairleadctl get ports --output=js"
)sh";

TEST(Completion, CompletesLinesInZsh) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("web-0", v1::OBJECT_STATE_READY);
  const Outcome outcome = Shell(kZshLine, folder.endpoint(), "zsh -f");
  EXPECT_EQ(outcome.out,
            "fairleadctl desc> fairleadctl describe \n"
            "fairleadctl get ports w> fairleadctl get ports web-0 \n"
            "fairleadctl get ports --output=js> fairleadctl get ports --output=json \n");
}

TEST(Completion, CompletesLinesInFish) {
  SocketFolder folder;
  FakeAgent agent(folder);
  agent.SetPort("web-0", v1::OBJECT_STATE_READY);
  const Outcome outcome = Shell(
      "\"$ctl\" completion fish | source\n"
      "complete -C \"$ctl desc\"\n"
      "complete -C \"$ctl get ports w\"\n"
      "complete -C \"$ctl get ports --output=js\"\n",
      folder.endpoint(), "fish");
  EXPECT_THAT(outcome.out, HasSubstr("describe\t"));
  EXPECT_THAT(outcome.out, HasSubstr("web-0"));
  EXPECT_THAT(outcome.out, HasSubstr("--output=json"));
}

}  // namespace
}  // namespace fairlead
