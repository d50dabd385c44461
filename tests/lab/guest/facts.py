# SPDX-License-Identifier: Apache-2.0
"""Lets the NIC face set up its devices in the guest and writes the facts file.

Usage: facts.py FACE FACTS-FILE     the facts known outside come as JSON on standard input
"""
import importlib.util
import json
import os
import sys

LAB_DIR = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")


def load(path):
    name = os.path.basename(path).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, os.path.join(LAB_DIR, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_pci(pf):
    """The PCI addresses of a PF that is named by its netdev, and of its VFs, which need not be there yet."""
    device = os.path.realpath(f"/sys/class/net/{pf['netdev']}/device")
    if not os.path.exists(f"{device}/sriov_totalvfs"):
        device = os.path.dirname(device)  # a virtio netdev is a child of virtioN
    pf["pci"] = os.path.basename(device)
    offset, stride = (int(open(f"{device}/sriov_{n}").read()) for n in ("offset", "stride"))
    domain, bus, slot_function = pf["pci"].split(":")
    slot, function = (int(x, 16) for x in slot_function.split("."))
    for vf in pf["vfs"]:
        address = (int(bus, 16) << 8 | slot << 3 | function) + offset + stride * vf["index"]
        vf["pci"] = f"{domain}:{address >> 8:02x}:{address >> 3 & 31:02x}.{address & 7}"


face_name, target = sys.argv[1:]
sys.dont_write_bytecode = True
facts = json.load(sys.stdin)
load(f"nic/{face_name}.py").guest(facts)
for pf in facts["pfs"]:
    add_pci(pf)
if "hotplug" in facts:
    load("hotplug.py").guest(facts)
with open(target, "w") as f:
    json.dump(facts, f, indent=2)
    f.write("\n")
