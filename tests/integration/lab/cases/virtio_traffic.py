# SPDX-License-Identifier: Apache-2.0
"""Suite traffic-matrix: what becomes of each kind of frame that a guest, or the network, can send, on the real kernel: a
table of frames, sent as they are written here, and for each of them where it arrives, and as what, or who answers it. The
guests' own stacks, DHCP clients among them, come after."""
import json
import struct
import time

import frames
from ears import Ears
from frames import ARP, BROADCAST, GATEWAY_MAC, ICMP, ICMP6, TCP, UDP
from host import (FACTS, LOCAL, PF, REMOTE, VFS, VXLAN_PORT, Far, SlowPath, another_host, eventually, filters, ip, need,
                  network_yaml, run, subnet_yaml)
from scene import Scene as AnyScene

MARK = b"fairlead-cell-"
RED1, RED2 = ["10.0.0.0/24", "fd00:10::/64"], ["10.0.1.0/24", "fd00:11::/64"]
# Ports of VM a and VM b, a NIC each: the first in red-1, the second in red-2 and in blue.
A1, A2, B1, BLUE = "10.0.0.1", "10.0.1.1", "10.0.0.6", "10.0.0.1"
A1V6, A2V6, B1V6 = "fd00:10::1", "fd00:11::1", "fd00:10::6"
FAR1, FAR2, FAR1V6, FAR2V6 = "10.0.0.2", "10.0.1.2", "fd00:10::2", "fd00:11::2"
GW1, GW1V6 = "10.0.0.254", "fd00:10::ffff:ffff:ffff:fffe"
# Routes of red: prefix -> next hop. One of them around its subnets, one within another, one by nobody's address.
ROUTES = {"198.51.100.0/24": A2, "198.51.100.128/25": FAR1, "203.0.113.0/24": FAR2, "10.0.0.0/8": A2,
          "10.64.0.0/16": "10.0.0.77", "2001:db8:51::/48": A2V6, "2001:db8:51:8000::/49": FAR1V6,
          "2001:db8:113::/48": FAR2V6, "fd00::/16": A2V6, "fd00:64::/32": "fd00:10::77"}


