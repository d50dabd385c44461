# SPDX-License-Identifier: Apache-2.0
"""Suite security-groups: what may begin and what goes on, with real packets on the real kernel: a table of first packets of
both families, connections that go on and end with the rule that allowed them, members that come and go, stateless groups."""
import subprocess
import time

import frames
from ears import Ears
from frames import GATEWAY_MAC, ICMP, ICMP6, TCP, UDP
from host import Far, another_host, eventually, need, network_yaml, run, subnet_yaml
from scene import KINDS
from scene import Scene as AnyScene

KINDS = {"ports": "port", "endpoints": "endpoint", "security-groups": "security_group", **KINDS}
MARK = b"fairlead-first-"
RED1, RED2 = ["10.0.0.0/24", "fd00:10::/64"], ["10.0.1.0/24", "fd00:11::/64"]
A, B, FAR, OTHER = "10.0.0.1", "10.0.1.6", "10.0.0.2", "10.0.0.3"
A6, B6, FAR6, OTHER6 = "fd00:10::1", "fd00:11::6", "fd00:10::2", "fd00:10::3"
OUTSIDE, OUTSIDE6 = "198.51.100.7", "2001:db8:51::7"  # by VM b, which has them as an allowed pair

WEB = """---
kind: SecurityGroup
id: web
vpc: red
rules:
- { direction: ingress, protocol: 6, port_min: 443 }
- { direction: ingress, protocol: 6, port_min: 22 }
- { direction: ingress, protocol: 17, port_min: 8000, port_max: 8999, remote_group: peers }
- { direction: ingress, protocol: 1, icmp_type: 8 }
- { direction: ingress, protocol: 58, icmp_type: 128, remote_prefix: "fd00:10::/64" }
- { direction: egress, protocol: 17, port_min: 53 }
- { direction: egress, remote_group: peers }
"""
PEERS = """---
kind: SecurityGroup
id: peers
vpc: red
rules:
- { direction: ingress, protocol: 17 }
- { direction: ingress, protocol: 6, port_min: 80 }
- { direction: egress }
"""


class Scene(AnyScene):
    BEGINS = "two-groups-two-VMs-two-far-ends"

    def __init__(self):
        self.far = Far("far", 100, "52:54:00:00:0a:02", FAR, FAR6)
        self.other = Far("other", 100, "52:54:00:00:0a:03", OTHER, OTHER6, host=another_host(1))
        super().__init__("a", "b")
        self.a, self.b = self.vms["a"], self.vms["b"]
        self.agent.apply(
            network_yaml("red", 100, *RED1) + subnet_yaml("red", "red-2", *RED2) + WEB + PEERS + self.member(self.far, "peers") +
            self.other.yaml("red") +
            f'---\nkind: Route\nid: out\nvpc: red\nprefix: "198.51.100.0/24"\nnext_hop: "{B}"\n'
            f'---\nkind: Route\nid: out6\nvpc: red\nprefix: "2001:db8:51::/48"\nnext_hop: "{B6}"\n')
        self.a.wait()
        self.b.wait()
        for vm, port, subnet, group, addresses in ((self.a, "a", "red-1", "web", (A, A6)),
                                                   (self.b, "b", "red-2", "peers", (B, B6))):
            self.agent.ctl("attach", "--vm", vm.name, "--uuid", vm.uuid, "--vpc", "red", "--port", port, "--subnet", subnet,
                           "--security-group", group, *sum((["--address", one] for one in addresses), []), "--wait")
        self.mac = {port: self.agent.port(port)["mac"] for port in ("a", "b")}
        self.place = {"a": (self.a, "eth0"), "b": (self.b, "eth0")}
        self.ears = {far.name: (far.name, far.dev) for far in (self.far, self.other)}
        for port, (vm, dev) in self.place.items():
            eventually(f"VM {vm.name} has {dev}", lambda v=vm, d=dev, p=port: v.mac(d) == self.mac[p])
        for vm, own, own6, gateway in ((self.a, A, A6, "10.0.0.254"), (self.b, B, B6, "10.0.1.254")):
            vm.sh("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set eth0 up && "
                  f"ip address add {own}/24 dev eth0 && ip address add {own6}/64 dev eth0 && "
                  f"ip route add default via {gateway}")
        for far in (self.far, self.other):
            far.know({A: self.mac["a"], A6: self.mac["a"]})
        self.ready()
        self.settled()

    def member(self, far, *groups):
        return far.yaml("red") + f"security_groups: [{', '.join(groups)}]\n"

    def ready(self):
        for group in ("web", "peers"):
            eventually(f"group {group} is ready", lambda g=group: self.agent.status("security-groups", g)["state"] == "ready")
        for port in ("a", "b"):
            self.agent.wait_state(port, "ready")

    def refs(self):
        return {f"{name.replace('_', '-')}/{item['object'][name]['id']}" for kind, name in KINDS.items()
                for item in self.agent.objects(kind)}


