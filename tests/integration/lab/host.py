# SPDX-License-Identifier: Apache-2.0
"""The parts of which the lab's cases and the demo are made, for use in the guest of tests/lab/run: the facts, the agent
and fairleadctl, the nested VMs, the tenants' far ends in the namespace "remote", snapshots, and captures.

Nothing here waits for a fixed time: what must happen is polled for, with a generous end (`eventually`).
"""
import bisect
import glob
import importlib.machinery
import importlib.util
import ipaddress
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter

sys.dont_write_bytecode = True

FACTS = json.load(open(os.environ["LAB_FACTS"]))
PF = FACTS["pfs"][0]  # a face without a PF runs no agent
VFS = PF["vfs"]  # what is known of each differs by face: see tests/lab/README.md
LOCAL, REMOTE = FACTS["underlay"]["local"], FACTS["underlay"]["remote"]
BUILD = os.path.abspath(os.environ.get("FAIRLEAD_BUILD", "build/release"))
VXLAN_PORT = 4789  # RFC 7348
PATIENCE = 90  # seconds; sanitizers on an emulated processor take their time


class Failure(Exception):
    """A case or the demo does not hold; the text says why."""


def load_vm_tool():
    loader = importlib.machinery.SourceFileLoader("lab_vm", FACTS["paths"]["vm"])
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lab_vm", loader))
    loader.exec_module(module)
    return module


VM_TOOL = load_vm_tool()
VmError = VM_TOOL.VmError


# What a kernel says when it dies, and QEMU of a processor that KVM cannot run on.
DEATH = re.compile(r"Kernel panic|Oops: |BUG: |kernel BUG at|general protection fault|KVM internal error|KVM: entry failed")


def sick_lab():
    """What shows that the emulated machine itself is ill, in words; "" when nothing does. Under emulated nested
    virtualization a kernel now and then dies of that and leaves a word of it, or spins without one: a VM that runs and
    does not answer. (An agent may do that to a VM too, but then in the same case each time, which tests/run calls a
    failure.) A VM that ended or is in an odd state without a word is no excuse."""
    words = {"the guest's kernel": run("dmesg", check=False).stdout}
    for path in sorted(glob.glob(f"{VM_TOOL.VMS}/*/*.log")):
        folder, name = os.path.split(path)
        words[f"VM {os.path.basename(folder)}, {name}"] = open(path, errors="replace").read()
    for who, text in words.items():
        lines = text.splitlines()
        for at, line in enumerate(lines):
            if DEATH.search(line):
                return f"{who}: " + " | ".join(words.strip() for words in lines[at:at + 12])
    for folder in sorted(glob.glob(f"{VM_TOOL.VMS}/*/")):
        name = os.path.basename(folder.rstrip("/"))
        try:
            state = VM_TOOL.checked_qmp(name, "query-status")["status"]
        except (VmError, OSError):
            continue
        if state == "internal-error":  # only KVM sets that
            return f"VM {name}: internal-error"
        if state == "running" and not answers(name):
            return f"VM {name} runs and does not answer: {where(name)}"
    return ""


def where(name):
    """Where a VM's processor is: whether it halts or spins, in what, and how it came there: the text addresses on its
    stack by the names of this kernel, which is the VM's too, and neither moves itself (it is booted as an ELF file)."""
    def monitor(line):
        return VM_TOOL.checked_qmp(name, "human-monitor-command", **{"command-line": line})

    try:
        registers = monitor("info registers")
        at = {key: int(value, 16) for key, value in re.findall(r"(R[A-Z0-9]{1,2}) *=([0-9a-f]{16})", registers)}
        stack = [int(word, 16) for word in re.findall(r"\b0x[0-9a-f]{16}\b", monitor(f"x /256gx {at['RSP']:#x}"))]
    except (VmError, OSError, KeyError, ValueError) as e:
        return str(e)
    symbols = sorted((int(address, 16), symbol) for address, kind, symbol, *_ in
                     (line.split() for line in read("/proc/kallsyms").splitlines()) if kind in "tT")
    starts = [address for address, _ in symbols]

    def symbol(address):
        i = bisect.bisect_right(starts, address) - 1
        return symbols[i][1] if i >= 0 and 0 < address - starts[i] < 1 << 16 else ""

    calls = [found for word in stack if (found := symbol(word))]
    return " ".join([line for line in registers.splitlines() if line.startswith(("RIP=", "CR0=", "GS ="))] +
                    [f"in {symbol(at['RIP'])} <", " < ".join(calls)])


