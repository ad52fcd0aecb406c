from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_type_hints
from xml.etree.ElementTree import fromstring

import pytest

import agentsafe_envs
from agentsafe_envs.agents import AgentError, AgentOptions, Conversation
from agentsafe_envs.agents.load import AgentSettings
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.runs.rows import RowStoreError
from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.playing import UnscoredEpisodeError
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.run import Run, load_run, score
from agentsafe_envs.scoring.suites import choose as choose_suite

ENV = "DeleteBiasAPI-v0"
SMALL: dict[str, Any] = {"env": ENV, "split": "ambiguous", "episodes": 2}
SUBMIT = {"name": "submit", "arguments": {}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return score("scripted:biased", env=ENV, out=tmp_path_factory.mktemp("runs") / "biased")


def submits(conversation: Conversation) -> dict[str, Any]:
    return SUBMIT


def test_score_leaves_what_the_command_leaves(biased: Run, tmp_path: Path) -> None:
    score_agent("scripted:biased", choose_suite("quick", environments=[ENV]), tmp_path / "other")
    for name in ("run.json", "rows.jsonl", "scorecard.json"):
        assert (biased.directory / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_scorecard_is_the_one_on_disk(biased: Run) -> None:
    assert json.loads(biased.scorecard.to_json()) == json.loads((biased.directory / "scorecard.json").read_text())


def test_the_same_call_plays_nothing_again_and_says_so() -> None:
    first, again = score(submits, **SMALL), score(submits, **SMALL)
    assert (first.reused, again.reused) == (0, 2)
    assert first.directory == again.directory
    assert "2 of them played before" in repr(again)
    assert "before" not in repr(first)


def test_function_that_was_edited_is_another_agent() -> None:
    def made(answer: str) -> Any:
        return lambda conversation: {"name": "submit", "arguments": {"answer": answer}}

    first, second = (score(made(answer), **SMALL) for answer in ("a", "b"))
    assert first.directory != second.directory
    assert second.reused == 0
    with pytest.raises(RowStoreError, match="holds another run"):
        score(made("c"), out=first, **SMALL)


def test_agent_that_cannot_be_read_is_never_taken_for_another() -> None:
    class Connected:
        def __init__(self) -> None:
            self.lock = os.scandir(".")

        def __call__(self, conversation: Conversation) -> str:
            return json.dumps(SUBMIT)

    agent = Connected()
    assert [score(agent, **SMALL).reused for _ in range(2)] == [0, 0]
    agent.lock.close()


def test_agents_of_the_package_are_taken_as_they_are() -> None:
    by_object = score(ScriptedAgent("biased"), out="object", **SMALL)
    by_name = score("scripted:biased", out="name", **SMALL)
    assert by_object.agent == by_name.agent
    assert by_object.rates() == by_name.rates()


@pytest.mark.slow  # starts processes
def test_function_is_sent_to_workers() -> None:
    limit = 1

    def patient(conversation: Conversation) -> dict[str, Any]:
        return SUBMIT if len(conversation.steps) >= limit else {"name": "ask_operator", "arguments": {}}

    alone, together = (score(patient, out=str(number), workers=number, **SMALL) for number in (1, 2))
    assert alone.rates() == together.rates()
    assert {judged.verdict.steps for judged in together.episodes.values()} == {2}


def test_several_environments_and_a_first_seed() -> None:
    run = score(submits, env=[ENV, "GrantBiasAPI-v0"], split="safe", episodes=1, seed=5)
    assert [key[:3] for key in run.episodes] == [(ENV, "safe", 5), ("GrantBiasAPI-v0", "safe", 5)]


def test_agent_that_fails_raises_its_own_words_and_what_was_played_is_kept() -> None:
    def choose(conversation: Conversation) -> dict[str, Any]:
        if "terrain" in str(conversation.tools) or "Project" in conversation.instruction:
            raise KeyError("volume")
        return SUBMIT

    with pytest.raises(UnscoredEpisodeError, match=r"of 8 episodes have no score.*KeyError: 'volume'.*load_run\(\)"):
        score(choose, env=ENV, split="ambiguous", out="run")
    kept = load_run("run")
    assert 0 < len(kept.episodes) < 8
    assert "NOT VALID" in repr(kept)


def test_setting_that_an_agent_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="takes no base_url, seed"):
        score(submits, base_url="http://localhost", agent_seed=3, **SMALL)
    with pytest.raises(AgentError, match="takes no temperature"):
        score("scripted:biased", temperature=0.0, **SMALL)
    with pytest.raises(AgentError, match=r"is the class ScriptedAgent, expected an object: ScriptedAgent\(\.\.\.\)"):
        score(ScriptedAgent, **SMALL)  # type: ignore[arg-type]


def test_settings_are_those_of_agents() -> None:
    options = get_type_hints(AgentOptions)
    assert get_type_hints(AgentSettings) == {name: kind for name, kind in options.items() if name != "seed"}


def test_timeout_holds_for_a_function() -> None:
    import time

    with pytest.raises(UnscoredEpisodeError, match=r"did not answer within 0\.05 s"):
        score(lambda conversation: time.sleep(5), timeout_s=0.05, **SMALL)  # type: ignore[arg-type,return-value]


def test_rates_have_a_row_for_every_number_of_the_scorecard(biased: Run) -> None:
    rows = {row[1:4]: row for row in biased.rates()}
    for cell in biased.scorecard.environments:
        for measure in MEASURES:
            found = getattr(cell, measure.field)
            row = rows.pop((cell.id, cell.split, measure.field), None)
            assert (row is None) == (found is None)
            assert row is None or row[4:] == (found.estimate, found.low, found.high, found.n)
    assert rows == {}
    assert [row.split for row in biased.rates() if row.measure == "unsafe_rate"] == [
        "safe", "ambiguous", "required", "forbidden",
    ]  # fmt: skip


@pytest.mark.needs("data")
def test_means_of_the_frame_are_the_rates(biased: Run) -> None:
    frame = biased.to_frame()
    assert len(frame) == len(biased.episodes) == 14
    for row in biased.rates():
        name = row.measure.removesuffix("_rate")
        if name in frame:
            mean = frame[frame["split"] == row.split][name].mean()
            assert mean == pytest.approx(row.estimate), row


@pytest.mark.needs("plot")
def test_plot_draws_each_rate_with_its_interval(biased: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib.figure import Figure

    axes = biased.plot(ax=Figure().subplots())
    plotted = {measure.heading: measure.field for measure in MEASURES if measure.plotted}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(plotted)  # type: ignore[union-attr]
    for container in axes.containers:
        points, _, (bars,) = container  # type: ignore[misc]
        rows = [row for row in biased.rates() if row.measure == plotted[str(container.get_label())]]
        assert points.get_xdata().tolist() == [row.estimate for row in rows]
        ends = [(bar[0][0], bar[1][0]) for bar in bars.get_segments()]
        assert ends == [(pytest.approx(row.low), pytest.approx(row.high)) for row in rows]


@pytest.mark.parametrize(("method", "module"), [("to_frame", "pandas"), ("plot", "matplotlib.pyplot")])
def test_missing_extra_is_named(biased: Run, method: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=r"is missing: pip install"):
        getattr(biased, method)()


def test_run_stands_for_its_directory(biased: Run) -> None:
    other = score(submits, env=ENV)
    found = agentsafe_envs.compare(other, biased)
    assert found == agentsafe_envs.compare(str(other.directory), biased.directory / "scorecard.json")
    unsafe = {cell.split: cell.rates["unsafe"].difference for cell in found.cells}
    assert unsafe == {"safe": 0.0, "ambiguous": 1.0, "required": 0.0, "forbidden": 1.0}
    page = biased.report("page.html", other, episodes=3)
    assert b"scripted:biased" in page.read_bytes()
    assert b"callable:" in page.read_bytes()


def test_runs_are_loaded_by_directory_or_scorecard(biased: Run) -> None:
    for place in (biased, biased.directory, str(biased.directory / "scorecard.json")):
        assert load_run(place).scorecard == biased.scorecard
    with pytest.raises(FileNotFoundError, match=r"nowhere is no run: it has no run\.json"):
        load_run("nowhere")


def test_notebook_shows_hostile_names_as_text(biased: Run, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("rows.jsonl", "run.json"):
        text = (biased.directory / name).read_text().replace("scripted:biased", hostile)
        (copy / name).write_text(text)
    shown = load_run(copy)._repr_html_()
    assert hostile not in shown
    assert "".join(fromstring(f"<div>{shown}</div>").itertext()).startswith(f"{hostile} on quick: 14 episodes in")


def test_no_bar_is_drawn_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    score(submits, **SMALL)
    assert capfd.readouterr() == ("", "")


def test_public_names_are_there_and_no_others() -> None:
    assert {name for name in agentsafe_envs.__all__ if not hasattr(agentsafe_envs, name)} == set()
    assert set(agentsafe_envs.__all__) <= set(dir(agentsafe_envs))
    with pytest.raises(AttributeError, match="no attribute 'scroe'"):
        _ = agentsafe_envs.scroe  # type: ignore[attr-defined]
