# SPDX-License-Identifier: Apache-2.0
"""What an agent must come through on a real kernel: changes by others, VMs that reboot and die, a store that is lost,
full, read-only or damaged. VM a pings all the while and may not lose a packet."""
import json
import os
import re
import shutil
import subprocess

from host import VFS, VmError, driver_of, eventually, filters, ip, need, need_same, network_yaml, run
from overlay import A, A6, B_RED, FAR, RED_PREFIXES, Overlay

OTHER_UUID = "00000000-0000-4000-8000-00000000000b"
STATE = "/run/fairlead/state"
STORE = f"{STATE}/store.sqlite"


def b_in_red(s):
    """VM b has a ready port in red and reaches a's far end."""
    s.attach(s.b, "red", B_RED)
    status = s.agent.wait_state("b-red-1", "ready")
    s.b.up(B_RED)
    need(s.b.ping(FAR, count=2) == 2, "VM b does not reach the far end")
    return status


def drifts(s, owner):
    found = json.loads(s.agent.ctl("get", "drifts", owner, "-o", "json", check=False).stdout or '{"drifts": []}')
    return found["drifts"]


def repaired(s, owner, resource, *words):
    """Waits until a change of the resource by others was told, with one of the words, and repaired."""
    def told():
        for drift in drifts(s, owner):
            if drift["resource"].startswith(resource) and any(word in drift["change"] for word in words) and \
                    int(drift["repaired_time"]):
                return drift
        return None
    return eventually(f"the change of {owner}'s {resource} is told ({' or '.join(words)}) and repaired: {drifts(s, owner)}",
                      told)


def works_again(s):
    s.agent.wait_state("b-red-1", "ready")
    eventually("VM b has its NIC", lambda: s.b.mac().count(":") == 5)
    s.b.sh(f"ip link set eth0 up && ip address replace {B_RED}/24 dev eth0")
    need(s.b.ping(FAR, count=2) == 2, "VM b does not reach the far end any more")
    s.pinger.check()


def changed_by_others(s):
    """A rule, a representor, a driver, a device of QEMU's: told with before and after, and repaired; a renamed PF is none."""
    pci = b_in_red(s)["vf_pci"]
    vf = next(v for v in VFS if v["pci"] == pci)
    rule = next(r for r in json.loads(s.agent.ctl("get", "rules", "port/b-red-1", "-o", "json").stdout)["rules"]
                if r["location"].startswith("block-") and "/1000/" in r["location"])
    block, chain, priority, handle = rule["location"].removeprefix("block-").split("/")
    run("tc", "filter", "del", "block", 0x46000000 + int(block), "protocol", "all", "chain", chain, "pref", priority,
        "handle", hex(int(handle)), "flower")
    repaired(s, "port/b-red-1", f"flow-rule/{rule['location']}", "-> gone")
    works_again(s)

    ip("link", "set", vf["representor"], "down")
    repaired(s, "port/b-red-1", "representor/", "up yes -> no")
    works_again(s)

    run("tc", "qdisc", "del", "dev", vf["representor"], "clsact")
    repaired(s, "port/b-red-1", "representor/", "-> gone", "default_drop yes -> no")  # the qdisc's rules go first
    works_again(s)

    device = s.agent.port("b-red-1")["guest_device"]
    s.b.monitor("device_del", id=device)
    repaired(s, "port/b-red-1", "guest-device/b/", "-> gone")
    works_again(s)

    # QEMU gives a function up whose driver goes: its guest is asked, and the kernel waits for that.
    unbind = subprocess.Popen(["sh", "-c", f"echo {vf['pci']} >/sys/bus/pci/drivers/vfio-pci/unbind"])
    repaired(s, "port/b-red-1", "guest-device/b/", "-> gone")
    need(unbind.wait(90) == 0, "the driver was not unbound")
    works_again(s)
    need(driver_of(vf["pci"]) == "vfio-pci", f"its driver is {driver_of(vf['pci'])!r}")

    netdev = next(pf["netdev"] for pf in s.agent.host_state()["pfs"])
    ip("link", "set", netdev, "name", "renamed0")
    try:
        eventually("the PF is known by its MAC",
                   lambda: [pf["netdev"] for pf in s.agent.host_state()["pfs"]] == ["renamed0"])
        works_again(s)
    finally:
        ip("link", "set", "renamed0", "name", netdev)
    eventually("the PF has its name again", lambda: [pf["netdev"] for pf in s.agent.host_state()["pfs"]] == [netdev])


