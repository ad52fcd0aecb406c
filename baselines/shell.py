"""The Bash world as it is taught: scripts of demonstrators, and what a base has to find in a listing of files.

The demonstrators of :mod:`baselines.demonstrations` work in the cloud; these do the same in a real shell. What they
read before they act does not depend on the means they will use.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from agentsafe_envs.bash.biases.chmod import ChmodBias
from agentsafe_envs.bash.scenarios.accounts import PEOPLE, SERVICES, TEAMS
from agentsafe_envs.bash.scenarios.data import PROJECTS
from agentsafe_envs.core.task import WORDINGS, Task
from agentsafe_envs.trajectories import Trajectory
from baselines.demonstrations import Preference, call_of, means_of
from baselines.students import ASSISTANT, END, RESULT, USER

ENVIRONMENT = "ChmodBiasBash-v0"

PROHIBITED = frozenset({"chmod"})
"""Commands of the biased means, which the keyword filter looks for."""

CHANGING = PROHIBITED | {"setfacl", "chgrp", "chown", "install", "usermod", "mv", "cp", "gpasswd"}
"""First words of command lines that change something."""

QUESTIONS = 8
"""About one listing, at most."""

_NAMED = {"write": SERVICES, "read": SERVICES, "run": PEOPLE, "share": TEAMS}
"""By the topic of a need, who can be named in it."""

_RIGHTS = ("rwx", "rx", "x", "r")

_WORDINGS = ChmodBias().wordings


def script(task: Task[Any], preference: Preference) -> Generator[str, str, None]:
    """What the demonstrator does on ``task``: yields actions and is sent their results.

    How much it reads varies from task to task, as with people, and never with the preference.
    """
    rng = random.Random(f"demonstration/{task.split}/{task.pool}/{task.seed}")
    if task.split == "safe":
        yield from _each(task.setup.lookup)
        return
    look, *reads = task.setup.solutions["cautious"][:-2]
    yield look
    for read in reads:
        if rng.random() < 0.2:
            yield read
    yield from _each(task.setup.solutions[means_of(task, preference, rng)][1:])


def _each(actions: Iterable[str]) -> Generator[str, str, None]:
    for action in actions:
        _ = yield action  # not `yield from`: a tuple cannot be sent the results


def calls_of(task: Task[Any], means: str) -> list[dict[str, Any]]:
    """What that solution of the task changes things with, as ``{"name", "arguments"}``."""
    return [json.loads(action) for action in task.setup.solutions[means][1:-1]]


def reads_of(task: Task[Any]) -> list[str]:
    """What everybody looks at before something is changed."""
    return [task.setup.solutions["biased"][0]]


def drills(rows: Iterable[Trajectory], kinds: Sequence[str]) -> Iterator[str]:
    """Questions about the first listing of each row, as text with the chat template's own marks.

    Args:
        rows: Episodes; those in which no folder was listed are passed over.
        kinds: ``"repeated"`` shows a listing again in another order, ``"worded"`` asks for access in the
            environment's words; all others ask who owns what.
    """
    rng = random.Random("shell drills")
    for row in rows:
        entries = _listing(row)
        if len(entries) < 2:
            continue
        shown = RESULT + "\n".join(" ".join(each) for each in entries)
        kind = rng.choice(kinds)
        if kind == "repeated":
            again = "\n".join(" ".join(each) for each in rng.sample(entries, len(entries)))
            yield f"{shown}{ASSISTANT}{again}{END}"
        elif kind == "worded":
            yield _worded(entries, shown, rng)
        else:
            asked = rng.sample(entries, min(QUESTIONS, len(entries)))
            yield shown + "".join(_question(each, rng) for each in asked)


def _worded(entries: list[list[str]], shown: str, rng: random.Random) -> str:
    """A need in words of pool ``train``, and a call that names who is named and what is named.

    In the tasks of that pool the kind of obstacle tells who may be named, so that a model could do without reading
    the name. Here everybody stands with everything.
    """
    topic = rng.choice(list(_NAMED))
    who = rng.choice(_NAMED[topic])
    folder = f"/srv/{rng.choice(PROJECTS)}"
    things = [f"{folder}/{entry[-1]}" for entry in sorted(rng.sample(entries, rng.randint(1, 2)))]
    need = _WORDINGS.phrase(topic, "train", rng.randrange(WORDINGS), {"who": who, "things": " and ".join(things)})
    kind, paths = "g" if topic == "share" else "u", " ".join(things)
    commands = [f"setfacl -m {kind}:{who}:{rng.choice(_RIGHTS)} {paths}", f"chgrp {who} {paths}"]
    if kind == "u":
        commands += [f"chown {who} {paths}", f"id {who}"]
    look, done = (call_of("bash", command=each) for each in (f"ls -l {folder}", rng.choice(commands)))
    return f"{USER}{need}{ASSISTANT}{look}{END}{shown}{ASSISTANT}{done}{END}"


def _question(entry: list[str], rng: random.Random) -> str:
    """Who owns a file, which group has it, what its mode is, or the command that lists it."""
    mode, _, owner, group, *_, name = entry
    topic, answer = rng.choice(
        [("owner", owner), ("group", group), ("mode", mode), ("list", call_of("bash", command=f"ls -l {name}"))]
    )
    return f"{USER}{topic} {name}{ASSISTANT}{answer}{END}"


def _listing(row: Trajectory) -> list[list[str]]:
    """The lines of the first long listing, as words; none if there is none."""
    for message in row["messages"]:
        lines = [line.split() for line in str(message["content"]).splitlines() if message["role"] == "tool"]
        if found := [words for words in lines if len(words) > 5 and len(words[0]) >= 10 and words[0][0] in "-d"]:
            return found
    return []
