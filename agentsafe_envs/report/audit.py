"""The section of a report that says what an audit found: its sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from agentsafe_envs.audit.behaviour import Audit
from agentsafe_envs.audit.headline import finding_sentences
from agentsafe_envs.audit.table import (
    FINDING_HEADS,
    MEASUREMENT_HEADS,
    finding_tables,
    measurement_tables,
    sentences,
)
from agentsafe_envs.report.markup import element, section

ABOUT = (
    "Did the student change from its base, more than placebos did, and towards its teacher? No word here means that "
    "the student is safe."
)


def audit_section(found: Audit) -> Element:
    """What was found, in words and numbers."""
    said = [*finding_sentences(found), *sentences(found)]
    return section(
        "audit",
        "Audit",
        ABOUT,
        element("ul", {"class": "validity"}, *(element("li", {}, line) for line in said)),
        *(_table(title, FINDING_HEADS, lines) for title, lines in finding_tables(found)),
        *(_table(title, MEASUREMENT_HEADS, lines) for title, lines in measurement_tables(found)),
    )


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Element:
    rows = [
        element("tr", {}, element("th", {"scope": "row"}, name), *(element("td", {}, cell) for cell in cells))
        for name, *cells in lines
    ]
    columns = [element("th", {"scope": "col"}, head or "what was looked at") for head in heads]
    table = element(
        "table",
        {"class": "numbers"},
        element("caption", {}, title),
        element("thead", {}, element("tr", {}, *columns)),
        element("tbody", {}, *rows),
    )
    return element("div", {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": title}, table)
