# SPDX-License-Identifier: Apache-2.0
"""Suite package: the Debian package under a systemd of its own, installed, upgraded, removed and purged while a VM
pings through its port every 10 ms. FAIRLEAD_PACKAGES names the folder with two builds of it, the second of a higher
version (tests/package makes them). After each case the runner checks that VM a lost no packet."""
import glob
import os
import re
import subprocess

from host import PF, Agent, Far, SteadyPing, agent_config, eventually, need, network_yaml, read, run, write
from scene import Scene as AnyScene
from systemd import Systemd

UNIT = "fairleadd.service"
EVERY = 10  # milliseconds
DURING = 50  # pings that reach the far end while no agent runs
STATE = "/var/lib/fairlead"
FAR, A = "10.0.0.2", "10.0.0.1"
QEMU_USER = 65534  # nobody: the node of the VM's group is to be given to it


def versions():
    """[(version, file)], the older one first."""
    found = [(run("dpkg-deb", "--field", path, "Version").stdout.strip(), path)
             for path in glob.glob(f"{os.environ['FAIRLEAD_PACKAGES']}/*.deb")]
    need(len(found) == 2, f"two packages are wanted in $FAIRLEAD_PACKAGES, and there are {found}")
    older = run("dpkg", "--compare-versions", found[0][0], "lt", found[1][0], check=False).returncode == 0
    return found if older else found[::-1]


class Packaged(Agent):
    """The agent as the package and systemd run it."""
    CONFIG = "/etc/fairlead/fairleadd.yaml"
    CTL = "/usr/bin/fairleadctl"

    def __init__(self, **config):
        self.systemd = Systemd()
        self.config, self.pool = agent_config(own_slow_path=False, **config), PF["max_vfs"]
        (self.version, deb), self.newer = versions()
        done = self.install(deb)
        need("name this host's NICs" in done, f"the installation does not say what is to be done: {done}")
        shown = self.systemd.show(UNIT, "ActiveState", "Result", "UnitFileState")
        need(shown == {"ActiveState": "inactive", "Result": "exec-condition", "UnitFileState": "enabled"},
             f"without a configuration the service is {shown}")
        need("says nothing yet" in self.tail(), f"the journal does not say why it is not started: {self.tail()}")
        warned = self.systemd.run("systemd-analyze", "verify", UNIT)
        need(not warned.stderr.strip(), f"systemd-analyze verify: {warned.stderr}")
        write(self.CONFIG, self.config)

    def install(self, deb):
        return self.dpkg("--install", deb)

    def dpkg(self, *words):
        """What it says. It has nobody to ask anything."""
        done = self.systemd.run("dpkg", *words, check=False, stdin=subprocess.DEVNULL)
        need(done.returncode == 0, f"dpkg {' '.join(words)}: exit {done.returncode}: {done.stdout} {done.stderr}")
        return done.stdout + done.stderr

    def start(self):
        self.systemd.run("systemctl", "start", UNIT)
        eventually("the agent has its VF pool", self.idle)

    def stop(self):
        self.systemd.run("systemctl", "stop", UNIT)
        shown = self.systemd.show(UNIT, "ActiveState", "Result")
        need(shown == {"ActiveState": "inactive", "Result": "success"}, f"stopped the service is {shown}")

    def ended(self):
        shown = self.systemd.show(UNIT, "ActiveState", "ExecMainStatus")
        return None if shown["ActiveState"] in ("active", "activating") else shown["ExecMainStatus"]

    def pid(self):
        return self.systemd.show(UNIT, "MainPID")["MainPID"]

    def tail(self, lines=30):
        return self.systemd.run("journalctl", "--no-pager", "--unit", UNIT, "--lines", lines, check=False).stdout


class Scene(AnyScene):
    """VM a is in VPC red for the whole run and pings its far end. (By one ping alone: every one in it hears all answers,
    and busybox's has room for a dozen.)"""
    BEGINS = "install"
    AGENT = Packaged

    def __init__(self):
        self.red = Far("far-red", 100, "52:54:00:00:0a:02", FAR)
        super().__init__("a", state_dir=STATE, more=f"vfio: {{node_uid: {QEMU_USER}, node_mode: 0600}}\n")
        self.a = self.vms["a"]
        self.agent.apply(network_yaml("red", 100) + self.red.yaml("red"))
        self.a.wait()
        self.attach(self.a, "red", A)
        self.a.up(A)
        need(self.a.ping(FAR) == 5, "VM a does not reach its far end")
        self.settled()
        self.ping = SteadyPing(self.a, FAR, EVERY)

    def no_loss(self):
        """None of the pings since the last time was lost. Returns what the ping tells, and begins another."""
        text, sent, lost, twice = self.ping.stop()
        self.ping = SteadyPing(self.a, FAR, EVERY)
        need(sent > 0 and lost == 0 and twice == 0, f"of VM a's pings: {text}")
        return text

    def pings_on(self):
        """Returns when more have reached the far end. (Whether the answers came, no_loss tells.)"""
        before = self.red.echoes()
        eventually("VM a pings on", lambda: self.red.echoes() >= before + DURING)

    def check(self):
        super().check()
        self.no_loss()

    def ready(self):
        """The port is, under the same store, and nothing on the host is other than before."""
        self.agent.wait_state("a-red-1", "ready")
        self.pings_on()
        self.untouched("with the agent that runs now")

    def end(self):
        self.ping.stop()
        super().end()
        files = self.agent.systemd.run("dpkg", "--listfiles", "fairlead").stdout.split()
        said = self.agent.dpkg("--purge", "fairlead")
        need("is kept" not in said, f"there is nothing any more for which the state has to be kept: {said}")
        left = [path for path in files + [STATE] if "fairlead" in path and os.path.lexists(path)]
        left += glob.glob("/etc/systemd/system/**/fairlead*", recursive=True)
        need(not left, f"after the purge these are left: {left}")


