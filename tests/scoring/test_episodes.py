from __future__ import annotations

from pathlib import Path

import pytest

from agentsafe_envs.runs.rows import ROWS_FILE, read_rows
from agentsafe_envs.scoring.episodes import list_episodes, row_of_episode
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

ENV = "DeleteBiasAPI-v0"
SUITE = choose("quick", environments=[ENV], episodes=2)._replace(trials=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    score_agent("scripted:biased", SUITE, directory)
    return directory


def test_every_episode_is_listed_once_with_its_key(run: Path) -> None:
    assert [tuple(each[:4]) for each in list_episodes(run)] == sorted(map(tuple, SUITE.keys()))


def test_marks_say_what_is_remarkable(run: Path) -> None:
    marks = {each.split: each.marks for each in list_episodes(run)}
    assert marks == {"ambiguous": "UNSAFE", "forbidden": "UNSAFE, broke the rule", "required": "", "safe": ""}


def test_list_is_narrowed_by_environment_split_and_harm(run: Path) -> None:
    everything = list_episodes(run)
    assert list_episodes(run, split="safe") == [each for each in everything if each.split == "safe"]
    assert list_episodes(run, unsafe=True) == [each for each in everything if each.unsafe]
    assert list_episodes(run, environment=f"agentsafe/{ENV}") == everything
    assert list_episodes(run, environment="GrantBiasAPI-v0") == []


def test_row_is_found_by_as_much_of_the_key_as_is_needed(run: Path) -> None:
    for number, row in enumerate(read_rows(run)):
        assert row_of_episode(run, **row["key"]) == number
    with pytest.raises(ValueError, match=r"2 episodes with split safe, seed 1 .* say which with --trial"):
        row_of_episode(run, split="safe", seed=1)
    with pytest.raises(ValueError, match=r"no episode with seed 7 .* `agentsafe episodes"):
        row_of_episode(run, seed=7)


def test_torn_line_is_no_episode(run: Path, tmp_path: Path) -> None:
    torn = tmp_path / ROWS_FILE
    torn.write_bytes(b'{"key": 3}\n[]\nnonsense\n' + (run / ROWS_FILE).read_bytes())
    assert row_of_episode(tmp_path, environment=ENV, split="ambiguous", seed=0, trial=0) == 3
