# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames, written and read byte by byte, for cases that say what no guest's own stack would."""
import ipaddress
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"
GATEWAY_MAC = "02:66:6c:00:00:01"
IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def address(text):
    return ipaddress.ip_address(text).packed


def checksum(data):
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(src, dst, ethertype, payload):
    return mac(dst) + mac(src) + struct.pack("!H", ethertype) + payload


def arp(src, dst, sender_mac, sender, target, reply=False):
    return ethernet(src, dst, ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 2 if reply else 1) + mac(sender_mac) +
                    address(sender) + bytes(6) + address(target))


def transport(proto, src, dst, payload, to_port=7777, kind=None):
    """UDP, TCP (a SYN), ICMP or ICMPv6 (`kind`: of echo requests unless given), with the checksum over the pseudo header
    where there is one."""
    if proto == UDP:
        head, at = struct.pack("!HHHH", 40000, to_port, 8 + len(payload), 0), 6
    elif proto == TCP:
        head, at = struct.pack("!HHIIBBHHH", 40000, to_port, 1, 0, 5 << 4, 2, 1024, 0, 0), 16
    else:
        head, at = struct.pack("!BBH", kind or (8 if proto == ICMP else 128), 0, 0), 2
        if kind is None:
            payload = struct.pack("!HH", 1, 1) + payload
    whole = head + payload
    pseudo = b""
    if proto != ICMP:
        size = struct.pack("!I", len(whole)) if len(src) == 16 else struct.pack("!H", len(whole))
        kind_bytes = bytes([0, 0, 0, proto]) if len(src) == 16 else bytes([0, proto])
        pseudo = src + dst + (size + kind_bytes if len(src) == 16 else kind_bytes + size)
    return whole[:at] + struct.pack("!H", checksum(pseudo + whole)) + whole[at + 2:]


def ip(eth_src, eth_dst, src, dst, proto, payload, ttl=64, fragment=0, **more):
    """An IPv4 or IPv6 packet. `fragment`: the 16 bits of flags and offset (RFC 791); its payload is taken as it is."""
    a, b = address(src), address(dst)
    body = payload if fragment & 0x1FFF else transport(proto, a, b, payload, **more)
    if len(a) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(body), proto, ttl) + a + b
        return ethernet(eth_src, eth_dst, IPV6, head + body)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, fragment, ttl, proto, 0) + a + b
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return ethernet(eth_src, eth_dst, IPV4, head + body)


def nd(eth_src, eth_dst, src, dst, kind, target, link, flags=0):
    """A neighbour solicitation (135) or advertisement (136) with a link-layer address option (RFC 4861)."""
    body = struct.pack("!I", flags) + address(target) + bytes([1 if kind == 135 else 2, 1]) + mac(link)
    return ip(eth_src, eth_dst, src, dst, ICMP6, body, ttl=255, kind=kind)


def solicited(target):
    """The MAC and the address of a solicitation for it (RFC 4291 section 2.7.1)."""
    tail = address(target)[-3:]
    return ("33:33:ff:" + tail.hex(":"),
            str(ipaddress.IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + tail)))


def link_local(own):
    """The address that a station makes of its MAC (RFC 4291 appendix A)."""
    m = mac(own)
    return str(ipaddress.IPv6Address(bytes([0xFE, 0x80, *bytes(6), m[0] ^ 2, m[1], m[2], 0xFF, 0xFE, *m[3:]])))


def tagged(frame, vlan):
    return frame[:12] + struct.pack("!HH", VLAN, vlan) + frame[12:]


def words(frame):
    """As `rawframes send` takes it."""
    head = frame.rstrip(b"\0")
    zeros = len(frame) - len(head)
    return head.hex() + f"+{zeros}" * (zeros > 0)


class Seen:
    """A frame that arrived."""

    def __init__(self, raw):
        self.raw = raw
        self.dst, self.src = raw[0:6].hex(":"), raw[6:12].hex(":")
        self.ethertype = struct.unpack("!H", raw[12:14])[0]
        self.ttl = self.proto = self.icmp = None
        body = raw[14:]
        if self.ethertype == IPV4 and len(body) >= 20:
            self.ttl, self.proto = body[8], body[9]
            self.source = str(ipaddress.ip_address(body[12:16]))
            self.sound = checksum(body[:20]) == 0
            rest = body[(body[0] & 15) * 4:]
        elif self.ethertype == IPV6 and len(body) >= 40:
            self.ttl, self.proto, self.sound = body[7], body[6], True
            self.source = str(ipaddress.ip_address(body[8:24]))
            rest = body[40:]
        else:
            return
        if self.proto in (ICMP, ICMP6) and rest:
            self.icmp = rest[0]
        self.ports = struct.unpack("!HH", rest[:4]) if self.proto in (TCP, UDP) and len(rest) >= 4 else None

    def __str__(self):
        return f"{self.src} > {self.dst} {self.ethertype:04x} ttl {self.ttl}: {self.raw[14:74].hex()}"
