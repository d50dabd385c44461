# SPDX-License-Identifier: Apache-2.0
"""PCI functions that come and go while the host runs, as a DPU's do: "tests/lab/run --hotplug", in any face.

Two empty root ports take the functions f0 and f1 (virtio-net). The other end of each one's cable is a NIC of the guest,
f0far and f1far, down. In the guest, guest/lab-function asks on the virtio port lab.hotplug; Agent answers, beside the
QEMU that is the guest, through a monitor of that QEMU. A request and its answer are a line each:
  plug ID | unplug ID SECONDS | list     ->     ok [ID...] | error TEXT
"unplug" waits SECONDS for the function to be gone; with 0 it only asks.
"""
import glob
import json
import subprocess
import threading
import time

FUNCTIONS = ("f0", "f1")
FIRST_SLOT = 110
FIRST_PORT = 0x1c  # on the first bus; QEMU gives out the low numbers by itself


def mac(i):
    return f"52:54:00:00:04:{i:02x}"


def far_mac(i):
    return f"52:54:00:00:05:{i:02x}"


class Refused(Exception):
    pass


class Agent(threading.Thread):
    """Ends when QEMU does."""

    def __init__(self, requests, monitor):
        super().__init__(daemon=True)
        self.requests = requests.makefile("rw", encoding="utf-8")
        self.monitor = monitor
        self.unread = b""
        self.deleted = []  # events about functions that have left, or that the guest refused to let go

    def message(self, end=None):
        """The next message of the monitor; None at the time `end`."""
        while b"\n" not in self.unread:
            self.monitor.settimeout(None if end is None else max(0.01, end - time.monotonic()))
            try:
                data = self.monitor.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise EOFError
            self.unread += data
        line, self.unread = self.unread.split(b"\n", 1)
        return json.loads(line)

    def note(self, message):
        if message.get("event") in ("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR") and "device" in message["data"]:
            self.deleted.append((message["data"]["device"], message["event"]))

    def ask(self, command, **arguments):
        self.monitor.settimeout(None)
        self.monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self.message()
            if "error" in answer:
                raise Refused(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]
            self.note(answer)

    def plugged(self):
        return [c["name"] for c in self.ask("qom-list", path="/machine/peripheral") if c["name"] in FUNCTIONS]

    def plug(self, name):
        i = FUNCTIONS.index(name)
        self.ask("device_add", driver="virtio-net-pci", id=name, bus=f"hot{i}", netdev=name, mac=mac(i), romfile="",
                 **{"disable-legacy": "on", "iommu_platform": True})

    def unplug(self, name, seconds):
        self.deleted.clear()
        self.ask("device_del", id=name)
        end = time.monotonic() + seconds
        while seconds:
            for device, event in self.deleted:
                if device == name:
                    if event != "DEVICE_DELETED":
                        raise Refused("the host refuses to let it go")
                    return
            if (message := self.message(end)) is None:
                raise Refused(f"not gone within {seconds:g} s")
            self.note(message)

    def answer(self, verb, *words):
        if words and words[0] not in FUNCTIONS:
            raise Refused(f"no function {words[0]}; there are {' '.join(FUNCTIONS)}")
        if verb == "plug" and len(words) == 1:
            self.plug(words[0])
        elif verb == "unplug" and len(words) == 2:
            self.unplug(words[0], float(words[1]))
        elif verb == "list" and not words:
            return self.plugged()
        else:
            raise Refused("not understood")
        return []

    def run(self):
        try:
            self.message()  # greeting
            self.ask("qmp_capabilities")
            for line in self.requests:
                try:
                    text = " ".join(["ok"] + self.answer(*(line.split() or [""])))
                except (Refused, ValueError) as e:
                    text = f"error {e}"
                self.requests.write(text.replace("\n", " ") + "\n")
                self.requests.flush()
        except (OSError, EOFError, ValueError):
            pass  # QEMU has ended


def host(machine):
    """Adds the root ports, the far ends and the two sockets; returns (facts, agent)."""
    facts = []
    for i, name in enumerate(FUNCTIONS):
        machine.add("-device", f"pcie-root-port,id=hot{i},chassis={FIRST_SLOT + i},slot={FIRST_SLOT + i},"
                    f"addr={FIRST_PORT + i:#x}")
        machine.wire(name, f"{name}far")
        machine.add("-device", f"virtio-net-pci,netdev={name}far,mac={far_mac(i)},romfile=")
        facts.append({"name": name, "mac": mac(i), "root_port": f"0000:00:{FIRST_PORT + i:02x}.0",
                      "far": f"{name}far", "far_mac": far_mac(i)})
    return facts, Agent(machine.port("hotplug"), machine.monitor())


def guest(facts):
    """Names the far ends and finds the address that a function will have."""
    by_mac = {open(f).read().strip(): f.split("/")[4] for f in glob.glob("/sys/class/net/*/address")}
    for function in facts["hotplug"]:
        subprocess.run(["ip", "link", "set", by_mac[function["far_mac"]], "name", function["far"]], check=True)
        with open(f"/sys/bus/pci/devices/{function['root_port']}/secondary_bus_number") as f:
            function["pci"] = f"0000:{int(f.read()):02x}:00.0"
