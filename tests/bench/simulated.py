# SPDX-License-Identifier: Apache-2.0
"""The agent on a simulated host, for the benchmarks that need no lab."""
import json
import os
import subprocess
import time

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..")
MODELS = os.path.join(ROOT, "packaging", "simulate")
BUILD = os.path.abspath(os.environ.get("FAIRLEAD_BUILD", os.path.join(ROOT, "build", "release")))
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLEAD_")}
CPU_OF_A_PROCESS = 2  # clock_getcpuclockid(3): the clock's number is the inverted process id, and this


class Host:
    """The agent on the host that the file `model` describes, named `name` there; all of it is below `run_dir`."""

    def __init__(self, run_dir, model, name, *options):
        self.endpoint = f"ipc://{run_dir}/{name}/agent.sock"
        self.log = os.path.join(run_dir, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [f"{BUILD}/agent/daemon/fairleadd", "--simulate", model, "--run-dir", run_dir, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ctl(self, *words, check=True, **options):
        if self.process.poll() is not None:
            raise SystemExit(f"fairleadd ended with status {self.process.returncode}:\n{open(self.log).read()[-2000:]}")
        done = subprocess.run([f"{BUILD}/agent/ctl/fairleadctl", "--endpoint", self.endpoint, "--timeout", "120s", *words],
                              capture_output=True, text=True, env=ENVIRONMENT, **options)
        if check and done.returncode:
            raise SystemExit(f"fairleadctl {' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout)[:1000]}")
        return done

    def until(self, what, done, seconds, pause):
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"not within {seconds} s: {what}\n{open(self.log).read()[-2000:]}")
            time.sleep(pause)

    def made(self):
        """Whether the NICs have their VFs, and nothing is being done."""
        done = self.ctl("status", "-o", "json", check=False)
        host = json.loads(done.stdout) if done.returncode in (0, 4) else {}
        return (host.get("pfs") and all(pf.get("vfs") for pf in host["pfs"]) and
                not any(lane["running"] or lane["queued"] for lane in host["lanes"]))

    def ports(self):
        return json.loads(self.ctl("get", "ports", "-o", "json").stdout)["objects"]

    def cpu(self):
        """Milliseconds that all its threads have run."""
        return time.clock_gettime(~self.process.pid << 3 | CPU_OF_A_PROCESS) * 1000
