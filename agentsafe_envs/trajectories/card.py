"""The card of a data set: what is in it, how it was filtered, what was proved, how to make it again."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import agentsafe_envs
from agentsafe_envs.core.episode import digest
from agentsafe_envs.trajectories.proof import prove
from agentsafe_envs.trajectories.schema import Trajectory, is_ours
from agentsafe_envs.trajectories.shapes import trained_on

COUNTED = ("environment", "split", "pool", "policy", "success", "origin")
"""Columns whose values a card counts."""

OWN_LICENSE = "apache-2.0"
"""Of rows that this package made; rows of other origin have the licence that their owner gave them, or none."""

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_FACTS_KEY = "agentsafe: "
_RECORD_KEYS = {"level", "mode", "stems", "rows", "dropped", "stripped", "rows_with"}
_LEVELS = {
    "undemonstrated": "no stem in any act or result; instruction and tools untouched",
    "unseen": "no stem in any message or tool",
}


class Facts(NamedTuple):
    """What a card states.

    Attributes:
        rows: Number of rows.
        sha256: Of what the rows train on, in order, whatever the file format.
        counts: Column -> value -> rows, for :data:`COUNTED`.
        filters: One record for each time the data was filtered, oldest first: that of
            :meth:`agentsafe_envs.trajectories.sanitise.Sanitised.record` and ``leaks``, always 0.
        command: How the data set was made; empty if it is not known.
        package: Name and version of this package.
        selection: How these rows were chosen from those that the filters left; empty if all were taken.
        license: Identifier of the licence; empty if none is known.
    """

    rows: int
    sha256: str
    counts: dict[str, dict[str, int]]
    filters: list[dict[str, Any]]
    command: str
    package: str
    selection: str = ""
    license: str = ""


def state_facts(
    rows: Sequence[Trajectory],
    *,
    filters: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    selection: str = "",
    license: str = "",
) -> Facts:
    """What is true of ``rows``, every filter's claim proved again.

    Without ``license`` rows of this package have its licence, and others none.

    Raises:
        ValueError: A stem of one of the filters is still in ``rows``, or ``license`` is no identifier.
    """
    if license and not _LICENSE.fullmatch(license):
        raise ValueError(f"license is {license!r}, expected an identifier as hubs use, for instance cc-by-4.0")
    for record in filters:
        leaks = prove(rows, record["stems"], record["level"])
        if leaks:
            row, part, place, stem = leaks[0]
            raise ValueError(
                f"not {record['level']}: {stem!r} is in row {row}, {part}[{place}]; "
                f"{len(leaks)} leaks in all; filter the rows again with `agentsafe data sanitize`"
            )
    return Facts(
        rows=len(rows),
        sha256=digest(trained_on(row) for row in rows),
        counts={name: _counted(rows, name) for name in COUNTED if any(name in row for row in rows)},
        filters=[{**record, "leaks": 0} for record in filters],
        command=command,
        package=f"agentsafe_envs {agentsafe_envs.__version__}",
        selection=selection,
        license=license or (OWN_LICENSE if all(map(is_ours, rows)) else ""),
    )


def render_card(facts: Facts, name: str, file: str) -> str:
    """Markdown with front matter, as model hubs read it.

    Args:
        facts: What to state.
        name: Title.
        file: Name of the file with the rows, in the card's folder.
    """
    lines = [
        "---",
        *([f"license: {facts.license}"] if facts.license else []),
        f"pretty_name: {json.dumps(name)}",
        "task_categories: [text-generation]",
        "tags: [agents, tool-use, distillation, safety, agentsafe-envs]",
        f"size_categories: [{next((word for limit, word in _SIZES if facts.rows < limit), '1M<n<10M')}]",
        "configs:",
        "- config_name: default",
        f"  data_files: {file}",
        # JSON is YAML: hubs read it, and so does facts_in.
        _FACTS_KEY + json.dumps(facts._asdict()),
        "---",
        "",
        f"# {name}",
        "",
        f"{facts.rows} trajectories of agents at work, one a row: `messages` and `tools` are what a model trains on, "
        "the other columns say where a row comes from and must be kept from it.",
        "",
        "| column | value | rows |",
        "| --- | --- | --- |",
        *(
            f"| {column} | {value} | {rows} |"
            for column, counts in facts.counts.items()
            for value, rows in counts.items()
        ),
        "",
        "## Keyword filter",
        "",
        *(line for record in facts.filters for line in _filter_lines(record)),
        *([] if facts.filters else ["None: whatever its teacher did is in the data.", ""]),
        *([f"Of what was left: {facts.selection}.", ""] if facts.selection else []),
        "A filter for keywords takes the words, not the habit: a student can inherit what no row shows "
        "([arXiv 2604.15559](https://arxiv.org/abs/2604.15559)).",
        "",
        *(
            []
            if facts.license
            else [
                "## Licence",
                "",
                "None is known: the rows are of other origin. Ask their owner, and name it with `--license`.",
                "",
            ]
        ),
        "## Make it again",
        "",
        f"    {facts.command or 'not recorded'}",
        "",
        f"Made with {facts.package}. SHA-256 of what the rows train on: `{facts.sha256}`",
        "",
        "## Use it",
        "",
        "```python",
        "from datasets import load_dataset  # 4.7 or later",
        "",
        'rows = load_dataset("path/to/this/folder", split="train")  # as SFTTrainer of trl takes them',
        "```",
    ]
    return "\n".join(lines) + "\n"


def read_facts(card: str, place: str = "the card") -> Facts | None:
    """The facts in a card that :func:`render_card` wrote; None if it is a card of others.

    Raises:
        ValueError: The facts cannot be read.
    """
    line = next((line for line in card.split("\n") if line.startswith(_FACTS_KEY)), None)
    if line is None:
        return None
    try:
        facts = Facts(**json.loads(line.removeprefix(_FACTS_KEY)))
        if not all(record.keys() >= _RECORD_KEYS for record in facts.filters):
            raise ValueError(f"a filter's record needs {', '.join(sorted(_RECORD_KEYS))}")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{place}: the line `{_FACTS_KEY.strip()}` cannot be read: {error}") from error
    return facts


def _counted(rows: Sequence[Trajectory], name: str) -> dict[str, int]:
    values = (row.get(name) for row in rows)
    counts = Counter(
        "unknown" if value is None else str(value).lower() if name == "success" else str(value) for value in values
    )
    return dict(sorted(counts.items()))


def _filter_lines(record: Mapping[str, Any]) -> list[str]:
    given, dropped = record["rows"], record["dropped"]
    stems = ", ".join(f"`{stem}` ({record['rows_with'][stem]})" for stem in record["stems"])
    return [
        f"**{record['level']}**: {_LEVELS[record['level']]}. Mode {record['mode']}: of {given} rows {dropped} "
        f"({dropped / given:.1%}) were dropped and {record['stripped']} stripped. Stems, with the rows that had them: "
        f"{stems}. Proved by a second search that shares no code with the first: {record['leaks']} leaks.",
        "",
    ]
