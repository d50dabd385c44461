# SPDX-License-Identifier: Apache-2.0
"""Face virtio: two tenants' overlay, with all that a controller, an operator and a kernel may do wrong. After each case
the runner checks that VM a lost no packet."""
import json
import socket
import subprocess
import time

import wire
from host import (FACTS, LOCAL, PATIENCE, PF, REMOTE, VFS, ByHand, Heard, driver_of, eventually, filters, frames_from,
                  ip, need, need_kept, run)
from overlay import A, A6, B_BLUE, B_RED, FAR, FAR6, Overlay as Scene

# ---- what a controller may get wrong --------------------------------------------------------------------------------


def unknown_vpc(s):
    """An attach to a VPC that is not there is refused by name."""
    s.refused("vpc", "green", "not", run=lambda: s.attach(s.b, "green", B_RED, check=False))


def address_outside_subnet(s):
    """An address outside the subnet is refused."""
    s.refused("address", "10.9.9.9", "10.0.0.0/24", run=lambda: s.attach(s.b, "red", "10.9.9.9", check=False))


def duplicate_address(s):
    """An address that a port or an endpoint of the VPC has is refused; the same address in the other VPC is not."""
    s.refused(A, run=lambda: s.attach(s.b, "red", A, check=False))
    s.refused(FAR, run=lambda: s.attach(s.b, "red", FAR, check=False))
    need(s.attach(s.b, "blue", A, "--dry-run", wait=False).returncode == 0, "the same address in another VPC is refused")


def duplicate_mac(s):
    """A MAC that an endpoint of the VPC has is refused."""
    yaml = (f'kind: Endpoint\nid: twin\nvpc: red\nmac: "{s.red.mac}"\naddresses: [10.0.0.50]\nvtep: {REMOTE["address"]}\n')
    s.refused("mac", s.red.mac, run=lambda: s.agent.apply(yaml, check=False))


def impossible_mac(s):
    """A virtio VF's MAC cannot be set: a port that asks for another is refused by name."""
    s.refused("mac", "52:54:00:99:99:99", "cannot set",
              run=lambda: s.attach(s.b, "red", B_RED, "--mac", "52:54:00:99:99:99", check=False))


def all_or_nothing(s):
    """Of a file with one mistake nothing is taken, and every mistake is listed."""
    yaml = ("kind: Vpc\nid: good\nvni: 300\n---\nkind: Subnet\nid: bad-1\nvpc: nowhere\nprefixes: [10.1.0.0/16]\n"
            "---\nkind: Vpc\nid: bad-2\nvni: 100\n")
    s.refused("nowhere", "100", run=lambda: s.agent.apply(yaml, check=False))


# ---- what no controller sends ---------------------------------------------------------------------------------------
def answer(payload):
    peer = wire.Peer()
    peer.send(payload)
    reply = peer.frame()[1]
    peer.close()
    return wire.violations(reply)


def still_well(s, before):
    need(s.agent.process.poll() is None, "the agent ended")
    need(s.agent.objects("vpcs") == before, "the VPCs changed")


def malformed_messages(s):
    """Noise, a wrong version, an unknown field: refused by name, and nothing is lost."""
    before = s.agent.objects("vpcs")
    for payload in (b"\xff" * 40, b"\x00", b"GET / HTTP/1.1\r\n\r\n"):
        found = answer(payload)
        need(found and found[0][1] == wire.MALFORMED, f"{payload!r} is not refused as malformed: {found}")
        need(found[0][2], "the refusal gives no reason")
    need(len(answer(b"")) > 1, "an empty message is not refused with all that it lacks")
    found = answer(wire.request("v2", wire.apply_vpc("noise", 900), version=2))
    need(found and found[0][1] == wire.UNSUPPORTED, f"version 2 is not refused: {found}")
    found = answer(wire.request("field", wire.apply_vpc("noise", 900, more=wire.field(77, 1))))
    need(found and found[0][1] == wire.UNSUPPORTED and "77" in found[0][0] + found[0][2],
         f"field 77 is not refused by number: {found}")
    need("apply.upsert[0].vpc" in found[0][0], f"the refusal has no path: {found}")
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(200), b"\xff" * 200):
        peer = wire.Peer(handshake=False)
        try:
            peer.raw(noise)
        except OSError:
            pass
        peer.close()
    still_well(s, before)


