# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of programming speed share, in the lab's guest: listening to what the kernel tells of rules, and the
requests that made them: recorded, as `tc -batch` has them, and put back as they are."""
import contextlib
import ipaddress
import os
import re
import shutil
import signal
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "integration", "lab")]
from host import need, run  # noqa: E402

TOOLS = os.path.join(HERE, "..", "..", "..", "build", "bench")  # as tests/bench/run built them
BLOCK = 0x46000000 + 100  # of the VPC with VNI 100
PEER = 77  # the peer's block, shared by a dummy device as a VPC's is by representors


@contextlib.contextmanager
def tool(name, *words):
    """Runs it beside what is done meanwhile; the list that one gets holds what it printed, once it has ended."""
    process = subprocess.Popen([f"{TOOLS}/{name}", *map(str, words)], stdout=subprocess.PIPE, text=True)
    told = []
    try:
        need(process.stdout.readline() == "ready\n", f"{name} does not begin")
        yield told
    finally:
        process.send_signal(signal.SIGTERM)
        told += process.communicate()[0].splitlines()
        need(process.returncode == 0, f"{name} ended with status {process.returncode}")


class Watch:
    """What a block's messages were, once `tool("rule-watch")` has ended."""

    def __init__(self, told, block):
        need("lost" not in told, "messages of the kernel were lost")
        lines = [line.split() for line in told if int(line.split()[0], 16) == block]
        need(len(lines) == 1, f"block {block:x} was not told of: {told}")
        self.put, self.messages = int(lines[0][1]), int(lines[0][4])
        self.first, self.last = float(lines[0][2]), float(lines[0][3])


def put_store(store):
    """Before the agent starts: it finds the store as its own."""
    shutil.rmtree("/run/fairlead/state", ignore_errors=True)
    os.makedirs("/run/fairlead/state", mode=0o700)
    for name in os.listdir(store):
        shutil.copy(f"{store}/{name}", "/run/fairlead/state")


def attributes(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3fff] = data[at + 4:at + size]
        at += (size + 3) & ~3
    return found


class Tape:
    """Requests for rules that encapsulate, as rule-replay recorded them."""
    HEADER = 16 + 20  # nlmsghdr, tcmsg
    CHAIN, OPTIONS = 11, 2  # TCA_*
    ETH_DST, IPV4_DST, IPV6_DST = 4, 12, 16  # TCA_FLOWER_KEY_*

    def __init__(self, path):
        self.path, self.rules = path, []
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at < len(data):
            size = struct.unpack_from("=I", data, at)[0]
            if b"tunnel_key\0" in data[at:at + size]:
                self.rules.append(data[at:at + ((size + 3) & ~3)])
            at += (size + 3) & ~3
        with open(path, "wb") as file:
            file.write(b"".join(self.rules))

    def batch(self, local, remote, vni, port, device):
        """The same for `tc -batch`, in the same order."""
        def places():
            for rule in self.rules:
                size = struct.unpack_from("=I", rule)[0]
                handle, info = struct.unpack_from("=I4xI", rule, 16 + 8)
                top = attributes(rule[self.HEADER:size])
                yield handle, info >> 16, struct.unpack("=I", top[self.CHAIN])[0], attributes(top[self.OPTIONS])

        def mac(data):
            return ":".join(f"{byte:02x}" for byte in data)

        macs = {handle: mac(keys[self.ETH_DST]) for handle, _, _, keys in places() if self.ETH_DST in keys}
        encap = (f"action tunnel_key set id {vni} src_ip {local} dst_ip {remote} dst_port {port} ttl 64 nocsum pipe "
                 f"action mirred egress redirect dev {device}\n")
        for handle, priority, chain, keys in places():
            route = ("action pedit ex munge eth src set 02:66:6c:00:00:01 munge eth dst set " + macs[handle] +
                     " munge {} add 255 pipe ")
            if self.ETH_DST in keys:
                what = f"protocol all pref {priority} handle {handle} flower dst_mac {macs[handle]} "
            elif self.IPV4_DST in keys:
                address = ipaddress.ip_address(keys[self.IPV4_DST])
                what = (f"protocol ip pref {priority} handle {handle} flower dst_ip {address}/32 " + route.format("ip ttl") +
                        "action csum ip4h pipe ")
            else:
                address = ipaddress.ip_address(keys[self.IPV6_DST])
                what = (f"protocol ipv6 pref {priority} handle {handle} flower dst_ip {address}/128 " +
                        route.format("ip6 hoplimit"))
            yield f"filter add block {PEER} chain {chain} {what}{encap}"


def rules_of(block):
    """Of a block, as `tc` shows them, without what is not of the rule: whose it is, how often it is used, numbers of the
    kernel's own."""
    def plain(rule):
        text = re.sub(r"\b(index|ref|bind|block|cookie) \w+|\bnot_in_hw\b", "", rule)
        return " ".join(text.split())
    text = run("tc", "filter", "show", "block", block).stdout
    rules = re.split(r"^filter ", text, flags=re.M)
    return sorted(plain(rule) for rule in rules if " handle 0x" in rule and "tunnel_key" in rule)


def new_peer_block():
    run("ip", "link", "del", "peer0", check=False)
    run("ip", "link", "add", "peer0", "type", "dummy")
    run("tc", "qdisc", "add", "dev", "peer0", "ingress_block", PEER, "clsact")
