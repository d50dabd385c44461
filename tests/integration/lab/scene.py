# SPDX-License-Identifier: Apache-2.0
"""What the cases share: an agent, two tenants, two VMs, and a ping that must never lose a packet."""
from host import Agent, Far, Pinger, Vm, eventually, need, need_same, network_yaml, snapshot

# The cases do not wait for a minute where an operator would.
TIMING = {"retry_first": 200, "retry_most": 2000, "audit_every": 5000, "removal_patience": 1000, "qmp_deadline": 8000}
FAR = "10.0.0.2"  # both tenants' far ends own it
A, B_RED, B_BLUE = "10.0.0.1", "10.0.0.6", "10.0.0.1"


class Scene:
    """VM a is in VPC red for the whole run and pings its far end; VM b is what the cases are about. Between cases b runs
    and has no NIC, and the host is as `baseline` says."""

    def __init__(self):
        self.a, self.b = Vm("a"), Vm("b")
        self.a.start()
        self.b.start()
        self.red = Far("far-red", 100, "52:54:00:00:0a:02", FAR)
        self.blue = Far("far-blue", 200, "52:54:00:00:0b:02", FAR)
        self.agent = Agent(TIMING)
        self.agent.start()
        self.idle = snapshot(self.a, self.b)
        self.agent.apply(network_yaml("red", 100) + network_yaml("blue", 200) + self.red.yaml("red") +
                         self.blue.yaml("blue"))
        self.a.wait()
        self.attach(self.a, "red", A)
        self.a.up(A)
        self.pinger = Pinger(self.a, FAR)
        self.b.wait()
        self.baseline = snapshot(self.a, self.b)

    def attach(self, vm, vpc, address, *words, check=True, wait=True):
        return self.agent.ctl("attach", "--vm", vm.name, "--uuid", vm.uuid, "--vpc", vpc, "--address", address,
                              *(["--wait"] if wait else []), *words, check=check)

    def give_up(self, vm, vpc):
        """Removes what a failed attach left in the store."""
        self.agent.detach(vm.name, vpc)

    def untouched(self, when, before=None):
        """Nothing of the attempt is on the host. Asked for again while the kernel or QEMU may still be at it."""
        before = before or self.baseline
        for _ in range(3):
            now = snapshot(self.a, self.b)
            if now == before:
                return
        need_same(before, now, when)

    def refused(self, *words, run=None):
        """A change that is refused: exit 1, each word in what is printed, and nothing stored."""
        stored = self.agent.count(), self.agent.objects("ports")
        done = run()
        need(done.returncode == 1, f"exit status {done.returncode}, not 1: {done.stdout} {done.stderr}")
        for word in words:
            need(word.lower() in done.stderr.lower(), f"the refusal does not say {word!r}: {done.stderr.strip()}")
        need(stored == (self.agent.count(), self.agent.objects("ports")), "a refused change changed the objects")

    def tidy(self):
        """After a case, however it ended: b runs without a NIC."""
        self.agent.ctl("delete", "port/b-third", check=False)
        for vpc in ("red", "blue"):
            self.agent.ctl("detach", "--vm", "b", "--vpc", vpc, "--wait", "60s", check=False)
        if "b" in [port["object"]["port"]["vm"] for port in self.agent.objects("ports")]:
            self.restart_b()
            eventually("VM b has no port", lambda: not [p for p in self.agent.objects("ports")
                                                        if p["object"]["port"]["vm"] == "b"])

    def restart_b(self, *words):
        self.b.stop()
        self.b.start(*words)
        if "--cold" not in words:
            self.b.wait()

    def end(self):
        """All of it is taken apart again."""
        self.pinger.stop()
        self.agent.detach("a", "red")
        self.agent.ctl("delete", "endpoint/far-red", "endpoint/far-blue", "subnet/red-1", "subnet/blue-1", "vpc/red",
                       "vpc/blue")
        eventually("no object is left", lambda: self.agent.count() == 0)
        self.untouched("after everything was deleted", self.idle)
        self.agent.stop()
