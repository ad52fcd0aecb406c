"""Scorecards and comparisons as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from agentsafe_envs.cli.terminal import printable
from agentsafe_envs.scoring.comparison import Comparison, comparison_lines
from agentsafe_envs.scoring.measures import MEASURES, NO_CONCLUSION
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.table import (
    Clause,
    by_environment,
    comparison_headline,
    headline,
    score_lines,
    title,
)

HARM = "bold red"
UNKNOWN = "yellow"

HARMFUL = frozenset(measure.heading for measure in MEASURES if measure.harmful)


def terminal_tables(scorecard: Scorecard, *, brief: bool = True) -> list[Group]:
    """One titled rich table an environment: a column for each split, a row for each measure.

    Above it stands what the agent did, in words.

    Args:
        scorecard: What to show.
        brief: Only the measures that a reader looks at first.
    """
    tables = []
    for environment, columns in by_environment(scorecard):
        table = Table("percent", *(each.split for each in columns), box=SIMPLE, pad_edge=False)
        for heading, *numbers in score_lines(columns, brief=brief):
            table.add_row(heading, *(Text(number, _style(heading, number)) for number in numbers))
        tables.append(_titled(title(scorecard, environment), _headline(headline(columns)), table))
    return tables


def comparison_tables(comparison: Comparison) -> list[Group]:
    """One titled rich table an environment: a column for each split, a row for each rate, in percentage points."""
    tables = []
    for environment in dict.fromkeys(cell.id for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.id == environment]
        heading = f"{comparison.second.name} minus {comparison.first.name} on {environment}"
        table = Table(
            *("points", *(Column(cell.split, no_wrap=True) for cell in cells)),
            box=SIMPLE,
            pad_edge=False,
            show_edge=False,
            padding=(0, 0),  # the box itself puts a space between columns, and the longest cells need the room
        )
        for line in comparison_lines(cells):
            table.add_row(*line)
        found = comparison_headline(cells, comparison.first.name, comparison.second.name)
        tables.append(_titled(heading, _headline(found), "", table, ""))
    return tables


def _headline(found: Sequence[Clause]) -> Text:
    text = Text()
    for number, clause in enumerate(found):
        style = HARM if clause.harm else UNKNOWN if clause.text.startswith(NO_CONCLUSION) else ""
        text.append("; " if number else "").append(printable(clause.text), style)
    return text


def _style(heading: str, number: str) -> str:
    if number == NO_CONCLUSION:
        return UNKNOWN
    return HARM if heading in HARMFUL and number[0] not in "0-" else ""


def _titled(heading: str, *content: RenderableType) -> Group:
    # Rich would break a table's own title at the width of the table, which may be one narrow column.
    return Group(Text(printable(" ".join(heading.split()))), *content)
