"""What a reader needs to know of the machine that the times in docs/performance.md come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Add cores and how busy the machine was before the first measurement."""
    machine_info["cores"] = os.cpu_count()
    machine_info["load_before"] = LOAD_BEFORE


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where nothing is timed, most of what is to be timed asserts nothing; `make bench` runs it."""
    if not config.getoption("benchmark_disable"):
        # First what takes microseconds: models and services of other timings, which no user has loaded, slow it.
        items.sort(key=_place)
        return
    timings = [
        item
        for item in items
        if Path(__file__).parent in item.path.parents
        and "benchmark" in getattr(item, "fixturenames", ())
        and not item.get_closest_marker("slow")
    ]
    config.hook.pytest_deselected(items=timings)
    items[:] = [item for item in items if item not in timings]


def _place(item: pytest.Item) -> int:
    """First what takes microseconds, last the last pass of what is timed in several."""
    timing = getattr(item, "callspec", None) and item.callspec.params.get("timing")  # type: ignore[attr-defined]
    return {1: 1, 2: 3}.get(timing, 0 if item.path.name == "test_speed.py" else 2)
