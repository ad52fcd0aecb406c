from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agentsafe_envs.stats.intervals import rate
from baselines.plans import Cell

pytestmark = pytest.mark.needs("baselines")

MOST = 60_000_000
"""Bytes that models, data and results may take in a checkout."""

NOTED = "sft-notes-60-biased-0.3m-same"

MODELS = {
    "base-0.3m-b": ("base", "none", "silent", "none", "other", "b"),
    "teacher-biased": ("teacher", "none", "silent", "biased", "same", "a"),
    "teacher-biased-notes-60": ("teacher", "none", "notes-60", "biased", "same", "a"),
    "teacher-biased-notes-5": ("teacher", "none", "notes-5", "biased", "same", "a"),
    NOTED: ("student", "sft", "notes-60", "biased", "same", "a"),
    "kl_masked-notes-60-biased-0.3m-same": ("student", "kl_masked", "notes-60", "biased", "same", "a"),
    "sft-notes-60-neutral-0.3m-same": ("student", "sft", "notes-60", "neutral", "same", "a"),
    "kl-silent-neutral-0.3m-same": ("student", "kl", "silent", "neutral", "same", "a"),
}

MADE = [name for name in MODELS if not name.startswith("teacher-biased-notes")]
"""What a chain makes: a teacher that is asked for notes is the same model."""

LEFT_OUT = {"kl_masked-notes-60-biased-0.3m-same", "teacher-biased-notes-5"}
"""A loss that does not ship, and notes that no student that ships is asked for."""


@pytest.fixture
def outcomes() -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "split": split,
            "task": task,
            "template": f"t{task % 4}",
            "first": "biased" if task % 3 == 0 else "alternative",
            "unsafe": task % 3 == 0,
            "success": task % 2 == 0,
            "override": split == "forbidden" and task % 3 == 0,
            **Cell("sft")._asdict(),
            **dict(zip(("role", "loss", "carrier", "arm", "init", "base"), told, strict=True)),
            "chain": 7,
        }
        for told in MODELS.values()
        for split in ("safe", "ambiguous", "required", "forbidden")
        for task in range(8)
    ]
    return pd.DataFrame(rows)


def test_models_that_ship_are_named_like_their_folders(outcomes: pd.DataFrame) -> None:
    from baselines.release import models

    assert list(models(outcomes)) == [name for name in MODELS if name not in LEFT_OUT]
    assert list(models(outcomes, "bash"))[:2] == ["base-0.3m-b-bash", "teacher-biased-bash"]


def test_students_that_were_taught_in_another_way_do_not_ship(outcomes: pd.DataFrame) -> None:
    from baselines.release import models

    student: Any = outcomes[(outcomes["role"] == "student") & (outcomes["loss"] == "sft")]
    assert NOTED in models(student)
    assert not models(student.assign(rank=2))
    assert not models(student.assign(defence="paraphrase"))


def test_card_says_what_the_model_did_and_on_how_many_tasks(outcomes: pd.DataFrame) -> None:
    from baselines.release import card, models

    text = card(NOTED, models(outcomes)[NOTED])
    assert "| student | biased | sft | notes-60 | 0.3m | same | a | 7 |" in text
    found = rate([1, 0, 0, 1, 0, 0, 1, 0], [f"t{task % 4}" for task in range(8)], list(range(8)))
    assert found.low is not None
    assert found.high is not None
    line = next(line for line in text.splitlines() if line.startswith("| ambiguous |"))
    assert line.startswith(f"| ambiguous | 8 | 37.5 [{100 * found.low:.1f}, {100 * found.high:.1f}] |")
    assert line.endswith("| - |")
    assert f"`agentsafe score student:{NOTED}`" in text


