"""The table of threats and the tests that it names are the same things."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "leaderboard" / "THREATS.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith(("| threat", "| ---"))
]
PARAMETRISED = {"test_tampering_is_refused", "test_archive_is_refused"}
"""Tests whose rows name one of their parameters."""


def test_each_row_has_a_threat_an_answer_and_a_test_that_exists() -> None:
    for row in ROWS:
        assert len(row) == 3, row
        assert all(row), row
        match = re.fullmatch(r"`(tests/\S+\.py)::(.*)`", row[2])
        assert match, row[2]
        names, parameters = named_in(ROOT / match[1])
        name, _, parameter = match[2].partition("[")
        assert name in names, f"{row[2]} does not exist"
        assert bool(parameter) == (name in PARAMETRISED), row[2]
        assert not parameter or parameter.rstrip("]") in parameters, f"{row[2]} does not exist"


def test_there_are_at_least_forty_threats_each_with_a_row_of_its_own() -> None:
    assert len(ROWS) >= 40
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_each_tampering_that_is_tested_has_a_row() -> None:
    _, parameters = named_in(ROOT / "tests" / "submissions" / "test_tamperings.py")
    named = {match for row in ROWS for match in re.findall(r"\[(.*)\]`", row[2])}
    assert parameters == named


@cache
def named_in(path: Path) -> tuple[set[str], set[str]]:
    """Names of the tests in a file, with their class, and of the tamperings and archives that it lists."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    parameters: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.target.id == "TAMPERINGS":
                found = {each.id.replace("_", " ") for each in ast.walk(node) if isinstance(each, ast.Name)}
                parameters |= found & {name.replace("_", " ") for name in names}
            if node.target.id == "ARCHIVES" and isinstance(node.value, ast.Dict):
                parameters |= {ast.literal_eval(key) for key in node.value.keys if key}
    return names, parameters
