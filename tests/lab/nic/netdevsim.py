# SPDX-License-Identifier: Apache-2.0
"""NIC face "netdevsim": no NIC at all, but the kernel's simulated one, loaded and without a device.

The command makes the devices: "echo '10 1' >/sys/bus/netdevsim/new_device" is netdevsim10 with one port. They have VFs
without PCI functions, an eswitch with representors, devlink ports and rates, and faults to be had in debugfs.
"""
import os
import subprocess

PARTS = ["netdevsim"]  # of tests/lab/setup, for the kernel of the run


def host(_machine, vfs):
    if vfs is not None:
        raise ValueError("in this face the command makes devices and VFs itself")
    return {"face": "netdevsim", "pfs": [],
            "netdevsim": {"bus": "/sys/bus/netdevsim", "debugfs": "/sys/kernel/debug/netdevsim"}}


def guest(facts):
    part = os.environ["LAB"] + "/netdevsim"
    if needed := open(f"{part}/depends").read().split():
        subprocess.run(["modprobe", "-a", *needed], check=True)
    subprocess.run(["insmod", f"{part}/netdevsim.ko"], check=True)
    for folder in facts["netdevsim"].values():
        os.stat(folder)  # there must be debugfs too