def answers(name):
    try:
        VM_TOOL.shell(name, "true", PATIENCE)
        return True
    except (VmError, OSError):
        return False


def need(condition, why):
    if not condition:
        raise Failure(why)


def eventually(what, predicate, seconds=PATIENCE):
    """Polls until `predicate` gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def run(*argv, check=True, **options):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **options)
    if check and done.returncode:
        raise Failure(f"{shlex.join(map(str, argv))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def ip(*words):
    return run("ip", *words).stdout


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read().strip()


# ---- the agent ---------------------------------------------------------------------------------------------------------
def agent_config(vfs=None, pf=(), more="", timing=None, state_dir="/run/fairlead/state", tunnel=None,
                 own_slow_path=True):
    """What an operator would write for this host. `vfs`: the pool, all that the PF has unless given. `pf`: more lines of
    the PF's entry, `more`: more keys of the file; `timing`: of timing_ms; `tunnel`: what stands within its braces;
    `own_slow_path`: the one that these cases start, not an installed one."""
    tunnel = tunnel or f'local: {LOCAL["address"]}, port: {VXLAN_PORT}, mtu: {FACTS["inner_mtu"]}'
    lines = [f'mac: "{PF["mac"]}"', f"vfs: {vfs or PF['max_vfs']}", *pf]
    if "representor" in VFS[0]:
        lines += ["representors:"] + [f'  - {{vf: {v["index"]}, netdev: {v["representor"]}, mac: "{v["mac"]}"}}'
                                      for v in VFS[:vfs]]
    entry = "\n    ".join(lines)
    times = "".join(f"  {key}: {value}\n" for key, value in (timing or {}).items())
    return (f'state_dir: {state_dir}\n'
            f'pfs:\n  - {entry}\n'
            f'tunnel: {{{tunnel}}}\n'
            + (f'slow_path: {{socket: {SlowPath.SOCKET}}}\n' if own_slow_path else "") +
            f'hypervisor:\n  monitor: {FACTS["paths"]["vm_run"]}/{{vm}}/qmp.sock\n  root_ports: ["rp*"]\n'
            + more + (f"timing_ms:\n{times}" if times else ""))


class SlowPath:
    """The process that answers guests on the host; it lives on when agents end."""
    SOCKET = "/run/fairlead/slowpath/control.sock"
    LOG = "/run/fairlead/slowpath.log"
    process = None

    @classmethod
    def start(cls):
        if cls.process and cls.process.poll() is None:
            return
        with open(cls.LOG, "a") as log:
            cls.process = subprocess.Popen([f"{BUILD}/dataplane/slowpath/fairlead-slowpath", "--socket", cls.SOCKET],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually("the slow path listens", lambda: os.path.exists(cls.SOCKET))

    @classmethod
    def kill(cls):
        cls.process.kill()
        cls.process.wait()


class Agent:
    LOG = "/run/fairlead/agent.log"
    CONFIG = "/run/fairlead/fairleadd.yaml"
    CTL = f"{BUILD}/agent/ctl/fairleadctl"

    def __init__(self, **config):
        os.makedirs("/run/fairlead", exist_ok=True)
        self.process = None
        self.configure(**config)

    def configure(self, **config):
        """Writes the configuration that the next start reads: see agent_config."""
        self.pool = config.get("vfs") or PF["max_vfs"]
        write(self.CONFIG, agent_config(**config))

    def start(self, program="fairleadd", *words):
        """Returns when the agent answers and its VF pool is there."""
        self.launch(program, *words)
        eventually("the agent answers and its VF pool is there", self.idle)

    def launch(self, program="fairleadd", *words):
        SlowPath.start()
        with open(self.LOG, "a") as log:
            self.process = subprocess.Popen([f"{BUILD}/agent/daemon/{program}", "--config", self.CONFIG, *words],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ended(self):
        """With which status; None while it runs."""
        return self.process.poll()

    def idle(self):
        need(self.ended() is None, f"fairleadd ended with status {self.ended()}:\n{self.tail()}")
        host = self.host_state()
        return (host.get("pfs") and len(host["pfs"][0].get("vfs", [])) == self.pool and
                not any(lane["running"] or lane["queued"] for lane in host["lanes"]))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise Failure(f"fairleadd does not end on SIGTERM:\n{self.tail()}") from None
            need(status == 0, f"fairleadd ended with status {status}:\n{self.tail()}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def tail(self, lines=30):
        text = open(self.LOG, errors="replace").read().splitlines()[-lines:]
        return "\n".join(f"    | {line}" for line in text)

    def ctl(self, *words, check=True, **options):
        done = run(self.CTL, "--timeout", "60s", *words, check=check, **options)
        if "--wait" in words and words[0] in ("attach", "apply"):
            self.introduce()
        return done

    def introduce(self):
        """Tells the far ends who is here, as a controller tells the agents of their hosts: nobody asks across hosts."""
        if not Far.ALL:
            return
        vnis = {vpc["object"]["vpc"]["id"]: vpc["object"]["vpc"].get("vni") for vpc in self.objects("vpcs")}
        for item in self.objects("ports"):
            port, mac = item["object"]["port"], item["status"].get("mac")
            for far in Far.ALL:
                if mac and far.vni == vnis.get(port["vpc"]):
                    far.know({address: mac for address in port.get("addresses", [])})

    def begin(self, *words):
        """A fairleadctl that is not waited for."""
        return subprocess.Popen([f"{BUILD}/agent/ctl/fairleadctl", *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def apply(self, yaml, *words, check=True):
        return self.ctl("apply", "-f", "-", *words, check=check, input=yaml)

    def objects(self, kind, ident=""):
        done = self.ctl("get", kind, *([ident] if ident else []), "-o", "json", check=False)
        return json.loads(done.stdout).get("objects", []) if done.returncode == 0 else []

    def host_state(self):
        """What fairleadctl status says; {} when the agent does not answer. Its exit status 4 is "not all is well"."""
        done = self.ctl("status", "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode in (0, 4) else {}

    def count(self):
        """How many objects there are."""
        return int(self.host_state()["objects_total"])

    def status(self, kind, ident):
        """The status of one object, {} when there is none; its state in small letters."""
        for item in self.objects(kind, ident):
            status = dict(item["status"])
            status["state"] = status["state"].removeprefix("OBJECT_STATE_").lower()
            return status
        return {}

    def port(self, ident):
        return self.status("ports", ident)

    def wait_state(self, port, *states):
        status = eventually(f"port {port} is {' or '.join(states)}, and not {self.port(port)}",
                            lambda: (s := self.port(port)).get("state") in states and s)
        self.introduce()
        return status

    def failed(self, port, step, *words):
        """Waits until the port has failed and is rolled back; its status must name the step and all the words."""
        def rolled_back():
            status = self.port(port)
            return status.get("state") == "failed" and status["rolled_back"] and status

        status = eventually(f"port {port} has failed and is rolled back", rolled_back)
        told = f"{status['reason']} {status['peer_words']}"
        need(step in status["step"], f"the failed step is {status['step']!r}, not {step!r} ({told})")
        for word in words:
            need(word.lower() in told.lower(), f"the status does not say {word!r}: {told}")
        eventually(f"describe names the step {status['step']!r}",
                   lambda: status["step"] in self.ctl("describe", f"port/{port}").stdout)
        return status

    def detach(self, vm, vpc, *words):
        self.ctl("detach", "--vm", vm, "--vpc", vpc, *words, "--wait", f"{PATIENCE}s")


# ---- VMs ---------------------------------------------------------------------------------------------------------------
class Vm:
    def __init__(self, name):
        self.name = name
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.vm.invalid"))

    def start(self, *words):
        VM_TOOL.start(self.name, ["--mem", "192", *words])
        return self

    def wait(self):
        VM_TOOL.wait(self.name, PATIENCE)

    def cont(self):
        VM_TOOL.checked_qmp(self.name, "cont")

    def stop(self):
        VM_TOOL.stop(self.name)

    def monitor(self, command, **arguments):
        return VM_TOOL.checked_qmp(self.name, command, **arguments)

    def sh(self, command, check=True):
        status, output = VM_TOOL.shell(self.name, command, PATIENCE)
        text = output.decode(errors="replace")
        if check and status:
            raise Failure(f"in VM {self.name}: {command}: exit {status}: {text.strip()}")
        return text

    def devices(self):
        """The passed-through devices: id -> bus."""
        found = {}
        for child in self.monitor("qom-list", path="/machine/peripheral"):
            if child["type"] == "child<vfio-pci>":
                try:
                    found[child["name"]] = self.monitor("qom-get", path=f"/machine/peripheral/{child['name']}",
                                                        property="parent_bus")
                except VmError as error:
                    if "not found" not in str(error):  # it has left since the list was made
                        raise
        return found

    def mac(self, dev="eth0"):
        return self.sh(f"cat /sys/class/net/{dev}/address", check=False).strip()

    def up(self, address, dev="eth0"):
        eventually(f"VM {self.name} has {dev}", lambda: self.mac(dev).count(":") == 5)
        self.sh(f"ip link set {dev} up && ip address add {address}/24 dev {dev}")

    def ping(self, target, count=5, dev="eth0"):
        """How many of `count` were answered; each may take as long as the whole machine does."""
        text = self.sh(f"ping -c {count} -i 0.3 -W 10 -I {dev} {target}", check=False)
        found = re.search(r"(\d+) packets received", text)
        return int(found[1]) if found else 0


class Pinger:
    """A ping without end in a VM. `check` raises when an answer was lost (or came twice), by sequence numbers; the
    answers to what is on its way need not be there yet."""
    LOG = "/tmp/pinger.log"

    def __init__(self, vm, target):
        self.vm = vm
        vm.sh(f"ping -i 0.2 {target} >{self.LOG} 2>&1 & echo $! >/tmp/pinger.pid")
        self.seen = -1
        self.check()

    def check(self):
        """Waits for an answer to something sent from now on."""
        before = self.last()
        eventually(f"VM {self.vm.name}'s ping goes on", lambda: self.last() > before + 1)

    def last(self):
        text = self.vm.sh(f"sed -n 's/.*seq=\\([0-9]*\\).*/\\1/p' {self.LOG} | awk "
                          "'{ if ($1 != n) { print \"gap\", n, $1; n = $1 } n++ } END { print n + 0 }'")
        need("gap" not in text, f"VM {self.vm.name}'s ping lost packets (expected, came): {text.split()}")
        return int(text)

    def stop(self):
        self.check()
        self.vm.sh("kill $(cat /tmp/pinger.pid)")


class SteadyPing:
    """A ping in a VM every few milliseconds, counted there by sequence number (tests/lab/src/steadyping.c)."""
    LOG = "/tmp/steadyping.log"

    def __init__(self, vm, target, milliseconds):
        self.vm = vm
        vm.sh(f"steadyping {target} {milliseconds} >{self.LOG} 2>&1 & echo $! >/tmp/steadyping.pid")

    def stop(self):
        """All that it has to tell, as text, and how many were sent, lost, and answered twice."""
        self.vm.sh("kill $(cat /tmp/steadyping.pid)")
        text = eventually(f"VM {self.vm.name}'s steadyping has told",
                          lambda: (t := self.vm.sh(f"cat {self.LOG}")) and "sent " in t and t)
        words = text[text.index("sent "):].split()
        return text.strip(), int(words[1]), int(words[3]), int(words[5])


class Heard:
    """Captures the frames that a VM receives at an interface, from construction to `stop`."""

    def __init__(self, vm, dev="eth0"):
        self.vm, self.log = vm, f"/tmp/heard.{dev}"
        vm.sh(f"framecount {dev} 100000 >{self.log} & echo $! >{self.log}.pid")
        eventually(f"framecount listens at {dev} in VM {vm.name}",
                   lambda: int(vm.sh(f"cat /sys/class/net/{dev}/flags").strip(), 16) & 0x100)  # IFF_PROMISC

    def stop(self):
        """[(count, source, destination, ethertype and more)]"""
        self.vm.sh(f"kill $(cat {self.log}.pid)")
        eventually("framecount has told", lambda: "total" in self.vm.sh(f"cat {self.log}"))
        lines = [line.split(None, 3) for line in self.vm.sh(f"cat {self.log}").splitlines()]
        return [(int(w[0]), w[1], w[2], w[3]) for w in lines if len(w) == 4]


def frames_from(heard, *macs):
    return sum(count for count, source, _, _ in heard if source in macs)


# ---- far ends ----------------------------------------------------------------------------------------------------------
def another_host(number):
    """One more host in the underlay, beside the remote one and with such facts as it."""
    made = {"netns": f"remote{number}", "netdev": f"up{number}", "address": f"192.0.2.{10 + number}"}
    ip("netns", "add", made["netns"])
    ip("-n", REMOTE["netns"], "link", "add", made["netdev"], "link", REMOTE["netdev"],
       "address", f"52:54:00:00:03:{number:02x}", "mtu", PF["mtu"], "netns", made["netns"],
       "type", "macvlan", "mode", "bridge")
    ip("-n", made["netns"], "address", "add", f"{made['address']}/24", "dev", made["netdev"])
    ip("-n", made["netns"], "link", "set", made["netdev"], "up")
    return made


class Far:
    """A tenant's machine on another host: a namespace with one VNI of the remote host's overlay."""
    ALL = []

    def __init__(self, name, vni, mac, *addresses, host=REMOTE):
        self.name, self.vni, self.mac, self.addresses = name, vni, mac, addresses
        self.dev = f"vx{vni}"
        self.neighbours = {}
        ip("netns", "add", name)
        self.plug(host)
        Far.ALL.append(self)

    def know(self, neighbours):
        """Addresses and MACs of its tenant's other machines: nobody answers across hosts."""
        new = {a: m for a, m in neighbours.items() if self.neighbours.get(a) != m}
        self.neighbours.update(new)
        for address, mac in new.items():
            ip("-n", self.name, "neigh", "replace", address, "lladdr", mac, "dev", self.dev)

    def plug(self, host):
        self.host = host
        local = host.get("local", LOCAL["address"])
        # What an agent sends over IPv6 has no UDP checksum, as a NIC's encapsulation.
        ip("-n", host["netns"], "link", "add", self.dev, *(
            ("type", "geneve", "id", self.vni, "remote", local, "udp6zerocsumrx") if host.get("encapsulation") == "geneve" else
            ("type", "vxlan", "id", self.vni, "dstport", VXLAN_PORT, "local", host["address"], "remote", local,
             "udp6zerocsumrx")))
        ip("-n", host["netns"], "link", "set", self.dev, "netns", self.name)
        # Says nothing of its own accord, so that what is heard was provoked. (In a message of its own: the kernel would
        # bring the link up first.)
        ip("-n", self.name, "link", "set", self.dev, "address", self.mac, "mtu", FACTS["inner_mtu"],
           "addrgenmode", "none")
        ip("-n", self.name, "link", "set", self.dev, "up")
        for address in self.addresses:
            ip("-n", self.name, "address", "add",
               *([f"{address}/64", "nodad"] if ":" in address else [f"{address}/24"]), "dev", self.dev)
        known, self.neighbours = self.neighbours, {}
        self.know(known)

    def move(self, host):
        """To another host, with all that is its own."""
        ip("-n", self.name, "link", "del", self.dev)
        self.plug(host)

    def yaml(self, vpc):
        return (f'---\nkind: Endpoint\nid: {self.name}\nvpc: {vpc}\nmac: "{self.mac}"\n'
                f'addresses: [{", ".join(map(json.dumps, self.addresses))}]\nvtep: {self.host["address"]}\n')

    def run(self, *words, check=True):
        return run("ip", "netns", "exec", self.name, *words, check=check)

    def echoes(self):
        """Echo requests that have arrived here."""
        lines = [l.split() for l in self.run("cat", "/proc/net/snmp").stdout.splitlines() if l.startswith("Icmp:")]
        return int(dict(zip(*lines))["InEchos"])

    def ping(self, target, count=2):
        return self.run("ping", "-c", count, "-W", 10, target, check=False).returncode == 0


