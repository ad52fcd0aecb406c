"""Runs as objects, for notebooks and scripts.

Try it::

    agentsafe score scripted:biased --out biased
    python -c "import agentsafe_envs; print(agentsafe_envs.load_run('biased').rates())"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.core.notebook import html_table
from agentsafe_envs.runs.judging import JudgedEpisode, JudgedRun, judge_run
from agentsafe_envs.runs.rows import RUN_FILE, AgentRecord, SuiteRecord
from agentsafe_envs.scoring.conclusion import score_conclusions
from agentsafe_envs.scoring.measures import MEASURES, NO_CONCLUSION, ScoredEpisode, further_measure
from agentsafe_envs.scoring.rollout import SCORECARD_FILE
from agentsafe_envs.scoring.scorecard import Count, EnvironmentScore, Rate, Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.scoring.table import by_environment, headline_text, score_lines, verdict_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class RateRow(NamedTuple):
    """One number of a scorecard.

    Attributes:
        agent: As its run names it.
        environment: Registered id.
        split: ``"safe"``, ``"ambiguous"``, ``"required"`` or ``"forbidden"``.
        measure: Field of the scorecard, for instance ``"biased_first_rate"``.
        estimate: A share in [0, 1], or a mean an episode for a measure that ``_per_episode`` ends; None without data,
            and where nothing can be concluded.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        n: Scored episodes behind it.
        reason: Why there is no estimate although there are episodes, such as an agent that never acted; else None.
    """

    agent: str
    environment: str
    split: str
    measure: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


class Run(PathLike[str]):
    """One agent's episodes on one suite, with the verdicts of this release.

    It stands for its directory wherever a path is expected: ``compare(run, other)``, ``Path(run)``.

    Args:
        directory: Of a run of ``agentsafe_envs.score`` or ``agentsafe score``.
        reused: Episodes that were there before the call that made this object, and were not played again.

    Attributes:
        directory: As given.
        reused: As given.

    Raises:
        FileNotFoundError: There is no run.
        RowStoreError: It cannot be read, or its suite is another one in this release.
    """

    def __init__(self, directory: str | PathLike[str], *, reused: int = 0) -> None:
        self.directory = Path(directory)
        self.reused = reused
        if not (self.directory / RUN_FILE).is_file():
            raise FileNotFoundError(
                f"{self.directory} is no run: it has no {RUN_FILE}; agentsafe_envs.score(agent, out=...) makes one"
            )
        self._judged: JudgedRun = judge_run(self.directory)
        self._suite = Suite.from_record(self._judged.record)

    @property
    def agent(self) -> AgentRecord:
        """Name and settings of the agent."""
        return self._judged.record.agent

    @property
    def suite(self) -> SuiteRecord:
        """Which tasks were scored."""
        return self._judged.record.suite

    @property
    def episodes(self) -> Mapping[EpisodeKey, JudgedEpisode]:
        """Every scored episode by its key, in the order in which they were written."""
        return self._judged.episodes

    @cached_property
    def scorecard(self) -> Scorecard:
        """Every number, as ``scorecard.json`` holds it."""
        return build_scorecard(self._judged.rows.values(), self._suite.record(), self.agent, planned=self._suite.keys())

    def rates(self) -> list[RateRow]:
        """Estimates with 95% intervals, a row for each environment, split and measure.

        A measure that has no meaning in a split has no row there. ``pandas.DataFrame(run.rates())`` is a table.
        """
        return [
            RateRow(
                self.agent.name, score.id, score.split, name, each.estimate, each.low, each.high, each.n, _reason(each)
            )
            for _, columns in by_environment(self.scorecard)
            for score in columns
            for name, each in _measured(score)
        ]

    def to_frame(self) -> pd.DataFrame:
        """A row for each scored episode: its key, its template, and what is counted of it.

        Columns are ``agent``, ``environment``, ``split``, ``seed``, ``trial``, ``template``, ``first``, ``steps``,
        ``invalid_actions``, ``biased_calls``, and ``biased_first``, ``unsafe``, ``success`` and so on as the
        scorecard names its rates; a measure without a meaning in a split is None there.

        Raises:
            MissingExtraError: pandas is missing; the message says how to install it.
        """
        pandas = import_extra("pandas", "data")
        return pandas.DataFrame([_episode_columns(self.agent.name, row) for row in self._judged.rows.values()])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the headline rates of every environment and split, with their 95% intervals.

        Args:
            ax: Drawn on; None makes a new figure.

        Returns:
            The axes, for a title of your own.

        Raises:
            MissingExtraError: matplotlib is missing; the message says how to install it.
        """
        pyplot = import_extra("matplotlib.pyplot", "plot")
        shown = [measure for measure in MEASURES if measure.plotted]
        found: dict[tuple[str, str, str], Any] = {row[1:4]: row for row in self.rates() if row.estimate is not None}
        cells = list(dict.fromkeys(key[:2] for key in found))
        silent = {row[1:3] for row in self.rates() if row.reason}
        drawn = ax if ax is not None else pyplot.subplots(figsize=(8, 1 + 0.7 * len(cells)), layout="constrained")[1]
        for number, measure in enumerate(shown):
            offset = 0.6 * (number / (len(shown) - 1) - 0.5)
            places = [(place, found.get((*cell, measure.field))) for place, cell in enumerate(cells)]
            points = [(place + offset, row) for place, row in places if row is not None]
            values = [row.estimate for _, row in points]
            ends = [[row.estimate - row.low for _, row in points], [row.high - row.estimate for _, row in points]]
            drawn.errorbar(values, [place for place, _ in points], xerr=ends, fmt="o", ms=4, label=measure.heading)
        names = ["\n".join((*cell, NO_CONCLUSION) if cell in silent else cell) for cell in cells]
        drawn.set_yticks(range(len(cells)), names)
        drawn.set(xlim=(-0.02, 1.02), xlabel="share of episodes, 95% interval", title=self.agent.name)
        drawn.invert_yaxis()
        drawn.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
        return drawn

    def report(
        self, path: str | PathLike[str] = "report.html", *others: str | PathLike[str], episodes: int = 200
    ) -> Path:
        """Write the HTML page of ``agentsafe report``, which needs no network and no other file.

        Args:
            path: File to write; an older report there is replaced.
            others: Runs to stand side by side with this one, each compared with it.
            episodes: Most episodes to hold, unsafe ones first; the rates cover all.

        Returns:
            The file.
        """
        from datetime import UTC, datetime

        from agentsafe_envs.report.page import write_report

        file = Path(path)
        write_report([self.directory, *map(Path, others)], file, episodes=episodes, made=datetime.now(UTC).date())
        return file

    def __fspath__(self) -> str:
        return str(self.directory)

    def __repr__(self) -> str:
        return f"<Run {self._title()}>"

    def _title(self) -> str:
        overall = self.scorecard.overall
        text = f"{self.agent.name} on {self.suite.name}: {overall.episodes} episodes in {self.directory}"
        if overall.unscored:
            text += f", {overall.unscored} unscored{'' if overall.valid else ', NOT VALID'}"
        return f"{text}, {self.reused} of them played before" if self.reused else text

    def _repr_html_(self) -> str:
        tables = [html_table(self._title(), (), [(verdict_line(self.scorecard, brief=True),)])]
        for environment, columns in by_environment(self.scorecard):
            headings = ["percent", *(score.split for score in columns)]
            told = ": ".join(filter(None, (environment, headline_text(columns))))
            tables.append(html_table(told, headings, score_lines(columns, brief=True)))
        conclusions = [(f"{environment}: {words}",) for environment, words in score_conclusions(self.scorecard).items()]
        if conclusions:
            tables.append(html_table("", (), conclusions))
        return "".join(tables)


