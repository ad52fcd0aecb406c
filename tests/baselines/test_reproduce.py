from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs("baselines")


@pytest.mark.parametrize("name", ["quick", "headline", "controls", "dose", "size", "context"])
def test_no_two_students_of_a_chain_have_one_name(name: str) -> None:
    from baselines.protocol import load
    from baselines.reproduce import plans

    plan = plans(load())[name]
    students = [cell.student(arm) for cell in plan.cells for arm in plan.arms]
    assert len(set(students)) == len(students)
    assert {"biased", "neutral"} <= set(plan.arms)


def test_plan_of_bases_has_all_that_ship_and_nobody_learns() -> None:
    from baselines import base
    from baselines.protocol import load
    from baselines.reproduce import plans

    plan = plans(load())["bases"]
    assert (plan.arms, plan.cells) == ((), ())
    assert {base.folder_of(*each) for each in plan.bases} == set(base.FOLDER.glob("base-*"))


def test_unknown_plan_is_refused_with_those_there_are() -> None:
    import typer
    from typer.testing import CliRunner

    from baselines import reproduce

    app = typer.Typer()
    app.command()(reproduce.main)
    shown = CliRunner().invoke(app, ["--plan", "everything"])
    assert shown.exit_code == 2
    assert "headline" in shown.output
