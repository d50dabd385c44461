# SPDX-License-Identifier: Apache-2.0
"""A systemd in the guest, for what is installed as a service: the first process of a PID namespace of its own, with the
guest's network, /sys, /dev and /run. It starts nothing of this machine's own units; the guest's root is thrown away
afterwards, so they are taken away there."""
import glob
import os
import shutil
import subprocess

from host import eventually, read, run, write

LOG = "/run/systemd.log"


class Systemd:
    def __init__(self):
        for folder in glob.glob("/etc/systemd/system/*.wants") + glob.glob("/lib/systemd/system/*.wants"):
            shutil.rmtree(folder)
        shutil.rmtree("/lib/systemd/system-generators")
        write("/etc/fstab", "")
        if os.path.exists("/usr/sbin/policy-rc.d"):  # in an image of a container it forbids to start services
            os.remove("/usr/sbin/policy-rc.d")
        # It says that it is in a container, so that it leaves clock, consoles and the kernel's settings alone.
        with open(LOG, "w") as log:
            self.process = subprocess.Popen(
                ["unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc",
                 "env", "-i", "container=lab", f"PATH={os.environ['PATH']}",
                 "/lib/systemd/systemd", "--unit=multi-user.target"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        self.pid = eventually("systemd is started", lambda: read(children)).split()[0]
        eventually("systemd has started what it is to start", lambda: self.run(
            "systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"))
        self.run("systemctl", "start", "systemd-journald.service")

    def run(self, *argv, **options):
        return run("nsenter", "--pid", "--mount", "--target", self.pid, *argv, **options)

    def show(self, unit, *names):
        """Properties of a unit: {name: value}."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)
