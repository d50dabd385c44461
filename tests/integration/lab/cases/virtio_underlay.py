# SPDX-License-Identifier: Apache-2.0
"""Suite lab-underlay: one VM's traffic over each kind of tunnel, on a real kernel: VXLAN and Geneve over IPv6, Geneve over IPv4, and
what is seen of it on the wire."""
import ipaddress
import json
import struct
import time

import frames
from ears import Ear, Ears
from frames import IPV4, IPV6, UDP
from host import FACTS, LOCAL, PF, REMOTE, Far, eventually, ip, need, network_yaml, run
from scene import Scene as AnyScene

VNI = 100
A, FAR, A6, FAR6 = "10.0.0.1", "10.0.0.2", "fd00:10::1", "fd00:10::2"
LOCAL6, REMOTE6 = "2001:db8::1", "2001:db8::2"  # RFC 3849
STRANGER = "192.0.2.77"
PORTS = {"vxlan": 4789, "geneve": 6081}  # RFC 7348, RFC 8926
MARK = b"fairlead-underlay"
FLOWS = 16


def tunnel(kind, local, *more):
    return ", ".join([f"local: {local}", f"encapsulation: {kind}", *more])


class Scene(AnyScene):
    """The VM's far end changes its host, and the agent its tunnel, with each case."""
    BEGINS = "a-vm-and-its-far-end"

    def __init__(self):
        for netns, netdev, address in ((None, PF["netdev"], LOCAL6), (REMOTE["netns"], REMOTE["netdev"], REMOTE6)):
            ip(*(["-n", netns] if netns else []), "address", "add", f"{address}/64", "dev", netdev, "nodad")
        self.far = Far("far-red", VNI, "52:54:00:00:0a:02", FAR, FAR6, host=self.remote(REMOTE6, LOCAL6))
        super().__init__("a", tunnel=tunnel("vxlan", LOCAL6))
        self.a = self.vms["a"]
        self.agent.apply(network_yaml("red", VNI, "10.0.0.0/24", "fd00:10::/64") + self.far.yaml("red"))
        self.a.wait()
        self.attach(self.a, "red", A, "--address", A6, "--port", "a1")
        self.a.up(A)
        self.a.sh(f"echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip address add {A6}/64 dev eth0")
        self.settled()

    @staticmethod
    def remote(address, local, kind="vxlan"):
        return {**REMOTE, "address": address, "local": local, "encapsulation": kind}

    def become(self, kind, local, remote, *more):
        """Another tunnel, on a host whose VM runs."""
        self.restart_agent(tunnel=tunnel(kind, local, *more))
        self.far.move(self.remote(remote, local, kind))
        self.agent.apply(self.far.yaml("red"))
        self.agent.wait_state("a1", "ready")
        eventually("the endpoint is ready", lambda: self.agent.status("endpoints", "far-red").get("state") == "ready")
        self.settled()

    def end(self):
        self.far.move(self.remote(REMOTE6, LOCAL6))  # as it was before the cases
        super().end()


def datagram(raw):
    """(source address, source port, destination port, payload) of an Ethernet frame with UDP in it; None for any other."""
    ethertype, body = struct.unpack("!H", raw[12:14])[0], raw[14:]
    if ethertype == IPV4 and body[9] == UDP:
        source, rest = body[12:16], body[(body[0] & 15) * 4:]
    elif ethertype == IPV6 and body[6] == UDP:
        source, rest = body[8:24], body[40:]
    else:
        return None
    ports = struct.unpack("!HH", rest[:4])
    return str(ipaddress.ip_address(source)), ports[0], ports[1], rest[8:]


def inner(kind, payload):
    """The frame in a tunnel packet; its header has to be whole and without options."""
    head = struct.unpack("!BBHI", payload[:8])
    need(head[3] >> 8 == VNI, f"VNI {head[3] >> 8}")
    if kind == "vxlan":
        need(head[:3] == (0x08, 0, 0), f"a VXLAN header with {head}")
    else:
        need(head[:3] == (0, 0, 0x6558), f"a Geneve header with {head}")  # version 0, no options, Ethernet inside
    return payload[8:]


