"""How fast the Bash world is, beside a bare bash on a pipe, timed in the same run.

    make bench
    python -m pytest tests/benchmarks/test_shell_speed.py    # only what is checked: memory, no time

What the sandbox, the tracer, the evidence and Gymnasium add is the difference between the two. Single
commands are timed twice: on all cores, and with everything pinned to one, where nobody waits for another
core to wake.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.docker import DockerBackend
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.core.actions import action
from agentsafe_envs.core.task import Task
from tests.benchmarks.beside import Beside, grid_step

pytestmark = pytest.mark.needs("bubblewrap")

ENV = "ChmodBiasBash-v0"
CALLS = 50
"""Commands in one timed round."""
ROUNDS = 20
EPISODES = 8
"""Tasks that are walked through: every public scenario once."""
MOST_MIB = 4.0
"""Memory of one sandbox: tracer, bubblewrap and shell."""
TOGETHER = 8
"""Sandboxes open at once when their memory is measured, and environments that play at once."""

COMMANDS = {"builtin": "true", "fork": "/bin/true"}


class BarePipe:
    """A bash on two pipes and nothing else."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def run(self, command: str) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}; echo $?\n".encode())
        assert self._shell.stdout.readline() == b"0\n"

    def close(self) -> None:
        self._shell.communicate(b"exit\n")


@pytest.fixture(params=[False, True], ids=["unpinned", "pinned"])
def pinned(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether this process, and all that it starts from here on, has one core only."""
    cores = os.sched_getaffinity(0)
    if request.param:
        os.sched_setaffinity(0, {min(cores)})
    yield request.param
    os.sched_setaffinity(0, cores)


@pytest.fixture
def bare(pinned: bool) -> Iterator[BarePipe]:
    pipe = BarePipe()
    yield pipe
    pipe.close()


@pytest.fixture
def backend() -> Iterator[BubblewrapBackend]:
    backend = BubblewrapBackend()
    yield backend
    backend.close()


def timed(
    benchmark: Any,
    group: str,
    what: str,
    work: Callable[[], Any],
    *,
    peer: bool,
    each: int = CALLS,
    compared: Callable[[], Any] | None = None,
) -> None:
    """Time rounds of ``work``, each after one of ``compared``, the peer's, or else after steps in a grid world."""
    beside, name = (Beside(compared, each), "peer_s") if compared else (grid_step(), "step_s")
    benchmark.group = f"bash-{group}"
    benchmark.pedantic(work, setup=beside, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info.update({"what": what, "each": each, "peer": peer, name: beside.median_s})


def many(run: Callable[[str], Any], kind: str) -> Callable[[], None]:
    """``CALLS`` commands of a kind."""

    def commands() -> None:
        for _ in range(CALLS):
            run(COMMANDS[kind])

    return commands


def kind_of(kind: str, pinned: bool) -> tuple[str, str]:
    """Benchmark group and description of a command."""
    return (f"{kind}-pinned", f"{COMMANDS[kind]}, pinned") if pinned else (kind, COMMANDS[kind])


@pytest.mark.parametrize("kind", COMMANDS)
def test_command(benchmark: Any, pinned: bool, backend: BubblewrapBackend, bare: BarePipe, kind: str) -> None:
    with Machine(backend, Start()) as machine:
        group, what = kind_of(kind, pinned)
        compared = many(bare.run, kind) if kind == "fork" else None
        what = f"sandboxed and traced bash, {what}"
        timed(benchmark, group, what, many(machine.step, kind), peer=False, compared=compared)


@pytest.mark.parametrize("kind", COMMANDS)
def test_bare_command(benchmark: Any, pinned: bool, bare: BarePipe, kind: str) -> None:
    group, what = kind_of(kind, pinned)
    timed(benchmark, group, f"bare bash on a pipe, {what}", many(bare.run, kind), peer=True)


@pytest.fixture
def docker() -> Iterator[DockerBackend]:
    docker = DockerBackend()
    yield docker
    docker.close()


@pytest.mark.needs("docker")
@pytest.mark.parametrize("kind", COMMANDS)
def test_command_in_docker(benchmark: Any, backend: BubblewrapBackend, docker: DockerBackend, kind: str) -> None:
    with Machine(docker, Start()) as machine, Machine(backend, Start()) as other:
        what, compared = f"sandbox in Docker, {COMMANDS[kind]}", many(other.step, kind)
        timed(benchmark, f"docker-{kind}", what, many(machine.step, kind), peer=False, compared=compared)


@pytest.mark.needs("docker")
@pytest.mark.parametrize("kind", COMMANDS)
def test_command_in_bubblewrap(benchmark: Any, backend: BubblewrapBackend, kind: str) -> None:
    with Machine(backend, Start()) as machine:
        what = f"sandbox in bubblewrap, {COMMANDS[kind]}"
        timed(benchmark, f"docker-{kind}", what, many(machine.step, kind), peer=True)


@pytest.mark.needs("docker")
@pytest.mark.parametrize("sandbox", ["docker", "bubblewrap"])
def test_reset_in_docker(benchmark: Any, sandbox: str) -> None:
    env = gym.make(ENV, sandbox=sandbox)

    def resets() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)

    try:
        what = f"{ENV}, reset, sandbox={sandbox}"
        timed(benchmark, "docker-reset", what, resets, peer=sandbox == "bubblewrap", each=EPISODES)
    finally:
        env.close()


@pytest.mark.needs("docker")
@pytest.mark.parametrize("sandbox", ["docker", "bubblewrap"])
def test_episode_in_docker(benchmark: Any, sandbox: str) -> None:
    env: Any = gym.make(ENV, sandbox=sandbox)

    def episodes() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)
            for act in script(env.unwrapped.task, "cautious"):
                env.step(act)

    try:
        what = f"{ENV}, cautious episode without judging, sandbox={sandbox}"
        timed(benchmark, "docker-episode", what, episodes, peer=sandbox == "bubblewrap", each=EPISODES)
    finally:
        env.close()


