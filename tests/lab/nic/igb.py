# SPDX-License-Identifier: Apache-2.0
"""NIC face "igb": an Intel 82576, whose driver sets MAC, VLAN, spoof check, trust and maximum rate of a VF.

host() runs beside QEMU and adds the device; guest() runs in the guest and gives it its name and addresses.
The NIC switches between its PF and VFs itself, by MAC and VLAN. Its wire ends at the NIC "up0" in the network namespace
"remote", which a test can put on a VLAN. It has no eswitch, no representors and no devlink port.
"""
import glob
import subprocess
import time

MAX_VFS = 7  # what the driver makes of the 82576's eight
PF, REMOTE, NETNS = "pf0", "up0", "remote"
PF_MAC, REMOTE_MAC = "52:54:00:00:03:01", "52:54:00:00:03:02"


def host(machine, vfs):
    if vfs not in (None, MAX_VFS):
        raise ValueError(f"this face always has {MAX_VFS} VFs")
    machine.add("-device", "pcie-root-port,id=nic0,chassis=100,slot=100")
    machine.wire("pf", "remote")
    machine.add("-device", f"igb,bus=nic0,netdev=pf,mac={PF_MAC},romfile=",
                "-device", f"virtio-net-pci,netdev=remote,mac={REMOTE_MAC},romfile=")
    return {
        "face": "igb",
        "pfs": [{"netdev": PF, "mac": PF_MAC, "max_vfs": MAX_VFS, "mtu": 1500,
                 "vfs": [{"index": i} for i in range(MAX_VFS)]}],
        "underlay": {
            "local": {"netdev": PF, "address": "192.0.2.1", "prefix": 24, "mac": PF_MAC},
            "remote": {"netns": NETNS, "netdev": REMOTE, "address": "192.0.2.2", "prefix": 24, "mac": REMOTE_MAC},
        },
        "inner_mtu": 1450,
    }


def guest(_facts):
    """Loads the drivers, that of VFs too, as a host's udev would; names the NICs, makes the wire's far end, and waits for
    the link."""
    subprocess.run(["modprobe", "-a", "igb", "igbvf", "8021q"], check=True)
    by_mac = {open(f).read().strip(): f.split("/")[4] for f in glob.glob("/sys/class/net/*/address")}
    batch = [f"link set {by_mac[PF_MAC]} name {PF}", f"link set {by_mac[REMOTE_MAC]} name {REMOTE}",
             f"netns add {NETNS}", f"link set {REMOTE} netns {NETNS}",
             f"address add 192.0.2.1/24 dev {PF}", f"link set {PF} up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(batch), text=True, check=True)
    far = f"link set lo up\naddress add 192.0.2.2/24 dev {REMOTE}\nlink set {REMOTE} up"
    subprocess.run(["ip", "-n", NETNS, "-batch", "-"], input=far, text=True, check=True)
    end = time.monotonic() + 30  # a maximum rate can be set only while the link is up
    while open(f"/sys/class/net/{PF}/carrier").read().strip() != "1":
        if time.monotonic() > end:
            raise TimeoutError(f"{PF} has no link")
        time.sleep(0.1)