class Scene(AnyScene):
    BEGINS = "two-subnets-of-one-vpc-and-another-vpc"

    def __init__(self):
        self.far1 = Far("far-red-1", 100, "52:54:00:00:0a:02", FAR1, FAR1V6)
        self.far2 = Far("far-red-2", 100, "52:54:00:00:0a:03", FAR2, FAR2V6, host=another_host(1))
        self.blue = Far("far-blue", 200, "52:54:00:00:0b:02", FAR1)
        self.ears = {far.name: (far.name, far.dev) for far in (self.far1, self.far2, self.blue)}
        super().__init__("a", "b")
        self.a, self.b = self.vms["a"], self.vms["b"]
        self.agent.apply(network_yaml("red", 100, *RED1) + subnet_yaml("red", "red-2", *RED2) +
                         network_yaml("blue", 200) + self.far1.yaml("red") + self.far2.yaml("red") +
                         self.blue.yaml("blue") + "".join(
                             f'---\nkind: Route\nid: r{i}\nvpc: red\nprefix: "{prefix}"\nnext_hop: "{hop}"\n'
                             for i, (prefix, hop) in enumerate(ROUTES.items())))
        self.a.wait()
        self.b.wait()
        for vm, vpc, port, *words in ((self.a, "red", "a1", "--subnet", "red-1", "--address", A1, "--address", A1V6),
                                      (self.b, "red", "b1", "--subnet", "red-1", "--address", B1, "--address", B1V6),
                                      (self.a, "red", "a2", "--subnet", "red-2", "--address", A2, "--address", A2V6),
                                      (self.b, "blue", "bb", "--address", BLUE)):
            self.agent.ctl("attach", "--vm", vm.name, "--uuid", vm.uuid, "--vpc", vpc, "--port", port, *words, "--wait")
        self.mac = {port: self.agent.port(port)["mac"] for port in ("a1", "a2", "b1", "bb")}
        # eth0 and eth1 come in the order of the root ports, which is that of the attaches.
        self.place = {"a1": (self.a, "eth0"), "a2": (self.a, "eth1"), "b1": (self.b, "eth0"), "bb": (self.b, "eth1")}
        for port, (vm, dev) in self.place.items():
            eventually(f"{dev} of VM {vm.name} is {port}", lambda v=vm, d=dev, p=port: v.mac(d) == self.mac[p])
            vm.sh(f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6; ip link set {dev} up")
        self.settled()


def arrives(at, src, dst, ttl=64):
    return {"at": at, "src": src, "dst": dst, "ttl": ttl}


DROPPED = {"at": None}


def answered(what, test):
    """Nobody hears it, and its sender is sent what passes the test."""
    return {"at": None, "answer": (what, test)}


UNANSWERED = {"at": None, "answer": None}


def table(s):
    """(cell, sender, frame, its mark, expectation, what `explain flow` is asked of it), a mark of its own for each."""
    m, far1, far2, blue = s.mac, s.far1.mac, s.far2.mac, s.blue.mac
    cells = []

    def cell(name, expected, make, sender="a1", question=None):
        mark = MARK + b"%03d" % len(cells)
        cells.append((name, sender, make(mark), mark, expected, question))

    def packet(name, expected, to, src, dst, proto=UDP, sender="a1", src_mac=None, ttl=64, to_port=None, **more):
        ports = {} if to_port is None else {"to_port": to_port}
        question = ["--to", dst, "--src", src, "--src-mac", src_mac or m[sender], "--dst-mac", to, "--ttl", ttl,
                    "--proto", {UDP: "udp", TCP: "tcp"}.get(proto, "icmp")]
        question += ["--fragment"] if "fragment" in more else [] if to_port is None else ["--dport", to_port]
        cell(name, expected, lambda mark: frames.ip(src_mac or m[sender], to, src, dst, proto, mark, ttl=ttl, **ports, **more),
             sender, question)

    for version, own, peer, far, other, other_far in ((4, A1, B1, FAR1, A2, FAR2),
                                                      (6, A1V6, B1V6, FAR1V6, A2V6, FAR2V6)):
        for word, proto in (("UDP", UDP), ("TCP", TCP), ("ping", ICMP if version == 4 else ICMP6)):
            of = f"IPv{version} {word}"
            packet(f"{of}, same subnet, here", arrives("b1", m["a1"], m["b1"]), m["b1"], own, peer, proto)
            packet(f"{of}, same subnet, there", arrives("far-red-1", m["a1"], far1), far1, own, far, proto)
            packet(f"{of}, other subnet, here", arrives("a2", GATEWAY_MAC, m["a2"], 63), GATEWAY_MAC, own, other, proto)
            packet(f"{of}, other subnet, there", arrives("far-red-2", GATEWAY_MAC, far2, 63), GATEWAY_MAC, own, other_far,
                   proto)
            packet(f"{of}, back from the other subnet", arrives("a1", GATEWAY_MAC, m["a1"], 63), GATEWAY_MAC, other, own,
                   proto, sender="a2")
        of = f"IPv{version}"
        packet(f"{of}, own subnet by the gateway", arrives("b1", GATEWAY_MAC, m["b1"], 63), GATEWAY_MAC, own, peer)
        packet(f"{of}, two hops left", arrives("a2", GATEWAY_MAC, m["a2"], 1), GATEWAY_MAC, own, other, ttl=2)
        packet(f"{of}, one hop left, in the subnet", arrives("b1", m["a1"], m["b1"], 1), m["b1"], own, peer, ttl=1)
        exceeded = 11 if version == 4 else 3
        packet(f"{of}, one hop left, to the router", answered(
            f"ICMP {exceeded} of the gateway", lambda f, e=exceeded, v=version: f.icmp == e and f.src == GATEWAY_MAC and
            f.proto == (ICMP if v == 4 else ICMP6)), GATEWAY_MAC, own, other, ttl=1)
        gateway, reply = (GW1, 0) if version == 4 else (GW1V6, 129)
        packet(f"{of}, ping of the gateway", answered("an echo reply", lambda f, g=gateway, r=reply: f.icmp == r and
                                                      f.source == g), GATEWAY_MAC, own, gateway,
               ICMP if version == 4 else ICMP6)
        packet(f"{of}, another's address", DROPPED, m["b1"], peer, peer)
        packet(f"{of}, another's address, to the router", DROPPED, GATEWAY_MAC, peer, other)
        packet(f"{of}, another's MAC", DROPPED, far1, own, far, src_mac=m["b1"])
        packet(f"{of}, an address of nobody", DROPPED, GATEWAY_MAC, own, "10.0.1.77" if version == 4 else "fd00:11::77")
        packet(f"{of}, an address outside the VPC", DROPPED, GATEWAY_MAC, own, "8.8.8.8" if version == 4 else "2001:db8::8")
        here, there, near = (arrives("a2", GATEWAY_MAC, m["a2"], 63), arrives("far-red-2", GATEWAY_MAC, far2, 63),
                             arrives("far-red-1", GATEWAY_MAC, far1, 63))
        for what, expected, to4, to6 in (("to a port here", here, "198.51.100.7", "2001:db8:51::7"),
                                         ("to an endpoint", there, "203.0.113.7", "2001:db8:113::7"),
                                         ("the longer one", near, "198.51.100.200", "2001:db8:51:8000::7"),
                                         ("around the subnets", here, "10.99.0.7", "fd00:99::7"),
                                         ("by an address of nobody", DROPPED, "10.64.0.7", "fd00:64::7")):
            packet(f"{of}, static route, {what}", expected, GATEWAY_MAC, own, to4 if version == 4 else to6)
        packet(f"{of}, static route, one hop left", answered(
            f"ICMP {exceeded} of the gateway", lambda f, e=exceeded, v=version: f.icmp == e and f.src == GATEWAY_MAC and
            f.proto == (ICMP if v == 4 else ICMP6)), GATEWAY_MAC, own,
               "203.0.113.7" if version == 4 else "2001:db8:113::7", ttl=1)
        packet(f"{of}, a MAC of the other subnet", DROPPED, m["a2"], own, other)
        packet(f"{of}, a MAC of nobody", DROPPED, "52:54:00:00:77:77", own, far)
        packet(f"{of}, to all", DROPPED, BROADCAST, own, far)
    packet("IPv6, from a link-local address", DROPPED, m["b1"], "fe80::1", B1V6)
    packet("other VPC with the same addresses, there", arrives("far-blue", m["bb"], blue), blue, BLUE, FAR1, sender="bb")
    packet("other VPC, the first one's MAC and address", DROPPED, far1, BLUE, FAR1, sender="bb")
    packet("other VPC, a MAC here", DROPPED, m["a1"], BLUE, A1, sender="bb")
    packet("other VPC, through its gateway", DROPPED, GATEWAY_MAC, BLUE, A2, sender="bb")
    packet("first fragment, same subnet", arrives("b1", m["a1"], m["b1"]), m["b1"], A1, B1, fragment=0x2000)
    packet("last fragment, routed", arrives("a2", GATEWAY_MAC, m["a2"], 63), GATEWAY_MAC, A1, A2, fragment=0x0010)
    packet("the representor's MAC and the host's address", DROPPED, VFS[0]["representor_mac"], A1, LOCAL["address"])
    packet("the NIC's MAC and the host's address", DROPPED, PF["mac"], A1, LOCAL["address"], ICMP)
    packet("the host's address, by the gateway", DROPPED, GATEWAY_MAC, A1, LOCAL["address"])
    packet("an answer of a DHCP server", DROPPED, m["b1"], A1, B1, to_port=68)
    packet("an answer of a DHCPv6 server", DROPPED, m["b1"], A1V6, B1V6, to_port=546)
    cell("VLAN-tagged", DROPPED, lambda mark: frames.tagged(frames.ip(m["a1"], m["b1"], A1, B1, UDP, mark), 5),
         question=["--to", B1, "--dst-mac", m["b1"], "--proto", "udp", "--vlan", 5])
    cell("neither IP nor ARP", DROPPED, lambda mark: frames.ethernet(m["a1"], m["b1"], 0x88B5, mark + bytes(40)))

    def asks(name, target, who):
        expected = answered(f"a reply of {who}", lambda f, t=target, w=who: f.ethertype == ARP and f.raw[21] == 2 and
                            f.raw[28:32] == frames.address(t) and f.raw[22:28] == frames.mac(w)) if who else UNANSWERED
        cell(name, expected, lambda mark: frames.arp(m["a1"], BROADCAST, m["a1"], A1, target) + mark,
             question=["--to", target, "--proto", "arp"])

    asks("ARP for a port here", B1, m["b1"])
    asks("ARP for an endpoint", FAR1, far1)
    asks("ARP for the gateway", GW1, GATEWAY_MAC)
    asks("ARP for an address of nobody", "10.0.0.77", None)
    asks("ARP for another subnet's", A2, None)
    asks("ARP for the host", LOCAL["address"], None)
    cell("ARP with another's address", UNANSWERED, lambda mark: frames.arp(m["a1"], BROADCAST, m["a1"], B1, FAR1) + mark,
         question=["--to", FAR1, "--proto", "arp", "--src", B1])
    cell("ARP with another's MAC", UNANSWERED, lambda mark: frames.arp(m["a1"], BROADCAST, m["b1"], A1, FAR1) + mark,
         question=["--to", FAR1, "--proto", "arp", "--arp-mac", m["b1"]])
    cell("an ARP reply that nobody asked for", UNANSWERED,
         lambda mark: frames.arp(m["a1"], m["b1"], m["a1"], FAR1, B1, reply=True) + mark,
         question=["--to", B1, "--proto", "arp", "--src", FAR1, "--dst-mac", m["b1"]])

    def solicits(name, target, who, source=A1V6):
        multicast, group = frames.solicited(target)
        expected = answered(f"an advertisement of {who}", lambda f, t=target, w=who: f.icmp == 136 and
                            f.raw[62:78] == frames.address(t) and f.raw[80:86] == frames.mac(w)) if who else UNANSWERED
        cell(name, expected, lambda mark: frames.nd(m["a1"], multicast, source, group, 135, target, m["a1"]),
             question=["--to", target, "--proto", "nd", "--src", source])

    solicits("ND for a port here", B1V6, m["b1"])
    solicits("ND for an endpoint", FAR1V6, far1)
    solicits("ND for the gateway", GW1V6, GATEWAY_MAC)
    solicits("ND for an address of nobody", "fd00:10::77", None)
    solicits("ND with another's address", FAR1V6, None, source=B1V6)
    cell("a neighbour advertisement that nobody asked for", DROPPED, lambda mark: frames.nd(
        m["a1"], m["b1"], A1V6, B1V6, 136, FAR1V6, m["a1"], 0x20000000),
         question=["--to", B1V6, "--dst-mac", m["b1"], "--icmp-type", 136])
    cell("a router advertisement", DROPPED, lambda mark: frames.ip(
        m["a1"], m["b1"], A1V6, B1V6, ICMP6, bytes(12) + mark, ttl=255, kind=134),
         question=["--to", B1V6, "--dst-mac", m["b1"], "--icmp-type", 134])
    return cells


def judge(name, sender, frame, mark, expected, _, heard):
    """Why the cell does not hold; "" when it does."""
    body = mark if mark in frame else frame[14:]  # of what has no room for a mark, all of it
    found = [(where, seen) for where, frames_there in heard.items() for seen in frames_there
             # What it is answered quotes it: replies to pings, time exceeded, unreachable.
             if body in seen.raw and not (where == sender and seen.icmp in (0, 1, 3, 11, 129))]
    if expected["at"]:
        if [where for where, _ in found] != [expected["at"]]:
            return f"arrived at {[where for where, _ in found]}, not once at {expected['at']}"
        seen = found[0][1]
        for what in ("src", "dst", "ttl"):
            if getattr(seen, what) != expected[what]:
                return f"{what} {getattr(seen, what)}, not {expected[what]}: {seen}"
        return "" if seen.sound else f"the header's checksum is wrong: {seen}"
    if found:
        return f"arrived at {found[0][0]}: {found[0][1]}"
    if expected.get("answer"):
        what, test = expected["answer"]
        answers = [seen for seen in heard[sender] if test(seen)]
        if not answers:
            return f"its sender was not sent {what}, but {[str(f) for f in heard[sender]][:6]}"
    return ""


def send(s, cells, at_once=8):
    """Within the rate that the slow path answers."""
    for start in range(0, len(cells), at_once):
        for sender in sorted({c[1] for c in cells[start:start + at_once]}):
            vm, dev = s.place[sender]
            vm.sh("rawframes send " + dev + " " + " ".join(
                frames.words(c[2]) for c in cells[start:start + at_once] if c[1] == sender))
        time.sleep(0.2)


def matrix(s):
    """Each frame of the table arrives where, and as what, it is to, or is answered, or is heard by nobody."""
    cells = table(s)
    bad, checked = [], 0
    # A kind that is not to be answered must not be taken for one that is: each in a round of its own.
    rounds = [[c for c in cells if c[4] is not UNANSWERED], [c for c in cells if c[4] is UNANSWERED]]
    for part in rounds:
        ears = Ears(s.place, s.ears)
        send(s, part)
        # What comes last has been overtaken by nothing: each path once more.
        last = MARK + b"end"
        s.a.sh("rawframes send eth0 " + " ".join(frames.words(frames.ip(s.mac["a1"], to, A1, dst, UDP, last)) for to, dst in (
            (s.mac["b1"], B1), (s.far1.mac, FAR1), (GATEWAY_MAC, A2), (GATEWAY_MAC, FAR2))))
        time.sleep(2)
        heard = ears.stop()
        for where in ("b1", "far-red-1", "a2", "far-red-2"):
            need(any(last in seen.raw for seen in heard[where]), f"{where} did not hear the last frame")
        for each in part:
            checked += 1
            why = judge(*each, heard)
            if why:
                bad.append(f"{each[0]}: {why}")
        if part is rounds[1]:
            answers = [seen for seen in heard["a1"] if seen.src in (GATEWAY_MAC, s.mac["b1"], s.far1.mac) and
                       (seen.ethertype == ARP or seen.icmp == 136)]
            if answers:
                bad.append(f"answered what is not to be: {answers[0]}")
    need(not bad, f"{len(bad)} of {checked} cells:\n    " + "\n    ".join(bad))
    return f"{checked} cells"


def jumbo(s):
    """Over a tunnel whose MTU is worked out from the underlay's, frames as large as it carries arrive on every path."""
    s.restart_agent(tunnel=f'local: {LOCAL["address"]}, port: {VXLAN_PORT}')
    mtu = PF["mtu"] - 50  # VXLAN over IPv4 (RFC 7348): 20 of IPv4, 8 of UDP, 8 of VXLAN, 14 of the inner Ethernet header
    for port, (vm, dev) in s.place.items():
        s.agent.wait_state(port, "ready")
        vm.sh(f"ip link set {dev} mtu {mtu}")
    for far in (s.far1, s.far2, s.blue):
        ip("-n", far.name, "link", "set", far.dev, "mtu", mtu)
    cells = []
    for name, to, src, dst, expected in (
            ("same subnet, here", s.mac["b1"], A1, B1, arrives("b1", s.mac["a1"], s.mac["b1"])),
            ("same subnet, there", s.far1.mac, A1, FAR1, arrives("far-red-1", s.mac["a1"], s.far1.mac)),
            ("other subnet, here", GATEWAY_MAC, A1, A2, arrives("a2", GATEWAY_MAC, s.mac["a2"], 63)),
            ("other subnet, there", GATEWAY_MAC, A1, FAR2, arrives("far-red-2", GATEWAY_MAC, s.far2.mac, 63)),
            ("IPv6, same subnet, there", s.far1.mac, A1V6, FAR1V6, arrives("far-red-1", s.mac["a1"], s.far1.mac)),
            ("IPv6, other subnet, there", GATEWAY_MAC, A1V6, FAR2V6, arrives("far-red-2", GATEWAY_MAC, s.far2.mac, 63))):
        mark = MARK + b"jumbo-%d" % len(cells)
        headers = 28 if ":" not in src else 48
        frame = frames.ip(s.mac["a1"], to, src, dst, UDP, mark.ljust(mtu - headers, b"\0"))
        need(len(frame) == 14 + mtu, f"{name}: a frame of {len(frame)} bytes")
        cells.append((name, "a1", frame, mark, expected, None))
    ears = Ears(s.place, s.ears)
    send(s, cells, 1)
    time.sleep(2)
    heard = ears.stop()
    bad = [f"{each[0]}: {why}" for each in cells if (why := judge(*each, heard))]
    need(not bad, f"{len(bad)} of {len(cells)} jumbo frames:\n    " + "\n    ".join(bad))
    for far in (s.far1, s.far2, s.blue):
        ip("-n", far.name, "link", "set", far.dev, "mtu", FACTS["inner_mtu"])
    s.restart_agent(tunnel=None)
    for port in s.place:
        s.agent.wait_state(port, "ready")
    return f"{len(cells)} frames of {mtu} bytes"


def explained(s):
    """`explain flow` says of each packet of the table what became of it, and by which path."""
    fars = {far.name: far for far in (s.far1, s.far2, s.blue)}
    bad, asked = [], 0
    for name, sender, _, _, expected, question in table(s):
        if question is None:
            continue
        asked += 1
        done = s.agent.ctl("explain", "flow", "--from", sender, *map(str, question), "-o", "json", check=False)
        if done.returncode:
            bad.append(f"{name}: {done.stderr.strip()}")
            continue
        flow = json.loads(done.stdout)
        verdict, out = flow["verdict"], flow.get("out", {})
        told = {"at": verdict.get("port") if verdict["kind"] == "delivered" else next(
            (far.name for far in fars.values() if verdict["kind"] == "encapsulated" and
             (far.host["address"], far.vni, far.mac) == (verdict["vtep"], verdict["vni"], out["dst_mac"])), None)}
        if told["at"]:
            told |= {"src": out["src_mac"], "dst": out["dst_mac"], "ttl": out["ttl"]}
        asks = flow["packet"].get("neighbour")  # the slow path takes it, answered or not
        kind = "slow path" if asks or expected.get("answer") else "dropped"
        if told != {word: expected[word] for word in told} or (not told["at"] and verdict["kind"] != kind):
            bad.append(f"{name}: {verdict}, {out}")
        if asks and bool(flow["lookup"].get("mac")) != bool(expected.get("answer")):
            bad.append(f"{name}: {flow['lookup']}")
        path = "slow path" if kind == "slow path" and not told["at"] else "software"
        if flow.get("path") != path:
            bad.append(f"{name}: path {flow.get('path')}, not {path}: {flow.get('path_why')}")
        if flow.get("disagreements"):
            bad.append(f"{name}: kernel and compiled rules disagree: {flow['disagreements'][:3]}")
    need(not bad, f"{len(bad)} of {asked} packets:\n    " + "\n    ".join(bad))
    return f"{asked} packets"


def dropped_by_the_tunnel():
    """By the drop of a VPC's VNI, and by that of all others."""
    return sum(packets for key, packets in filters().items() if key[0][1] == "fl-vxlan0" and key[2] in (64000, 65000))


def from_the_tunnel(s):
    """What comes by the tunnel with another VNI, port or MAC, or tagged, reaches nobody, and is counted; the right one
    does."""
    inner = frames.ip(s.far1.mac, s.mac["a1"], FAR1, A1, UDP, MARK + b"in")
    outer = {"right": (100, VXLAN_PORT, inner), "unknown VNI": (999, VXLAN_PORT, inner),
             "the other tenant's VNI": (200, VXLAN_PORT, inner),
             "a MAC of nobody": (100, VXLAN_PORT, frames.mac("52:54:00:00:77:77") + inner[6:]),
             "tagged": (100, VXLAN_PORT, frames.tagged(inner, 5)),
             "to all": (100, VXLAN_PORT, frames.mac(BROADCAST) + inner[6:])}
    drops = dropped_by_the_tunnel()
    heard = {}
    for name, (vni, port, frame) in outer.items():
        ears = Ears(s.place, s.ears)
        payload = (struct.pack("!II", 0x08000000, vni << 8) + frame).hex()
        code = (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                f"[s.sendto(bytes.fromhex('{payload}'), ('{LOCAL['address']}', {port})) for _ in range(3)]")
        run("ip", "netns", "exec", REMOTE["netns"], "python3", "-IS", "-c", code)
        time.sleep(1)
        heard[name] = [where for where, seen in ears.stop().items() for f in seen if MARK + b"in" in f.raw]
    for name, (vni, _, frame) in outer.items():
        told = json.loads(s.agent.ctl("explain", "flow", "--from", f"vtep:{REMOTE['address']}", "--vni", vni, "--dst-mac",
                                      ":".join(f"{octet:02x}" for octet in frame[:6]), "-o", "json").stdout)["verdict"]
        if name != "tagged":  # that is not asked about by the tunnel
            need(told["kind"] == ("delivered" if heard[name] else "dropped"), f"{name}: explain flow says {told}")
    need(heard.pop("right") == ["a1"] * 3, "the right one did not arrive three times")
    need(not any(heard.values()), f"heard: {heard}")
    counted = dropped_by_the_tunnel()
    need(counted >= drops + 12, f"{counted - drops} of 12 are counted as dropped")


def traffic(s, port):
    """What its rules let through, in packets: sent and received; by software, for nothing here counts in hardware."""
    told = json.loads(s.agent.ctl("describe", f"port/{port}", "-o", "json").stdout)["objects"][0]["traffic"]
    need(not told["problem"], f"the traffic of {port}: {told['problem']}")
    for way in ("sent", "received"):
        need(told[way]["hardware_packets"] == "0", f"{port} {way} in hardware: {told[way]}")
    return int(told["sent"]["packets"]), int(told["received"]["packets"])


def guests_own_stacks(s):
    """Each guest gets its addresses by DHCP, finds its gateway, and reaches both subnets by its own stack; and the rules of
    its port have counted that."""
    before = {port: traffic(s, port) for port in ("a1", "b1")}
    for port, want, gateway in (("a1", A1, GW1), ("b1", B1, GW1)):
        vm, dev = s.place[port]
        # busybox tells its script what it was given.
        vm.sh("printf '#!/bin/sh\\nenv >/tmp/lease.$1\\n[ $1 = bound ] && ip address add $ip/$mask dev $interface; exit 0\\n' "
              ">/tmp/dhcp.sh; chmod 755 /tmp/dhcp.sh")
        vm.sh(f"udhcpc -i {dev} -n -q -f -t 5 -T 3 -s /tmp/dhcp.sh")
        lease = dict(line.partition("=")[::2] for line in vm.sh("cat /tmp/lease.bound").splitlines())
        need(lease["ip"] == want and lease["router"] == gateway and lease["mask"] == "24", f"{port} was given {lease}")
        need(lease.get("mtu") in (None, str(FACTS["inner_mtu"])), f"MTU {lease.get('mtu')}")
        vm.sh(f"ip route replace default via {gateway} dev {dev}")
    need(s.b.ping(FAR1) == 5, "VM b does not reach the far end of its subnet")
    need(s.b.ping(A1) == 5, "VM b does not reach VM a")
    ip("-n", s.far2.name, "route", "add", RED1[0], "dev", s.far2.dev)  # its own host routes what it sends
    answered_by = s.b.ping(FAR2)
    ip("-n", s.far2.name, "route", "del", RED1[0], "dev", s.far2.dev)
    need(answered_by == 5, f"the far end of the other subnet answers VM b {answered_by} of 5 times")
    for port, pings in (("a1", 5), ("b1", 15)):
        more = [now - then for now, then in zip(traffic(s, port), before[port])]
        need(all(packets >= pings for packets in more), f"{port} has sent and received {more} packets, of {pings} pings")
    met = [r for r in json.loads(s.agent.ctl("get", "rules", "--port", "b1", "--counters", "-o", "json").stdout)["rules"]
           if int(r["counters"]["packets"])]
    need({r["stage"] for r in met} >= {"admit"} and all(int(r["counters"]["bytes"]) for r in met), f"rules that met packets: {met}")
    return "two leases"


def without_the_agent(s):
    """With the agent killed the guest's neighbours are forgotten, and asked for anew: nothing is lost, and a slow path that
    ends too is back as soon as there is an agent."""
    s.agent.kill()
    try:
        for _ in range(3):
            s.b.sh("ip neigh flush dev eth0")
            need(s.b.ping(FAR1, count=2) == 2, "VM b does not reach its far end")
        answered = s.b.sh(f"arping -c 2 -w 10 -I eth0 {A1}", check=False)
        need(s.mac["a1"] in answered.lower(), f"nobody answers for VM a: {answered}")
        SlowPath.kill()
        s.b.sh("ip neigh flush dev eth0")
        need(s.b.ping(FAR1, count=1) == 0, "somebody answered ARP without a slow path")
    finally:
        s.agent.start()
    for port in s.place:
        s.agent.wait_state(port, "ready")
    need(s.b.ping(FAR1) == 5, "VM b does not reach its far end after both were started again")
    state = s.agent.host_state()["slow_path"]
    need(not state.get("problem"), f"the slow path: {state}")


GROUPS = [[matrix, explained, from_the_tunnel, guests_own_stacks, without_the_agent, jumbo]]
KEEPS = {matrix, explained, from_the_tunnel, guests_own_stacks, without_the_agent, jumbo}
