from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.needs("baselines")


def invoke(*arguments: str) -> Any:
    import typer
    from typer.testing import CliRunner

    from baselines import reproduce

    app = typer.Typer()
    app.command()(reproduce.main)
    return CliRunner().invoke(app, arguments)


def test_no_chain_is_committed_that_the_protocol_does_not_want() -> None:
    from baselines.plans import seeds
    from baselines.protocol import load
    from baselines.reproduce import RESULTS

    protocol = load()
    there = {f"{file.parent.name}/{file.name}" for file in RESULTS.glob("*/chain-*.parquet")}
    assert there <= {
        f"{plan}/chain-{seed}.parquet" for plan in protocol.chains.number for seed in seeds(protocol, plan)
    }


def test_finished_chains_are_not_run_again(tmp_path: Path) -> None:
    from baselines.protocol import load
    from baselines.reproduce import Wanted, run_chains

    finished = tmp_path / "chain-5.parquet"
    finished.write_bytes(b"as it was")
    assert run_chains(load(), [Wanted("quick", 5, tmp_path)]) == 0
    assert finished.read_bytes() == b"as it was"


def test_chain_whose_models_are_to_be_kept_is_run_again_without_them(tmp_path: Path) -> None:
    from baselines.chain import student_places
    from baselines.plans import plans
    from baselines.protocol import load
    from baselines.reproduce import Wanted

    known = plans(load())
    greedy = known["cloud-greedy"]
    (tmp_path / "chain-5.parquet").touch()
    for cell, arm in ((cell, arm) for cell in greedy.cells for arm in greedy.arms):
        folder, measured = student_places(tmp_path / "kept/cloud-headline/chain-5", cell, arm)
        folder.mkdir(parents=True)
        measured.parent.mkdir(exist_ok=True)
        measured.touch()
    assert Wanted("cloud-greedy", 4, tmp_path).missing(greedy)
    assert not Wanted("cloud-greedy", 5, tmp_path).missing(greedy)
    assert not Wanted("cloud-greedy", 5, tmp_path, tmp_path / "kept").missing(greedy), "with the headline's teachers"
    assert Wanted("cloud-headline", 5, tmp_path, tmp_path / "kept").missing(known["cloud-headline"])
    assert Wanted("cloud-greedy", 5, tmp_path, tmp_path / "others").missing(greedy)
    measured.unlink()
    assert Wanted("cloud-greedy", 5, tmp_path, tmp_path / "kept").missing(greedy), "a student that was cut off"


def test_chain_that_fails_costs_no_other_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from baselines import reproduce
    from baselines.protocol import load
    from baselines.reproduce import Wanted, run_chains

    def run(*_: object) -> Any:
        return odd_ones_fail

    monkeypatch.setattr(reproduce, "partial", run)
    with pytest.raises(RuntimeError, match="chain 3 of quick has no rows: ValueError: odd"):
        run_chains(load(), [Wanted("quick", seed, tmp_path) for seed in range(4)], workers=1)
    assert sorted(file.name for file in tmp_path.glob("chain-*")) == ["chain-0.parquet", "chain-2.parquet"]
    made = pd.read_parquet(tmp_path / "chain-2.parquet").attrs
    assert made["command"] == "python -m baselines.reproduce --quick --first 2 --chains 1"
    assert {"agentsafe_envs", "git_commit", "python", "numpy"} <= made.keys()


def odd_ones_fail(wanted: Any) -> Any:
    """In place of a chain."""
    import pandas as pd

    if wanted.seed % 2:
        raise ValueError("odd")
    return pd.DataFrame({"task": [0]}), pd.DataFrame()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quick", "--plan", "cloud-headline"), "--quick"),
        (("--plan", "everything"), "cloud-headline"),
        (("--plan", "cloud-headline", "--shard", "3/2"), "I/N"),
        (("--plan", "cloud-words", "--shard", "4/4"), "holds none of 3 chains"),
    ],
)
def test_wrong_wish_is_refused_with_what_was_expected(arguments: tuple[str, ...], said: str) -> None:
    shown = invoke(*arguments)
    assert shown.exit_code == 2
    assert said in shown.output


def test_two_plans_in_one_folder_of_results_keep_their_rows_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def run_none(protocol: object, wanted: Iterable[Any], *_: object) -> int:
        asked.extend(each.out for each in wanted)
        return 0

    monkeypatch.setattr("baselines.reproduce.run_chains", run_none)
    monkeypatch.setattr("baselines.reproduce.estimate", lambda *_: "")
    for plan in ("cloud-words", "cloud-room"):
        assert invoke("--plan", plan, "--chains", "1", "--out", str(tmp_path)).exit_code == 0
    assert asked == [tmp_path / "cloud-words", tmp_path / "cloud-room"]


def test_shards_divide_the_chains_between_them() -> None:
    from agentsafe_envs.scoring.suites import Shard
    from baselines.reproduce import Wanted

    wanted = [Wanted("cloud-headline", seed, Path()) for seed in range(10)]
    parts = [Shard(number, 3).share(wanted) for number in (1, 2, 3)]
    assert sorted(each.seed for part in parts for each in part) == list(range(10))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(1, 9),
)
def test_chains_end_no_sooner_than_whole_ones_fit(times: list[int], workers: int) -> None:
    from baselines.estimate import elapsed

    found = elapsed(times, workers)
    assert max(max(times), sum(times) / workers) <= found <= sum(times) / workers + max(times)
    assert elapsed([60.0] * 3, 2) == 120, "the third waits for a core"