def truncated_messages(s):
    """A message that ends too early is refused, on both layers."""
    before = s.agent.objects("vpcs")
    whole = wire.request("cut", wire.apply_vpc("noise", 900))
    for cut in range(1, len(whole)):
        # Cut between two fields it is a message, and one that lacks something.
        found = answer(whole[:cut])
        need(found, f"the first {cut} of {len(whole)} bytes are accepted")
    peer = wire.Peer()
    peer.raw(b"\x02" + (1000).to_bytes(8, "big") + whole[:10])  # 1000 bytes are promised
    peer.close()
    still_well(s, before)


def oversized_messages(s):
    """More than 1 MiB is refused with an answer, far more by hanging up; the agent answers others meanwhile."""
    before = s.agent.objects("vpcs")
    found = answer(wire.request("big", b"") + bytes((1 << 20) + 1))
    need(found and found[0][1] == wire.MALFORMED and "1048576" in found[0][2], f"1 MiB and a bit is not refused: {found}")
    peer = wire.Peer()
    peer.raw(b"\x02" + (1 << 40).to_bytes(8, "big"))
    need(peer.closed(), "the agent waits for a message of 1 TiB")
    still_well(s, before)


def dry_run(s):
    """--dry-run prints every step of the plan and changes nothing."""
    done = s.attach(s.b, "blue", B_BLUE, "--dry-run", wait=False)
    for word in ("port/b-blue-1", "vfio-pci", "rp0", VFS[1]["pci"]):
        need(word in done.stdout, f"the plan does not say {word!r}:\n{done.stdout}")
    done = s.agent.apply("kind: Port\nid: dry\nvpc: red\nsubnet: red-1\naddresses: [10.0.0.9]\n", "--dry-run")
    need("port/dry" in done.stdout or "dry" in done.stdout, f"the plan does not name the port:\n{done.stdout}")
    need(not s.agent.port("dry") and not s.agent.port("b-blue-1"), "a dry run stored a port")


def refusals_left_nothing(s):
    """After all of the refused changes, the noise and the dry runs the host is as it was."""
    s.untouched("after the refusals")


# ---- attaches that fail ---------------------------------------------------------------------------------------------
def monitor_absent(s):
    """A VM whose monitor is not there: the status says which file; the VM is attached once it has come."""
    ghost = type(s.b)("ghost")
    s.attach(ghost, "blue", "10.0.0.8", wait=False)
    s.agent.failed("ghost-blue-1", "vm connect", "/ghost/qmp.sock", "No such file")
    s.untouched("after the failed attach")
    s.give_up(ghost, "blue")


def monitor_held(s):
    """A monitor that another client holds: said so, nothing is left, and done once it is let go."""
    other = socket.socket(socket.AF_UNIX)
    other.connect(f"{FACTS['paths']['vm_run']}/b/qmp.sock")
    need(b"QMP" in other.recv(4096), "QEMU does not greet")
    s.attach(s.b, "blue", B_BLUE, wait=False)
    s.agent.failed("b-blue-1", "vm connect", "/b/qmp.sock", "another client")
    s.untouched("after the failed attach")
    other.close()
    s.agent.wait_state("b-blue-1", "ready")


def no_free_vf(s):
    """No VF is free: all are listed with their reasons; the port is attached when one is given back."""
    taken = [ByHand(1, "vfio-pci"), ByHand(2, "virtio-pci"), ByHand(3, "vfio-pci")]
    ip("link", "set", taken[1].netdev(), "addrgenmode", "none")  # no address of its own that comes between two snapshots
    ip("link", "set", taken[1].netdev(), "up")
    before = s.snapshot()
    try:
        s.attach(s.b, "blue", B_BLUE, wait=False)
        s.agent.failed("b-blue-1", "vf placement", "no free VF", "VF 0: leased", "VF 1, 3: in use by someone else",
                       "VF 2: in use by the host")
        s.untouched("after the failed attach", before)
        taken.pop().give_back()
        status = s.agent.wait_state("b-blue-1", "ready")
        need(status["vf_pci"] == VFS[3]["pci"], f"the port has {status['vf_pci']}, which is not the one given back")
        need(taken[0].driver() == "vfio-pci" and taken[1].driver() == "virtio-pci", "someone else's VF was touched")
        s.agent.detach("b", "blue")
        need(taken[0].driver() == "vfio-pci" and taken[1].driver() == "virtio-pci", "someone else's VF was touched")
    finally:
        s.give_up(s.b, "blue")
        for vf in taken:
            vf.give_back()


