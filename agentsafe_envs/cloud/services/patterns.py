"""Patterns of actions and of places, in which ``*`` stands for anything."""

from __future__ import annotations

from functools import lru_cache


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which ``*`` stands for anything.

    Each piece between two stars is taken where it occurs first, so the time grows with the text
    and not with the ways there would be to match.
    """
    if "*" not in pattern:
        return pattern == text
    first, pieces, last, shortest = _pieces(pattern)
    if len(text) < shortest or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in pieces:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=4_096)
def _pieces(pattern: str) -> tuple[str, tuple[str, ...], str, int]:
    """What ``pattern`` begins with, has between its stars and ends with, and the length of the shortest match."""
    first, *pieces, last = pattern.split("*")
    return first, tuple(filter(None, pieces)), last, len(pattern) - pattern.count("*")


@lru_cache(maxsize=1_024)
def split_patterns(resources: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Plain names among ``resources``, and patterns."""
    patterns = tuple(dict.fromkeys(each for each in resources if "*" in each))
    return frozenset(resources) - {*patterns}, patterns


@lru_cache(maxsize=8_192)
def any_matches(patterns: tuple[str, ...], key: str, location: str) -> bool:
    """Whether some pattern matches an id or the place where it is."""
    return any(matches(pattern, key) or matches(pattern, location) for pattern in patterns)
