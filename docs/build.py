"""Write everything that is derived: environment pages, command line, the scorecard's schema, tables.

    python docs/build.py                    # pages from docstrings and commands, lists of environments, schema
    python docs/build.py --results          # tables from the committed rows in docs/results
    python docs/build.py [--results] --check   # change nothing, fail if something is stale

Rows hold whole episodes, and the tables are made by judging those, so a published number depends on
nothing but the rows and the code.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from pathlib import Path

from cli_reference import cli_page

from agentsafe_envs.agents.prompts import signature
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.cli.app import app
from agentsafe_envs.core.task import POOLS, WORDINGS
from agentsafe_envs.registration import TABLE, EnvironmentRow, draw_task, resolve
from agentsafe_envs.runs.rows import RowStoreError, read_run
from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.rollout import rescore
from agentsafe_envs.scoring.scorecard import Scorecard, scorecard_schema
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.scoring.table import markdown_table, verdict_line

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
METRICS = DOCS / "metrics.md"
RESULTS = DOCS / "results"

ENV_SECTIONS = ("Action Space", "Observation Space", "Reward", "Episode End", "Info", "Arguments")


def sections(docstring: str | None) -> dict[str, str]:
    """Text of each ``## Heading`` of a docstring; what precedes the first is under ``""``."""
    pieces = re.split(r"^## (.+)$", inspect.cleandoc(docstring or ""), flags=re.MULTILINE)
    return {
        "": pieces[0].strip(),
        **{name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)},
    }


def environment_page(row: EnvironmentRow) -> str:
    """The page of one environment, from the docstrings of its bias and of its world."""
    world, bias = resolve(row.id)
    about, about_world = sections(type(bias).__doc__), sections(type(world).__doc__)
    lines = [f"# {row.id}", "", about[""], ""]
    for heading in ("Description", "Starting State"):
        lines += [f"## {heading}", "", about[heading], ""]
    for heading in ENV_SECTIONS:
        lines += [f"## {heading}", "", about_world[heading], ""]
    lines += ["## One task, four questions", "", "Seed 0 of the public pool:", ""]
    for split in ("safe", "ambiguous", "required", "forbidden"):
        lines += [f"- **{split}:** {draw_task(row.id, split, 0).instruction}"]
    lines += ["", "## Tools of this task", ""]
    tools = world.tools(draw_task(row.id, "ambiguous", 0))
    lines += ["```text", *sorted(signature(tool) for tool in tools), "```", ""]
    lines += ["## A worked episode", "", f"![An episode, step by step](../images/episode-{row.id}.svg)", ""]
    lines += ["The script with the biased means plays the ambiguous task of seed 0. The verdict is that of the hidden"]
    lines += ["detectors. The cautious script does this instead:", ""]
    lines += ["```text", *script(draw_task(row.id, "ambiguous", 0), "cautious"), "```", ""]
    lines += ["## Templates", "", "| pool | scenarios | templates of each split |", "| --- | --- | --- |"]
    for pool in POOLS[:3]:
        names = dict.fromkeys(scenario.name for scenario, _ in bias.templates(pool))
        lines.append(f"| {pool} | {', '.join(names)} | {len(names) * WORDINGS} |")
    lines += ["", "## References", "", about["References"], "", *(f"- <{source}>" for source in bias.sources), ""]
    lines += ["## Version History", "", about["Version History"], ""]
    return re.sub(r"(?<!`)``(?!`)", "`", "\n".join(lines))


def committed(run: Path) -> Scorecard:
    """The scorecard of a committed run, by the verdicts of this release.

    Raises:
        SystemExit: The suite's tasks or their detectors have changed since.
    """
    record = read_run(run)
    try:
        return rescore(run, Suite.from_record(record), record.agent)
    except RowStoreError as error:
        sys.exit(str(error))


def with_environments(page: str, folder: str) -> str:
    """A page with its ``<!-- environments -->`` block made from the registration; ``folder`` holds their pages."""
    lines = [f"- [{row.id}]({folder}/{row.id}.md): {resolve(row.id)[1].summary}" for row in TABLE]
    return _with_block(page, "environments", lines)


def decisions_page() -> str:
    """The list of decisions, by their titles."""
    lines = ["# Decisions", "", "Why it is built this way, and what was tried first.", ""]
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({page.name})")
    return "\n".join([*lines, ""])


def with_measures(page: str) -> str:
    """A page with its ``<!-- measures -->`` block made from the table of measures."""
    lines = ["| in tables | field of the scorecard | what it counts |", "| --- | --- | --- |"]
    lines += [f"| {each.heading} | `{each.field}` | {each.sentence} |" for each in MEASURES]
    return _with_block(page, "measures", lines)


def _with_block(page: str, name: str, lines: list[str]) -> str:
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    block = "".join(f"{line}\n" for line in lines)
    return re.sub(pattern, lambda match: match[1] + block + match[2], page, flags=re.DOTALL)


def with_tables(page: str) -> str:
    """A page with each ``<!-- results:NAME -->`` block made from ``docs/results/NAME``."""

    def block(match: re.Match[str]) -> str:
        scorecard = committed(RESULTS / match["name"])
        return f"{match['open']}\n{markdown_table(scorecard)}\n{verdict_line(scorecard)}\n{match['close']}"

    pattern = r"(?P<open><!-- results:(?P<name>[\w.-]+) -->).*?(?P<close><!-- /results -->)"
    return re.sub(pattern, block, page, flags=re.DOTALL)


def main() -> None:
    """Write or check the derived files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", action="store_true", help="tables of results instead of pages")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is stale")
    options = parser.parse_args()
    if options.results:
        wanted = {page: with_tables(page.read_text(encoding="utf-8")) for page in sorted(DOCS.glob("*.md"))}
    else:
        wanted = {DOCS / "environments" / f"{row.id}.md": environment_page(row) for row in TABLE}
        for page, folder in ((README, "docs/environments"), (DOCS / "README.md", "environments")):
            wanted[page] = with_environments(page.read_text(encoding="utf-8"), folder)
        wanted[METRICS] = with_measures(METRICS.read_text(encoding="utf-8"))
        wanted[DOCS / "cli.md"] = cli_page(app)
        wanted[DOCS / "decisions" / "README.md"] = decisions_page()
        wanted[DOCS / "scorecard.schema.json"] = json.dumps(scorecard_schema(), indent=2, sort_keys=True) + "\n"
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        if stale:
            sys.exit(f"stale: {', '.join(map(str, stale))}; run this without --check and commit what changes")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
