"""Work on a Ray cluster: as many tasks at a time as it has cores, and none of them twice.

Ray never retries a task, since nobody knows what a lost worker had done. A lost group of episodes stays unscored,
and the next run plays it. Rows are written by the process that asked for the tasks, and by no other.

Try it::

    agentsafe score hf:smollm2 --executor ray --address auto
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

import agentsafe_envs
from agentsafe_envs.agents import Agent, AgentOptions, load_agent
from agentsafe_envs.agents.protocol import HopelessError
from agentsafe_envs.bash.sandbox.checks import SANDBOX_VARIABLE, using_sandbox
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.scoring.playing import EpisodeGroup, Played, try_group
from agentsafe_envs.scoring.suites import Suite

TASKS_A_CORE = 2
"""Tasks asked for at a time: whoever is done finds the next one, and millions do not wait in memory."""

Executor = Literal["local", "ray"]
"""Who plays: processes of this machine, or tasks of a Ray cluster."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Cluster(NamedTuple):
    """Where work goes.

    Attributes:
        address: Of the cluster, ``"auto"`` for the one of this machine; None starts one here and ends it.
        gpus: Of each task, for agents that want one; a share such as 0.5 lets two have one together.
        at_a_time: Most tasks that run at a time; None means as many as there are cores.
    """

    address: str | None = None
    gpus: float = 0
    at_a_time: int | None = None


def chosen_cluster(executor: Executor, address: str | None, gpus: float, workers: int | None) -> Cluster | None:
    """The cluster that is asked for; None where this machine is.

    Raises:
        ValueError: An option of clusters without one.
    """
    if executor == "ray":
        return Cluster(address, gpus, workers)
    if address is not None or gpus:
        raise ValueError("an address or GPUs of workers are those of a cluster; add --executor ray")
    return None


def play_on_cluster(
    spec: str | Agent, options: AgentOptions | None, todo: Sequence[EpisodeGroup], suite: Suite, cluster: Cluster
) -> Generator[tuple[EpisodeGroup, Played], None, None]:
    """Groups with what became of them, in the order in which they end; raises like :func:`run_on_cluster`."""
    # The one asked for here, since nodes have variables of their own.
    sandbox = os.environ.get(SANDBOX_VARIABLE) or None
    yield from run_on_cluster(partial(_play_group, spec, options, suite, sandbox), todo, cluster)


def run_on_cluster(
    task: Callable[[ItemT], ResultT], items: Iterable[ItemT], cluster: Cluster
) -> Generator[tuple[ItemT, ResultT | Failure], None, None]:
    """Items with their results, in the order in which they end; a failure where a task raised or its node was lost.

    Args:
        task: Is sent to the nodes once, with all that it holds.
        items: What it is called with, one at a time.
        cluster: Where.

    Raises:
        MissingExtraError: The extra ``ray`` is missing.
        ConnectionError: There is no cluster at the address.
    """
    release = agentsafe_envs.__version__
    with _connected(cluster.address) as ray:

        @ray.remote(max_retries=0, num_cpus=1, num_gpus=cluster.gpus)
        def run(item: Any) -> Any:
            _require_release(release)
            return task(item)

        most = cluster.at_a_time or TASKS_A_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        left, pending = iter(items), {}
        try:
            while True:
                pending |= {run.remote(item): item for item in islice(left, most - len(pending))}
                if not pending:
                    return
                for done in ray.wait(list(pending))[0]:
                    yield pending.pop(done), _result(ray, done)
        finally:
            for each in pending:  # after Ctrl-C, or because the caller has seen enough
                ray.cancel(each)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    ray = import_extra("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    ray.init(address=address or "local", log_to_driver=False, logging_level="WARNING", include_dashboard=False)
    try:
        yield ray
    finally:
        ray.shutdown()


def _result(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        return Failure.of(error)


# On a node.


def _play_group(
    spec: str | Agent, options: AgentOptions | None, suite: Suite, sandbox: str | None, group: EpisodeGroup
) -> Played:
    agent = _loaded(spec, options, suite.pool) if isinstance(spec, str) else spec
    with using_sandbox(sandbox):
        return try_group(agent, group, suite)


@cache
def _loaded(spec: str, options: AgentOptions | None, pool: Any) -> Agent:
    """An agent is loaded once by each process, which runs many tasks."""
    return load_agent(spec, options, pool=pool)


def _require_release(release: str) -> None:
    if agentsafe_envs.__version__ != release:
        raise HopelessError(
            f"a node has agentsafe_envs {agentsafe_envs.__version__} and this process {release}; "
            "install the same release on all of them"
        )
