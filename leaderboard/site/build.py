"""The static board: pages that need no server, no script to be read, and nothing from anywhere else.

Try it::

    python -m leaderboard build --out results/board
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

import agentsafe_envs
from agentsafe_envs.registration import draw_task, resolve
from agentsafe_envs.report.page import SPLIT_MEANINGS
from agentsafe_envs.scoring.conclusion import scorecard_advice
from agentsafe_envs.scoring.measures import NO_CONCLUSION
from agentsafe_envs.scoring.suites import SUITES, Suite
from leaderboard import ranks
from leaderboard.site import figures
from leaderboard.site.boards import KINDS, Placed, SuiteBoard, base_of, boards, hardest, short_name
from leaderboard.site.chart import charts, drawn_and_not, legend
from leaderboard.site.collecting import Collected, collect, slug_of
from leaderboard.site.comparing import packed
from leaderboard.site.exports import write_downloads
from leaderboard.site.results import Result

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent

Link = tuple[str, str]
"""Text and address of a link, from the root of the board."""

MARK = "agentsafe-board.txt"
"""A folder with this file was written by :func:`build_site`, and may be replaced by it."""

AT_ONCE = 24
"""Episodes of an agent that are listed before the reader asks for more."""

LEVELS = {
    "reported": "well-formed, and some of its episodes could not be played again here; it has no rank",
    "replayed": "every episode was played again and judged here",
    "held-out": "played against the server of this board, on tasks that were secret",
    "re-run": "the maintainers ran the weights themselves, and both intervals meet",
}


def build_site(
    submissions: Path,
    out: Path,
    *,
    keep: Path | None = None,
    reruns: Path | None = None,
    keys: Path | None = None,
    workers: int = 1,
    suites: Mapping[str, Suite] = SUITES,
    dates: Mapping[str, str] | None = None,
    extra_results: Sequence[Result] = (),
    home: str = "",
    on_submission: Callable[[str, bool], None] = lambda name, known: None,
) -> Collected:
    """Verify a folder of submissions and write the board of them.

    Args:
        submissions: Folder of submissions; each is verified here, unless its result was kept.
        out: Folder for the pages; an older board there is replaced once the new one is whole.
        keep: Folder in which results are kept; None keeps none.
        reruns: Folder of the maintainers' own runs; None where there is none.
        keys: TOML file of listed keys; None where there is none.
        workers: Processes that replay.
        suites: Suites that may be submitted, by name.
        dates: Day of each submission by its name, as YYYY-MM-DD; None asks git.
        extra_results: Further results, of submissions that this board has verified elsewhere.
        home: Public address of the board, for the downloads; empty where it has none.
        on_submission: Called with the name of each submission, and whether its result was kept.

    Returns:
        What the board shows, and what was refused and why.

    Raises:
        FileExistsError: ``out`` is there and is no board.
        FileNotFoundError: There is no such folder of submissions.
    """
    _require_ours(out)
    found = collect(
        submissions,
        keep=keep,
        reruns=reruns,
        keys=keys,
        workers=workers,
        suites=suites,
        dates=dates,
        on_submission=on_submission,
    )
    shown = Collected([*found.results, *extra_results], found.refused)
    write_site(shown.results, out, made=datetime.now(UTC).date(), home=home)
    return shown


class Evidence(NamedTuple):
    """Where the episodes of a result lie, which is not in the checkout.

    Attributes:
        file: Below the folder of the board.
        command: Derives its numbers again.
        note: A sentence on how it came about, for the head of its page; empty for none.
    """

    file: str
    command: str
    note: str = ""


def write_site(
    results: Sequence[Result],
    out: Path,
    *,
    made: date,
    home: str = "",
    links: Sequence[Link] = (),
    files: Mapping[str, Path] = MappingProxyType({}),
    evidence: Mapping[str, Evidence] = MappingProxyType({}),
) -> None:
    """Write the board of ``results``.

    Args:
        results: In any order, each with a slug of its own.
        out: As for :func:`build_site`.
        made: Day to be written on it.
        home: As for :func:`build_site`.
        links: Further pages that a server has, for the head of each page.
        files: Further files, by their name below ``out``.
        evidence: Of results that are not in the checkout, by slug.

    Raises:
        FileExistsError: ``out`` is there and is no board.
        ValueError: Two results have the same slug.
    """
    _require_ours(out)
    slugs = [each.slug.lower() for each in results]
    if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
        raise ValueError(f"two submissions are called {twice[0]!r}, expected names that differ; rename a folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as place:
        fresh = Path(place) / "board"
        fresh.mkdir()
        (fresh / MARK).write_text("Written by `python -m leaderboard build`, which replaces this folder.\n")
        _write_pages(boards(results), fresh, made, home, links, evidence)
        for name, source in files.items():
            _put(source, fresh / name)
        old = Path(place) / "old"
        if out.exists():
            out.rename(old)
        fresh.rename(out)
        if old.exists():
            shutil.rmtree(old)


def suite_page(found: Sequence[SuiteBoard], name: str) -> str:
    """File of a suite's board."""
    return "index.html" if found and found[0].name == name else f"suite-{slug_of(Path(name))}.html"


def _require_ours(out: Path) -> None:
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is there and is no board; choose another --out, or remove it first")


