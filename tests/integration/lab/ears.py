# SPDX-License-Identifier: Apache-2.0
"""Hears the frames that arrive, in namespaces of the host and in VMs."""
import json
import subprocess

from frames import Seen
from host import eventually, ip

IFF_PROMISC = 0x100  # linux/if.h


class Ear:
    """Hears all that arrives at a netdev of a namespace."""

    def __init__(self, name, netns, dev):
        self.log = f"/run/fairlead/heard.{name}"

        def promiscuity():
            return json.loads(ip("-n", netns, "-d", "-j", "link", "show", dev))[0]["promiscuity"]

        before = promiscuity()
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(["ip", "netns", "exec", netns, "rawframes", "hear", dev],
                                            stdin=subprocess.DEVNULL, stdout=out)
        eventually(f"rawframes hears {name}", lambda: promiscuity() > before)

    def stop(self):
        """The frames that it has heard, as they were."""
        self.process.terminate()
        self.process.wait()
        return parsed(open(self.log).read())


class Ears:
    """Hears all that arrives at ports, name -> (VM, its netdev), and elsewhere, name -> (namespace, netdev)."""

    def __init__(self, ports, elsewhere):
        self.ports = ports
        for vm, dev in ports.values():
            vm.sh(f"rawframes hear {dev} >/tmp/heard.{dev} & echo $! >/tmp/heard.{dev}.pid")
            eventually(f"rawframes hears {dev} of VM {vm.name}",
                       lambda v=vm, d=dev: int(v.sh(f"cat /sys/class/net/{d}/flags").strip(), 16) & IFF_PROMISC)
        self.elsewhere = {name: Ear(name, *at) for name, at in elsewhere.items()}

    def stop(self):
        """What each has heard: name -> [Seen]."""
        heard = {}
        for port, (vm, dev) in self.ports.items():
            vm.sh(f"kill $(cat /tmp/heard.{dev}.pid)")
            heard[port] = parsed(vm.sh(f"cat /tmp/heard.{dev}"))
        heard.update((name, ear.stop()) for name, ear in self.elsewhere.items())
        return {name: [Seen(raw) for raw in frames] for name, frames in heard.items()}


def parsed(text):
    return [bytes.fromhex(line) for line in text.split()]
