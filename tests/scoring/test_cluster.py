"""A Ray cluster plays what one machine would have played, also when a node dies half-way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.rows import ROWS_FILE, read_failures, read_run
from agentsafe_envs.scoring.cluster import Cluster, chosen_cluster, run_on_cluster
from agentsafe_envs.scoring.rollout import SCORECARD_FILE, play_suite, write_scorecard
from agentsafe_envs.scoring.suites import Suite, choose

SUITE = choose("standard", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=24)

AGENT = """
import os, pathlib, time

FOLDER = pathlib.Path(os.environ["NOTES"])

def make():
    def choose(conversation):
        if not conversation.steps:
            with open(FOLDER / "begun", "a") as begun:
                begun.write(conversation.instruction.split(chr(10))[0] + chr(10))
            wait_for_the_end_of_this_node()
            return {"name": "list_resources", "arguments": {"kind": "volume"}}
        return {"name": "submit", "arguments": {}}
    return choose

def wait_for_the_end_of_this_node():
    try:
        doomed = open(FOLDER / "doomed", "x")
    except FileExistsError:
        return
    import ray
    with doomed:
        doomed.write(ray.get_runtime_context().get_node_id())
    time.sleep(3600)
"""


def test_options_of_a_cluster_need_one() -> None:
    assert chosen_cluster("local", None, 0, 3) is None
    assert chosen_cluster("ray", "auto", 0.5, 3) == Cluster("auto", 0.5, 3)
    with pytest.raises(ValueError, match="--executor ray"):
        chosen_cluster("local", "auto", 0, None)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores and two more raylets with one each, in processes of their own."""
    from ray.cluster_utils import Cluster as Raylets

    (tmp_path / "slow_agent.py").write_text(AGENT)
    (tmp_path / "notes").mkdir()  # files beside an agent's source that it names are a part of its identity
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    raylets = Raylets(initialize_head=True, head_node_args={"num_cpus": 0})
    raylets.add_node(num_cpus=1)
    raylets.add_node(num_cpus=1)
    raylets.wait_for_nodes()
    yield raylets
    raylets.shutdown()


@pytest.mark.slow
@pytest.mark.needs("ray")
def test_a_run_with_a_lost_node_becomes_the_bytes_of_a_local_run(machines: Any, tmp_path: Path) -> None:
    cluster = Cluster(machines.address)
    alive = {node.node_id: node for node in machines.worker_nodes}

    def kill_half_way(done: int, planned: int) -> None:
        if done >= planned // 2 and len(alive) == 2:  # the node that plays the first episode waits for this
            machines.remove_node(alive.pop((tmp_path / "notes" / "doomed").read_text()), allow_graceful=False)

    spread, local = tmp_path / "spread", tmp_path / "local"
    first = play_suite("python:slow_agent:make", SUITE, spread, cluster=cluster, on_progress=kill_half_way)
    assert first.unscored == len(read_failures(spread)) > 0
    begun = Counter((tmp_path / "notes" / "begun").read_text().splitlines())
    assert max(begun.values()) == 1, "a lost episode was begun again in the same run"
    second = play_suite("python:slow_agent:make", SUITE, spread, cluster=cluster)
    assert second.unscored == 0
    play_suite("python:slow_agent:make", SUITE, local)
    for run in (spread, local):
        write_scorecard(run, SUITE, read_run(run).agent)
    assert rows_of(spread) == rows_of(local)
    assert (spread / SCORECARD_FILE).read_bytes() == (local / SCORECARD_FILE).read_bytes()


@pytest.mark.slow
@pytest.mark.needs("ray")
def test_what_a_task_raises_is_a_failure_and_the_others_go_on(machines: Any) -> None:
    def task(item: int) -> int:
        if item == 2:
            raise OSError("no room on this node")
        return item * item

    found = dict(run_on_cluster(task, range(5), Cluster(machines.address, at_a_time=2)))
    failure = found.pop(2)
    assert isinstance(failure, Failure)
    assert "no room on this node" in failure.message
    assert found == {0: 0, 1: 1, 3: 9, 4: 16}


@pytest.mark.slow
@pytest.mark.needs("ray", "bubblewrap")
@pytest.mark.parametrize("spec", ["scripted:biased", "scripted:random"])
def test_both_worlds_are_played_on_a_cluster_that_is_started_here(tmp_path: Path, spec: str) -> None:
    suite: Suite = choose("quick", episodes=2)
    for name, cluster in (("spread", Cluster(at_a_time=2)), ("local", None)):
        played = play_suite(spec, suite, tmp_path / name, cluster=cluster)
        assert played.unscored == 0
    assert rows_of(tmp_path / "spread") == rows_of(tmp_path / "local")


def rows_of(run: Path) -> list[bytes]:
    """Lines in the order of their bytes: a cluster writes them as they end."""
    return sorted((run / ROWS_FILE).read_bytes().splitlines())
