from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import typer

from baselines import asked, evaluate, margins
from baselines.base import folder_of
from baselines.students import SHIPPED

pytestmark = pytest.mark.needs("baselines")


@pytest.fixture
def other_world(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with the tokens of the bases of ``bash``."""
    monkeypatch.setattr(
        asked, "folder_of", lambda size, init, world: untrained if world == "bash" else folder_of(size, init, world)
    )
    return untrained


def test_model_is_asked_as_its_folder_tells(other_world: Path) -> None:
    assert asked.asked(SHIPPED / "teacher-biased") == ("silent", "cloud")
    assert asked.asked(SHIPPED / "base-0.3m-a-notes-60") == ("notes-60", "cloud")
    assert asked.asked(other_world) == ("silent", "bash")


def test_what_is_said_stands_above_what_the_folder_tells(other_world: Path) -> None:
    assert asked.asked(SHIPPED / "teacher-biased", "notes-60", "cloud") == ("notes-60", "cloud")
    assert asked.asked(SHIPPED / "teacher-biased", "words") == ("silent", "cloud"), "lists are no notes"


@pytest.mark.parametrize("main", [margins.main, evaluate.main])
def test_model_of_another_world_is_refused(main: object, other_world: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"a model of the world bash.*--world bash"):
        main(other_world, world="cloud")  # type: ignore[operator]
    with pytest.raises(typer.BadParameter, match="holds no model"):
        main(other_world / "none")  # type: ignore[operator]


def test_model_of_no_world_that_is_known_is_measured_where_it_is_said(untrained: Path) -> None:
    assert asked.world_of(untrained) is None
    assert asked.asked(untrained, world="bash") == ("silent", "bash")


@pytest.mark.parametrize(("mass", "warned"), [(0.01, True), (0.5, False)])
def test_little_mass_is_warned_of(
    mass: float, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = pd.DataFrame({"template": ["one/0"], "margin": [50.0], "mass": [mass]})
    monkeypatch.setattr(margins, "margins", lambda *_: read)
    margins.main(SHIPPED / "teacher-biased")
    said = capsys.readouterr()
    assert "+50.00 nats, mean of 1 tasks of DeleteBiasAPI-v0, asked as silent" in said.out
    assert ("expected 10% or more" in said.err) == warned


@pytest.mark.parametrize(("first", "warned"), [("none", True), ("alternative", False)])
def test_model_that_does_not_act_is_warned_of(
    first: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"split": "ambiguous", "first": first, "unsafe": False, "success": False, "override": False}
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: pd.DataFrame([row]))
    evaluate.main(SHIPPED / "teacher-biased")
    assert ("expected 80% or more" in capsys.readouterr().err) == warned
