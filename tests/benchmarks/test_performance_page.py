"""The page that `make bench` writes says what was missed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

PAGE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "performance.py"))

SECONDS = {"step": 3.6e-6, "list": 2e-5, "read": 2e-5, "write": 2e-5, "reset": 2e-4}


def report(**seconds: float) -> dict[str, Any]:
    """One of ours a group, each round doing ten; "step" is a peer's."""
    return {
        "datetime": "2026-01-01T00:00:00",
        "machine_info": {
            "cpu": {},
            "machine": "m",
            "cores": 2,
            "system": "s",
            "python_version": "3",
            "load_before": 0.0,
        },
        "commit_info": {"id": "0123456789", "dirty": False},
        "benchmarks": [
            {
                "group": group,
                "stats": {"median": 10 * each, "min": 10 * each},
                "extra_info": {"what": group, "each": 10, "peer": group == "step"},
            }
            for group, each in {**SECONDS, **seconds}.items()
        ],
    }


@pytest.mark.parametrize(
    ("seconds", "missed"),
    [
        ({}, []),
        ({"list": 2.6e-5}, ["list: at least 40,000 a second"]),
        ({"reset": 3.1e-4}, ["reset: at most 0.3 ms"]),
        ({"reset": 5.9e-4, "step": 7.34e-6}, []),
        ({"reset": 6.1e-4, "step": 7.34e-6}, ["reset: at most 0.3 ms"]),
        ({"step": 1.9e-6}, ["Gate: the slowest call at least 0.1 times as fast as a step of step"]),
    ],
)
def test_missed_goals_are_named(seconds: dict[str, float], missed: list[str]) -> None:
    found = report(**seconds)
    assert [goal.what for goal in PAGE["goals"](*PAGE["times"](found)) if not goal.met] == missed
    text = PAGE["page"](found)
    assert (f"Missed: {'; '.join(missed)}." if missed else "None is missed.") in text


def test_best_pass_of_what_is_timed_in_several_counts() -> None:
    found = report(episode=2e-3)
    (slow,) = [entry for entry in found["benchmarks"] if entry["group"] == "episode"]
    quick = {**slow, "stats": {"median": 9e-3, "min": 9e-3}}
    found["benchmarks"] += [quick, slow]
    (time,) = PAGE["times"](found)[0]["episode"]
    assert time.median_s == pytest.approx(9e-4)
    assert "None is missed." in PAGE["page"](found)


@pytest.mark.parametrize(("ours", "met"), [(1e-4, True), (1.8e-4, False)])
def test_training_is_compared_with_the_trainer(ours: float, met: bool) -> None:
    found = report(training=ours)
    peer = {"what": "Trainer", "each": 1, "peer": True}
    found["benchmarks"].append({"group": "training", "stats": {"median": 2e-4, "min": 2e-4}, "extra_info": peer})
    goal = next(goal for goal in PAGE["goals"](*PAGE["times"](found)) if goal.what.startswith("training"))
    assert goal.met is met


@pytest.mark.parametrize(
    ("seconds", "missed"),
    [
        ({"bash-builtin": 4e-4, "bash-fork": 2.9e-3, "bash-reset": 0.019}, []),
        ({"bash-builtin": 6e-4}, ["bash-builtin: at most 0.5 ms"]),
        ({"bash-reset": 0.021}, ["bash-reset: at most 20 ms"]),
        ({"bash-fork": 3.1e-3}, ["bash-fork: at most 3 times as long as the peer"]),
    ],
)
def test_shell_is_compared_with_a_bare_one(seconds: dict[str, float], missed: list[str]) -> None:
    found = report(**seconds)
    peer = {"what": "bare", "each": 1, "peer": True}
    found["benchmarks"].append({"group": "bash-fork", "stats": {"median": 1e-3, "min": 1e-3}, "extra_info": peer})
    assert [goal.what for goal in PAGE["goals"](*PAGE["times"](found)) if not goal.met] == missed


@pytest.mark.parametrize(("flags", "wanted"), [([], 2), (["avx512_bf16"], 4)])
def test_smollm2_is_compared_with_the_rounds_next_to_its_own(flags: list[str], wanted: int) -> None:
    found = report(**{"smollm2-first": 1.0, "smollm2-later": 0.3})
    for group, beside, apart in (("smollm2-first", 2.0, 9.0), ("smollm2-later", 0.9, 9.0)):
        entry = next(entry for entry in found["benchmarks"] if entry["group"] == group)
        entry["extra_info"]["peer_s"] = beside
        peer = {"what": "alone", "each": 1, "peer": True}
        found["benchmarks"].append({"group": group, "stats": {"median": apart, "min": apart}, "extra_info": peer})
    goal = next(goal for goal in PAGE["goals"](*PAGE["times"](found), flags) if goal.what.startswith("SmolLM2"))
    speedup = (2.0 + 19 * 0.9) / (1.0 + 19 * 0.3)
    assert (goal.measured, goal.met) == (f"{speedup:.2f}x", speedup >= wanted)
    assert f"at least {wanted}x" in goal.what


def test_time_stands_beside_the_peer_of_its_group() -> None:
    found = report(read=4e-5)
    found["benchmarks"].append(
        {"group": "read", "stats": {"median": 2e-5, "min": 2e-5}, "extra_info": {"what": "x", "each": 1, "peer": True}}
    )
    assert "| read | 40 µs | 40 µs | 25,000 | x | 20 µs | 0.5x |" in PAGE["page"](found)


@pytest.mark.parametrize("pinned", ["", "-pinned"])
@pytest.mark.parametrize(("ours", "met"), [(2.9e-3, True), (3.1e-3, False)])
def test_program_started_in_a_sandbox_is_compared_with_one_outside(ours: float, met: bool, pinned: str) -> None:
    group = f"bash-fork{pinned}"
    found = report(**{group: ours})
    peer = {"what": "bare", "each": 1, "peer": True}
    found["benchmarks"].append({"group": group, "stats": {"median": 1e-3, "min": 1e-3}, "extra_info": peer})
    goal = next(goal for goal in PAGE["goals"](*PAGE["times"](found)) if goal.what.startswith("bash-fork"))
    assert (goal.measured, goal.met) == (f"{ours / 1e-3:.1f}x", met)


@pytest.mark.parametrize(("mib", "met"), [(3.9, True), (4.1, False)])
def test_memory_of_a_sandbox_is_a_goal(mib: float, met: bool) -> None:
    found = report(**{"bash-sandbox": 5e-3})
    found["benchmarks"][-1]["extra_info"]["mib"] = mib
    goal = next(goal for goal in PAGE["goals"](*PAGE["times"](found)) if "MiB" in goal.what)
    assert (goal.measured, goal.met) == (f"{mib:.1f} MiB", met)


@pytest.mark.parametrize(("p99_ms", "missed"), [(99.0, False), (101.0, True)])
def test_slow_answers_of_the_board_are_a_missed_goal(p99_ms: float, missed: bool) -> None:
    found = report(board=9e-4)
    found["benchmarks"][-1]["extra_info"]["p99_ms"] = p99_ms
    goals = [goal for goal in PAGE["goals"](*PAGE["times"](found)) if goal.what.startswith("board")]
    assert [goal.met for goal in goals] == [True, not missed]
