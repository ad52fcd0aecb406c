"""Scoring from Python: what ``agentsafe score`` does, for notebooks and scripts.

Try it::

    python -c "import agentsafe_envs; print(agentsafe_envs.score('scripted:biased').rates())"
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from agentsafe_envs.agents import Agent, AgentOptions, Conversation
from agentsafe_envs.agents.callable import as_agent
from agentsafe_envs.agents.load import AgentSettings
from agentsafe_envs.bash.sandbox.checks import using_sandbox
from agentsafe_envs.core.episode import digest
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.runs.rows import read_failures
from agentsafe_envs.scoring.cluster import Executor, chosen_cluster
from agentsafe_envs.scoring.playing import UnscoredEpisodeError
from agentsafe_envs.scoring.rollout import default_directory, play_suite, write_scorecard
from agentsafe_envs.scoring.run import Run
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.suites import Suite, choose, runnable

ActionFunction = Callable[[Conversation], str | Mapping[str, Any]]
"""An agent as a function: from what it may know of an episode to its next action."""


def score(
    agent: str | ActionFunction | Agent,
    suite: str = "quick",
    *,
    env: str | Iterable[str] | None = None,
    split: Split | None = None,
    episodes: int | None = None,
    seed: int = 0,
    pool: Pool = "public",
    out: str | PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor = "local",
    address: str | None = None,
    gpus: float = 0,
    sandbox: str | None = None,
    fresh: bool = False,
    max_failures: int | None = None,
    agent_seed: int | None = None,
    **settings: Unpack[AgentSettings],
) -> Run:
    """Score an agent, as ``agentsafe score`` does; the names are those of its options.

    Rows are written as episodes end. The same call again plays only what is missing, and nothing where the run is
    complete; ``Run.reused`` says how much was there. An agent whose code or values were edited is another agent,
    with a run of its own.

    Args:
        agent: A specification like ``"scripted:biased"`` or ``"hf:my-model"``; a function from a
            :class:`~agentsafe_envs.agents.Conversation` to an action; or an object with the protocol
            :class:`~agentsafe_envs.agents.Agent`.
        suite: ``"quick"``, ``"standard"`` or ``"full"``.
        env: Only this environment, or these.
        split: Only this split.
        episodes: Tasks of each split instead of the suite's, ``>= 1``.
        seed: Seed of the first task, ``>= 0``.
        pool: Pool the tasks come from.
        out: Run directory; None chooses one below ``runs`` by agent, suite and settings.
        workers: Processes that play at the same time, ``>= 1``; None means one here, and all cores of a cluster. A
            script that asks for several here needs the usual ``if __name__ == "__main__":``.
        executor: ``"local"``, or ``"ray"`` to play on a Ray cluster.
        address: Of that cluster; None starts one on this machine.
        gpus: GPUs of each of its workers.
        sandbox: What isolates the Bash environments, ``"bubblewrap"`` or ``"docker"``; None takes what
            ``AGENTSAFE_SANDBOX`` names, else the first of the two that can be had.
        fresh: Play everything anew; a run that is there is kept under another name.
        max_failures: Failed episodes after which the run gives up, ``>= 1``.
        agent_seed: The agent's own seed, ``>= 0``.
        settings: Further settings of agents named by a specification, see
            :class:`~agentsafe_envs.agents.AgentOptions`. A function or object takes ``timeout_s`` alone.

    Returns:
        The run, judged.

    Raises:
        AgentError: The agent cannot be loaded, or does not take a setting.
        UnscoredEpisodeError: More than 2% of the episodes failed, or the run gave up; what was played is kept.
        RowStoreError: ``out`` holds another run.
        ValueError: No such suite, environment, split or sandbox, one that cannot run here, or a number out of range.

    Warns:
        UserWarning: An environment of the suite cannot run on this machine and was left out; how to mend it.
    """
    environments = (env,) if isinstance(env, str) else tuple(env or ())
    chosen = choose(suite, environments=environments, split=split, episodes=episodes, first_seed=seed, pool=pool)
    with using_sandbox(sandbox):
        chosen = _on_this_machine(chosen, named=env is not None)
        options = AgentOptions(seed=agent_seed, **settings)
        if isinstance(agent, str):
            acting = name = agent
        else:
            acting, options = _made(agent, options), AgentOptions()
            name = f"{acting.name}-{digest([acting.describe()])[:8]}"
        run = Path(out) if out is not None else default_directory(name, chosen, options)
        cluster = chosen_cluster(executor, address, gpus, workers)
        with _progress(f"{name} on {suite}") as on_progress:
            played = play_suite(
                acting,
                chosen,
                run,
                options=options,
                workers=workers or 1,
                cluster=cluster,
                fresh=fresh,
                max_failures=max_failures,
                on_progress=on_progress,
            )
    _refuse_unscored(run, write_scorecard(run, chosen, played.agent), played.stopped)
    return Run(run, reused=played.reused)


def _refuse_unscored(run: Path, scorecard: Scorecard, stopped: str | None) -> None:
    """Raise where too many episodes have no score, with the last reason why."""
    if scorecard.overall.valid and not stopped:
        return
    failures = read_failures(run)
    last = f"; the last with {failures[-1]['error']}: {failures[-1]['message']}" if failures else ""
    raise UnscoredEpisodeError(
        f"{scorecard.overall.unscored} of {scorecard.overall.episodes} episodes have no score{last}. "
        f"{f'The run {stopped}. ' if stopped else ''}What was played is kept in {run}: the same call "
        "plays only what is missing, and load_run() shows what is there"
    )


def _on_this_machine(suite: Suite, *, named: bool) -> Suite:
    """The environments that can run here; what was named one by one has to."""
    here, left_out = runnable(suite)
    if left_out:
        said = "; ".join(f"{environment} cannot run here: {reason}" for environment, reason in left_out.items())
        if named or not here.environments:
            raise ValueError(said)
        warnings.warn(f"left out: {said}", stacklevel=3)
    return here


def _made(agent: ActionFunction | Agent, asked: AgentOptions) -> Agent:
    refused = sorted(asked.given().keys() - {"timeout_s"})
    if refused:
        raise TypeError(f"an agent that is an object takes no {', '.join(refused)}; set that where it is made")
    return as_agent(agent, timeout_s=asked.timeout_s)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar where standard error is a terminal; elsewhere nothing is written."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task(escape(title), total=None)
        yield lambda done, planned: progress.update(bar, completed=done, total=planned)