def rule_refused(s):
    """Rules that cannot be in hardware under "must": rolled back, in the kernel's own words, no VF handed out."""
    s.attach(s.b, "blue", B_BLUE, "--offload", "must", wait=False)
    status = s.agent.failed("b-blue-1", "flow-rule", "must", "Operation not supported")  # EOPNOTSUPP, without more
    need(not s.b.devices(), f"VM b got a device: {s.b.devices()}")
    s.untouched("after the failed attach")
    return status["reason"]


# ---- attaches that hold -----------------------------------------------------------------------------------------------
def cold_attach(s):
    """A VM in prelaunch is attached before its first instruction, and finds its NIC when it boots."""
    s.restart_vm(s.b, "--cold")
    s.attach(s.b, "blue", B_BLUE)
    need(s.b.monitor("query-status")["status"] == "prelaunch", "VM b runs")
    s.b.cont()
    s.b.wait()
    status = s.agent.wait_state("b-blue-1", "ready")
    s.b.up(B_BLUE)
    need(s.b.mac() == status["mac"], f"MAC {s.b.mac()} inside, {status['mac']} in the status")
    need(s.b.ping(FAR) == 5, "VM b does not reach its far end")


def ipv6(s):
    """VM a finds its far end by neighbour discovery, which the host answers, and they reach each other."""
    s.a.sh(f"ip -6 address add {A6}/64 dev eth0")
    shown = eventually("VM a has asked whether its IPv6 address is taken", lambda: (
        (text := s.a.sh("ip -6 address show dev eth0 scope global")) and "tentative" not in text and text))
    need("dadfailed" not in shown, f"VM a hears of a twin: {shown}")
    need(s.a.ping(FAR6) == 5, "VM a does not reach its far end")
    known = s.a.sh(f"ip -6 neigh show {FAR6}")
    need(s.red.mac in known, f"VM a found {known.strip()!r}, not {s.red.mac}")
    need(s.red.ping(A6), "the far end does not reach VM a")
    s.a.sh(f"ip -6 address del {A6}/64 dev eth0")


def in_blue(s):
    """For the cases that want two tenants: b is attached to blue."""
    if not s.agent.port("b-blue-1"):
        s.attach(s.b, "blue", B_BLUE)
        s.b.up(B_BLUE)


def one_encapsulation(s):
    """Two VPCs use one tunnel device, and no packet on the wire is encapsulated twice."""
    in_blue(s)
    # iproute2 prints {} for each link of another type.
    tunnels = [link["ifname"] for kind in ("vxlan", "geneve", "gre", "ipip")
               for link in json.loads(ip("-j", "link", "show", "type", kind)) if link]
    need(len(tunnels) == 1, f"tunnel devices: {tunnels}")
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    tap.bind((LOCAL["netdev"], 0))
    need(s.b.ping(FAR) == 5, "VM b does not reach its far end")
    s.pinger.check()
    tap.setblocking(False)
    seen = {}
    while True:
        try:
            frame = tap.recv(65536)
        except BlockingIOError:
            break
        depth, vni = vxlan_depth(frame)
        need(depth <= 1, f"a packet is encapsulated {depth} times: {frame.hex()}")
        if depth:
            seen[vni] = seen.get(vni, 0) + 1
    need(set(seen) == {100, 200}, f"VNIs on the wire: {seen}")