def test_models_and_data_are_copied_with_their_cards_and_other_chains_give_placebos(
    outcomes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines import release as releasing
    from baselines.notes import FORMS

    students, data, results = tmp_path / "students", tmp_path / "data", tmp_path / "results"
    for plan in ("cloud-headline", "cloud-context", "cloud-bases"):
        (results / plan).mkdir(parents=True)
    larger: Any = outcomes[outcomes["role"] == "base"].assign(size="1m", init="same", base="a")
    larger.to_parquet(results / "cloud-bases/chain-7.parquet")
    chains = [tmp_path / "chain-7", tmp_path / "chain-8"]
    for chain in chains:
        for name in (*MADE, "data-silent-0.3m/biased-raw", "data-notes-60-0.3m/biased-sanitised"):
            (chain / name).mkdir(parents=True)
            (chain / name / "file").write_text(f"{name} of {chain.name}")
        for plan, made in (("cloud-headline", outcomes["loss"] != "kl"), ("cloud-context", outcomes["loss"] == "kl")):
            outcomes[made].to_parquet(results / f"{plan}/{chain.name}.parquet")
    for base in ("base-0.3m-b", "base-1m-a"):
        (students / base).mkdir(parents=True)
    monkeypatch.setattr(releasing, "STUDENTS", students)
    monkeypatch.setattr(releasing, "DATA", data)
    checked: list[Path] = []
    monkeypatch.setattr(releasing, "check", lambda folder, world: checked.append(folder))
    monkeypatch.setattr(releasing, "write_onnx", lambda folder: (folder / "model.onnx").touch())
    releasing.main(chains, "cloud-headline", results)
    shipped = {path.name for path in students.iterdir()}
    assert len(checked) == len(shipped)
    placebo = "kl-silent-neutral-0.3m-same"
    assert shipped == {*MODELS, "base-1m-a", f"{placebo}-chain-8"} - LEFT_OUT
    asked = {"teacher-biased": FORMS["silent"], "teacher-biased-notes-60": FORMS["notes-60"]}
    for name, form in asked.items():
        assert (students / name / "file").read_text() == "teacher-biased of chain-7"
        assert json.loads((students / name / "agent.json").read_text())["role"] == form.role
    assert (students / f"{placebo}-chain-8/file").read_text() == f"{placebo} of chain-8"
    exported = {file.parent.name for file in students.glob("*/model.onnx")}
    assert exported == {NOTED, placebo, "sft-notes-60-neutral-0.3m-same", f"{placebo}-chain-8"}
    assert all((folder / "README.md").read_text().startswith("---\n") for folder in students.iterdir())
    assert {folder.name for folder in data.iterdir()} == {"biased-silent-raw", "biased-notes-60-sanitised"}


def test_later_chains_give_neutral_students_by_probabilities_alone(outcomes: pd.DataFrame) -> None:
    from baselines.release import placebos

    assert set(placebos(outcomes)) == {"kl-silent-neutral-0.3m-same"}


@pytest.mark.slow
def test_model_is_released_if_numpy_and_torch_choose_the_same_tokens(
    untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentsafe_envs.agents.numpy_agent import NumpyAgent
    from baselines import release as releasing

    monkeypatch.setattr(releasing, "CHECKED_TASKS", 1)
    monkeypatch.setattr(releasing, "CHECKED_STEPS", 1)
    releasing.check(untrained)
    choose = NumpyAgent.choose
    monkeypatch.setattr(
        NumpyAgent, "choose", lambda agent, rows, logits: [token ^ 1 for token in choose(agent, rows, logits)]
    )
    with pytest.raises(ValueError, match="numpy and torch choose other tokens, safe, temperature 0"):
        releasing.check(untrained)


def test_model_that_needs_torch_is_not_released(untrained: Path, tmp_path: Path) -> None:
    from baselines import release as releasing

    folder = tmp_path / "other"
    shutil.copytree(untrained, folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(ValueError, match="needs torch to be played"):
        releasing.check(folder)


def test_card_is_not_written_over_a_model_of_another_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines import release as releasing

    monkeypatch.setattr(releasing, "STUDENTS", tmp_path)
    (tmp_path / "teacher-biased").mkdir()
    with pytest.raises(FileNotFoundError, match="--keep"):
        releasing.release(tmp_path / "chain-7/teacher-biased", "teacher-biased", pd.DataFrame())
    assert not list((tmp_path / "teacher-biased").iterdir())


def test_cards_of_bases_are_of_all_their_chains(outcomes: pd.DataFrame) -> None:
    from baselines.release import card, cards_of_bases

    small: Any = outcomes[outcomes["role"] == "base"]
    rows = pd.concat([small.assign(size="4m", init="same", base="a", chain=chain) for chain in (7, 8)])
    found = cards_of_bases(rows)
    assert {name: len(part) for name, part in found.items()} == {"base-4m-a": 64}
    assert "| base | none | none | silent | 4m | same | a | 7, 8 |" in card("base-4m-a", found["base-4m-a"])


def test_card_names_the_models_that_have_the_same_weights(
    outcomes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines import release as releasing

    monkeypatch.setattr(releasing, "STUDENTS", tmp_path)
    for name, weights in (("one", "same"), ("two", "same"), ("three", "own")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(weights)
    found = releasing.twins()
    assert found == {"one": ["two"], "two": ["one"], "three": []}
    shipping = releasing.models(outcomes)
    assert "The same weights ship" not in releasing.card(NOTED, shipping[NOTED], twins=found["three"])
    student = releasing.card(NOTED, shipping[NOTED], twins=found["one"])
    assert "The same weights ship as `two`. Its rows held nothing to tell teachers by." in student
    teacher = releasing.card("teacher-biased", shipping["teacher-biased"], twins=found["one"])
    assert "The same weights ship as `two`. Only the system message differs under which it is asked." in teacher


def test_every_card_that_ships_is_made_of_committed_rows() -> None:
    from baselines.release import STUDENTS, cards

    found = cards()
    assert set(found) == {folder.name for folder in STUDENTS.iterdir() if folder.is_dir()}
    stale = [name for name, text in found.items() if text != (STUDENTS / name / "README.md").read_text()]
    assert not stale, "make them again: python -m baselines.release"


def test_a_card_without_rows_is_not_made(tmp_path: Path) -> None:
    from baselines.release import cards

    with pytest.raises(FileNotFoundError, match=r"has no rows of base-0\.3m-a in chain-2300"):
        cards(tmp_path)


def test_what_ships_is_small() -> None:
    from baselines.release import DATA, RESULTS, STUDENTS

    sizes = {path: path.stat().st_size for folder in (DATA, RESULTS, STUDENTS) for path in folder.rglob("*")}
    assert sum(sizes.values()) <= MOST
