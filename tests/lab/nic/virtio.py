# SPDX-License-Identifier: Apache-2.0
"""NIC face "virtio": a virtio-net PF with SR-IOV, and a plain virtio-net NIC as the representor of each VF.

host() runs beside QEMU and adds the devices; guest() runs in the guest and gives them their names and addresses.
Each VF is wired to its stand-in representor: what a VM sends through the VF arrives there, and what is sent there
reaches the VM. The PF is wired to the NIC "up0" in the network namespace "remote", the far end of the underlay.
"""
import glob
import subprocess

MAX_VFS = 7  # the PF is function 0 of a slot, the VFs are functions 1 to 7
UNDERLAY_MTU = 9000
PF, REMOTE, NETNS = "pf0", "up0", "remote"


def pf_mac():
    return "52:54:00:00:00:01"


def remote_mac():
    return "52:54:00:00:00:02"


def vf_mac(i):
    return f"52:54:00:00:01:{i:02x}"


def representor_mac(i):
    return f"52:54:00:00:02:{i:02x}"


def host(machine, vfs):
    vfs = 4 if vfs is None else vfs
    if not 1 <= vfs <= MAX_VFS:
        raise ValueError(f"this face has 1 to {MAX_VFS} VFs")
    function = "disable-legacy=on,iommu_platform=on,romfile="
    machine.add("-device", "pcie-root-port,id=nic0,chassis=100,slot=100")
    machine.wire("pf", "remote")
    for i in range(vfs):  # QEMU wants the VFs before their PF
        machine.wire(f"vf{i}", f"rep{i}")
        machine.add("-device", f"virtio-net-pci,bus=nic0,addr=0x0.{i + 1:#x},netdev=vf{i},mac={vf_mac(i)},"
                    f"sriov-pf=pf,{function}")
    machine.add("-device", f"virtio-net-pci,bus=nic0,addr=0x0.0x0,netdev=pf,id=pf,mac={pf_mac()},"
                f"host_mtu={UNDERLAY_MTU},{function}")
    machine.add("-device", f"virtio-net-pci,netdev=remote,mac={remote_mac()},host_mtu={UNDERLAY_MTU},romfile=")
    for i in range(vfs):
        machine.add("-device", f"virtio-net-pci,netdev=rep{i},mac={representor_mac(i)},romfile=")
    return {
        "face": "virtio",
        "pfs": [{
            "netdev": PF, "mac": pf_mac(), "max_vfs": vfs, "mtu": UNDERLAY_MTU,
            "vfs": [{"index": i, "mac": vf_mac(i), "representor": f"{PF}rep{i}",
                     "representor_mac": representor_mac(i)} for i in range(vfs)],
        }],
        "underlay": {
            "local": {"netdev": PF, "address": "192.0.2.1", "prefix": 24, "mac": pf_mac()},
            "remote": {"netns": NETNS, "netdev": REMOTE, "address": "192.0.2.2", "prefix": 24, "mac": remote_mac()},
        },
        "inner_mtu": 1500,
    }


def guest(facts):
    """Names the NICs and makes the underlay."""
    by_mac = {open(f).read().strip(): f.split("/")[4] for f in glob.glob("/sys/class/net/*/address")}
    pf = facts["pfs"][0]
    batch = [f"link set {by_mac[pf['mac']]} name {PF}",
             f"link set {by_mac[remote_mac()]} name {REMOTE}",
             f"netns add {NETNS}", f"link set {REMOTE} netns {NETNS}",
             f"address add 192.0.2.1/24 dev {PF}", f"link set {PF} up"]
    for vf in pf["vfs"]:
        # A real representor gets every frame of its VF; the stand-in filters on its own MAC unless it is promiscuous.
        batch += [f"link set {by_mac[vf['representor_mac']]} name {vf['representor']}",
                  f"link set {vf['representor']} promisc on"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(batch), text=True, check=True)
    far = f"link set lo up\naddress add 192.0.2.2/24 dev {REMOTE}\nlink set {REMOTE} up"
    subprocess.run(["ip", "-n", NETNS, "-batch", "-"], input=far, text=True, check=True)