def vxlan_depth(frame, depth=0, vni=None):
    """How many VXLAN headers (RFC 7348) a frame has, and the innermost VNI."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return depth, vni
    udp = 14 + (frame[14] & 15) * 4
    if int.from_bytes(frame[udp + 2:udp + 4], "big") != 4789:
        return depth, vni
    return vxlan_depth(frame[udp + 16:], depth + 1, int.from_bytes(frame[udp + 12:udp + 15], "big"))


def host_sockets(s):
    """A tenant's frame to the representor's own MAC, or to all, never reaches a socket of the host."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("0.0.0.0", 7777))
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    for one in (listener, icmp):
        one.setblocking(False)
    # The control: the same frames from a VF whose representor has no rules do reach the host, so they are good ones.
    spare = ByHand(3, "virtio-pci")
    rep = VFS[3]["representor"]
    dev = spare.netdev()
    try:
        ip("netns", "add", "spare")
        ip("link", "set", dev, "netns", "spare")
        ip("link", "set", rep, "addrgenmode", "none")
        ip("link", "set", rep, "up")
        ip("-n", "spare", "address", "add", "10.0.0.77/24", "dev", dev)
        ip("-n", "spare", "link", "set", dev, "up")
        ip("-n", "spare", "route", "add", LOCAL["address"], "dev", dev)
        ip("-n", "spare", "neigh", "replace", LOCAL["address"], "lladdr", VFS[3]["representor_mac"], "dev", dev)
        eventually("the host hears the spare VF", lambda: spare_sends() and "10.0.0.77" in heard_by(listener))
        need("10.0.0.77" in heard_by(icmp, wait=True), "the host hears no ping of the spare VF")
    finally:
        ip("-n", "spare", "link", "set", dev, "netns", "1")
        ip("netns", "delete", "spare")
        spare.give_back()
        ip("link", "set", rep, "down")
        ip("link", "set", rep, "addrgenmode", "eui64")
    # The tenant.
    reply = Heard(s.a)
    own = VFS[0]["representor_mac"]
    for mac in (own, PF["mac"], "ff:ff:ff:ff:ff:ff"):
        s.a.sh(f"ip route replace {LOCAL['address']} dev eth0; arp -i eth0 -s {LOCAL['address']} {mac};"
               f"for i in 1 2 3; do echo hello | nc -u -w 1 {LOCAL['address']} 7777; done;"
               f"ping -c 3 -i 0.3 -W 1 {LOCAL['address']}; arp -i eth0 -d {LOCAL['address']}", check=False)
    s.a.sh(f"arping -c 2 -w 5 -I eth0 {LOCAL['address']}; ping6 -c 2 -W 1 -I eth0 ff02::1; ip route del {LOCAL['address']}",
           check=False)
    s.pinger.check()  # what came before it has arrived, or never will
    frames = reply.stop()
    need(A not in heard_by(listener), "the host's UDP socket got a tenant's frame")
    need(A not in heard_by(icmp), "the host got a tenant's ping")
    need(frames_from(frames, s.red.mac) > 0, "the capture heard nothing")
    host = frames_from(frames, own, PF["mac"])
    need(host == 0, f"the host sent the tenant {host} frames: {frames}")


def spare_sends():
    code = (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            f"s.sendto(b'hello', ('{LOCAL['address']}', 7777))")
    run("ip", "netns", "exec", "spare", "python3", "-IS", "-c", code)
    run("ip", "netns", "exec", "spare", "ping", "-c", "1", "-W", "1", LOCAL["address"], check=False)
    return True


def heard_by(sock, wait=False):
    """The addresses of all that has arrived."""
    found = set()
    end = time.monotonic() + (PATIENCE if wait else 0)
    while True:
        try:
            found.add(sock.recvfrom(65536)[1][0])
        except BlockingIOError:
            if found or time.monotonic() > end:
                return found
            time.sleep(0.1)


def second_nic(s):
    """A VM with NICs in two VPCs reaches the far end of each, and the host leaks nothing between them."""
    in_blue(s)
    s.attach(s.b, "red", B_RED)
    s.b.up(B_RED, "eth1")
    nics = {s.b.mac("eth0"): "b-blue-1", s.b.mac("eth1"): "b-red-1"}
    need(all(s.agent.port(port)["mac"] == mac for mac, port in nics.items()), f"MACs inside and in the status: {nics}")
    for dev, own, other in (("eth0", s.blue, s.red), ("eth1", s.red, s.blue)):
        begin = own.echoes()
        need(s.b.ping(FAR, dev=dev) == 5, f"{dev} does not reach {own.name}")
        need(own.echoes() >= begin + 5, f"{dev} reached another far end than {own.name}")
    # Out of its blue NIC, to what is red's: VM a by MAC, and red's far end by MAC.
    begin = s.blue.echoes()
    heard_a, heard_b = Heard(s.a), Heard(s.b, "eth1")
    for mac in (VFS[0]["mac"], s.red.mac, s.b.mac("eth1")):
        s.b.sh(f"arp -i eth0 -s 10.0.0.44 {mac}; ping -c 3 -i 0.3 -W 1 -I eth0 10.0.0.44; arp -i eth0 -d 10.0.0.44",
               check=False)
    s.b.sh("arping -c 2 -w 5 -I eth0 10.0.0.45", check=False)
    s.pinger.check()
    need(s.b.ping(FAR, dev="eth1") == 5, "eth1 does not reach its far end any more")
    blue_mac = s.b.mac("eth0")
    for name, frames in (("VM a", heard_a.stop()), ("the red NIC", heard_b.stop())):
        need(sum(f[0] for f in frames) > 0, f"the capture at {name} heard nothing")
        need(frames_from(frames, blue_mac) == 0, f"{name} heard the blue NIC: {frames}")


