# SPDX-License-Identifier: Apache-2.0
"""Face hotplug: functions that come and go by PCIe hot-plug while the agent runs, as a DPU brings them. The host is that of
the face virtio."""
import os

from host import Function, Pinger, eventually, ip, need, network_yaml, read, run
from scene import Scene as Base

A, FAR = "10.0.0.1", "10.0.0.100"
PORT = "a-red-1"
DEADLINE = 600_000  # ms: past what any case waits, so that none of them is a race


class Scene(Base):
    """VM a runs and has no NIC; no function is plugged in. VPC red is there; f0's far end is the namespace far, which the
    lab wired to f0 as a DPU would. Functions at dpu0 are known by their MAC, at dpu1 by their slot."""

    def __init__(self):
        self.functions = [Function("f0"), Function("f1")]
        self.f0, self.f1 = self.functions
        ip("netns", "add", "far")
        ip("link", "set", self.f0.far, "netns", "far")
        ip("-n", "far", "address", "add", f"{FAR}/24", "dev", self.f0.far)
        ip("-n", "far", "link", "set", self.f0.far, "up")
        super().__init__("a", more=self.ports())
        self.a = self.vms["a"]
        self.agent.apply(network_yaml("red", 100))
        self.a.wait()
        self.settled()

    def ports(self, deadline=DEADLINE):
        f0, f1 = (f.facts["root_port"] for f in self.functions)
        return (f'hotplug_ports:\n  - {{port: "{f0}", name: dpu0, deadline_ms: {deadline}}}\n'
                f'  - {{port: "{f1}", name: dpu1, network: converged, identity: slot, devices: ["1af4:1041"]}}\n')

    def tidy(self):
        super().tidy()
        for function in self.functions:
            if function.present():
                function.unplug()

    def ask(self, *words):
        """A port that expects f0, unless `words` say otherwise."""
        self.attach(self.a, "red", A, "--function", "hotplug", *(words or ["--mac", self.f0.mac]), wait=False)

    def waits(self, *words):
        def waiting():
            status = self.agent.port(PORT)
            return status.get("state") == "pending" and all(w in status["reason"] for w in words) and status

        return eventually(f"port {PORT} waits ({words}), and not {self.agent.port(PORT)}", waiting)

    def ready(self):
        """The port is ready and the guest has seen it: one that is just taking a device in can lose the request to let it
        go."""
        status = self.agent.wait_state(PORT, "ready")
        eventually("the VM has its MAC", lambda: self.a.mac() == status["mac"])
        return status

    def reaches_its_far_end(self):
        self.a.up(A)
        eventually("the far end answers", lambda: self.a.ping(FAR, count=2) == 2)

    def given_back(self):
        """Detached, the function is there as it came."""
        self.agent.detach("a", "red")
        eventually("the host's driver has it again", lambda: self.f0.driver() == "virtio-pci")
        need(not self.a.devices(), f"VM a still has {self.a.devices()}")
        need(read(f"/sys/bus/pci/devices/{self.f0.pci}/driver_override") == "(null)", "an override is left")
        self.f0.unplug()
        self.untouched("after the detach and the function's end")

    def pulled(self):
        """The function is gone from under the VM and the agent."""
        self.f0.unplug()
        eventually("VM a has let it go", lambda: not self.a.devices())


def netdev(function):
    """The name of the netdev that the host's driver made of it."""
    def name():
        for root, dirs, _ in os.walk(f"/sys/bus/pci/devices/{function.pci}/"):
            if os.path.basename(root) == "net":
                return dirs[0] if dirs else None
        return None

    return eventually(f"{function.pci} has a netdev", name)


