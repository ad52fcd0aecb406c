from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.registration import TABLE
from agentsafe_envs.runs.rows import ROWS_FILE, RUN_FILE, RowStoreError
from agentsafe_envs.scoring.comparison import PairedCell, compare
from agentsafe_envs.scoring.measures import COMPARED
from agentsafe_envs.scoring.rollout import SCORECARD_FILE, score_agent
from agentsafe_envs.scoring.suites import SUITES, choose

ENV = TABLE[0].id


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each of three scripts on the quick suite."""
    folder = tmp_path_factory.mktemp("runs")
    for policy in ("biased", "cautious", "null"):
        score_agent(f"scripted:{policy}", SUITES["quick"], folder / policy)
    return folder


def cell(runs: Path, first: str, second: str, split: str = "ambiguous") -> PairedCell:
    found = compare(runs / first, runs / second)
    return next(each for each in found.cells if (each.id, each.split) == (ENV, split))


def test_difference_is_the_second_minus_the_first(runs: Path) -> None:
    found = cell(runs, "cautious", "biased").rates["biased_first"]
    assert (found.first, found.second, found.difference) == (0.0, 1.0, 1.0)
    assert found.low is not None
    assert 0.3 < found.low < 0.4  # eight templates say no more
    assert found.high == 1.0


def test_order_of_the_two_turns_every_sign(runs: Path) -> None:
    there, back = (cell(runs, *pair) for pair in (("cautious", "biased"), ("biased", "cautious")))
    for name in there.rates:
        one, other = there.rates[name], back.rates[name]
        assert one.difference == -(other.difference or 0.0)
        assert (one.first, one.second) == (other.second, other.first)


def test_agent_beside_itself_differs_by_nothing_and_not_certainly(runs: Path) -> None:
    for found in compare(runs / "biased", runs / "biased").cells:
        assert found.pairs == SUITES["quick"].tasks[found.split]  # type: ignore[index]
        for rate in found.rates.values():
            assert rate.difference == 0.0
            assert rate.low is not None
            assert rate.high is not None
            assert rate.low < 0 < rate.high


def test_rule_can_be_broken_in_the_forbidden_split_only(runs: Path) -> None:
    for found in compare(runs / "cautious", runs / "biased").cells:
        assert set(found.rates) == {each.name for each in COMPARED if each.shows_in(found.split)}
    assert cell(runs, "cautious", "biased", "forbidden").rates["override"].difference == 1.0


def test_scorecard_stands_for_its_run(runs: Path) -> None:
    files = (runs / "cautious" / SCORECARD_FILE, runs / "biased" / SCORECARD_FILE)
    assert compare(*files) == compare(runs / "cautious", runs / "biased")


def test_episode_that_one_lacks_is_left_out_and_counted(runs: Path, tmp_path: Path) -> None:
    score_agent("scripted:biased", SUITES["quick"], tmp_path)
    rows = tmp_path / ROWS_FILE
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[3:]))
    cells = [each for each in compare(runs / "cautious", tmp_path).cells if each.split == "ambiguous"]
    assert (sum(each.pairs for each in cells), sum(each.unpaired for each in cells)) == (8 * len(cells) - 3, 3)


def test_stored_verdicts_are_not_believed(runs: Path, tmp_path: Path) -> None:
    score_agent("scripted:biased", SUITES["quick"], tmp_path)
    rows = tmp_path / ROWS_FILE
    rows.write_text(rows.read_text().replace('"first":"biased"', '"first":"none"'))
    assert compare(runs / "cautious", tmp_path).cells == compare(runs / "cautious", runs / "biased").cells


def test_environments_and_tasks_that_one_lacks_are_left_out_and_said(runs: Path, tmp_path: Path) -> None:
    other = choose("quick", environments=[ENV, "GrantBiasAPI-v0"], first_seed=1)
    score_agent("scripted:biased", other, tmp_path)
    found = compare(runs / "cautious", tmp_path)
    assert {each.split: (each.id, each.pairs, each.unpaired) for each in found.cells} == {
        split: (ENV, tasks - 1, 0) for split, tasks in SUITES["quick"].tasks.items()
    }
    assert found.left_out == (
        f"left out: ChmodBiasBash-v0, which not every run has; GrantBiasAPI-v0, which not every run has; "
        f"8 episodes of {ENV} that not every run has"
    )
    assert list(found.suite.environments) == [ENV]
    assert compare(runs / "cautious", runs / "biased").left_out is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"environments": ("GrantBiasAPI-v0",)}, "share no environment"),
        ({"first_seed": 50}, "share no task"),
        ({"pool": "dev"}, "with pool public, .* with dev; only runs of the same tasks compare"),
        ({"max_steps": 7}, "with max_steps 6, .* with 7; only runs of the same tasks compare"),
    ],
)
def test_run_that_shares_nothing_is_refused_with_both_named(
    runs: Path, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    score_agent("scripted:null", choose("quick", environments=[ENV])._replace(**change), tmp_path)
    with pytest.raises(RowStoreError, match=complaint) as caught:
        compare(runs / "biased", tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(runs / "biased") in str(caught.value)


def test_tasks_that_another_release_drew_are_refused(runs: Path, tmp_path: Path) -> None:
    score_agent("scripted:null", choose("quick", environments=[ENV]), tmp_path)
    file = tmp_path / RUN_FILE
    record = json.loads(file.read_text())
    record["suite"]["environments"][ENV] = "another"
    file.write_text(json.dumps(record))
    with pytest.raises(RowStoreError, match="are others in this release"):
        compare(runs / "biased", tmp_path)


def test_what_is_no_run_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is no run: there is no .*nowhere/run\.json"):
        compare(runs / "biased", tmp_path / "nowhere")


def test_json_is_everything_and_can_be_read_back(runs: Path) -> None:
    found = compare(runs / "cautious", runs / "biased")
    assert type(found).model_validate(json.loads(found.to_json())) == found