def page(
    template: str, name: str, *, links: Sequence[Link], script: str = "", connect: bool = False, **fields: Any
) -> bytes:
    """A page of a server that looks like those of its board.

    Args:
        template: File of the template.
        name: Of the page, below the root of the server.
        links: As for :func:`write_site`.
        script: File of its script; empty for a page without.
        connect: Whether the script may ask the server.
        fields: What the template shows.
    """
    pages = _Pages([], Path(), datetime.now(UTC).date(), links)
    return pages.render(name, template, script=script, connect=connect, **fields)


def _put(source: Path, target: Path) -> None:
    """A link where the system allows one: submissions are large, and never change."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _write_pages(
    found: Sequence[SuiteBoard],
    out: Path,
    made: date,
    home: str,
    links: Sequence[Link],
    evidence: Mapping[str, Evidence],
) -> None:
    pages = _Pages(found, out, made, links)
    for suite in found or [SuiteBoard("standard", [], [])]:
        drawn, not_drawn = drawn_and_not(suite.rows)
        pages.write(
            suite_page(found, suite.name) if found else "index.html",
            "front.html",
            script="table.js",
            suite=suite,
            charts=[figures.written(each) for each in charts(drawn, "agents/{}.html")],
            not_drawn=not_drawn,
            legend=figures.written(legend(drawn)),
            levels=LEVELS,
            kinds=KINDS,
        )
        for row in suite.rows:
            about = _agent(row, suite) | {"evidence": evidence.get(row.result.slug)}
            pages.write(f"agents/{row.result.slug}.html", "agent.html", script="agent.js", **about)
    for environment in dict.fromkeys(each for suite in found for each in suite.environments):
        pages.write(f"environments/{environment}.html", "environment.html", **_environment(environment, found))
    pages.write("compare.html", "compare.html", script="compare.js", data=_embedded(packed(found)))
    pages.write("methods.html", "methods.html", levels=LEVELS, splits=SPLIT_MEANINGS, level=ranks.LEVEL)
    downloads = write_downloads(found, out, made, home)
    pages.write("downloads.html", "downloads.html", downloads=downloads)


class _Pages:
    """Writes pages that share style, links and day.

    Args:
        found: Every suite's board.
        out: Folder for the pages.
        made: Day to be written on them.
        links: Further pages of a server.
    """

    def __init__(self, found: Sequence[SuiteBoard], out: Path, made: date, links: Sequence[Link]) -> None:
        self._out = out
        self._shared = {
            "suites": [(suite.name, suite_page(found, suite.name)) for suite in found],
            "environments": list(dict.fromkeys(each for suite in found for each in suite.environments)),
            "links": links,
            "made": made.isoformat(),
            "release": agentsafe_envs.__version__,
        }

    def write(self, name: str, template: str, *, script: str = "", **values: Any) -> None:
        """Write one page.

        Args:
            name: Its file, below the folder of the board.
            template: File of the template.
            script: File of its script; empty for none.
            values: What the template shows.
        """
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.render(name, template, script=script, **values))

    def render(self, name: str, template: str, *, script: str = "", connect: bool = False, **values: Any) -> bytes:
        """One page; see :meth:`write` and :func:`page`."""
        style, code = _style(), (HERE / script).read_text("ascii") if script else ""
        text = (
            _templates()
            .get_template(template)
            .render(
                **self._shared,
                root="../" * name.count("/"),
                here=name,
                style=Markup(style),
                script=Markup(code),
                policy=_policy(style, code, connect=connect),
                **values,
            )
        )
        return text.encode("ascii", "xmlcharrefreplace")


def _agent(row: Placed, suite: SuiteBoard) -> dict[str, Any]:
    result = row.result
    base = base_of(result, suite.rows)
    shown = [result, *([base] if base else [])]
    mine = [each for each in suite.environments if each in result.submission.suite.environments]
    return {
        "row": row,
        "suite": suite,
        "base": base,
        "advice": scorecard_advice(result.scorecard),
        "profiles": [
            (each, [(one.name, figures.means(each, one)) for one in shown], figures.profile(each, shown))
            for each in mine
        ],
        "levels": LEVELS,
        "at_once": AT_ONCE,
        "settings": json.dumps(result.submission.agent.settings, indent=2, sort_keys=True),
    }


def _environment(environment: str, found: Sequence[SuiteBoard]) -> dict[str, Any]:
    suite = next(each for each in found if environment in each.environments)
    _, bias = resolve(environment)
    return {
        "environment": environment,
        "suite": suite,
        "bias": bias,
        "asked": [
            (split, meaning, draw_task(environment, split, 0).instruction) for split, meaning in SPLIT_MEANINGS.items()
        ],
        "panels": figures.by_agent(environment, suite.rows),
        "hardest": hardest(environment, suite.rows),
    }


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "number": figures.number,
        "size": figures.size,
        "first_bars": figures.first_bars,
        "short_name": short_name,
        "no_conclusion": NO_CONCLUSION,
    }
    return made


@cache
def _style() -> str:
    """The report's style, which its figures need, and the board's own."""
    report = files("agentsafe_envs.report").joinpath("page.css").read_text("ascii")
    return report + (HERE / "style.css").read_text("ascii")


def _policy(style: str, script: str, *, connect: bool = False) -> str:
    """What a browser is to allow: this style, this script, and nothing from anywhere else."""
    run = f"'{_digest(script)}'" if script else "'none'"
    asked = "connect-src 'self'; " if connect else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src {run}; {asked}base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _embedded(value: Any) -> Markup:
    """JSON for a script to read; no text in it can end the element that holds it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"}))