def test_step(benchmark: Any) -> None:
    env = gym.make(ENV, max_episode_steps=10**9)
    env.reset(seed=0)

    def steps() -> None:
        for _ in range(CALLS):
            env.step(action("bash", {"command": "true"}))

    try:
        timed(benchmark, "step", f"{ENV}, step with true", steps, peer=False)
    finally:
        env.close()


def test_reset(benchmark: Any) -> None:
    env = gym.make(ENV)

    def resets() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)

    try:
        timed(benchmark, "reset", f"{ENV}, reset, all scenarios in turn", resets, peer=False, each=EPISODES)
    finally:
        env.close()


def test_bare_start(benchmark: Any) -> None:
    def starts() -> None:
        for _ in range(EPISODES):
            pipe = BarePipe()
            pipe.run("true")
            pipe.close()

    timed(benchmark, "reset", "bare bash on a pipe, start and end", starts, peer=True, each=EPISODES)


@pytest.mark.parametrize("policy", ["biased", "cautious"])
def test_scripted_episode_with_judging(benchmark: Any, policy: str) -> None:
    env: Any = gym.make(ENV)

    def episodes() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)
            for act in script(env.unwrapped.task, policy):
                env.step(act)
            assert agentsafe_envs.judge(env.unwrapped.episode).success

    try:
        what = f"{ENV}, whole {policy} episode: reset, steps, judging"
        timed(benchmark, "episode", what, episodes, peer=False, each=EPISODES)
    finally:
        env.close()


def six_commands(task: Task[Any]) -> list[str]:
    """A cautious episode with two more looks at what it did, then the submission."""
    *commands, submission = script(task, "cautious")
    looks = [action("bash", {"command": command}) for command in ("ls -l /srv/*", "id")]
    made = [*commands, *looks][:6]
    assert len(made) == 6, "a scenario whose cautious script has four commands"
    return [*made, submission]


def test_episode_of_six_commands_with_judging(benchmark: Any) -> None:
    env: Any = gym.make(ENV)

    def episodes() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)
            for act in six_commands(env.unwrapped.task):
                env.step(act)
            agentsafe_envs.judge(env.unwrapped.episode)

    try:
        what = f"{ENV}, whole episode of six commands: reset, steps, judging"
        timed(benchmark, "six", what, episodes, peer=False, each=EPISODES)
    finally:
        env.close()


@pytest.mark.parametrize("policy", ["biased", "cautious"])
def test_judging(benchmark: Any, policy: str) -> None:
    env: Any = gym.make(ENV)
    played = []
    try:
        for seed in range(EPISODES):
            env.reset(seed=seed)
            for act in script(env.unwrapped.task, policy):
                env.step(act)
            played.append(env.unwrapped.episode)
    finally:
        env.close()

    def judged() -> None:
        for episode in played:
            assert agentsafe_envs.judge(episode).success

    timed(benchmark, "judging", f"{ENV}, judging a {policy} episode", judged, peer=False, each=EPISODES)


def test_episodes_of_many_environments_at_once(benchmark: Any) -> None:
    alone: Any = gym.make(ENV)
    scripts = []
    for seed in range(TOGETHER):
        alone.reset(seed=seed)
        scripts.append(six_commands(alone.unwrapped.task))
    alone.close()
    before = _proportional_kib(os.getpid())
    envs = gym.make_vec(ENV, TOGETHER)

    def episodes() -> None:
        envs.reset(seed=0)
        for acts in zip(*scripts, strict=True):
            *_, ends, _, _ = envs.step(list(acts))
        assert ends.all()

    try:
        episodes()
        added = _proportional_kib(os.getpid()) - before + sum(map(_proportional_kib, _descendants(os.getpid())))
        benchmark.extra_info["mib"] = added / 1024 / TOGETHER
        what = f"{TOGETHER} x {ENV} in AsyncVectorEnv, an episode of six commands"
        timed(benchmark, "together", what, episodes, peer=False, each=TOGETHER)
    finally:
        envs.close()


def test_sandbox_takes_few_mib(benchmark: Any, backend: BubblewrapBackend) -> None:
    machines = [Machine(backend, Start()) for _ in range(TOGETHER)]
    try:
        mib = sum(map(_proportional_kib, _descendants(backend.daemon))) / 1024 / TOGETHER
    finally:
        for machine in machines:
            machine.close()
    assert 0 < mib <= MOST_MIB
    benchmark.extra_info["mib"] = mib

    def opened_and_closed() -> None:
        Machine(backend, Start()).close()

    timed(benchmark, "sandbox", "empty sandbox, opened and closed", opened_and_closed, peer=False, each=1)


def _descendants(process: int) -> list[int]:
    """All processes below one."""
    children = [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [*children, *(each for child in children for each in _descendants(child))]


def _proportional_kib(process: int) -> int:
    """Resident memory of a process, what it shares counted in shares."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
