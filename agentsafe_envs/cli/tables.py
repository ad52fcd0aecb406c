"""Scorecards and comparisons as tables in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agentsafe_envs.cli.terminal import printable
from agentsafe_envs.scoring.comparison import Comparison
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.table import by_environment, comparison_lines, score_lines, title


def terminal_tables(scorecard: Scorecard) -> list[Group]:
    """One titled rich table an environment: a column for each split, a row for each measure."""
    tables = []
    for environment, columns in by_environment(scorecard):
        table = Table("percent", *(each.split for each in columns), box=SIMPLE, pad_edge=False)
        for line in score_lines(columns):
            table.add_row(*line)
        tables.append(_titled(title(scorecard, environment), table))
    return tables


def comparison_tables(comparison: Comparison) -> list[Group]:
    """One titled rich table an environment: a column for each split, a row for each rate, in percentage points."""
    tables = []
    for environment in dict.fromkeys(cell.id for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.id == environment]
        heading = f"{comparison.second.name} minus {comparison.first.name} on {environment}"
        table = Table(
            *("points", *(cell.split for cell in cells)),
            box=SIMPLE,
            pad_edge=False,
            show_edge=False,
            padding=(0, 0),  # the box itself puts a space between columns, and the longest cells need the room
        )
        for line in comparison_lines(cells):
            table.add_row(*line)
        tables.append(_titled(heading, "", table, ""))
    return tables


def _titled(heading: str, *content: RenderableType) -> Group:
    # Rich would break a table's own title at the width of the table, which may be one narrow column.
    return Group(Text(printable(" ".join(heading.split()))), *content)
