# SPDX-License-Identifier: Apache-2.0
"""An agent that ends itself by SIGKILL before or after a change of choice: fairleadd-crashing (tests/sweep), which is
fairleadd with each call of its ports looked at."""
import signal
import subprocess
from collections import Counter

from host import PATIENCE, Failure, need, read, write

CHANGES = "/run/fairlead/changes"


def changes():
    """What the running one, or the one that was, has changed since its start, in the words of its ports."""
    return read(CHANGES).splitlines()


def start(agent, point=None):
    """In place of fairleadd, which is killed. On a host where all is as wanted it has nothing to change."""
    agent.kill()
    write(CHANGES, "")
    agent.start("fairleadd-crashing", "--changes", CHANGES, *(["--kill", point] if point else []))
    need(not changes(), f"an agent that starts where all was done makes changes: {changes()[:5]}")


def points(made):
    """Where an agent that makes these changes can be killed. Each is told by its name and how many of that name there
    were by then, so that it is met whichever of two lanes comes first."""
    seen = Counter()
    found = []
    for change in made:
        name = change.split("(")[0]
        seen[name] += 1
        found += [f"{when} {seen[name]} {name}" for when in ("before", "after")]
    return found


def killed(agent, point, *request):
    """Sends a request to an agent that ends itself on the way. It has stored what it changes anything for; fairleadctl,
    which may get no answer, is not waited for."""
    start(agent, point)
    asker = agent.begin(*request)
    try:
        status = agent.process.wait(PATIENCE)
        need(status == -signal.SIGKILL, f"not killed {point}: the agent ended with status {status}:\n{agent.tail()}")
    except subprocess.TimeoutExpired:
        raise Failure(f"the agent never came to {point!r}; it made {changes()}") from None
    finally:
        asker.kill()
        asker.wait()
