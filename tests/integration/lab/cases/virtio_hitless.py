# SPDX-License-Identifier: Apache-2.0
"""Suite hitless: a VM pings through its port every 10 ms while the agent is killed and started again and again, with
another attach half done and an endpoint that moves meanwhile, and VM a's neighbours are forgotten in half of the outages.
It is done in quarters, each a boot with an equal run
without kills of its own: in so long a time under so many packets an emulated kernel may die."""
import os
import time

import crashing
from host import PATIENCE, ByHand, Far, SteadyPing, another_host, eventually, filters, need, need_kept, network_yaml
from scene import Scene as AnyScene
from scene import attach_words

QUARTERS = 4
ROUNDS = int(os.environ.get("FAIRLEAD_ROUNDS", "20")) // QUARTERS
EVERY = 10  # milliseconds
DURING = 50  # pings that reach the far end while no agent runs
FAR, MOVER = "10.0.0.2", "10.0.0.3"
A, B = "10.0.0.1", "10.0.0.6"
PORT_B = "b-red-1"


class Scene(AnyScene):
    """VM a is in VPC red for the whole run. VM b is attached to it and detached in each round, and the endpoint "mover"
    changes between two hosts of the underlay, which are not that of the endpoint that VM a pings. A VF is somebody
    else's."""
    BEGINS = "hot-attach"

    def __init__(self):
        self.hosts = [another_host(1), another_host(2)]
        self.far = Far("far-red", 100, "52:54:00:00:0a:02", FAR)
        self.mover = Far("mover", 100, "52:54:00:00:0a:03", MOVER, host=self.hosts[0])
        super().__init__("a", "b")
        self.foreign = ByHand(3, "vfio-pci")
        self.a, self.b = self.vms["a"], self.vms["b"]
        self.agent.apply(network_yaml("red", 100) + self.far.yaml("red") + self.mover.yaml("red"))
        self.a.wait()
        self.attach(self.a, "red", A)
        self.a.up(A)
        need(self.a.ping(FAR) == 5, "VM a does not reach its far end")
        self.b.wait()
        self.settled()

    def end(self):
        self.foreign.give_back()
        super().end()

    def settle_mover(self):
        """Back where it was at the start."""
        self.mover.move(self.hosts[0])
        self.agent.apply(self.mover.yaml("red"), "--wait")


class Round:
    """One attach of VM b, one move, one detach, and maybe the end of an agent in the midst of the attach."""

    def __init__(self, scene, kept):
        self.s, self.kept = scene, kept  # kept: filters that none of it may touch
        self.request = attach_words(scene.b, "red", B)

    def run(self, number, point=None):
        """`number`: of all rounds, whichever quarter they are of."""
        s = self.s
        if point:
            crashing.killed(s.agent, point, *self.request)
        else:
            s.agent.ctl(*self.request)
        if number % 2:
            s.a.sh("ip neigh flush dev eth0")  # whom VM a pings is asked for anew; after a kill no agent is there
        self.move()
        if point:
            s.agent.start()
        s.agent.apply(s.mover.yaml("red"), "--wait")
        s.agent.wait_state(PORT_B, "ready")
        s.b.up(B)
        need(s.b.ping(MOVER, count=1) == 1, "VM b does not reach the endpoint that moved")
        need(s.a.ping(MOVER, count=1) == 1, "VM a does not reach the endpoint that moved")
        now = filters()
        need_kept(self.kept, now)
        self.kept = {key: now[key] for key in self.kept}
        s.agent.detach("b", "red")

    def move(self):
        """Lasts until VM a has pinged on for a while."""
        s = self.s
        before = s.far.echoes()
        s.mover.move(s.hosts[s.mover.host is s.hosts[0]])
        eventually("VM a pings on", lambda: s.far.echoes() >= before + DURING)


def rehearse(s):
    """A round without a kill, and without a look at what the ping loses. Returns what an attach changes, and the rules
    that last through all of it; among them are VM a's own and that to its far end."""
    before = filters()
    crashing.start(s.agent)
    s.attach(s.b, "red", B)
    made = crashing.changes()
    lasting = before.keys() & filters().keys()
    s.agent.detach("b", "red")
    ping = SteadyPing(s.a, FAR, EVERY)
    Round(s, {}).run(0)
    ping.stop()
    s.settle_mover()
    now = filters()
    # What leads to the endpoint that moves is made anew, maybe under a number that the kernel had given it before.
    movers = {key[3] for key in now if key[-1] == s.mover.mac}
    lasting = {key for key in lasting & now.keys() if key[3] not in movers}
    need({s.a.mac(), s.far.mac} <= {key[-1] for key in lasting}, f"VM a's rules do not last: {lasting}")
    return made, {key: now[key] for key in lasting}


def pinged(s, kept, first_round, points, at_least=0):
    """Rounds under ping, one for each point, and on until so many pings are out. Returns what SteadyPing tells."""
    ping, first, begin = SteadyPing(s.a, FAR, EVERY), s.far.echoes(), time.monotonic()
    this = Round(s, kept)
    for number, point in enumerate(points, first_round):
        start = time.monotonic()
        this.run(number, point)
        print(f"    {f'killed {point}' if point else 'no kill'} ({time.monotonic() - start:.0f} s)", flush=True)
    eventually("as many pings are out as with kills", lambda: s.far.echoes() - first >= at_least, 20 * PATIENCE)
    told = ping.stop()
    spent = time.monotonic() - begin
    print(f"    in {spent:.0f} s, {1000 * spent / told[1]:.1f} ms each: {told[0]}", flush=True)
    return told


# ovn 247, 252 and 261: a restart of the agent lost traffic for 10 s to 8 min.
def kill(s, quarter):
    """No ping is lost while the agent is killed again and again; in an equal run without kills none is either."""
    made, kept = rehearse(s)
    all_points = crashing.points(made)[1:-1]  # some of it is done, and not all
    points = [all_points[i * len(all_points) // (QUARTERS * ROUNDS)] for i in range(quarter, QUARTERS * ROUNDS, QUARTERS)]
    devices = s.a.devices()
    for _ in range(2):
        text, sent, lost, twice = pinged(s, kept, quarter * ROUNDS, points)
        _, equal, lost_without, twice_without = pinged(s, kept, quarter * ROUNDS, [None] * ROUNDS, sent)
        if not lost_without and not twice_without:
            break
        print("    without kills something was lost too: that run does not count", flush=True)
    need(not lost_without and not twice_without, "something is lost without kills: no run counts")
    need(not lost and not twice, f"with kills: {text}")
    need(s.a.devices() == devices, "VM a's device was plugged again")
    if s.mover.host is not s.hosts[0]:
        s.settle_mover()
    s.untouched("after the kills")
    return f"{2 * ROUNDS} kills, {ROUNDS} of them in an attach; {sent} pings; without kills {equal}"


def kill_9_first(s):
    return kill(s, 0)


def kill_9_second(s):
    return kill(s, 1)


def kill_9_third(s):
    return kill(s, 2)


def kill_9_fourth(s):
    return kill(s, 3)


GROUPS = [[kill_9_first], [kill_9_second], [kill_9_third], [kill_9_fourth]]