def traffic(s, kind, local):
    """The VM and its far end reach each other in both families; each packet on the wire has one outer header, and flows that
    differ inside have outer source ports that differ."""
    need(s.a.ping(FAR) == 5, "the far end does not answer the VM")
    need(s.a.ping(FAR6) == 5, "the far end does not answer the VM's IPv6")
    need(s.far.ping(A), "the VM does not answer the far end")
    wire = Ear("wire", REMOTE["netns"], REMOTE["netdev"])
    mac = s.agent.port("a1")["mac"]
    s.a.sh("rawframes send eth0 " + " ".join(frames.ip(mac, s.far.mac, A, FAR, UDP, MARK, to_port=20000 + n).hex()
                                             for n in range(FLOWS)))
    # Such a packet of its own is the tenant's affair, and gets one header like any.
    s.a.sh("rawframes send eth0 " + frames.ip(mac, s.far.mac, A, FAR, UDP, MARK + b"last", to_port=PORTS[kind]).hex())
    time.sleep(2)
    outer, seen = {}, 0
    for raw in wire.stop():
        packet = datagram(raw)
        if packet is None or packet[0] != local:
            continue
        need(packet[2] == PORTS[kind], f"the host sends UDP to port {packet[2]}: {raw.hex()}")
        seen += 1
        frame = inner(kind, packet[3])
        within = datagram(frame)
        need(within is None or within[0] == A, f"not the VM's own within one header: {raw.hex()}")
        if within and MARK in frame:
            need(frames.mac(s.far.mac) + frames.mac(mac) == frame[:12], f"other MACs inside: {frame.hex()}")
            outer.setdefault(within[2], set()).add(packet[1])
    need(len(outer) == FLOWS + 1, f"{len(outer)} of {FLOWS + 1} flows arrived, in {seen} packets")
    need(all(len(ports) == 1 for ports in outer.values()), f"a flow has several outer source ports: {outer}")
    different = {port for ports in outer.values() for port in ports}
    need(len(different) > FLOWS // 2, f"{FLOWS + 1} flows have {len(different)} outer source ports")
    return f"{seen} packets, {len(different)} outer source ports"


def device(name):
    return json.loads(ip("-j", "-d", "link", "show", name))[0]


def vxlan_over_ipv6(s):
    """VXLAN over IPv6, its MTU worked out from the underlay's."""
    need(device("fl-vxlan0")["mtu"] == PF["mtu"] - 70, f"MTU {device('fl-vxlan0')['mtu']}")
    return traffic(s, "vxlan", LOCAL6)


def geneve_over_ipv6(s):
    """Geneve over IPv6, once the agent was started again with that."""
    s.become("geneve", LOCAL6, REMOTE6)
    need(device("fl-geneve0")["mtu"] == PF["mtu"] - 70, f"MTU {device('fl-geneve0')['mtu']}")
    return traffic(s, "geneve", LOCAL6)


def geneve_over_ipv4(s):
    """The same VM, once the agent was started again with Geneve over IPv4; the old device is gone."""
    s.become("geneve", LOCAL["address"], REMOTE["address"], f'peers: ["{REMOTE["address"]}/32"]')
    need(device("fl-geneve0")["mtu"] == PF["mtu"] - 50, f"MTU {device('fl-geneve0')['mtu']}")
    need("fl-vxlan0" not in ip("link"), "the old tunnel is still there")
    return traffic(s, "geneve", LOCAL["address"])


def drops(s):
    state = s.agent.host_state().get("tunnel_drops", {})
    return int(state.get("unknown_vni", 0)), sum(int(vpc.get("packets", 0)) for vpc in state.get("vpcs", []))


def strangers(s):
    """What comes of a host that is none of the peers, or with a VNI that nobody here has, reaches nobody, and is counted."""
    ip("-n", REMOTE["netns"], "address", "add", f"{STRANGER}/24", "dev", REMOTE["netdev"])
    mac = s.agent.port("a1")["mac"]
    frame = frames.ip(s.far.mac, mac, FAR, A, UDP, MARK)
    unknown, of_vpc = drops(s)
    heard = {}
    for name, source, vni in (("right", REMOTE["address"], VNI), ("stranger", STRANGER, VNI),
                              ("unknown", REMOTE["address"], 999)):
        ears = Ears({"a1": (s.a, "eth0")}, {})
        payload = (struct.pack("!BBHI", 0, 0, 0x6558, vni << 8) + frame).hex()
        code = (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{source}', 0)); "
                f"[s.sendto(bytes.fromhex('{payload}'), ('{LOCAL['address']}', {PORTS['geneve']})) for _ in range(3)]")
        run("ip", "netns", "exec", REMOTE["netns"], "python3", "-IS", "-c", code)
        time.sleep(1)
        heard[name] = sum(MARK in seen.raw for seen in ears.stop()["a1"])
    need(heard == {"right": 3, "stranger": 0, "unknown": 0}, f"heard: {heard}")
    now = drops(s)
    need(now[0] >= unknown + 3 and now[1] >= of_vpc + 3, f"dropped before {unknown}, {of_vpc}, and then {now}")
    told = s.agent.ctl("explain", "flow", "--from", f"vtep:{STRANGER}", "--vni", VNI, "--dst-mac", mac).stdout
    need("tunnel.peers" in told and STRANGER in told, f"explain flow does not say why: {told}")
    need("of an unknown VNI" in s.agent.ctl("status", check=False).stdout, "fairleadctl status does not tell the drops")
    ip("-n", REMOTE["netns"], "address", "del", f"{STRANGER}/24", "dev", REMOTE["netdev"])


def an_underlay_that_shrinks(s):
    """The tunnel's MTU follows the underlay's, and what is asked for and does not fit is refused with the numbers, while the
    VM that is there goes on."""
    ip("link", "set", PF["netdev"], "mtu", 4000)
    eventually("the tunnel follows", lambda: device("fl-geneve0")["mtu"] == 3950)
    need(s.a.ping(FAR) == 5, "the far end does not answer over the smaller underlay")
    s.restart_agent(tunnel=tunnel("geneve", LOCAL["address"], "mtu: 8000"))
    status = s.agent.wait_state("a1", "degraded")
    need("carries 3950" in status["reason"] and status["step"] == "tunnel mtu", f"degraded: {status}")
    need(s.a.ping(FAR) == 5, "the far end does not answer a port that is degraded")
    ip("link", "set", PF["netdev"], "mtu", PF["mtu"])
    s.agent.wait_state("a1", "ready")
    eventually("the tunnel has what is asked for", lambda: device("fl-geneve0")["mtu"] == 8000)
    need(FACTS["inner_mtu"] <= 8000 and s.a.ping(FAR) == 5, "the far end does not answer at the end")


GROUPS = [[vxlan_over_ipv6, geneve_over_ipv6, geneve_over_ipv4, strangers, an_underlay_that_shrinks]]
KEEPS = {vxlan_over_ipv6, geneve_over_ipv6, geneve_over_ipv4, strangers, an_underlay_that_shrinks}
