"""How values show themselves in notebooks: small tables, in which whatever an agent wrote is text and no markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from agentsafe_envs.core.spaces import sanitise_text

LONGEST_CELL = 400
"""Characters of a cell; a whole result has up to 8,000."""

_CELL = '<td style="text-align: left; white-space: pre-wrap">'


def html_table(title: str, headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table for ``_repr_html_``.

    Args:
        title: Above it.
        headings: Of its columns; none for a table of names and values.
        lines: Cells, which may hold hostile text.

    Returns:
        HTML in printable ASCII; every character of a cell that could be markup, a direction of writing or
        a terminal's command is written out.
    """
    head = "".join(f'<th style="text-align: left">{_shown(each)}</th>' for each in headings)
    rows = "".join(f"<tr>{''.join(f'{_CELL}{_shown(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return (
        f"<table><caption>{_shown(title)}</caption>"
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{rows}</tbody></table>"
    )


def _shown(value: object) -> str:
    return escape(sanitise_text(str(value), LONGEST_CELL))
