"""Patterns of actions and of places."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cloud.services.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("*", "anything", True),
        ("bkt-1", "bkt-1", True),
        ("bkt-1", "bkt-12", False),
        ("bkt-1*", "bkt-12", True),
        ("home/*", "home/bucket/bkt-1", True),
        ("home/*", "homes/bucket/bkt-1", False),
        ("*/bucket/*", "home/bucket/bkt-1", True),
        ("BKT-1", "bkt-1", False),
    ],
)
def test_star_stands_for_anything(pattern: str, text: str, found: bool) -> None:
    assert matches(pattern, text) is found


def test_pattern_of_many_stars_is_quick() -> None:
    assert not matches("*a" * 900 + "b", "a" * 60)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_pattern_matches_as_a_shell_would(pattern: str, text: str) -> None:
    assert matches(pattern, text) is fnmatchcase(text, pattern)