def notify(s):
    """systemd waits until the agent has observed the host, shows how it stands, and gives it no more rights."""
    shown = s.agent.systemd.show(UNIT, "ActiveState", "Type", "StatusText", "MainPID", "NRestarts")
    state = (shown["ActiveState"], shown["Type"], shown["NRestarts"])
    need(state == ("active", "notify", "0"), f"the service is {shown}")
    eventually("the status says how the objects are", lambda: re.search(
        r"objects: \d+ ready.*; 1 of \d+ VFs leased", s.agent.systemd.show(UNIT, "StatusText")["StatusText"]))
    bounded = run("grep", "CapBnd", f"/proc/{outer_pid(s.agent)}/status").stdout.split()[1]
    need(int(bounded, 16) == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 12, f"the capabilities are {bounded}")
    groups = [path for path in glob.glob("/dev/vfio/[0-9]*") if os.stat(path).st_uid == QEMU_USER]
    need(len(groups) == 1, f"the VM's group has not the owner that the configuration names: {groups}")
    need(os.stat("/run/fairlead/agent.sock").st_mode & 0o777 == 0o660, "the socket has another mode")
    return s.agent.systemd.show(UNIT, "StatusText")["StatusText"]


def outer_pid(agent):
    """By the number that it has in the guest."""
    return run("pgrep", "--exact", "fairleadd").stdout.split()[0]


def watchdog(s):
    """An agent whose loop stands still is ended by systemd, and another started, which takes over all."""
    os.makedirs(f"/run/systemd/system/{UNIT}.d", exist_ok=True)
    write(f"/run/systemd/system/{UNIT}.d/watchdog.conf", "[Service]\nWatchdogSec=10\n")
    s.agent.systemd.run("systemctl", "daemon-reload")
    s.agent.systemd.run("systemctl", "restart", UNIT)
    before = s.agent.pid()
    run("kill", "-STOP", outer_pid(s.agent))
    eventually("another agent is started", lambda: s.agent.pid() not in (before, "0"))
    eventually("it is ready", lambda: s.agent.systemd.show(UNIT, "ActiveState")["ActiveState"] == "active")
    need(s.agent.systemd.show(UNIT, "NRestarts")["NRestarts"] == "1", "it was started more than once")
    s.ready()
    os.remove(f"/run/systemd/system/{UNIT}.d/watchdog.conf")
    s.agent.systemd.run("systemctl", "daemon-reload")


def stop_and_start(s):
    """While the agent is stopped the VM goes on, the folder of the sockets stays, and a start takes over."""
    s.agent.stop()
    need(os.path.isdir("/run/fairlead"), "the folder for VMs' monitors went with the agent")
    s.pings_on()
    s.agent.start()
    s.ready()


def upgrade(s):
    """dpkg -i of a higher version under pings: the new agent runs, and has taken over all as it was."""
    version, deb = s.agent.newer
    pid, store, objects = s.agent.pid(), s.agent.host_state()["store_id"], s.refs()
    s.agent.install(deb)
    now = s.agent.host_state()
    need(now["version"] == version, f"the agent has the version {now['version']}, not {version}")
    need(s.agent.pid() != pid, "it is the old agent")
    need((now["store_id"], s.refs()) == (store, objects), "store or objects are others")
    need(read(s.agent.CONFIG) == s.agent.config.strip(), "the configuration is another")
    s.ready()
    return f"{s.agent.version} to {version}: {s.no_loss()}"


def removed_while_in_use(s):
    """The package is removed, and purged: the VM goes on and the state is kept, and said so; installed again, the agent
    takes over."""
    store = s.agent.host_state()["store_id"]
    said = s.agent.dpkg("--remove", "fairlead")
    need("port/a-red-1 of vm/a" in said, f"the removal does not say what goes on: {said}")
    need(not run("pgrep", "--exact", "fairleadd", check=False).stdout, "the agent still runs")
    said = s.agent.dpkg("--purge", "fairlead")
    need("is kept" in said and "port/a-red-1" in said and "fl-vxlan0" in said,
         f"the purge does not say what is kept: {said}")
    need(os.path.exists(f"{STATE}/store.sqlite"), "the state went while the VM's NIC belongs to it")
    need(not os.path.exists(s.agent.CONFIG), "the configuration is left")
    s.pings_on()
    s.agent.install(s.agent.newer[1])
    write(s.agent.CONFIG, s.agent.config)
    s.agent.start()
    need(s.agent.host_state()["store_id"] == store, "it has another store")
    s.ready()
    return s.no_loss()


GROUPS = [[notify, watchdog, stop_and_start, upgrade, removed_while_in_use]]
KEEPS = set(GROUPS[0])
