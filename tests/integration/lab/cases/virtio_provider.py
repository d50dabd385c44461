# SPDX-License-Identifier: Apache-2.0
"""Part of suite traffic-matrix: a VLAN, another one with the same addresses, and the untagged network, on the uplink of a NIC
whose VFs have representors: a table of frames, sent as they are written here, and for each all places where it arrives; then
the guests' own stacks, restarts, and what others do to the uplink."""
import json
import time

import frames
from ears import Ears
from frames import BROADCAST, ICMP6, UDP
from host import LOCAL, PF, REMOTE, SteadyPing, eventually, ip, need, run
from scene import Scene as AnyScene

MARK = b"fairlead-cell-"
LAN, OTHER = 100, 200
A, B, OTHERS, FAR = "10.0.0.1", "10.0.0.6", "10.0.0.1", "10.0.0.2"
A6, B6 = "fd00:10::1", "fd00:10::6"
PLAIN, FAR_PLAIN = "10.9.0.1", "10.9.0.2"
NOBODY = "52:54:00:00:77:77"
UP = REMOTE["netdev"]


def provider_yaml(vpc, segment, *prefixes):
    """A VPC and its subnet, whose router is the fabric's."""
    return (f"---\nkind: Vpc\nid: {vpc}\n{segment}\n---\nkind: Subnet\nid: {vpc}-1\nvpc: {vpc}\n"
            f"prefixes: {json.dumps(prefixes)}\n")