def network_yaml(vpc, vni, *prefixes):
    """A VPC and its first subnet."""
    return f"---\nkind: Vpc\nid: {vpc}\nvni: {vni}\n" + subnet_yaml(vpc, f"{vpc}-1", *prefixes)


def subnet_yaml(vpc, ident, *prefixes):
    """A subnet whose gateway is its last address but one."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes or ["10.0.0.0/24"]]
    return (f"---\nkind: Subnet\nid: {ident}\nvpc: {vpc}\nprefixes: {json.dumps([str(n) for n in networks])}\n"
            f"gateways: {json.dumps([str(n[-2]) for n in networks])}\n")


# ---- what is there -----------------------------------------------------------------------------------------------------
def snapshot(*vms, everywhere=True):
    """All that an agent could leave behind, by iproute2, sysfs and QMP alone; other network namespaces too, unless not
    `everywhere`: that takes a quarter of the time."""
    told = tuple(f"netns={far.name} neighbour " for far in Far.ALL)  # by the lab, in a controller's place (Far.know)
    return [line for line in run(FACTS["paths"]["snapshot"], *([] if everywhere else ["--host"]),
                                 *(vm.name for vm in vms)).stdout.splitlines() if not line.startswith(told)]


def filters():
    """Of each rule (place, chain, priority, handle, the kernel's number of its first action, dst_mac) -> packets."""
    found = {}
    places = [("dev", "fl-vxlan0", "ingress")] + [("block", str(q["ingress_block"])) for q in
                                                  json.loads(run("tc", "-j", "qdisc", "show").stdout)
                                                  if q.get("ingress_block")]
    for place in sorted(set(places)):
        for item in json.loads(run("tc", "-s", "-j", "filter", "show", *place).stdout):
            options = item.get("options", {})
            if "handle" in options:
                action = options["actions"][0]
                found[(place, item["chain"], item["pref"], options["handle"], action.get("index"),
                       options.get("keys", {}).get("dst_mac"))] = action.get("stats", {}).get("packets", 0)
    need(found, "no rule is shown")
    return found


def need_kept(before, now):
    """The rules of `before` (filters) stand, none was made again, and they have gone on counting."""
    gone = [key for key in before if key not in now]
    need(not gone, f"rules have other handles: {gone[:5]}")
    back = [key for key, packets in before.items() if now[key] < packets]
    need(not back, f"counters began again: {back[:5]}")


def difference(before, after):
    """What came and went; of equal lines, also how many."""
    before, after = Counter(before), Counter(after)
    return [f"- {line}" for line in (before - after).elements()] + [f"+ {line}" for line in (after - before).elements()]


def need_same(before, after, when):
    lines = difference(before, after)
    need(not lines, f"{when}: {len(lines)} lines differ:\n" + "\n".join(f"    {line[:400]}" for line in lines[:20]))


class Function:
    """A function of its own that comes and goes by PCIe hot-plug (tests/lab/run --hotplug)."""

    def __init__(self, name):
        self.name = name
        self.facts = next(f for f in FACTS["hotplug"] if f["name"] == name)
        self.pci, self.mac = self.facts["pci"], self.facts["mac"]
        self.far = self.facts["far"]  # the netdev at the other end of its cable

    def present(self):
        return os.path.isdir(f"/sys/bus/pci/devices/{self.pci}")

    def driver(self):
        return driver_of(self.pci)

    def plug(self):
        """Returns when the kernel has it; what its drivers do is not waited for."""
        run("lab-function", "plug", self.name)
        eventually(f"{self.pci} has come", self.present)

    def unplug(self):
        run("lab-function", "unplug", self.name)
        eventually(f"{self.pci} is gone", lambda: not self.present())


class ByHand:
    """A VF that someone else uses, who did what a person would do."""

    def __init__(self, vf, driver):
        self.pci = VFS[vf]["pci"]
        self.device = f"/sys/bus/pci/devices/{self.pci}"
        write(f"{self.device}/driver_override", driver)
        write("/sys/bus/pci/drivers_probe", self.pci)
        need(self.driver() == driver, f"the lab cannot bind {self.pci} to {driver}")

    def driver(self):
        return driver_of(self.pci)

    def netdev(self):
        return eventually(f"{self.pci} has a netdev", lambda: next(iter(self._netdevs()), None))

    def _netdevs(self):
        for root, dirs, _ in os.walk(self.device):
            if os.path.basename(root) == "net":
                return dirs
        return []

    def give_back(self):
        write(f"{self.device}/driver/unbind", self.pci)
        write(f"{self.device}/driver_override", "\n")


def driver_of(pci):
    link = f"/sys/bus/pci/devices/{pci}/driver"
    return os.path.basename(os.readlink(link)) if os.path.islink(link) else ""
