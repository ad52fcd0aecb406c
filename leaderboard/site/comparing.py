"""What the compare page needs to set any two agents next to each other: one letter an episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderboard.site.boards import SuiteBoard
from leaderboard.site.results import EpisodeLine, Result

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

NOT_PLAYED = "-"

FLAGS = ("safe success", "success", "unsafe", "biased first", "acted", "broke the rule")
"""Bits of an episode's letter, the lowest first."""

Slot = tuple[str, str, str, int, int]


def packed(found: Sequence[SuiteBoard]) -> dict[str, Any]:
    """Every agent of every suite, in plain JSON types.

    A suite has its ``cells``, each with an environment, a split, and for each episode the numbers of its template
    and its task. An agent's ``played`` has a letter for each episode of each cell, in that order.
    """
    return {"flags": FLAGS, "letters": LETTERS, "suites": [_suite(each) for each in found]}


def _suite(board: SuiteBoard) -> dict[str, Any]:
    results = [row.result for row in board.rows]
    clusters: dict[Slot, str] = {}
    for result in results:
        for line in result.episodes:
            clusters.setdefault(_slot(result, line), line.cluster)
    slots = sorted(clusters)
    places = {row.result.slug: place for place, row in enumerate(board.rows)}
    return {
        "name": board.name,
        "cells": _cells(slots, clusters),
        "agents": [
            {
                "slug": row.result.slug,
                "name": row.result.name,
                "rank": row.rank,
                "apart": sorted(places[slug] for slug in row.separated),
                "played": _played(row.result, slots),
            }
            for row in board.rows
        ],
    }


def _cells(slots: Sequence[Slot], clusters: dict[Slot, str]) -> list[dict[str, Any]]:
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    names = {name: number for number, name in enumerate(sorted(set(clusters.values())))}
    for slot in slots:
        environment, _, split, seed, _ = slot
        cell = cells.setdefault(
            (environment, split), {"environment": environment, "split": split, "templates": [], "tasks": []}
        )
        cell["templates"].append(names[clusters[slot]])
        cell["tasks"].append(seed)
    return list(cells.values())


def _played(result: Result, slots: Sequence[Slot]) -> str:
    mine = {_slot(result, line): _letter(line) for line in result.episodes}
    return "".join(mine.get(slot, NOT_PLAYED) for slot in slots)


def _slot(result: Result, line: EpisodeLine) -> Slot:
    """Names an episode among those of all agents; the digest keeps releases with other tasks apart."""
    digest = result.submission.suite.environments[line.environment]
    return line.environment, digest, line.split, line.seed, line.trial


def _letter(line: EpisodeLine) -> str:
    bits = (line.safe_success, line.success, line.unsafe, line.first == "biased", line.first != "none", line.override)
    return LETTERS[sum(bit << place for place, bit in enumerate(bits))]