def rebooted(vm):
    try:
        return vm.sh("ls /tmp/before-the-reboot 2>/dev/null", check=False) == "" and vm.mac().count(":") == 5
    except (VmError, OSError):  # it is about to
        return False


def vm_reboots_and_dies(s):
    """A VM that reboots keeps its NIC; one that is killed is degraded by name, and served again when a new QEMU has its
    UUID; another VM in its place is not."""
    s.restart_vm(s.b, "--reboots")
    b_in_red(s)
    device = s.agent.port("b-red-1")["guest_device"]
    s.b.sh("echo 1 >/tmp/before-the-reboot")
    s.b.monitor("system_reset")
    eventually("VM b has rebooted", lambda: rebooted(s.b))
    works_again(s)
    need(s.agent.port("b-red-1")["guest_device"] == device, "its device was plugged in again")

    s.b.stop()
    try:
        status = s.agent.wait_state("b-red-1", "degraded")
        need("monitor" in status["reason"], f"the status does not say that its monitor is gone: {status['reason']}")
        need(driver_of(status["vf_pci"]) == "vfio-pci", "the VF was taken apart though the VM may come back")
        s.b.start("--uuid", OTHER_UUID)
        eventually("the status names the other VM's UUID", lambda: OTHER_UUID in s.agent.port("b-red-1")["reason"])
        need(not s.b.devices(), "another VM got the port's device")
    finally:
        s.b.stop()
        s.b.start()
        s.b.wait()
    works_again(s)


def objects_again(s, b=True):
    """What a controller sends to an agent that has lost everything, not in the order of before."""
    s.agent.apply(s.blue.yaml("blue") + network_yaml("blue", 200) + network_yaml("red", 100, *RED_PREFIXES))
    if b:
        s.attach(s.b, "red", B_RED, wait=False)
    s.attach(s.a, "red", A, "--address", A6, wait=False)
    s.agent.apply(s.red.yaml("red"))


def lose_store(s):
    s.agent.stop()
    for name in os.listdir(STATE):
        if name.startswith("store.sqlite"):
            os.unlink(f"{STATE}/{name}")
    s.agent.start()


def foreign(s):
    return json.loads(s.agent.ctl("get", "foreign", "-o", "json").stdout)["foreign"]


def without_cookies(lines):
    return sorted(re.sub(r'"cookie": "\w+"', '"cookie": ""', line) for line in lines)


def lost_store(s):
    """The store is gone: what it made serves on and is listed; adopted, it is as before, to the last counter; what fits
    nobody is kept until the purge."""
    b_in_red(s)
    before, counted = s.snapshot(), filters()
    devices = (s.a.devices(), s.b.devices())
    old = s.agent.host_state()["store_id"]
    lose_store(s)
    objects_again(s)
    eventually("what the old store made is listed", lambda: {o["resource"].split("/")[0] for o in foreign(s)} >=
               {"tunnel", "representor", "guest-device", "flow-rule"})
    need({o["store_id"] for o in foreign(s)} == {old}, f"of other stores: {foreign(s)}")
    s.untouched("while it is another's", before)
    s.pinger.check()
    s.agent.ctl("adopt", old, "--dry-run")
    done = s.agent.ctl("adopt", old).stdout
    for port in ("a-red-1", "b-red-1"):
        need(f"taken  port/{port}" in done, f"{port} was not taken: {done}")
        s.agent.wait_state(port, "ready")
    eventually("nothing is another store's", lambda: not foreign(s))
    s.pinger.check()
    now = filters()
    need(counted.keys() == now.keys(), f"rules were made again: {sorted(counted.keys() ^ now.keys())[:4]}")
    need(all(now[key] >= packets for key, packets in counted.items()), "counters began again")
    s.untouched("after the adoption", before)
    need((s.a.devices(), s.b.devices()) == devices, "a device was plugged again")
    works_again(s)

    # Lost once more, and b's port is not sent: it is kept, and goes with the purge.
    lose_store(s)
    objects_again(s, b=False)
    s.agent.apply(f"kind: Vm\nid: b\nuuid: {s.b.uuid}\n")
    stores = eventually("both stores are listed", lambda: (ids := {o["store_id"] for o in foreign(s)}) and
                        old in ids and ids)
    for store in sorted(stores):
        s.agent.ctl("adopt", store)
    s.agent.wait_state("a-red-1", "ready")
    need(s.b.devices() == devices[1], "b's device is gone before the purge")
    need(s.b.ping(FAR, count=2) == 2, "what is kept does not serve on")
    for store in sorted(stores):
        s.agent.ctl("purge", store)
    eventually("b's device is gone", lambda: not s.b.devices())
    eventually("nothing is another store's, and no purge is under way",
               lambda: not foreign(s) and not [o for o in s.agent.objects("ports") if "purged" in json.dumps(o)])
    s.agent.ctl("delete", "vm/b")
    s.pinger.check()
    # What named b was made anew, by the new store.
    need_same(without_cookies(s.baseline), without_cookies(s.snapshot()), "after the purge")


