# SPDX-License-Identifier: Apache-2.0
"""What the cases of every face share: an agent, VMs, and the host as it was before a case."""
import time

from host import Agent, Vm, eventually, need, need_same, snapshot

# The cases do not wait for a minute where an operator would.
TIMING = {"retry_first": 200, "retry_most": 2000, "audit_every": 5000, "removal_patience": 1000, "qmp_deadline": 8000}
KINDS = {"ports": "port", "vms": "vm", "endpoints": "endpoint", "routes": "route", "subnets": "subnet", "vpcs": "vpc"}


def attach_words(vm, vpc, address):
    return ["attach", "--vm", vm.name, "--uuid", vm.uuid, "--vpc", vpc, "--address", address]


class Scene:
    """Between cases the VMs run, no object is there but those of `lasting`, and the host is as `baseline` says. A face
    derives from it what its cases need, and puts it up in the constructor, ending with `settled`."""
    BEGINS = "set-up"  # the name under which the constructor is reported
    AGENT = Agent

    def __init__(self, *vms, **config):
        """Starts VMs of these names, without waiting for them, and an agent with this configuration (agent_config)."""
        self.vms = {name: Vm(name).start() for name in vms}
        self.agent = self.AGENT(**{"timing": TIMING, **config})
        self.agent.start()
        self.idle = self.snapshot()
        self.settled()

    def snapshot(self):
        return snapshot(*self.vms.values())

    def settled(self):
        """What is there now is there between cases."""
        self.lasting = self.refs()
        self.baseline = self.snapshot()

    def refs(self):
        """All objects, as KIND/ID."""
        return {f"{name}/{item['object'][name]['id']}" for kind, name in KINDS.items() for item in self.agent.objects(kind)}

    def restart_agent(self, **config):
        """A stop and a start; with another configuration when one is given."""
        self.agent.stop()
        if config:
            self.agent.configure(**{"timing": TIMING, **config})
        self.agent.start()

    def attach(self, vm, vpc, address, *words, check=True, wait=True):
        return self.agent.ctl(*attach_words(vm, vpc, address), *(["--wait"] if wait else []), *words, check=check)

    def give_up(self, vm, vpc):
        """Removes what a failed attach left in the store, if anything."""
        self.agent.detach(vm.name, vpc, "--ignore-missing")

    def untouched(self, when, before=None):
        """Nothing of the attempt is on the host. Asked for again while the kernel or QEMU may still be at it, and not in the
        rhythm in which the agent tries once more."""
        before = before or self.baseline
        for pause in (0, 3, 3, 3):
            time.sleep(pause)
            now = self.snapshot()
            if now == before:
                return
        need_same(before, now, when)

    def refused(self, *words, run=None):
        """A change that is refused: exit 1, each word in what is printed, and nothing stored."""
        stored = self.agent.count(), self.agent.objects("ports")
        done = run()
        need(done.returncode == 1, f"exit status {done.returncode}, not 1: {done.stdout} {done.stderr}")
        for word in words:
            need(word.lower() in done.stderr.lower(), f"the refusal does not say {word!r}: {done.stderr.strip()}")
        need(stored == (self.agent.count(), self.agent.objects("ports")), "a refused change changed the objects")

    def restart_vm(self, vm, *words):
        vm.stop()
        vm.start(*words)
        if "--cold" not in words:
            vm.wait()

    def check(self):
        """After each case: what has to hold in all of them."""
        need(self.agent.ended() is None, f"the agent ended with status {self.agent.ended()}")

    def tidy(self):
        """After a case, however it ended: its objects go. A VM that does not let its device go is started again."""
        if self.agent.count() == len(self.lasting) or not (left := self.refs() - self.lasting):
            return
        users = {port["object"]["port"]["vm"] for port in self.agent.objects("ports")
                 if f"port/{port['object']['port']['id']}" in left}
        self.agent.ctl("delete", *sorted(left), "--wait", "60s", check=False)
        if self.refs() - self.lasting:
            for name in sorted(users & self.vms.keys()):
                self.restart_vm(self.vms[name])
            eventually(f"{', '.join(sorted(left))} are gone", lambda: not self.refs() - self.lasting)

    def end(self):
        """All of it is taken apart again."""
        if self.lasting:
            self.agent.ctl("delete", *sorted(self.lasting), "--wait")
        eventually("no object is left", lambda: self.agent.count() == 0)
        self.untouched("after everything was deleted", self.idle)
        self.agent.stop()