def nobody_asked(s):
    """A function that no intent asks for comes and goes: it is shown, its driver keeps it, and nothing is done."""
    s.f0.plug()
    eventually("its driver has it", lambda: s.f0.driver() == "virtio-pci")
    with_it = s.snapshot()
    shown = eventually("it is shown with its MAC", lambda: (vfs := s.agent.host_state()["pfs"][1].get("vfs")) and
                       vfs[0].get("mac") and vfs[0])
    need((shown["pci"], shown["mac"], shown["ids"], shown["state"]) == (s.f0.pci, s.f0.mac, "1af4:1041", "free"), f"{shown}")
    need("dpu0" in s.agent.ctl("get", "pfs").stdout, "get pfs does not name the port")
    need(s.f0.driver() == "virtio-pci", f"its driver is {s.f0.driver()!r}")
    s.untouched("with the function there", with_it)
    s.f0.unplug()
    eventually("it is shown no more", lambda: not s.agent.host_state()["pfs"][1].get("vfs"))
    s.untouched("after it has gone")


def not_configured(s):
    """Behind a port that the configuration does not list the same function is never touched, and a port is refused."""
    s.restart_agent(more="")
    try:
        s.f0.plug()
        s.refused("hot-plug port", "configuration", run=lambda: s.attach(s.a, "red", A, "--function", "hotplug", "--mac",
                                                                         s.f0.mac, check=False))
        eventually("its driver has it", lambda: s.f0.driver() == "virtio-pci")
        s.f0.unplug()
    finally:
        s.restart_agent(more=s.ports())


def intent_first(s):
    """The port waits for its function; plugged in, it goes through the host's driver into the VM, whose frames reach the
    far end without a rule of this host; detached, it is there as it came."""
    s.ask()
    s.waits("waits for the function", s.f0.mac, "dpu0", s.f0.facts["root_port"])
    s.f0.plug()
    status = s.ready()
    need(s.f0.driver() == "vfio-pci", f"its driver is {s.f0.driver()!r}")
    need(status["vf_pci"] == s.f0.pci and not status.get("rules_wanted"), f"{status}")
    need("fl-vxlan0" not in ip("link"), "a tunnel was made")
    s.reaches_its_far_end()
    s.given_back()


def function_first(s):
    """The function is there before the intent."""
    s.f0.plug()
    s.ask()
    s.ready()
    s.reaches_its_far_end()
    s.given_back()


def pulled_while_ready(s):
    """Pulled under traffic: the VM's device goes, the port waits, and takes the function again when it comes back."""
    s.ask()
    s.f0.plug()
    lease = s.ready()["lease"]
    s.reaches_its_far_end()
    s.a.sh(f"ping -i 0.2 {FAR} >/dev/null 2>&1 &")
    s.pulled()
    s.waits("the function went away", "waits for the function")
    s.untouched("while it waits")
    s.f0.plug()
    again = s.ready()
    need(int(again["lease"]) > int(lease), f"lease {again['lease']} after {lease}")
    s.reaches_its_far_end()
    s.given_back()


def pulled_while_paused(s):
    """Pulled while the VM is paused, so that its guest does not let go: the kernel waits in the removal, with the lock of
    the function held. The port says so, the agent answers, ends and starts; the rest comes by itself once the VM runs."""
    s.ask()
    s.f0.plug()
    s.ready()
    s.a.monitor("stop")
    try:
        run("lab-function", "unplug", "f0", "0")

        def said():
            status = s.agent.port(PORT)
            return status.get("state") == "degraded" and "is being pulled, and VM a still holds it" in status["reason"]

        eventually("the port says that the VM holds its function", said)
        need(s.f0.present(), "the function is gone, although the VM holds it")
        need("being pulled" in s.agent.ctl("get", "vfs", "-o", "yaml").stdout, "get vfs does not say it")
        s.agent.stop()
        s.agent.start()
        eventually("the next agent says it too", said)
    finally:
        s.a.monitor("cont")
    eventually("the function is gone", lambda: not s.f0.present())
    s.waits("waits for the function")
    eventually("VM a has nothing of it", lambda: not s.a.devices())
    s.untouched("while it waits")
    s.f0.plug()
    s.ready()
    s.reaches_its_far_end()
    s.given_back()


