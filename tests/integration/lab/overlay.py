# SPDX-License-Identifier: Apache-2.0
"""A scene for faces with representors: two tenants' overlay networks, two VMs, and a ping that must never lose a
packet."""
from host import Far, Pinger, network_yaml
from scene import Scene

FAR = "10.0.0.2"  # both tenants' far ends own it
A, B_RED, B_BLUE = "10.0.0.1", "10.0.0.6", "10.0.0.1"
RED_PREFIXES = ["10.0.0.0/24", "fd00:10::/64"]
FAR6, A6 = "fd00:10::2", "fd00:10::1"  # red has IPv6 too


class Overlay(Scene):
    """VM a is in VPC red for the whole run and pings its far end; VM b is what the cases are about. Between cases b runs
    and has no NIC."""
    BEGINS = "hot-attach"

    def __init__(self, **config):
        self.red = Far("far-red", 100, "52:54:00:00:0a:02", FAR, FAR6)
        self.blue = Far("far-blue", 200, "52:54:00:00:0b:02", FAR)
        super().__init__("a", "b", **config)
        self.a, self.b = self.vms["a"], self.vms["b"]
        self.agent.apply(network_yaml("red", 100, *RED_PREFIXES) + network_yaml("blue", 200) +
                         self.red.yaml("red") + self.blue.yaml("blue"))
        self.a.wait()
        self.attach(self.a, "red", A, "--address", A6)
        self.a.up(A)
        self.pinger = Pinger(self.a, FAR)
        self.b.wait()
        self.settled()

    def check(self):
        super().check()
        self.pinger.check()

    def end(self):
        self.pinger.stop()
        super().end()
