# SPDX-License-Identifier: Apache-2.0
"""Face igb: a NIC without an eswitch and representors, whose driver sets what a VF has: it serves VLAN networks."""
import json

from host import FACTS, PF, REMOTE, VFS, Pinger, driver_of, eventually, ip, need, need_same, network_yaml, run
from scene import Scene as Base

POOL = 2
LAN, OTHER = 100, 200  # VLANs; what the fabric has on them stands in a namespace each
FAR, A = "10.0.0.2", "10.0.0.1"
MAC, OTHER_MAC = "52:54:00:00:0a:01", "52:54:00:00:0a:66"
ATTACH = ("lan", A, "--mac", MAC)
RATE = 100  # Mbit/s


class Vlan:
    """A station of the fabric on a VLAN."""

    def __init__(self, name, vlan, address):
        self.name, self.dev = name, f"v{vlan}"
        ip("-n", REMOTE["netns"], "link", "add", "link", REMOTE["netdev"], "name", self.dev, "type", "vlan", "id", vlan)
        ip("netns", "add", name)
        ip("-n", REMOTE["netns"], "link", "set", self.dev, "netns", name)
        ip("-n", name, "link", "set", self.dev, "addrgenmode", "none")
        ip("-n", name, "link", "set", self.dev, "up")
        ip("-n", name, "address", "add", f"{address}/24", "dev", self.dev)

    def run(self, *words):
        return run("ip", "netns", "exec", self.name, *words).stdout

    def knows(self, mac):
        """Whether its neighbours show that a frame of this station has come."""
        return mac in ip("-n", self.name, "neigh", "show")


class Scene(Base):
    """VM a runs and has no NIC; VPC lan is VLAN 100."""

    def __init__(self):
        self.far = Vlan("far-lan", LAN, FAR)
        self.other = Vlan("far-other", OTHER, "10.0.0.3")
        super().__init__("a", vfs=POOL)
        self.a = self.vms["a"]
        self.agent.apply(f"---\nkind: Vpc\nid: lan\nvlan: {LAN}\n---\nkind: Subnet\nid: lan-1\nvpc: lan\n"
                         "prefixes: [10.0.0.0/24]\n")
        self.a.wait()
        self.settled()

    def attached(self, *words):
        """VM a in lan, with an address: the index of its VF."""
        self.attach(self.a, *ATTACH, *words)
        self.a.up(A)
        return int(self.agent.port("a-lan-1")["vf"].rpartition("/")[2])


def vf_info(index):
    """What the kernel says of a VF."""
    return json.loads(ip("-j", "link", "show", PF["netdev"]))[0]["vfinfo_list"][index]


def vlan_of(index):
    return vf_info(index)["vlan_list"][0].get("vlan", 0)


def pool_without_representors(s):
    """The agent makes the pool of a NIC that has no eswitch, shows both, and binds no VF by itself."""
    shown = json.loads(s.agent.ctl("get", "pfs", "-o", "json").stdout)["pfs"]
    need([pf["mac"] for pf in shown] == [PF["mac"]], f"the PFs: {shown}")
    pf = shown[0]
    need((pf["pci"], pf["netdev"], pf["driver"], pf["num_vfs"]) == (PF["pci"], PF["netdev"], FACTS["face"], POOL),
         f"the PF: {pf}")
    need(pf["can_set_vf_mac"] and not pf.get("eswitch") and not pf.get("refused"), f"the PF: {pf}")
    vfs = s.agent.host_state()["pfs"][0]["vfs"]
    need([vf["pci"] for vf in vfs] == [vf["pci"] for vf in VFS[:POOL]], f"the VFs: {vfs}")
    need(not any(driver_of(vf["pci"]) for vf in vfs), "a VF has a driver")
    need(PF["netdev"] in s.agent.ctl("get", "pfs").stdout, "the table does not name the PF")


def vlan_port(s):
    """A VM in a VLAN network sees its MAC, reaches its VLAN and no other; nothing of it is left afterwards."""
    vf = s.attached("--max-tx-mbps", RATE)
    need(s.a.mac() == MAC, f"the VM sees {s.a.mac()}")
    info = vf_info(vf)
    need((info["address"], vlan_of(vf), info["spoofchk"], info["trust"], info["rate"]["max_tx"]) ==
         (MAC, LAN, True, False, RATE), f"the VF: {info}")
    status = s.agent.port("a-lan-1")
    need((status["vlan"], status["mac"], status["rules_wanted"]) == (LAN, MAC, 0), f"the status: {status}")
    shown = s.agent.host_state()
    need(not shown["tunnel"] and shown["pfs"][0]["vfs"][vf]["vlan"] == LAN, f"the host: {shown}")
    need(str(LAN) in s.agent.ctl("describe", "port/a-lan-1").stdout, "describe does not tell the VLAN")
    need(s.a.ping(FAR) == 5, "the VM does not reach its VLAN")
    need(s.a.ping("10.0.0.3", count=2) == 0 and not s.other.knows(MAC), "the VM reaches another VLAN")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")