class Scene(AnyScene):
    """VM a has a NIC in lan (VLAN 100) and one in plain (untagged), VM b one in lan and one in other (VLAN 200). On the
    fabric's side each VLAN has a device in a namespace of its own, beside the underlay's."""
    BEGINS = "four-ports-on-the-uplink"

    def __init__(self):
        # The stand-in for a NIC takes frames for its own MAC alone; an eswitch asks its rules.
        ip("link", "set", PF["netdev"], "promisc", "on")
        self.ears = {"wire": (REMOTE["netns"], UP)}  # which hears what is tagged, too
        for name, vlan in (("lan", LAN), ("other", OTHER)):
            dev = f"{UP}.{vlan}"
            ip("netns", "add", f"far-{name}")
            ip("-n", REMOTE["netns"], "link", "add", "link", UP, "name", dev, "type", "vlan", "id", vlan)
            ip("-n", REMOTE["netns"], "link", "set", dev, "netns", f"far-{name}")
            ip("-n", f"far-{name}", "address", "add", f"{FAR}/24", "dev", dev)
            ip("-n", f"far-{name}", "link", "set", dev, "up")
            self.ears[f"far-{name}"] = (f"far-{name}", dev)
        ip("-n", REMOTE["netns"], "address", "add", f"{FAR_PLAIN}/24", "dev", UP)
        super().__init__("a", "b")
        self.a, self.b = self.vms["a"], self.vms["b"]
        self.agent.apply(provider_yaml("lan", f"vlan: {LAN}", "10.0.0.0/24", "fd00:10::/64") +
                         provider_yaml("other", f"vlan: {OTHER}", "10.0.0.0/24") +
                         provider_yaml("plain", "flat: true", "10.9.0.0/24"))
        self.a.wait()
        self.b.wait()
        for vm, vpc, port, *words in ((self.a, "lan", "al", "--address", A, "--address", A6),
                                      (self.b, "lan", "bl", "--address", B, "--address", B6),
                                      (self.a, "plain", "ap", "--address", PLAIN),
                                      (self.b, "other", "bo", "--address", OTHERS)):
            self.agent.ctl("attach", "--vm", vm.name, "--uuid", vm.uuid, "--vpc", vpc, "--port", port, *words, "--wait")
        self.place = {"al": (self.a, "eth0"), "ap": (self.a, "eth1"), "bl": (self.b, "eth0"), "bo": (self.b, "eth1")}
        self.mac = {port: self.agent.port(port)["mac"] for port in self.place}
        for port, (vm, dev) in self.place.items():
            eventually(f"{dev} of VM {vm.name} is {port}", lambda v=vm, d=dev, p=port: v.mac(d) == self.mac[p])
            vm.sh(f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6; ip link set {dev} up")
        self.settled()

    def send(self, sender, *sent):
        text = " ".join(frame.hex() for frame in sent)
        if sender in self.place:
            vm, dev = self.place[sender]
            vm.sh(f"rawframes send {dev} {text}")
        else:
            netns, dev = self.ears[sender]
            run("ip", "netns", "exec", netns, "rawframes", "send", dev, *text.split())


ON_LAN, ON_OTHER, UNTAGGED = {"wire", "far-lan"}, {"wire", "far-other"}, {"wire"}


def table(s):
    """(cell, sender, frame, its mark, where it arrives, what `explain flow` is asked of it), a mark of its own for each."""
    m, fabric, cells = s.mac, REMOTE["mac"], []
    tags = {"far-lan": ["--vlan", LAN], "far-other": ["--vlan", OTHER], "wire": []}

    def cell(name, arrives, make, sender="al", question=None):
        mark = MARK + b"%03d" % len(cells)
        cells.append((name, sender, make(mark), mark, set(arrives), question))

    def packet(name, arrives, to, src=A, dst=FAR, sender="al", src_mac=None, proto=UDP, to_port=None, **more):
        ports = {} if to_port is None else {"to_port": to_port}
        question = ["--from", f"uplink:{PF['netdev']}", "--dst-mac", to, *tags[sender]] if sender in tags else [
            "--from", sender, "--to", dst, "--src", src, "--src-mac", src_mac or m[sender], "--dst-mac", to, "--proto", "udp",
            *([] if to_port is None else ["--dport", to_port])]
        cell(name, arrives, lambda mark: frames.ip(src_mac or m[sender], to, src, dst, proto, mark, **ports, **more), sender,
             question)

    def icmp6(name, arrives, make, to, dst, src, kind):
        cell(name, arrives, make, question=["--from", "al", "--to", dst, "--src", src, "--dst-mac", to, "--icmp-type", kind])

    def arp(name, arrives, eth_src=None, sender_mac=None, src=A, **more):
        cell(name, arrives, lambda mark: frames.arp(eth_src or m["al"], BROADCAST, sender_mac or m["al"], src, FAR, **more) +
             mark, question=["--from", "al", "--to", FAR, "--proto", "arp", "--src", src, "--src-mac", eth_src or m["al"],
                             "--arp-mac", sender_mac or m["al"]])

    packet("to the fabric", ON_LAN, fabric)
    packet("to a neighbour on this NIC", {"bl"}, m["bl"], dst=B)
    packet("to a MAC that nobody here has", ON_LAN, NOBODY)
    packet("to all", ON_LAN | {"bl"}, BROADCAST, dst="10.0.0.255")
    packet("IPv6 to all nodes", ON_LAN | {"bl"}, "33:33:00:00:00:01", src=A6, dst="ff02::1")
    packet("IPv6 to a neighbour on this NIC", {"bl"}, m["bl"], src=A6, dst=B6)
    packet("to the NIC's own MAC and the host's address", ON_LAN, PF["mac"], dst=LOCAL["address"])
    packet("to a MAC of the other VLAN", ON_LAN, m["bo"])
    packet("to a MAC of the untagged network", ON_LAN, m["ap"])
    packet("another's address", {}, fabric, src=B)
    packet("another's MAC", {}, fabric, src_mac=m["bl"])
    packet("another's address, to all", {}, BROADCAST, src=B)
    for vlan in (LAN, OTHER):
        cell(f"tagged by the guest, VLAN {vlan}", {}, lambda mark, v=vlan: frames.tagged(
            frames.ip(m["al"], fabric, A, FAR, UDP, mark), v),
             question=["--from", "al", "--to", FAR, "--dst-mac", fabric, "--vlan", vlan])
    cell("neither IP nor ARP", {}, lambda mark: frames.ethernet(m["al"], fabric, 0x88B5, mark + bytes(40)))
    arp("ARP", ON_LAN | {"bl"})
    arp("ARP probe", ON_LAN | {"bl"}, src="0.0.0.0")
    own = frames.link_local(m["al"])
    arp("ARP with another's address", {}, src=B)
    arp("ARP with the fabric's address", {}, src=FAR)
    arp("ARP with another's MAC", {}, sender_mac=m["bl"])
    arp("ARP from another's MAC", {}, eth_src=m["bl"])
    arp("ARP reply with another's address", {}, src=FAR, reply=True)
    packet("a DHCP client's question", ON_LAN, BROADCAST, src="0.0.0.0", dst="255.255.255.255", to_port=67)
    packet("a DHCP server's answer", {}, BROADCAST, dst="255.255.255.255", to_port=68)
    packet("a DHCPv6 client's question", ON_LAN, "33:33:00:01:00:02", src=own, dst="ff02::1:2", to_port=547)
    packet("a DHCPv6 server's answer", {}, m["bl"], src=A6, dst=B6, to_port=546)
    icmp6("a router advertisement", {}, lambda mark: frames.ip(
        m["al"], "33:33:00:00:00:01", A6, "ff02::1", ICMP6, bytes(12) + mark, ttl=255, kind=134),
          "33:33:00:00:00:01", "ff02::1", A6, 134)
    icmp6("a router solicitation", ON_LAN, lambda mark: frames.ip(
        m["al"], "33:33:00:00:00:02", own, "ff02::2", ICMP6, bytes(4) + mark, ttl=255, kind=133),
          "33:33:00:00:00:02", "ff02::2", own, 133)
    for name, source, expected in (("its own", own, ON_LAN | {"bl"}), ("another", "fe80::1", {})):
        cell(f"a neighbour solicitation from {name} link-local address", expected, lambda mark, source=source: frames.ip(
            m["al"], frames.solicited(B6)[0], source, frames.solicited(B6)[1], ICMP6,
            bytes(4) + frames.address(B6) + mark, ttl=255, kind=135),
             question=["--from", "al", "--to", B6, "--proto", "nd", "--src", source])
    packet("other data from a link-local address", {}, fabric, src=own, dst="fd00:10::2")
    packet("the other VLAN, to the fabric", ON_OTHER, fabric, src=OTHERS, sender="bo")
    packet("the other VLAN, to all", ON_OTHER, BROADCAST, src=OTHERS, sender="bo")
    packet("untagged, to the fabric", UNTAGGED, fabric, src=PLAIN, dst=FAR_PLAIN, sender="ap")
    packet("untagged, to all", UNTAGGED, BROADCAST, src=PLAIN, dst="10.9.0.255", sender="ap")

    for to, where in (("al", "al"), ("bl", "bl"), ("bo", None), ("ap", None)):
        packet(f"from VLAN {LAN}, to {to}", {where} - {None}, m[to], src=FAR, dst=A, sender="far-lan", src_mac=fabric)
    packet(f"from VLAN {LAN}, to all", {"al", "bl"}, BROADCAST, src=FAR, dst="10.0.0.255", sender="far-lan", src_mac=fabric)
    packet(f"from VLAN {OTHER}, to all", {"bo"}, BROADCAST, src=FAR, dst="10.0.0.255", sender="far-other", src_mac=fabric)
    packet(f"from VLAN {OTHER}, to a MAC of lan", {}, m["al"], src=FAR, dst=A, sender="far-other", src_mac=fabric)
    packet("from the untagged network, to its port", {"ap"}, m["ap"], src=FAR_PLAIN, dst=PLAIN, sender="wire",
           src_mac=fabric)
    packet("from the untagged network, to all", {"ap"}, BROADCAST, src=FAR_PLAIN, dst="10.9.0.255", sender="wire",
           src_mac=fabric)
    packet("from the untagged network, to a MAC of lan", {}, m["al"], src=FAR, dst=A, sender="wire", src_mac=fabric)
    cell("from a VLAN of nobody", {}, lambda mark: frames.tagged(
        frames.ip(fabric, m["al"], FAR, A, UDP, mark), 300), sender="wire",
         question=["--from", f"uplink:{PF['netdev']}", "--vlan", 300, "--dst-mac", m["al"]])
    cell("from two tags, the inner one of lan", {}, lambda mark: frames.tagged(frames.tagged(
        frames.ip(fabric, m["al"], FAR, A, UDP, mark), LAN), 300), sender="wire")
    return cells


def matrix(s):
    """Each frame of the table arrives at all places that it is to, untagged at a guest, and nowhere else."""
    cells, bad = table(s), []
    ears = Ears(s.place, s.ears)
    for start in range(0, len(cells), 8):
        part = cells[start:start + 8]
        for sender in sorted({c[1] for c in part}):
            s.send(sender, *(c[2] for c in part if c[1] == sender))
    # What comes last has been overtaken by nothing: each path once more.
    last = MARK + b"end"
    s.send("al", frames.ip(s.mac["al"], BROADCAST, A, "10.0.0.255", UDP, last))
    s.send("far-lan", frames.ip(REMOTE["mac"], BROADCAST, FAR, "10.0.0.255", UDP, last))
    s.send("far-other", frames.ip(REMOTE["mac"], BROADCAST, FAR, "10.0.0.255", UDP, last))
    s.send("wire", frames.ip(REMOTE["mac"], BROADCAST, FAR_PLAIN, "10.9.0.255", UDP, last))
    time.sleep(2)
    heard = ears.stop()
    for where in ("al", "bl", "bo", "ap", "far-lan"):
        need(any(last in seen.raw for seen in heard[where]), f"{where} did not hear the last frame")
    for name, sender, frame, mark, expected, _ in cells:
        found = [where for where, there in heard.items() for seen in there if mark in seen.raw and where != sender]
        if sender in ("far-lan", "far-other"):  # which send by the wire's device
            found = [where for where in found if where != "wire"]
        if sorted(found) != sorted(expected):
            bad.append(f"{name}: arrived at {sorted(found)}, not at {sorted(expected)}")
        for where in set(found) & s.place.keys():
            if any(mark in seen.raw and seen.ethertype == frames.VLAN for seen in heard[where]):
                bad.append(f"{name}: it arrived tagged at {where}")
    need(not bad, f"{len(bad)} of {len(cells)} cells:\n    " + "\n    ".join(bad))
    return f"{len(cells)} cells"


def explained(s):
    """`explain flow` says of each frame of the table where it arrives."""
    bad, asked = [], 0
    for name, sender, _, _, expected, question in table(s):
        if question is None:
            continue
        asked += 1
        done = s.agent.ctl("explain", "flow", *map(str, question), "-o", "json", check=False)
        if done.returncode:
            bad.append(f"{name}: {done.stderr.strip()}")
            continue
        flow = json.loads(done.stdout)
        verdict = flow["verdict"]
        told = set(verdict.get("copies", []))
        if verdict["kind"] == "delivered":
            told.add(verdict["port"])
        if verdict["kind"] == "leaves by the uplink":
            vlan = verdict.get("vlan", 0)
            told |= {"wire"} | {far for far, of in (("far-lan", LAN), ("far-other", OTHER)) if of == vlan}
        nobody = "passed to the host" if sender in s.ears else "dropped"
        if told != expected or (not told and verdict["kind"] != nobody):
            bad.append(f"{name}: {verdict}, and it arrives at {sorted(expected)}")
        if flow.get("disagreements"):
            bad.append(f"{name}: kernel and compiled rules disagree: {flow['disagreements'][:3]}")
    need(not bad, f"{len(bad)} of {asked} frames:\n    " + "\n    ".join(bad))
    return f"{asked} frames"


def guests_own_stacks(s):
    """Guests reach each other and the fabric by their own stacks, ARP of both sides included; the host's own traffic by the
    same NIC goes on."""
    s.a.sh(f"ip address add {A}/24 dev eth0 && ip address add {PLAIN}/24 dev eth1")
    s.b.sh(f"ip address add {B}/24 dev eth0")
    need(s.a.ping(FAR) == 5, "VM a does not reach the fabric")
    need(s.a.ping(B) == 5, "VM a does not reach VM b")
    need(s.a.ping(FAR_PLAIN, dev="eth1") == 5, "VM a does not reach the untagged network")
    ip("-n", REMOTE["netns"], "neigh", "flush", "dev", UP)
    found = run("ip", "netns", "exec", REMOTE["netns"], "ping", "-c", "3", "-W", "10", LOCAL["address"], check=False).stdout
    need(" 3 received" in found or "3 packets received" in found, f"the host does not answer: {found}")


def restarts(s):
    """The agent ends, is killed, and starts: not a packet is lost, and nothing is changed."""
    ping = SteadyPing(s.a, FAR, 20)
    before = run("tc", "filter", "show", "dev", PF["netdev"], "ingress").stdout
    s.agent.stop()
    s.agent.start()
    s.agent.kill()
    s.agent.start()
    for port in s.place:
        s.agent.wait_state(port, "ready")
    text, sent, lost, twice = ping.stop()
    need(sent > 50 and lost == 0 and twice == 0, text)
    need(run("tc", "filter", "show", "dev", PF["netdev"], "ingress").stdout == before, "the uplink's rules were changed")
    return f"{sent} pings"


def uplink_flushed(s):
    """Somebody deletes the uplink's qdisc with all rules: it is made again, and the guests are reached again."""
    run("tc", "qdisc", "del", "dev", PF["netdev"], "clsact")
    eventually("VM a reaches the fabric again", lambda: s.a.ping(FAR, count=1) == 1)
    for port in s.place:
        s.agent.wait_state(port, "ready")
    need(s.b.ping(A) == 5, "VM b does not reach VM a")


def somebody_elses_filter(s):
    """A filter of the host's operator on the same qdisc is asked too, and stays."""
    tc = ["dev", PF["netdev"], "ingress"]
    run("tc", "filter", "add", *tc, "protocol", "all", "prio", "49000", "matchall", "action", "pass")
    try:
        need(s.a.ping(FAR, count=2) == 2, "VM a does not reach the fabric")
        s.restart_agent()
        for port in s.place:
            s.agent.wait_state(port, "ready")
        shown = run("tc", "filter", "show", *tc).stdout
        need("matchall" in shown, "it is gone")
    finally:
        run("tc", "filter", "del", *tc, "prio", "49000")


GROUPS = [[matrix, explained, guests_own_stacks, restarts, uplink_flushed, somebody_elses_filter]]
KEEPS = {matrix, explained, guests_own_stacks, restarts, uplink_flushed, somebody_elses_filter}
