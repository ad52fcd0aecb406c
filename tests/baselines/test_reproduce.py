from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("baselines")


def invoke(*arguments: str) -> Any:
    import typer
    from typer.testing import CliRunner

    from baselines import reproduce

    app = typer.Typer()
    app.command()(reproduce.main)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", ["quick", "headline", "controls", "dose", "size", "context", "margins"])
def test_no_two_students_of_a_chain_have_one_name(name: str) -> None:
    from baselines.protocol import load
    from baselines.reproduce import plans

    plan = plans(load())[name]
    students = [cell.student(arm) for cell in plan.cells for arm in plan.arms]
    assert len(set(students)) == len(students)
    assert {"biased", "neutral"} <= set(plan.arms)


def test_plan_of_bases_has_all_that_ship_and_nobody_learns() -> None:
    from baselines import base, students
    from baselines.protocol import load
    from baselines.reproduce import plans

    plan = plans(load())["bases"]
    assert (plan.arms, plan.cells) == ((), ())
    assert {base.folder_of(*each) for each in plan.bases} == set(students.SHIPPED.glob("base-*"))


def test_every_chain_of_the_protocol_is_committed_and_no_other() -> None:
    from baselines.protocol import load
    from baselines.reproduce import PLANS, RESULTS, plans

    chains = load().chains
    assert set(PLANS) == set(plans(load())) - {"quick"}
    there = {folder.name: sorted(file.name for file in folder.glob("chain-*")) for folder in RESULTS.glob("tiny-*")}
    assert there == {
        f"tiny-{plan}": [f"chain-{chains.first_seed + each}.parquet" for each in range(getattr(chains, plan))]
        for plan in PLANS
    }


def test_finished_chains_are_not_run_again(tmp_path: Path) -> None:
    from baselines.protocol import load
    from baselines.reproduce import plans, run_chains

    finished = tmp_path / "chain-5.parquet"
    finished.write_bytes(b"as it was")
    assert run_chains(load(), plans(load())["quick"], [5], tmp_path) == 0
    assert finished.read_bytes() == b"as it was"


def test_chain_whose_models_are_to_be_kept_is_run_again_without_them(
    tmp_path: Path,
) -> None:
    from baselines.reproduce import missing

    (tmp_path / "chain-5.parquet").touch()
    (tmp_path / "kept/chain-5").mkdir(parents=True)
    assert missing([4, 5], tmp_path) == [4]
    assert missing([4, 5], tmp_path, keep=tmp_path / "kept") == [4]
    assert missing([4, 5], tmp_path, keep=tmp_path / "others") == [4, 5]


def test_quick_chain_is_a_plan_of_its_own() -> None:
    shown = invoke("--quick", "--plan", "dose")
    assert shown.exit_code == 2
    assert "--quick" in shown.output


@pytest.mark.parametrize("option", ["--out", "--keep"])
def test_folder_of_one_plan_is_refused_for_all(option: str, tmp_path: Path) -> None:
    shown = invoke(option, str(tmp_path))
    assert shown.exit_code == 2
    assert "--plan" in shown.output


def test_unknown_plan_is_refused_with_those_there_are() -> None:
    shown = invoke("--plan", "everything")
    assert shown.exit_code == 2
    assert "headline" in shown.output


@pytest.mark.slow
@pytest.mark.needs("ray")
@pytest.mark.filterwarnings("ignore")  # what Ray warns of is not ours
def test_a_chain_on_a_cluster_has_the_rows_of_one_run_here(tmp_path: Path) -> None:
    import pandas as pd

    from agentsafe_envs.scoring.cluster import Cluster
    from baselines.protocol import load
    from baselines.reproduce import Plan, run_chains

    protocol = load().quick()
    bases = Plan((), (), ((protocol.models.size, "a"),))
    for name, cluster in (("spread", Cluster(at_a_time=1)), ("here", None)):
        assert run_chains(protocol, bases, [5], tmp_path / name, workers=1, cluster=cluster) == 1
    spread, here = (pd.read_parquet(tmp_path / name / "chain-5.parquet") for name in ("spread", "here"))
    pd.testing.assert_frame_equal(spread, here)
