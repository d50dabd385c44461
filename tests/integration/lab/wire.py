# SPDX-License-Identifier: Apache-2.0
"""Just enough of ZeroMQ's wire protocol (ZMTP 3.0, rfc.zeromq.org/spec/23) and of protobuf to send an agent what no
proper client sends."""
import socket
import struct


class Peer:
    """A DEALER at the agent's socket."""

    def __init__(self, path="/run/fairlead/agent.sock", handshake=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(path)
        if handshake:
            self.raw(b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
            self.exactly(64)
            ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + bytes(4)
            self.raw(bytes([4, len(ready)]) + ready)
            self.frame()

    def raw(self, data):
        self.sock.sendall(data)

    def send(self, payload):
        self.raw(b"\x02" + struct.pack(">Q", len(payload)))
        self.raw(payload)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise ConnectionError("the agent closed the connection")
            data += more
        return data

    def frame(self):
        """(flags, body) of the next frame."""
        flags = self.exactly(1)[0]
        size = struct.unpack(">Q", self.exactly(8))[0] if flags & 2 else self.exactly(1)[0]
        return flags, self.exactly(size)

    def closed(self):
        """Waits until the agent hangs up."""
        try:
            while self.sock.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.sock.close()


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """[(number, value)] of one message; nested messages are bytes."""
    found, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            found.append((key >> 3, number()))
        elif key & 7 == 2:
            size = number()
            found.append((key >> 3, data[at:at + size]))
            at += size
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def request(request_id, body, version=1):
    """fairlead.v1.Request (agent.proto)."""
    return field(1, version) + field(2, request_id) + field(3, "lab") + body


def apply_vpc(name, vni, more=b""):
    """A body: Apply{upsert: Vpc}."""
    return field(10, field(1, field(1, field(1, name) + field(2, vni) + more)))


def violations(reply):
    """[(path, code, reason)] of a Reply that rejects; [] for another one."""
    found = []
    for number, value in fields(reply):
        if number == 11:  # Reply.rejected
            for _, violation in fields(value):
                parts = dict(fields(violation))
                found.append((parts.get(1, b"").decode(), parts.get(2, 0), parts.get(3, b"").decode()))
    return found


MALFORMED, UNSUPPORTED, INVALID = 1, 2, 3  # Rejected.Code