def no_free_root_port(s):
    """All root ports of the VM are occupied: said so by name, nothing is left, the VM's NICs stay."""
    in_blue(s)
    if not s.agent.port("b-red-1"):
        s.attach(s.b, "red", B_RED)
    before, devices = s.snapshot(), s.b.devices()
    s.attach(s.b, "blue", "10.0.0.7", "--port", "b-third", wait=False)
    s.agent.failed("b-third", "placement", "root port", "rp0", "rp1")
    s.untouched("after the failed attach", before)
    need(s.b.devices() == devices, "the VM's devices changed")
    s.agent.ctl("delete", "port/b-third")


def restart(s):
    """kill -9 and a new start under ping: no packet is lost, nothing is made again, all ports are ready."""
    in_blue(s)
    counted = filters()
    before, devices = s.snapshot(), (s.a.devices(), s.b.devices())
    need(s.b.ping(FAR, count=2) == 2, "VM b does not reach its far end")
    watch = subprocess.Popen(["tc", "monitor"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    links = subprocess.Popen(["ip", "monitor", "link", "address"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
    s.agent.kill()
    s.pinger.check()
    s.agent.start()
    ports = [port["object"]["port"]["id"] for port in s.agent.objects("ports")]
    for port in ports:
        s.agent.wait_state(port, "ready")
    s.pinger.check()
    for process in (watch, links):
        process.terminate()
    # A qdisc that is asked for is announced to all, like a new one (net/sched/sch_api.c, tc_get_qdisc).
    changed = [line for line in watch.communicate()[0].splitlines() if "filter" in line or "deleted" in line]
    need(not changed, f"rules were made again: {changed[:5]}")
    touched = [line for line in links.communicate()[0].splitlines() if line.strip()]
    need(not touched, f"links were touched: {touched[:5]}")
    s.untouched("after the restart", before)
    need((s.a.devices(), s.b.devices()) == devices, "a device was plugged again")
    now = filters()
    need(counted.keys() == now.keys(), "rules have other handles")
    need_kept(counted, now)
    need(any(now[key] > packets for key, packets in counted.items()), "no counter moved")
    return f"{len(now)} rules, {len(ports)} ports"


def device_del_unanswered(s):
    """A guest that does not answer device_del: the VF stays leased and the status says so; done once it answers."""
    in_blue(s)
    pci = s.agent.port("b-blue-1")["vf_pci"]
    s.b.monitor("stop")
    try:
        s.agent.ctl("detach", "--vm", "b", "--vpc", "blue")
        status = eventually("the status says that the guest does not let go", lambda: (
            (st := s.agent.port("b-blue-1")).get("state") == "removing" and "does not let go" in st["reason"] and st))
        need("guest-device" in status["step"], f"the step is {status['step']!r}")
        need(driver_of(pci) == "vfio-pci", "the VF was taken from under the VM")
        need(s.b.devices(), "the VM lost its device")
        vfs = s.agent.host_state()["pfs"][0]["vfs"]
        need([v["state"] for v in vfs if v["pci"] == pci] != ["free"], "the VF counts as free")
    finally:
        s.b.cont()
    eventually("the port is gone", lambda: not s.agent.port("b-blue-1"))
    need(not s.b.devices(), "the device is still in the VM")
    s.untouched("after the detach")


GROUPS = [[unknown_vpc, address_outside_subnet, duplicate_address, duplicate_mac, impossible_mac, all_or_nothing,
           malformed_messages, truncated_messages, oversized_messages, dry_run, refusals_left_nothing],
          [monitor_absent, monitor_held, no_free_vf, rule_refused],
          [ipv6, cold_attach, one_encapsulation, host_sockets, second_nic, no_free_root_port, restart,
           device_del_unanswered]]
KEEPS = {cold_attach, one_encapsulation, host_sockets, second_nic, no_free_root_port}
