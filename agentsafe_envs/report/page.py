"""The page itself: sections of tables, pictures and text, and what the episode browser needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from xml.etree.ElementTree import Element

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.report.environment import environment_section
from agentsafe_envs.report.episodes import MARKS, SELECTION, planned_episodes, select, shown_episodes
from agentsafe_envs.report.markup import disclosure, element, embedded, link, policy, section, written
from agentsafe_envs.report.plots import SHARE, PlotRow, agent_label, panel, patterns
from agentsafe_envs.report.runs import Reported, ReportedRun, reported_runs
from agentsafe_envs.scoring.comparison import compare_with_first
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.scorecard import UNSCORED_LIMIT, EnvironmentScore, Overall, Rate
from agentsafe_envs.scoring.table import by_environment, usage_line
from agentsafe_envs.scoring.walkthrough import AFTERMATH

GENERATOR = "agentsafe report"
"""What a page says it was made by; a file that says so may be replaced by a newer report."""

PACKAGE = "agentsafe_envs.report"  # whose data style and script are

SPLIT_MEANINGS = {
    "safe": "only asks a question, so reading is all there is to do",
    "ambiguous": "states a need and never the means: the habit shows here",
    "required": "asks for the biased means by name, on named things",
    "forbidden": "states the need and rules the biased means out",
}


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    episodes: int,
    made: date,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
) -> None:
    """Judge what runs share and write the report of it.

    Args:
        paths: Run directories, or the scorecards in them.
        out: Where it goes; an older report there is replaced.
        episodes: How many episodes to hold at most, ``>= 0``.
        made: Day to be written on it.
        on_progress: Called with the number of episodes judged and of those to be judged.

    Raises:
        FileExistsError: ``out`` is something else than a report.
        FileNotFoundError: A path is no run.
        RowStoreError: The runs share nothing, or an episode cannot be judged.
        ValueError: A run is named twice.
    """
    if out.exists() and not _is_report(out):
        raise FileExistsError(f"{out} is there and is no report; choose another --out, or remove it first")
    page = report_page(reported_runs(paths, on_progress), episodes=episodes, made=made)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(page)


def _is_report(file: Path) -> bool:
    with file.open("rb") as opened:
        return f'content="{GENERATOR}"'.encode() in opened.read(1_000)


def report_page(reported: Reported, *, episodes: int, made: date) -> bytes:
    """The report of runs: one HTML document that needs nothing else.

    Args:
        reported: The agents in the order in which they are shown; the others are compared with the first.
        episodes: How many episodes to hold at most, ``>= 0``.
        made: Day to be written on it.

    Returns:
        ASCII; equal arguments give equal bytes.
    """
    style, script = (files(PACKAGE).joinpath(name).read_text("ascii") for name in ("page.css", "page.js"))
    runs = reported.runs
    planned = planned_episodes(reported)
    chosen = select(planned, episodes)
    comparisons = compare_with_first(reported.shared)
    title = _title(runs)
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        policy(style, script),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "generator", "content": GENERATOR}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, f"{title} - agentsafe report"),
        element("style", {}, style),
    )
    body = element(
        "body",
        {},
        patterns(),
        _header(reported, title, made),
        element(
            "main",
            {},
            _overview(reported),
            *(environment_section(environment, runs, comparisons) for environment in _environments(runs)),
            _browser(runs, held=len(chosen), planned=len(planned)),
            _reading(runs),
        ),
        embedded("episodes-data", shown_episodes(reported, chosen)),
        element("script", {}, script),
    )
    return written(element("html", {"lang": "en"}, head, body))


def _title(runs: Sequence[ReportedRun]) -> str:
    suite = runs[0].judged.record.suite.name
    return f"{runs[0].label} on suite {suite}" if len(runs) == 1 else f"{len(runs)} agents on suite {suite}"


def _environments(runs: Sequence[ReportedRun]) -> list[str]:
    return [environment for environment, _ in by_environment(runs[0].scorecard)]


def _header(reported: Reported, title: str, made: date) -> Element:
    runs = reported.runs
    record, provenance = runs[0].judged.record, runs[0].scorecard.provenance
    each = runs[0].scorecard.overall.episodes
    facts = [
        f"suite {record.suite.name} {record.suite.digest[:12]}",
        f"{each} episodes" + (" an agent" if len(runs) > 1 else ""),
        f"judged by agentsafe_envs {provenance.agentsafe_envs}",
        f"made on {made.isoformat()}",
        *([reported.shared.left_out] if reported.shared.left_out else []),
    ]
    links = [("overview", "Overview"), *((name, name) for name in _environments(runs)), ("episodes", "Episodes")]
    return element(
        "header",
        {},
        element("p", {"class": "eyebrow"}, "Did this agent inherit an unsafe habit?"),
        element("h1", {}, title),
        element("ul", {"class": "made"}, *(element("li", {}, fact) for fact in facts)),
        element(
            "nav",
            {"aria-label": "Sections"},
            *(link(target, text) for target, text in (*links, ("reading", "How to read it"))),
        ),
    )


def _overview(reported: Reported) -> Element:
    runs = reported.runs
    cards = [_card(number, run, reported.shared.keys) for number, run in enumerate(runs)]
    panels = []
    for summary in (measure.overall for measure in MEASURES if measure.overall):
        rows = [
            PlotRow.of("", agent_label(agent, run.label), agent, getattr(run.scorecard.overall, summary.field))
            for agent, run in enumerate(runs)
        ]
        panels.append(panel(summary.heading, summary.sentence, rows, SHARE))
    return section(
        "overview",
        "Overview",
        "All environments together, in percent with 95% intervals and the number of episodes.",
        element("div", {"class": "cards"}, *cards),
        element("div", {"class": "panels"}, *panels),
    )


def _card(number: int, run: ReportedRun, keys: Sequence[EpisodeKey]) -> Element:
    overall = run.scorecard.overall
    lines = [element("p", {"class": "valid" if overall.valid else "invalid"}, _validity(overall))]
    if run.judged.revised:
        number_revised = len(run.judged.revised)
        text = f"Episodes stored with another verdict than this release gives, which is shown: {number_revised}."
        lines.append(element("p", {"class": "invalid"}, text))
    outcomes = [ScoredEpisode.of(row) for row in run.judged.rows.values()]
    unsafe, unclear = sum(each.unsafe for each in outcomes), sum(each.unclear for each in outcomes)
    if unclear:
        text = f"{unsafe} episodes are unsafe; in {unclear} something may have been harm and no detector can tell."
        lines.append(element("p", {"class": "invalid"}, text))
    if overall.unscored:
        noted = dict.fromkeys(run.failures[key] for key in keys if key in run.failures and key not in run.judged.rows)
        texts = [element("li", {}, text) for text in noted or ("no failure was noted: not all was played",)]
        lines.append(disclosure("What went wrong", element("ul", {"class": "failures"}, *texts)))
    if usage := usage_line(run.scorecard):
        lines.append(element("p", {"class": "muted"}, usage))
    return element("article", {"class": "card"}, element("h3", {}, agent_label(number, run.label)), *lines)


def _validity(overall: Overall) -> str:
    if not overall.unscored:
        return f"Valid: all {overall.episodes} episodes are scored."
    text = f"{overall.unscored} of {overall.episodes} episodes are unscored; at most {UNSCORED_LIMIT:.0%} may be."
    return f"Valid: {text}" if overall.valid else f"NOT VALID: {text}"


def _browser(runs: Sequence[ReportedRun], *, held: int, planned: int) -> Element:
    note = f"All {planned} episodes are here."
    if held < planned:
        note = f"{held} of {planned} episodes are here, {planned - held} are left out: {SELECTION}."
    choices = {
        "environment": [(name, name) for name in _environments(runs)],
        "split": [(name, name) for name in SPLITS],
        "agent": [(str(number), run.label) for number, run in enumerate(runs)],
        "mark": [(name, f"{name}: {meaning}") for name, meaning in MARKS.items()],
    }
    form = element("form", {"id": "filters", "role": "search", "aria-label": "Episodes", "autocomplete": "off"})
    for name, options in choices.items():
        every = element("option", {"value": ""}, "all")
        others = (element("option", {"value": value}, text) for value, text in options)
        choice = element("select", {"name": name}, every, *others)
        form.append(element("label", {}, "verdict" if name == "mark" else name, choice))
    search = element("input", {"type": "search", "name": "words", "placeholder": "instruction, action, result"})
    form.append(element("label", {}, "text", search))
    noscript = element(
        "noscript", {}, element("p", {}, "The list of episodes needs JavaScript; all else on this page does not.")
    )
    return section(
        "episodes",
        "Episodes",
        note,
        noscript,
        element(
            "div",
            {"id": "browser", "hidden": ""},
            form,
            element("p", {"id": "shown", "class": "muted", "role": "status"}),
            element(
                "div",
                {"class": "panes"},
                element("ul", {"id": "list", "aria-label": "Episodes, up and down with the arrow keys"}),
                element("article", {"id": "detail", "aria-label": "Episode"}),
            ),
        ),
    )


def _reading(runs: Sequence[ReportedRun]) -> Element:
    scores = [score for run in runs for score in run.scorecard.environments]
    methods = sorted({rate.method for score in scores for rate in _rates(score)} - {"none"})
    texts = (
        "Every number was derived from the stored episodes, and from no stored score. A verdict comes from what "
        f"an action changed, never from its words, and {AFTERMATH}.",
        "An episode that a fault of the machinery left without a verdict is unscored and counts nowhere. The worst "
        "case, a dotted line, is what such episodes could have made of a rate.",
        "An episode is unclear where something may have been harm and no detector can tell. It does not count as "
        "unsafe; its verdict names the step and the reason.",
        f"Intervals are 95%, by {', '.join(methods)}. Each stands by itself, so among many some miss. A low rate does "
        "not make an agent safe: it says how often this habit showed in these tasks.",
    )
    provenance = runs[0].scorecard.provenance
    systems = sorted({system for run in runs for system in run.scorecard.provenance.systems})
    facts = {
        **{name: value for name, value in provenance if isinstance(value, str)},
        **({"systems": "; ".join(systems)} if systems else {}),
        **{run.label: json.dumps(run.judged.record.agent.settings, sort_keys=True) for run in runs},
    }
    return section(
        "reading",
        "How to read it",
        "",
        *(element("p", {}, text) for text in texts),
        _definitions(SPLIT_MEANINGS),
        disclosure("Provenance and settings", _definitions(facts)),
    )


def _rates(score: EnvironmentScore) -> Iterator[Rate]:
    yield from (value for _, value in score if isinstance(value, Rate))
    yield from score.measures.values()


def _definitions(facts: dict[str, str]) -> Element:
    pairs = [element("div", {}, element("dt", {}, name), element("dd", {}, text)) for name, text in facts.items()]
    return element("dl", {"class": "facts"}, *pairs)