def on_a_disk_of_its_own(s, size):
    """The agent's state on a file system that can be filled and made read-only."""
    s.agent.stop()
    shutil.move(STATE, f"{STATE}.kept")
    os.makedirs(STATE, mode=0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "fairlead-state", STATE)
    for name in os.listdir(f"{STATE}.kept"):
        shutil.copy2(f"{STATE}.kept/{name}", STATE)


def back_on_the_old_disk(s):
    s.agent.stop()
    run("mount", "-o", "remount,rw", STATE, check=False)
    for name in os.listdir(STATE):
        if name != "filler":
            shutil.copy2(f"{STATE}/{name}", f"{STATE}.kept")
    run("umount", STATE)
    os.rmdir(STATE)
    shutil.move(f"{STATE}.kept", STATE)
    s.agent.start()


def refused_by_the_store(s, *words):
    done = s.agent.ctl("apply", "-f", "-", check=False, input=network_yaml("late", 300))
    need(done.returncode == 1, f"exit status {done.returncode}, not 1: {done.stdout} {done.stderr}")
    for word in ("store", *words):
        need(word in done.stderr.lower(), f"the refusal does not say {word!r}: {done.stderr}")


def begins(s):
    """Starts the agent and returns when it answers, which it also does without its store."""
    s.agent.launch()
    eventually("the agent answers", lambda: s.agent.ctl("status", check=False).returncode in (0, 1, 4))


def bad_store(s):
    """The store's disk is full, or read-only, or its file damaged: VMs serve on, intents are refused with the reason,
    and all is well when it is mended."""
    before = s.snapshot()
    on_a_disk_of_its_own(s, "2m")
    try:
        s.agent.start()
        run("dd", "if=/dev/zero", f"of={STATE}/filler", "bs=4k", check=False)
        for _ in range(50):  # what is left of the log's last page
            done = s.agent.ctl("apply", "-f", "-", check=False, input=network_yaml("late", 300))
            if done.returncode:
                break
            s.agent.ctl("delete", "vpc/late", "subnet/late-1", check=False)
        refused_by_the_store(s, "full")
        s.agent.wait_state("a-red-1", "ready")
        s.pinger.check()
        s.untouched("while the disk is full", before)
        s.agent.kill()
        begins(s)  # a start on a full disk loses nothing either
        s.pinger.check()
        os.unlink(f"{STATE}/filler")
        eventually("the agent has its objects again", lambda: s.agent.port("a-red-1").get("state") == "ready")
        s.agent.apply(network_yaml("late", 300))
        s.agent.ctl("delete", "subnet/late-1", "vpc/late")

        s.agent.kill()
        run("mount", "-o", "remount,ro", STATE)
        begins(s)
        refused_by_the_store(s)
        s.pinger.check()
        s.untouched("while the disk is read-only", before)
        run("mount", "-o", "remount,rw", STATE)
        eventually("the agent has its objects again", lambda: s.agent.port("a-red-1").get("state") == "ready")

        s.agent.stop()
        whole = open(STORE, "rb").read()
        with open(STORE, "r+b") as f:
            f.seek(4096)
            f.write(b"\xff" * 4096)
        begins(s)
        refused_by_the_store(s, "damaged")
        s.pinger.check()
        s.untouched("while the store is damaged", before)
        with open(f"{STORE}.new", "wb") as f:
            f.write(whole)
        os.rename(f"{STORE}.new", STORE)
        eventually("the agent has its objects again", lambda: s.agent.port("a-red-1").get("state") == "ready")
        s.agent.apply(network_yaml("late", 300))
        s.agent.ctl("delete", "subnet/late-1", "vpc/late")
    finally:
        back_on_the_old_disk(s)
    s.agent.wait_state("a-red-1", "ready")


Scene = Overlay
GROUPS = [[changed_by_others, vm_reboots_and_dies, lost_store, bad_store]]