def table(s, stateless=False):
    """(cell, sender, frame, mark, where it is to arrive)"""
    m = s.mac
    cells = []

    def cell(name, at, sender, to, src, dst, proto, port=None):
        mark = MARK + b"%03d" % len(cells)
        mac = m[sender] if sender in m else {"far": s.far.mac, "other": s.other.mac}[sender]
        more = {} if port is None else {"to_port": port}
        cells.append((name, sender, frames.ip(mac, to, src, dst, proto, mark, **more), mark, at))

    for version, a, b, far, other, outside, ping in ((4, A, B, FAR, OTHER, OUTSIDE, ICMP),
                                                     (6, A6, B6, FAR6, OTHER6, OUTSIDE6, ICMP6)):
        of = f"IPv{version}"
        gw, far_mac, other_mac, mac_a = GATEWAY_MAC, s.far.mac, s.other.mac, m["a"]
        cell(f"{of}, DNS to anybody", "other", "a", other_mac, a, other, UDP, 53)
        cell(f"{of}, a name that is not DNS", None, "a", other_mac, a, other, UDP, 54)
        cell(f"{of}, anything to a member there", "far", "a", far_mac, a, far, TCP, 5000)
        cell(f"{of}, anything to one that is no member", None, "a", other_mac, a, other, TCP, 5000)
        cell(f"{of}, a ping to a member there", "far", "a", far_mac, a, far, ping)
        cell(f"{of}, to a member here that takes it", "b", "a", gw, a, b, TCP, 80)
        cell(f"{of}, to a member here that does not", None, "a", gw, a, b, TCP, 81)
        cell(f"{of}, UDP to a member here", "b", "a", gw, a, b, UDP, 9)
        cell(f"{of}, by a route to a member that takes it: not its address", None, "a", gw, a, outside, TCP, 80)
        cell(f"{of}, by a route, DNS", "b", "a", gw, a, outside, UDP, 53)
        cell(f"{of}, back to a web server", "a", "b", gw, b, a, TCP, 443)
        cell(f"{of}, back to no server", None, "b", gw, b, a, TCP, 444)
        cell(f"{of}, a member's range", "a", "b", gw, b, a, UDP, 8500)
        cell(f"{of}, below the range", None, "b", gw, b, a, UDP, 7999)
        cell(f"{of}, above the range", None, "b", gw, b, a, UDP, 9000)
        cell(f"{of}, by the tunnel to a web server", "a", "far", mac_a, far, a, TCP, 443)
        cell(f"{of}, by the tunnel to no server", None, "far", mac_a, far, a, TCP, 25)
        cell(f"{of}, by the tunnel, a member's range", "a", "far", mac_a, far, a, UDP, 8000)
        cell(f"{of}, by the tunnel, not a member's", None, "other", mac_a, other, a, UDP, 8000)
        cell(f"{of}, by the tunnel, a ping", "a", "other", mac_a, other, a, ping)
    cell("IPv6, a ping of another prefix", None, "b", GATEWAY_MAC, B6, A6, ICMP6)
    cell("IPv4, a ping of another subnet", "a", "b", GATEWAY_MAC, B, A, ICMP)
    return cells


def sent(s, cells):
    """Sends the frames, and says which cells do not hold."""
    ears = Ears(s.place, s.ears)
    for name, sender, frame, _, _ in cells:
        if sender in s.place:
            vm, dev = s.place[sender]
            vm.sh(f"rawframes send {dev} {frames.words(frame)}")
        else:
            far = {"far": s.far, "other": s.other}[sender]
            far.run("rawframes", "send", far.dev, frames.words(frame))
    time.sleep(2)
    heard = ears.stop()
    bad = []
    for name, sender, frame, mark, at in cells:
        # Its sender hears it quoted at most: an answer to a ping, an error about it.
        found = sorted({where for where, there in heard.items() for seen in there
                        if mark in seen.raw and where != sender})
        if found != ([at] if at else []):
            bad.append(f"{name}: arrived at {found}, not at {at}")
    need(not bad, f"{len(bad)} of {len(cells)} first packets:\n    " + "\n    ".join(bad))
    return f"{len(cells)} first packets"


def first_packets(s):
    """The first packet of each connection arrives where both ends' groups allow it, and nowhere else."""
    return sent(s, table(s))


class Talk:
    """A TCP connection of a far end to an echo server, which says whether what it sends comes back."""
    CODE = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
print("connected", flush=True)
for line in sys.stdin:
    s.settimeout(float(line))
    try:
        s.sendall(b"x")
        print("echo" if s.recv(1) else "closed", flush=True)
    except OSError as e:
        print("silent", flush=True)