def another_mac(s):
    """A VM cannot take another MAC for itself, unless its port is trusted; then it keeps it. (That the NIC drops frames
    with a spoofed source shows on hardware only: QEMU's 82576 keeps the register and looks at nothing.)"""
    take = f"ip link set eth0 down && ip link set eth0 address {OTHER_MAC} && ip link set eth0 up"
    vf = s.attached()
    s.a.sh(take, check=False)
    need(vf_info(vf)["address"] == MAC and not vf_info(vf)["trust"], f"the VF: {vf_info(vf)}")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")

    vf = s.attached("--trust", "--spoof-check", "off")
    need((vf_info(vf)["spoofchk"], vf_info(vf)["trust"]) == (False, True), f"the VF: {vf_info(vf)}")
    s.a.sh(take)
    eventually("the VF has the MAC that its VM took", lambda: vf_info(vf)["address"] == OTHER_MAC)
    need(s.a.ping(FAR) == 5 and s.far.knows(OTHER_MAC), "the VM does not reach its VLAN with that MAC")
    need(s.agent.wait_state("a-lan-1", "ready") and vf_info(vf)["address"] == OTHER_MAC, "the MAC was taken from the VM")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")


def refused_rate(s):
    """A minimum rate, and one above the link's speed, are refused in the kernel's words, and rolled back whole."""
    for words in (("--max-tx-mbps", 100, "--min-tx-mbps", 10), ("--max-tx-mbps", 100000)):
        s.attach(s.a, *ATTACH, *words, wait=False)
        status = s.agent.failed("a-lan-1", "vf create", "Invalid argument", "max_tx_rate")
        need(status["permanent"], f"the status: {status}")
        s.untouched("after the failed attach")
        s.give_up(s.a, "lan")


def refused_overlay(s):
    """A port of an overlay is refused by name: the NIC serves VLAN networks only."""
    s.agent.apply(network_yaml("red", 100))
    s.attach(s.a, "red", A, wait=False)
    s.agent.failed("a-red-1", "vf placement", f"{PF['netdev']} (igb) has no switchdev eswitch",
                   "serves VLAN networks only", "vpc/red is VNI 100")
    s.untouched("after the refused attach")
    done = s.attach(s.a, "red", A, "--trust", check=False, wait=False)
    need(done.returncode == 1 and "VLAN networks only" in done.stderr, f"trust on an overlay: {done.stderr}")


def default_route(s):
    """A port on the NIC that carries the host's default route is refused by name, and made once it carries it no more."""
    route = ("default", "via", REMOTE["address"], "dev", PF["netdev"])
    ip("route", "add", *route)
    try:
        eventually("the agent knows of the route", lambda: (
            "default route" in json.loads(s.agent.ctl("get", "pfs", "-o", "json").stdout)["pfs"][0].get("refused", "")))
        s.attach(s.a, *ATTACH, wait=False)
        s.agent.failed("a-lan-1", "vf placement", PF["netdev"], "carries the host's default route")
    finally:
        ip("route", "del", *route)
    s.agent.wait_state("a-lan-1", "ready")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")


def changed_behind_its_back(s):
    """What somebody else changes on the VF of a port is set again, and its VM keeps its NIC."""
    vf = s.attached()
    device = s.a.devices()
    for words, wrong in (("vlan", OTHER), ("spoofchk", "off"), ("trust", "on"), ("max_tx_rate", RATE)):
        before = vf_info(vf)
        ip("link", "set", PF["netdev"], "vf", vf, words, wrong)
        eventually(f"{words} is as before, and not {vf_info(vf)}", lambda: vf_info(vf) == before)
    need(s.a.devices() == device, "the VM has another device now")
    s.agent.wait_state("a-lan-1", "ready")
    need(s.a.ping(FAR) == 5, "the VM does not reach its VLAN any more")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")


def killed_agent(s):
    """An agent that is killed and started again changes nothing of a port in a VLAN, and loses no packet of its VM."""
    s.attached()
    pinger = Pinger(s.a, FAR)
    before, lease = s.snapshot(), s.agent.port("a-lan-1")["lease"]
    s.agent.kill()
    pinger.check()
    s.agent.start()
    need(s.agent.wait_state("a-lan-1", "ready")["lease"] == lease, "the port has another lease")
    pinger.stop()
    need_same(before, s.snapshot(), "after the restart")
    s.agent.detach("a", "lan")
    s.untouched("after the detach")


GROUPS = [[pool_without_representors, vlan_port, refused_rate, refused_overlay, default_route, changed_behind_its_back,
           killed_agent, another_mac]]
