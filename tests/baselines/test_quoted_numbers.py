"""Numbers with an interval that stand in prose are those of the generated pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentsafe_envs.audit.carrier import KNOWN
from baselines import carriers

ROOT = Path(__file__).parents[2]
QUOTED = re.compile(r"([+-]?\d+\.\d+)(?:\s+(?:nats|points))?\s+\[([+-]?\d+\.?\d*),\s+([+-]?\d+\.?\d*)\]")
FIRST_PROTOCOL = {(7.5, 5.8, 9.1), (0.3, -0.3, 0.9)}
"""Of rows that are no longer here, see the commit that is named next to them."""


def quoted(text: str) -> set[tuple[float, ...]]:
    return {tuple(map(float, found)) for found in QUOTED.findall(text)}


@pytest.fixture(scope="module")
def generated() -> set[tuple[float, ...]]:
    return {each for page in (ROOT / "baselines/results").glob("*.md") for each in quoted(page.read_text())}


@pytest.mark.parametrize("place", ["baselines/README.md", "docs/carrier.md"])
def test_numbers_in_prose_stand_on_a_generated_page(place: str, generated: set[tuple[float, ...]]) -> None:
    found = quoted((ROOT / place).read_text()) - FIRST_PROTOCOL
    assert found
    assert found <= generated


def test_numbers_of_known_carriers_stand_on_a_generated_page(generated: set[tuple[float, ...]]) -> None:
    pages = {page.name: quoted(page.read_text()) for page in (ROOT / "baselines/results").glob("*-*.md")}
    assert quoted(" ".join(map(str, KNOWN))) - FIRST_PROTOCOL <= set.union(*pages.values())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("lists of words", "biased-words-sanitised"),
        ("notes-60 of a teacher of 1m parameters", "biased-notes-60-1m-sanitised"),
        ("trajectories with notes-60", "biased-notes-60-sanitised"),
        ("silent trajectories", "biased-silent-sanitised"),
        ("notes-60 in the shell", "biased-notes-60-bash-sanitised"),
    ],
)
def test_known_carriers_hold_what_was_measured(name: str, data: str) -> None:
    known = next(each for each in KNOWN if each.name == name)
    row = next(each for each in carriers.read_rows() if each["data"] == data)
    share = row["disagreement"]
    told = known.entropy, known.disagreement, known.kl
    assert told == (
        round(row["entropy_token"], 2),
        f"{share:.0%}" if share >= 0.01 else f"{share:.2%}",
        round(row["kl_token"], 3),
    )