"""

    def __init__(self, far, to, port):
        self.process = subprocess.Popen(["ip", "netns", "exec", far.name, "python3", "-IS", "-c", self.CODE, to, str(port)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.opened = self.process.stdout.readline().strip() == "connected"

    def says(self, seconds=10):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.wait()


def serve(vm, *ports):
    for port in ports:
        vm.sh(f"sh -c 'while :; do nc -l -p {port} -e /bin/cat; done' >/dev/null 2>&1 & echo $! >/tmp/nc.{port}.pid")


def serve_no_more(vm, *ports):
    for port in ports:
        vm.sh(f"kill $(cat /tmp/nc.{port}.pid)", check=False)
    vm.sh("kill $(pidof nc)", check=False)


def connections(s):
    """A connection goes on through a restart of the agent and a change of other rules, and ends with the rule that allowed
    it; what did not begin before does not begin after."""
    serve(s.a, 443, 22)
    talks = {}
    try:
        for port in (443, 22):
            talks[port] = Talk(s.far, A, port)
            need(talks[port].opened, f"no connection to port {port}")
            need(talks[port].says() == "echo", f"port {port} does not answer")
        none = Talk(s.far, A, 25)
        need(not none.opened, "a connection that no rule allows")
        none.end()
        s.agent.kill()
        need(all(talk.says() == "echo" for talk in talks.values()), "a connection ended with the agent")
        s.agent.start()
        s.ready()
        need(all(talk.says() == "echo" for talk in talks.values()), "a connection ended with the agent's start")
        s.agent.apply(WEB.replace("- { direction: ingress, protocol: 6, port_min: 22 }\n", ""))
        s.ready()
        need(talks[443].says() == "echo", "the connection that is still allowed has ended")
        time.sleep(2)
        need(talks[22].says(4) != "echo", "the connection that is not allowed any more goes on")
        again = Talk(s.far, A, 22)
        need(not again.opened, "a connection begins that is not allowed any more")
        again.end()
        need(talks[443].says() == "echo", "the other connection has ended")
    finally:
        for talk in talks.values():
            talk.end()
        serve_no_more(s.a, 443, 22)
        s.agent.apply(WEB)
        s.ready()


def members(s):
    """Who leaves a group may not begin anything, and what it had begun ends; who joins may."""
    of_far = [c for c in table(s) if "by the tunnel, a member's range" in c[0]]
    need(len(of_far) == 2, "the table has no such cells")
    sent(s, of_far)
    s.agent.apply(s.far.yaml("red") + s.member(s.other, "peers"))
    s.ready()
    cells = [(name, sender, frame, mark, None) for name, sender, frame, mark, _ in of_far]
    for name, sender, frame, mark, _ in table(s):
        if "not a member's" in name:
            cells.append((name + ", who is one now", sender, frame, mark, "a"))
    sent(s, cells)
    s.agent.apply(s.member(s.far, "peers") + s.other.yaml("red"))
    s.ready()
    sent(s, table(s))


def stateless(s):
    """Stateless groups judge each packet: an answer needs a rule of its own."""
    s.agent.apply(WEB.replace("vpc: red\n", "vpc: red\nstateless: true\n") +
                  PEERS.replace("vpc: red\n", "vpc: red\nstateless: true\n"))
    s.ready()
    sent(s, table(s))
    serve(s.a, 443)
    try:
        # To a member anything goes out, so what answers it does; to another nothing but DNS.
        answered = Talk(s.far, A, 443)
        need(answered.opened and answered.says() == "echo", "a member is not answered")
        answered.end()
        unanswered = Talk(s.other, A, 443)
        need(not unanswered.opened, "an answer that no rule allows")
        unanswered.end()
    finally:
        serve_no_more(s.a, 443)
    s.agent.apply(WEB + PEERS)
    s.ready()
    sent(s, table(s))


def without_groups(s):
    """A VPC's groups go under ports that serve, and come back: what was forbidden passes, and does not again."""
    yaml = "".join(f"---\nkind: Port\nid: {port}\nvm: {port}\nvpc: red\nsubnet: {subnet}\naddresses: [\"{own}\", \"{own6}\"]\n"
                   for port, subnet, own, own6 in (("a", "red-1", A, A6), ("b", "red-2", B, B6)))
    s.agent.apply(yaml + s.far.yaml("red"))
    s.agent.ctl("delete", "security-group/web", "security-group/peers", "--wait")
    for port in ("a", "b"):
        s.agent.wait_state(port, "ready")
    sent(s, [cell for cell in table(s) if cell[4]])
    need(s.b.ping(A) == 5, "VM b does not reach VM a without groups")
    s.agent.apply(WEB + PEERS + s.member(s.far, "peers") + "".join(
        part + f"security_groups: [{group}]\n" for part, group in zip(
            ("---" + one for one in yaml.split("---")[1:]), ("web", "peers"))))
    s.ready()
    sent(s, table(s))


GROUPS = [[first_packets, connections, members, stateless, without_groups]]
KEEPS = {first_packets, connections, members, stateless, without_groups}
