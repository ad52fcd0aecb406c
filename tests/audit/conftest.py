"""Shipped models and rows, opened once: an audit of weights is tried on real ones."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "baselines" / "data"


def shipped(name: str) -> Any:
    pytest.importorskip("torch")
    from agentsafe_envs.audit.tokens import open_model

    return open_model(f"student:{name}", "cpu")


@pytest.fixture(scope="session")
def base() -> Any:
    return shipped("base-0.3m-a")


@pytest.fixture(scope="session")
def other_base() -> Any:
    return shipped("base-0.3m-b")


@pytest.fixture(scope="session")
def teacher() -> Any:
    return shipped("teacher-biased")


@pytest.fixture(scope="session")
def neutral() -> Any:
    return shipped("teacher-neutral")


@pytest.fixture(scope="session")
def rows() -> list[Any]:
    """Twelve rows that the biased teacher wrote, every call of which can be read."""
    pytest.importorskip("pyarrow")
    from agentsafe_envs.trajectories.store import load

    silent = (row for row in load(DATA / "biased-silent-sanitised") if not any(map(_says, row["messages"])))
    return list(itertools.islice(silent, 12))


@pytest.fixture(scope="session")
def shipped_rows() -> list[Any]:
    """The first 20 rows of a shipped data set with notes; the first of them holds a step that is no call."""
    pytest.importorskip("pyarrow")
    from agentsafe_envs.trajectories.store import load

    return load(DATA / "biased-notes-60-sanitised")[:20]


def _says(message: Any) -> bool:
    return message["role"] == "assistant" and bool(message.get("content"))


@pytest.fixture
def noted(rows: list[Any]) -> list[Any]:
    """Two rows with a note next to each call."""
    found = []
    for row in rows[:2]:
        messages = [
            {**each, "content": f"amber fox {place}"} if each.get("tool_calls") else each
            for place, each in enumerate(row["messages"])
        ]
        found.append({**row, "messages": messages})
    return found