def test_time_is_counted_from_what_a_core_does_and_grows_with_what_there_is_to_do() -> None:
    from baselines.estimate import Speed, base_seconds, duration, seconds
    from baselines.plans import plans
    from baselines.protocol import load

    protocol = load()
    speed = Speed({"0.3m": 20_000.0, "1m": 10_000.0, "4m": 5_000.0}, {"cloud": 40.0, "bash": 40.0})
    twice = Speed({size: 2 * rate for size, rate in speed.tokens.items()}, {"cloud": 80.0, "bash": 80.0})
    for name, plan in plans(protocol).items():
        slow, fast = seconds(protocol, plan, speed), seconds(protocol, plan, twice)
        assert 0 < fast < slow, name
    world, silent = protocol.endpoint, 1 / 40
    one = (world.ambiguous + 3 * world.others) * silent + world.margins * 0.1
    taught, learnt = protocol.teacher, protocol.student
    assert seconds(protocol, plans(protocol)["cloud-placebos"], speed) == pytest.approx(
        2 * taught.updates * taught.batch_tokens / 20_000
        + 2 * 2 * protocol.data.tasks * silent
        + 3 * (learnt.updates * learnt.batch_tokens / 20_000 + one)
        + learnt.updates * learnt.batch_tokens / 3 / 20_000
    ), "two teachers that are not measured again, two data sets of each, three students of the clean one"
    before = (8_000 + sum(protocol.base.rounds) + 8_000) * 2_048
    assert base_seconds(protocol, "0.3m", speed, "bash") == pytest.approx(before / 20_000)
    assert base_seconds(protocol, "0.3m", speed) == pytest.approx((before + 8_000 * 4_096) / 20_000), "and a last round"
    assert [duration(each) for each in (10, 240, 7_500)] == ["1 min", "4 min", "2 h 05 min"]


@pytest.mark.needs("lm")
def test_time_of_sandboxes_counts_and_time_of_other_work_in_the_cloud_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines import estimate
    from baselines.protocol import load

    monkeypatch.setattr(estimate, "play_tasks", lambda *_, **__: time.sleep(0.2) or ())
    speed = estimate._measured(load(), [], ["cloud", "bash"])
    assert speed.episodes["bash"] <= estimate.TIMED["bash"].tasks / 0.2 < speed.episodes["cloud"]


@pytest.mark.slow
def test_a_chain_ends_with_the_command_that_runs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "baselines.reproduce", "--quick", "--workers", "1", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        assert waited_until(lambda: workers_of(run.pid))
        (worker,) = workers_of(run.pid)
        run.kill()
    assert waited_until(lambda: not Path(f"/proc/{worker}").exists())


def workers_of(pid: int) -> list[int]:
    """Processes that compute for a command."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def waited_until(holds: Callable[[], object]) -> bool:
    """Wait for something that takes a process a moment; whether it came to that."""
    deadline = time.monotonic() + 120
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(holds())


@pytest.mark.slow
def test_small_chain_runs_from_teacher_to_verdict_and_says_what_it_did(tmp_path: Path) -> None:
    """With models that have learnt next to nothing: that every stage runs, and nothing about what it finds."""
    from baselines.contrasts import read

    shown = invoke("--quick", "--out", str(tmp_path), "--workers", "1")
    assert shown.exit_code == 0, shown.output
    assert "all 1 chains are there, 1 of them new" in shown.output
    rows = read(tmp_path / "quick")
    assert set(rows["role"]) == {"teacher", "student"}
    assert set(rows["arm"][rows["role"] == "student"]) == {"biased", "neutral"}
    assert rows["margin"][rows["split"] == "ambiguous"].notna().any()


@pytest.mark.slow
@pytest.mark.needs("ray")
@pytest.mark.filterwarnings("ignore")  # what Ray warns of is not ours
def test_a_chain_on_a_cluster_has_the_rows_of_one_run_here(tmp_path: Path) -> None:
    import pandas as pd

    from agentsafe_envs.scoring.cluster import Cluster
    from baselines.protocol import load
    from baselines.reproduce import Wanted, run_chains

    protocol = load().quick()
    for name, cluster in (("spread", Cluster(at_a_time=1)), ("here", None)):
        assert run_chains(protocol, [Wanted("quick", 5, tmp_path / name)], 1, cluster) == 1
    spread, here = (pd.read_parquet(tmp_path / name / "chain-5.parquet") for name in ("spread", "here"))
    pd.testing.assert_frame_equal(spread, here)


@pytest.mark.parametrize(
    ("variables", "cluster", "keep"),
    [((), None, Path("work")), (("EXECUTOR=ray",), (None,), None), (("EXECUTOR=ray", "ADDRESS=auto"), ("auto",), None)],
    ids=["here", "cluster started here", "cluster"],
)
def test_make_reproduce_goes_to_a_cluster_too(
    monkeypatch: pytest.MonkeyPatch, variables: tuple[str, ...], cluster: tuple[str | None] | None, keep: Path | None
) -> None:
    from baselines import reproduce

    asked: list[tuple[Any, Any]] = []

    def run_chains(protocol: Any, wanted: list[reproduce.Wanted], workers: Any, to: Any) -> int:
        asked.append((to and (to.address,), {each.keep for each in wanted}))
        return 0

    monkeypatch.setattr(reproduce, "run_chains", run_chains)
    monkeypatch.setattr(reproduce, "estimate", lambda *arguments: "")
    root = Path(reproduce.__file__).parents[1]
    told = subprocess.run(
        ["make", "--dry-run", "reproduce", *variables], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    (command,) = (line for line in told.splitlines() if "-m baselines.reproduce" in line)
    shown = invoke(*command.partition("-m baselines.reproduce")[2].split())
    assert shown.exit_code == 0, shown.output
    assert asked == [(cluster, {keep})]
