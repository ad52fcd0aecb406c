"""The page itself: sections of tables, pictures and text, and what the episode browser needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from xml.etree.ElementTree import Element

from agentsafe_envs.audit.behaviour import Audit
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.report.answers import MOST_SIDE_BY_SIDE, answers, ranking, sentence
from agentsafe_envs.report.audit import audit_section
from agentsafe_envs.report.environment import differ, environment_section, panels
from agentsafe_envs.report.episodes import (
    FLIPPED,
    MARKS,
    SELECTION,
    Planned,
    planned_episodes,
    select,
    shown_episodes,
)
from agentsafe_envs.report.markup import disclosure, element, embedded, link, policy, section, written
from agentsafe_envs.report.plots import SHARE, PlotRow, agent_label, panel, patterns
from agentsafe_envs.report.runs import Reported, ReportedRun, reported_runs
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.scoring.comparison import compare_with_first
from agentsafe_envs.scoring.conclusion import scorecard_advice
from agentsafe_envs.scoring.flips import flips
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.scorecard import UNSCORED_LIMIT, EnvironmentScore, Overall, Rate
from agentsafe_envs.scoring.table import by_environment, overall_headline, usage_line
from agentsafe_envs.scoring.walkthrough import AFTERMATH

GENERATOR = "agentsafe report"
"""What a page says it was made by; a file that says so may be replaced by a newer report."""

PACKAGE = "agentsafe_envs.report"  # whose data style and script are

SPLIT_MEANINGS = {
    "safe": "only asks a question, so reading is all there is to do",
    "ambiguous": "an open task, which states a need and never the means: the habit shows here",
    "required": "asks for the biased means by name, on named things",
    "forbidden": "states the need and rules the biased means out: to use it breaks the rule",
}


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    episodes: int,
    made: date,
    audited: Audit | None = None,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
) -> None:
    """Judge what runs share and write the report of it.

    Args:
        paths: Run directories, or the scorecards in them.
        out: Where it goes; an older report there is replaced.
        episodes: How many episodes to hold at most, ``>= 0``.
        made: Day to be written on it.
        audited: What an audit of these runs found.
        on_progress: Called with the number of episodes judged and of those to be judged.

    Raises:
        FileExistsError: ``out`` is something else than a report.
        FileNotFoundError: A path is no run.
        RowStoreError: The runs share nothing, or an episode cannot be judged.
        ValueError: A run is named twice.
    """
    if out.exists() and not _is_report(out):
        raise FileExistsError(f"{out} is there and is no report; choose another --out, or remove it first")
    page = report_page(reported_runs(paths, on_progress), episodes=episodes, made=made, audited=audited)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)


def _is_report(file: Path) -> bool:
    with file.open("rb") as opened:
        return f'content="{GENERATOR}"'.encode() in opened.read(1_000)


def report_page(reported: Reported, *, episodes: int, made: date, audited: Audit | None = None) -> bytes:
    """The report of runs: one HTML document that needs nothing else.

    Args:
        reported: The agents in the order in which they are shown; the others are compared with the first.
        episodes: How many episodes to hold at most, ``>= 0``.
        made: Day to be written on it.
        audited: What an audit of these runs found, shown before all else.

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
        _header(reported, title, made, audited),
        element(
            "main",
            {},
            *([audit_section(audited)] if audited else []),
            _overview(reported),
            *(environment_section(environment, runs, comparisons) for environment in _environments(runs)),
            _browser(runs, chosen, planned),
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


def _header(reported: Reported, title: str, made: date, audited: Audit | None) -> Element:
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
    links = [*([("audit", "Audit")] if audited else []), *links]
    return element(
        "header",
        {},
        element("h1", {}, title),
        *_sentences(runs),
        element("ul", {"class": "made"}, *(element("li", {}, fact) for fact in facts)),
        element(
            "nav",
            {"aria-label": "Sections"},
            *(link(target, text) for target, text in (*links, ("reading", "How to read it"))),
        ),
    )


def _sentences(runs: Sequence[ReportedRun]) -> Iterator[Element]:
    """What each agent did; of many, their table says it."""
    if len(runs) > MOST_SIDE_BY_SIDE:
        return
    for agent, run in enumerate(runs):
        line = sentence(overall_headline(run.scorecard))
        if len(runs) > 1:
            line.insert(0, agent_label(agent, run.label))
            line[0].tail = " "
        yield line


def _overview(reported: Reported) -> Element:
    runs = reported.runs
    many = len(runs) > MOST_SIDE_BY_SIDE
    about = "Open tasks state a need and never the means: the share in which the biased means came first."
    shown: list[Element] = [ranking(runs)] if many else [answers(runs)]
    drawn = [] if many else list(_overall_panels(runs))
    if drawn:
        shown.append(disclosure("All environments together, in percent with 95% intervals", panels(drawn)))
    return section("overview", "Overview", about, *shown, _validity_of_all(reported))


def _overall_panels(runs: Sequence[ReportedRun]) -> Iterator[Element]:
    """Measures over all environments; of several agents only those in which they differ."""
    for summary in (measure.overall for measure in MEASURES if measure.overall):
        rates = [getattr(run.scorecard.overall, summary.field) for run in runs]
        if len(runs) == 1 or differ(rates):
            rows = [
                PlotRow.of("", agent_label(agent, run.label), agent, rate)
                for agent, (run, rate) in enumerate(zip(runs, rates, strict=True))
            ]
            yield panel(summary.heading, summary.sentence, rows, SHARE)


def _validity_of_all(reported: Reported) -> Element:
    """In grey what is in order, in one line where that holds for every agent; what is not, in red."""
    runs, lines = reported.runs, []
    fine = [run for run in runs if not run.scorecard.overall.unscored]
    if len(fine) == len(runs) > 1:
        each = runs[0].scorecard.overall.episodes
        lines.append(element("li", {}, f"Valid: all {each} episodes of each of {len(runs)} agents are scored."))
    for run in runs:
        told = len(runs) == 1 or len(fine) < len(runs)
        lines += _validity_of(run, reported.shared.keys, alone=len(runs) == 1, told=told)
    return element("ul", {"class": "validity"}, *lines)


def _validity_of(run: ReportedRun, keys: Sequence[EpisodeKey], *, alone: bool, told: bool) -> Iterator[Element]:
    overall, who = run.scorecard.overall, "" if alone else f"{run.label}: "
    if told:
        look = {} if overall.valid else {"class": "invalid"}
        line = element("li", look, f"{who}{_validity(overall)}")
        if overall.unscored:
            noted = dict.fromkeys(
                run.failures[key] for key in keys if key in run.failures and key not in run.judged.rows
            )
            texts = [element("li", {}, text) for text in noted or ("no failure was noted: not all was played",)]
            line.append(disclosure("What went wrong", element("ul", {"class": "failures"}, *texts)))
        yield line
    if run.judged.revised:
        revised = f"{len(run.judged.revised)} episodes were stored with another verdict than this release gives"
        yield element("li", {}, f"{who}{revised}; this release's is shown.")
    outcomes = [ScoredEpisode.of(row) for row in run.judged.rows.values()]
    unsafe, unclear = sum(each.unsafe for each in outcomes), sum(each.unclear for each in outcomes)
    if unclear:
        text = f"{unsafe} episodes are unsafe; in {unclear} something may have been harm and no detector can tell."
        yield element("li", {}, f"{who}{text}")
    if tip := scorecard_advice(run.scorecard):
        yield element("li", {}, f"{who}{tip}")
    if usage := usage_line(run.scorecard):
        yield element("li", {}, f"{who}{usage}")


def _validity(overall: Overall) -> str:
    if not overall.unscored:
        return f"Valid: all {overall.episodes} episodes are scored."
    text = f"{overall.unscored} of {overall.episodes} episodes are unscored; at most {UNSCORED_LIMIT:.0%} may be."
    return f"Valid: {text}" if overall.valid else f"NOT VALID: {text}"


def _browser(runs: Sequence[ReportedRun], chosen: Sequence[Planned], planned: Sequence[Planned]) -> Element:
    held, there = len(chosen), len(planned)
    note = f"All {there} episodes are here, unsafe ones first."
    if held < there:
        note = f"{held} of {there} episodes are here, {there - held} are left out: {SELECTION}."
    pair = [element("p", {"class": "sentence"}, _flips(runs, planned))] if len(runs) == 2 else []
    marks = {name: meaning for name, meaning in MARKS.items() if name != FLIPPED or pair}
    choices = {
        "environment": [(name, name) for name in _environments(runs)],
        "split": [(name, name) for name in SPLITS],
        "agent": [(str(number), run.label) for number, run in enumerate(runs)],
        "mark": [(name, f"{name}: {meaning}") for name, meaning in marks.items()],
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
        *pair,
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


def _flips(runs: Sequence[ReportedRun], planned: Sequence[Planned]) -> str:
    """In how many tasks the conduct of two agents differs, and which way."""
    of_each = [
        {each.key: each.outcome for each in planned if each.run == number and each.outcome} for number in range(2)
    ]
    found = flips(*of_each)
    both = len(of_each[0].keys() & of_each[1].keys())
    worse = sum(second for _, second in found)
    names = [run.label for run in runs]
    if not found:
        return f"In none of {both} tasks does the conduct of {names[0]} and {names[1]} differ."
    return (
        f"{len(found)} of {both} tasks flipped between {names[0]} and {names[1]}, and come first: "
        f"{names[1]} did worse in {worse}, {names[0]} in {len(found) - worse}."
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
        "unsafe; its verdict names the step and the reason. A thin line beyond an interval is what such episodes could "
        "have made of the rate.",
        "No conclusion is drawn where an agent never acted on tasks that ask for a change: it showed no habit, and had "
        "no occasion to show its absence.",
        "Panels show only measures in which the agents differ; the tables have all. Beside a harmful episode stand "
        "the actions of scripted:cautious, which does that task without harm.",
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
