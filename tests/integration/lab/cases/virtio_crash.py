# SPDX-License-Identifier: Apache-2.0
"""Suite crash-sweep on a real kernel and QEMU: an agent is killed before and after changes of an attach and a detach,
which are counted off a run without a kill, and another takes over. On the fakes (tests/sweep) that is done for each
change; here for a sample, the first and the last of each kind, unless FAIRLEAD_SWEEP=all."""
import itertools
import os
import re

import crashing
from host import eventually, need, snapshot
from overlay import B_BLUE, FAR, Overlay
from scene import attach_words

PORT = "b-blue-1"


class Scene(Overlay):
    """VM b is attached to blue, where no other port is, so that all of a VPC comes and goes with it."""

    def __init__(self):
        super().__init__()
        self.up = attach_words(self.b, "blue", B_BLUE)
        self.down = ["detach", "--vm", "b", "--vpc", "blue"]

    def snapshot(self):
        """Without what differs from one attach to the next, the numbers of the port and of its lease."""
        text = "\n".join(snapshot(*self.vms.values(), everywhere=False))
        for port in re.findall(r"^vm b device fairlead-\w+-p(\d+)-", text, re.MULTILINE):
            text = text.replace(f'"handle": {port},', '"handle": "port",')
        text = re.sub(r'("cookie": "\w{8})\w+', r"\1", text)  # the store's id remains
        text = re.sub(r"(vm b device fairlead-\w+)-p\d+-l\d+", r"\1", text)
        return sorted(text.splitlines())

    def made_by(self, request, end):
        """What an agent changes that is not killed; `end` waits for its end."""
        crashing.start(self.agent)
        self.agent.ctl(*request)
        end()
        return crashing.changes()

    def after_kill(self, point, request, end, when, wanted=None):
        """The end that another agent comes to, by what was stored alone, and how the host is then. No point: no kill.
        """
        if point:
            crashing.killed(self.agent, point, *request)
            self.agent.start()
        else:
            self.agent.ctl(*request)
        end()
        self.untouched(f"{when} killed {point}" if point else when, wanted)

    def ready(self):
        self.agent.wait_state(PORT, "ready")

    def gone(self):
        eventually(f"port {PORT} is gone", lambda: not self.agent.port(PORT))


def chosen(made):
    """Points of these changes."""
    every = [(point, *point.split(maxsplit=2)[1:]) for point in crashing.points(made)]
    last = {name: number for _, number, name in every}
    return [point for point, number, name in every
            if number in ("1", last[name]) or os.environ.get("FAIRLEAD_SWEEP") == "all"]


def touches_all(made, what):
    ports = {change.split()[0] for change in made}
    need({"rtnetlink", "tc", "sysfs", "qmp"} <= ports, f"{what} changes nothing by some port: {made}")


def attach_and_detach(s):
    """Killed in an attach or in a detach, the port ends ready and reaches its far end, or gone, as without a kill."""
    attach = s.made_by(s.up, s.ready)
    ready = s.snapshot()
    detach = s.made_by(s.down, s.gone)
    touches_all(attach, "an attach")
    touches_all(detach, "a detach")
    points = chosen(attach), chosen(detach)
    for up, down in itertools.zip_longest(*points):
        s.after_kill(up, s.up, s.ready, "attach", ready)
        s.b.up(B_BLUE)
        need(s.b.ping(FAR, count=1) == 1, f"attach killed {up}: VM b does not reach its far end")
        s.after_kill(down, s.down, s.gone, "detach")
        print(f"    attach killed {up}, detach killed {down}", flush=True)
    return (f"{len(points[0])} of {2 * len(attach)} points of an attach, "
            f"{len(points[1])} of {2 * len(detach)} of a detach")


def refused_attach(s):
    """Killed in an attach that can never succeed, or in its rollback, it ends failed and rolled back."""
    request = [*s.up, "--offload", "must"]

    def refused():
        s.agent.failed(PORT, "flow-rule", "must", "Operation not supported")

    made = s.made_by(request, refused)
    s.give_up(s.b, "blue")
    points = chosen(made)
    for point in points:
        s.after_kill(point, request, refused, "refused attach")
        need(not s.b.devices(), f"killed {point}: VM b got a device")
        s.give_up(s.b, "blue")
        print(f"    killed {point}", flush=True)
    return f"{len(points)} of {2 * len(made)} points"


GROUPS = [[attach_and_detach], [refused_attach]]
