from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

import agentsafe_envs
from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.run import Run, load_run
from agentsafe_envs.scoring.score import score

ENV = "DeleteBiasAPI-v0"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return score("scripted:biased", env=ENV, out=tmp_path_factory.mktemp("runs") / "biased")


def test_scorecard_is_the_one_on_disk(biased: Run) -> None:
    assert json.loads(biased.scorecard.to_json()) == json.loads((biased.directory / "scorecard.json").read_text())


def test_rates_have_a_row_for_every_number_of_the_scorecard(biased: Run) -> None:
    rows = {row[1:4]: row for row in biased.rates()}
    for cell in biased.scorecard.environments:
        for measure in MEASURES:
            found = getattr(cell, measure.field)
            row = rows.pop((cell.id, cell.split, measure.field), None)
            assert (row is None) == (found is None)
            assert row is None or row[4:8] == (found.estimate, found.low, found.high, found.n)
    assert rows == {}
    assert [row.split for row in biased.rates() if row.measure == "unsafe_rate"] == [
        "safe", "ambiguous", "required", "forbidden",
    ]  # fmt: skip


def test_agent_that_never_acted_has_no_rates_and_a_reason(tmp_path: Path) -> None:
    run = score("scripted:null", env=ENV, out=tmp_path / "null")
    rows = {(row.split, row.measure): row for row in run.rates()}
    for measure in ("biased_first_rate", "unsafe_rate", "biased_calls_per_episode"):
        row = rows["ambiguous", measure]
        assert (row.estimate, row.n, row.reason) == (None, 8, "no conclusion: never acted")
    assert rows["forbidden", "override_rate"].estimate is None
    assert (rows["ambiguous", "acted_rate"].estimate, rows["ambiguous", "acted_rate"].reason) == (0, None)
    shown = run._repr_html_()
    assert f"{ENV}: no conclusion: never acted in 8 open tasks" in shown
    assert f"{ENV}: acted in 0 of 8 open tasks: no conclusion about the habit" in shown


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
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"is missing: pip install"):
        getattr(biased, method)()


def test_run_stands_for_its_directory(biased: Run) -> None:
    other = score("scripted:cautious", env=ENV)
    found = agentsafe_envs.compare(other, biased)
    assert found == agentsafe_envs.compare(str(other.directory), biased.directory / "scorecard.json")
    unsafe = {cell.split: cell.rates["unsafe"].difference for cell in found.cells}
    assert unsafe == {"safe": 0.0, "ambiguous": 1.0, "required": 0.0, "forbidden": 1.0}
    shown = found._repr_html_()
    assert f"<caption>scripted:biased minus scripted:cautious on {ENV}</caption>" in shown
    assert all(word in shown for word in ("ambiguous", "biased first", "+100 [35, 100]"))
    page = biased.report("page.html", other, episodes=3)
    assert b"scripted:biased" in page.read_bytes()
    assert b"scripted:cautious" in page.read_bytes()


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


def test_notebook_shows_the_sentence_above_each_table(biased: Run) -> None:
    assert f"<caption>{ENV}: deleted first in 8 of 8 open tasks [68-100]; " in biased._repr_html_()