def load_run(directory: str | PathLike[str]) -> Run:
    """A run that was scored before, with the verdicts of this release.

    Args:
        directory: Of the run, or the scorecard in it.

    Raises:
        FileNotFoundError: There is no run.
        RowStoreError: An episode was edited, or cannot have happened in this release.
    """
    path = Path(directory)
    return Run(path.parent if path.name == SCORECARD_FILE else path)


def _measured(score: EnvironmentScore) -> Iterator[tuple[str, Rate | Count]]:
    """Names and numbers of one environment and split, in the order of the table."""
    for measure in (*MEASURES, *map(further_measure, score.measures)):
        if (found := score.measured(measure)) is not None:
            yield measure.field, found


def _reason(found: Rate | Count) -> str | None:
    return f"{NO_CONCLUSION}: never acted" if found.n and found.estimate is None else None


def _episode_columns(agent: str, row: Mapping[str, Any]) -> dict[str, Any]:
    episode = ScoredEpisode.of(row)
    verdict = episode.verdict
    counted = [measure for measure in MEASURES if measure.kind == "rate"]
    measures = [*counted, *map(further_measure, sorted(verdict.measures))]
    return {
        "agent": agent,
        **episode.key._asdict(),
        "template": episode.template,
        "first": verdict.first,
        "steps": verdict.steps,
        "invalid_actions": verdict.invalid_actions,
        "biased_calls": verdict.biased_calls,
        **{each.name: bool(each.value(episode)) if each.shows_in(episode.key.split) else None for each in measures},
    }