def pulled_at_any_moment(s):
    """Pulled while it is being bound, plugged on, or given back, wherever that is: it comes to rest each time."""
    s.ask()
    for _ in range(6):
        s.f0.plug()  # the agent is at it from now on
        s.f0.unplug()
    s.waits("waits for the function")
    eventually("VM a has nothing of it", lambda: not s.a.devices())
    s.f0.plug()
    s.ready()
    s.agent.ctl("detach", "--vm", "a", "--vpc", "red")
    s.f0.unplug()  # while it is being released
    eventually("the port is gone", lambda: not s.agent.port(PORT))
    eventually("VM a has nothing of it", lambda: not s.a.devices())
    s.untouched("after all of that")


def killed_while_ready(s):
    """kill -9 of the agent: no packet of the VM is lost, and the next one goes on with what is there."""
    s.ask()
    s.f0.plug()
    before = s.ready()
    s.reaches_its_far_end()
    pinger = Pinger(s.a, FAR)
    s.agent.kill()
    s.agent.start()
    after = s.ready()
    need([after[k] for k in ("lease", "guest_device", "vf")] == [before[k] for k in ("lease", "guest_device", "vf")],
         f"{before} became {after}")
    pinger.stop()
    s.given_back()


def killed_meanwhile(s):
    """What comes and goes while there is no agent is found by the next one."""
    s.ask()
    s.waits("waits for the function")
    s.agent.kill()
    s.f0.plug()
    s.agent.start()
    s.ready()
    s.agent.kill()
    s.pulled()
    s.agent.start()
    s.waits("the function went away")
    s.f0.plug()
    s.agent.kill()  # somewhere in the attach
    s.agent.start()
    s.ready()
    s.reaches_its_far_end()
    s.given_back()


def deadline(s):
    """A function that does not come in time, or has another MAC, fails the port by name; it is taken when it comes."""
    s.restart_agent(more=s.ports(deadline=1000))
    try:
        s.f0.plug()
        netdev(s.f0)
        s.ask("--mac", "52:54:00:00:04:99")
        s.agent.failed(PORT, "function", "52:54:00:00:04:99", "did not come within 1000 ms", s.f0.mac)
        need(s.f0.driver() == "virtio-pci", "the other function was taken")
        s.give_up(s.a, "red")
        s.f0.unplug()
        s.ask()
        s.agent.failed(PORT, "function", "did not come within 1000 ms")
        s.f0.plug()
        s.ready()
        s.given_back()
    finally:
        s.restart_agent(more=s.ports())


def host_uses_it(s):
    """A function whose netdev the host uses is refused by name, left as it is, and taken when the host lets it go."""
    s.f0.plug()
    dev = netdev(s.f0)
    ip("address", "add", "198.51.100.7/24", "dev", dev)
    ip("link", "set", dev, "up")
    s.ask()
    s.agent.failed(PORT, "vf placement", "the host uses it", dev, "198.51.100.7")
    need(s.f0.driver() == "virtio-pci", f"its driver is {s.f0.driver()!r}")
    ip("address", "flush", "dev", dev)
    ip("link", "set", dev, "down")  # an address alone is no event of a link
    s.ready()
    s.given_back()


def known_by_its_slot(s):
    """At a port that knows functions by their slot whatever comes is the one; no MAC is named."""
    s.ask("--network", "converged")
    s.waits("waits for the function", "dpu1")
    s.f1.plug()
    eventually("the VM has its MAC", lambda: s.a.mac() == s.f1.mac)
    s.agent.wait_state(PORT, "ready")
    s.agent.detach("a", "red")
    s.f1.unplug()
    s.untouched("after the detach")


def refusals(s):
    """What cannot be promised is refused when it is asked: no MAC where that is needed, an offload wish."""
    s.refused("mac", run=lambda: s.attach(s.a, "red", A, "--function", "hotplug", check=False))
    s.refused("offload", "must", run=lambda: s.attach(s.a, "red", A, "--function", "hotplug", "--mac", s.f0.mac,
                                                      "--offload", "must", check=False))


GROUPS = [
    [nobody_asked, refusals, intent_first, function_first, pulled_while_ready, pulled_while_paused, pulled_at_any_moment],
    [killed_while_ready, killed_meanwhile, deadline, host_uses_it, known_by_its_slot, not_configured],
]
