"""Write docs/performance.md from the times that pytest-benchmark measured.

    make bench                                           # measures, then calls this
    python docs/performance.py .benchmarks/speed.json

Fails, after writing, where calls are slower than a tenth of CliffWalking's steps in the same run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.registration import MAX_EPISODE_STEPS

PAGE = Path(__file__).with_name("performance.md")

GATE = 0.1
"""Calls a second must be at least this share of CliffWalking's steps a second."""

REFERENCE_STEP_S = 3.67e-6
"""A step of CliffWalking on the machine that goals in units of time were set on."""

TRAINING_SPEEDUP = 1.3
"""Tokens a second of our training loop, over those of transformers' Trainer."""

SHELL_SLOWDOWN = 3
"""A program started in a sandbox may take so many times as long as one started by a bare bash."""

DOCKER_SLOWDOWN = 2
"""A program started in Docker's sandbox may take so many times as long as one in bubblewrap's."""

SANDBOX_MIB = 4
"""Memory that a sandbox may take: its tracer, bubblewrap and shell."""

TOGETHER_A_SECOND = 25
"""Bash episodes a second of eight environments in processes of their own, on two cores."""

TOGETHER_MIB = 25
"""Memory that each of them may take."""

BOARD_STEPS = 1_000
"""Durable steps a second of the board's server, on two cores that its client shares."""

BOARD_P99_MS = 100
"""Time in which 99 of 100 of them are answered."""

INTRODUCTION = """\
# Performance

`make bench` writes this page. Every time is per call (reset, episode, turn): the median over rounds, and the best
round. "Speed-up" is the peer's median divided by ours, both from this one run. Times differ on another machine or a
busy one. The ratios should hold anywhere. A goal in units of time is for the machine that it was set on. A step of
CliffWalking-v1 takes 3.67 µs there. On a slower machine the goal is longer in the same ratio. Such a step is timed next
to each round, or the peer where the goal is a ratio. Neighbours on the hardware slow both sides, for minutes at a time,
and what needs much memory suffers more than such a step. So whole episodes of the cloud and the language model are
timed in three passes, minutes apart. The pass with the least median counts. The board's goals hold on every machine, in
the best of three rounds. A language model's goal is 4x where the processor multiplies bfloat16 itself, else 2x: there
the product of eight rows takes three times as long as that of one. "Pinned" has
everything on one core, where no process waits for another to wake.

The two sides do not do quite the same work. Ours is a step through `gym.make`: it parses the call from text, passes
Gymnasium's wrappers, writes JSON and keeps what a replay needs. AgentDojo's `ToolsExecutor` gets parsed calls and
writes lists as YAML. Judging finds its task already drawn if the same process played the episode shortly before.
That is so in these episodes and when an agent is scored.
"""

ELSEWHERE = """\
## Other projects, measured elsewhere

These figures are from an idle machine of this kind and not from this run.

| project | what | measured |
| --- | --- | ---: |
| AgentDojo, `ToolsExecutor` | list reads | 113 to 990 a second |
| AgentDojo, `ToolsExecutor` | writes | 2,700 to 23,000 a second |
| AgentDojo, banking | gold episode with grading | 5.6 ms |
| tau2 | calls | 9,000 to 50,000 a second |
| tau2, retail | gold episode with grading | 218 ms |
| CliffWalking | steps | 146,000 to 178,000 a second |
| InterCode | shell command, reset | 65 ms, 73 ms |
| Inspect with Docker | shell command, reset | 157 ms, 1,309 ms |
| Inspect without it | shell command | 4.1 ms |
| `docker exec` | shell command | 66 ms |
"""


class Time(NamedTuple):
    """One measured kind of work.

    Attributes:
        what: Its description.
        median_s: Median over rounds, in seconds for one.
        best_s: The fastest round, likewise.
        mib: Memory taken meanwhile, where that was measured too.
        p99_ms: Time that one in a hundred took longer than, where single ones were measured too.
        step_s: A step of CliffWalking, timed next to every round.
        peer_s: Likewise what the peer took for one.
    """

    what: str
    median_s: float
    best_s: float
    mib: float | None = None
    p99_ms: float | None = None
    step_s: float | None = None
    peer_s: float | None = None


class Goal(NamedTuple):
    """What was to be reached, what was, and whether that is enough."""

    what: str
    measured: str
    met: bool


def times(report: dict[str, Any]) -> tuple[dict[str, list[Time]], dict[str, Time]]:
    """Our times, each kind of work once, and the peer's, by benchmark group."""
    ours: dict[str, list[Time]] = {}
    peers: dict[str, Time] = {}
    for entry in report["benchmarks"]:
        extra, stats = entry["extra_info"], entry["stats"]
        seconds = (stats["median"] / extra["each"], stats["min"] / extra["each"])
        time = Time(extra["what"], *seconds, *(extra.get(name) for name in Time._fields[3:]))
        if extra["peer"]:
            peers[entry["group"]] = time
        else:
            ours.setdefault(entry["group"], []).append(time)
    return {group: _best_passes(each) for group, each in ours.items()}, peers


def _best_passes(several: list[Time]) -> list[Time]:
    """Of what was timed in several passes, the one with the least median."""
    best: dict[str, Time] = {}
    for time in several:
        if time.what not in best or time.median_s < best[time.what].median_s:
            best[time.what] = time
    return list(best.values())


def goals(ours: dict[str, list[Time]], peers: dict[str, Time], flags: Collection[str] = ()) -> list[Goal]:
    """Every goal that this run measured; the gate is the last.

    Args:
        ours: Times by benchmark group.
        peers: Those of the peers.
        flags: What the processor can do.
    """
    found = []
    for group, wanted in (("list", 40_000), ("read", 40_000), ("write", 20_000)):
        for time in ours.get(group, ()):
            rate, what = 1 / time.median_s, f"{time.what}: at least {wanted:,} a second"
            found.append(Goal(what, f"{rate:,.0f}", rate * slowdown(time, peers) >= wanted))
    # A chain's teachers once played 24,000 such episodes in ten minutes of a core, and were to take half of that.
    for group, limit_ms in (("reset", 0.3), ("episode", 1.0), ("sampling", 12.5)):
        for time in ours.get(group, ()):
            met = _ms(time) <= limit_ms * slowdown(time, peers)
            found.append(Goal(f"{time.what}: at most {limit_ms} ms", _duration(time.median_s), met))
    if {"smollm2-first", "smollm2-later"} <= ours.keys() & peers.keys():
        first, later = ours["smollm2-first"][0], ours["smollm2-later"][0]
        alone = [_peer_s(first, peers["smollm2-first"]), _peer_s(later, peers["smollm2-later"])]
        speedup = _whole(*alone) / _whole(first.median_s, later.median_s)
        wanted = 4 if "avx512_bf16" in flags else 2
        what = f"SmolLM2, {MAX_EPISODE_STEPS} turns (from the rows above): together at least {wanted}x as fast"
        found.append(Goal(what, f"{speedup:.2f}x", speedup >= wanted))
    for group, limit_ms in (
        ("bash-builtin", 0.5),
        ("bash-builtin-pinned", 0.5),
        ("bash-reset", 20.0),
        ("bash-judging", 10.0),
        ("bash-six", 80.0),
        ("bash-docker-reset", 100.0),
    ):
        for time in ours.get(group, ()):
            met = _ms(time) <= limit_ms * slowdown(time, peers)
            found.append(Goal(f"{time.what}: at most {limit_ms:g} ms", _duration(time.median_s), met))
    for group, most in (
        ("bash-fork", SHELL_SLOWDOWN),
        ("bash-fork-pinned", SHELL_SLOWDOWN),
        ("bash-docker-builtin", DOCKER_SLOWDOWN),
        ("bash-docker-fork", DOCKER_SLOWDOWN),
    ):
        if group in ours.keys() & peers.keys():
            ratio = ours[group][0].median_s / _peer_s(ours[group][0], peers[group])
            what = f"{ours[group][0].what}: at most {most} times as long as the peer"
            found.append(Goal(what, f"{ratio:.1f}x", ratio <= most))
    for time in ours.get("bash-sandbox", ()):
        if time.mib is not None:
            what = f"{time.what}: at most {SANDBOX_MIB} MiB"
            found.append(Goal(what, f"{time.mib:.1f} MiB", time.mib <= SANDBOX_MIB))
    for time in ours.get("bash-together", ()):
        rate = 1 / time.median_s
        what = f"{time.what}: at least {TOGETHER_A_SECOND} a second"
        found.append(Goal(what, f"{rate:.1f}", rate * slowdown(time, peers) >= TOGETHER_A_SECOND))
        if time.mib is not None:
            what = f"{time.what}: at most {TOGETHER_MIB} MiB an environment"
            found.append(Goal(what, f"{time.mib:.1f} MiB", time.mib <= TOGETHER_MIB))
    for time in ours.get("board", ()):
        rate, p99 = 1 / time.median_s, time.p99_ms
        found.append(Goal(f"{time.what}: at least {BOARD_STEPS:,} a second", f"{rate:,.0f}", rate >= BOARD_STEPS))
        if p99 is not None:
            what = f"{time.what}: 99 of 100 answered within {BOARD_P99_MS} ms"
            found.append(Goal(what, f"{p99:.0f} ms", p99 <= BOARD_P99_MS))
    if "training" in ours.keys() & peers.keys():
        speedup = peers["training"].median_s / ours["training"][0].median_s
        goal = f"{ours['training'][0].what}: at least {TRAINING_SPEEDUP} times as fast as the peer"
        found.append(Goal(goal, f"{speedup:.1f}x", speedup >= TRAINING_SPEEDUP))
    if "step" in peers:
        calls = [time for group in ("list", "read", "write") for time in ours[group]]
        share = min((time.step_s or peers["step"].median_s) / time.median_s for time in calls)
        what = f"Gate: the slowest call at least {GATE} times as fast as a step of {peers['step'].what.split(',')[0]}"
        found.append(Goal(what, f"{share:.2f}", share >= GATE))
    return found


def slowdown(time: Time, peers: dict[str, Time]) -> float:
    """How many times slower than the reference this machine was then; 1 where it was faster, or was not measured."""
    step_s = time.step_s or (peers["step"].median_s if "step" in peers else REFERENCE_STEP_S)
    return max(1.0, step_s / REFERENCE_STEP_S)


def _peer_s(time: Time, peer: Time) -> float:
    return time.peer_s or peer.median_s


def page(report: dict[str, Any]) -> str:
    """The page in Markdown."""
    ours, peers = times(report)
    reached = goals(ours, peers, _flags(report))
    missed = [goal for goal in reached if not goal.met]
    lines = [INTRODUCTION, _machine(report), "", "## Ours and a peer's", ""]
    lines += ["| what | median | best | per second | peer | peer's median | speed-up |"]
    lines += ["| --- | ---: | ---: | ---: | --- | ---: | ---: |"]
    for group in dict.fromkeys([*ours, *peers]):
        peer = peers.get(group)
        for time in ours.get(group, [] if peer is None else [peer]):
            compared = ["", "", ""]
            if peer is not None and peer is not time:
                peer_s = _peer_s(time, peer)
                compared = [peer.what, _duration(peer_s), f"{peer_s / time.median_s:.1f}x"]
            cells = [time.what, _duration(time.median_s), _duration(time.best_s), _rate(time), *compared]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Goals", "", *_scaled(ours, peers), "| goal | measured | |", "| --- | ---: | --- |"]
    lines += [f"| {goal.what} | {goal.measured} | {'met' if goal.met else '**missed**'} |" for goal in reached]
    lines += ["", f"Missed: {'; '.join(goal.what for goal in missed)}." if missed else "None is missed.", ""]
    return "\n".join([*lines, ELSEWHERE])


def main() -> None:
    """Write the page of the run named on the command line."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    PAGE.write_text(page(report), encoding="utf-8")
    print(f"wrote {PAGE}")
    gate = goals(*times(report), _flags(report))[-1]
    if not gate.met:
        sys.exit(f"{gate.what}: {gate.measured}")


def _machine(report: dict[str, Any]) -> str:
    machine, commit = report["machine_info"], report["commit_info"]
    changed = " with changes" if commit.get("dirty") else ""
    return (
        f"{machine['cpu'].get('brand_raw', machine['machine'])}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python_version']}; load before the run {machine['load_before']:.1f}; "
        f"commit {commit['id'][:7]}{changed}, {report['datetime'][:10]}."
    )


def _scaled(ours: dict[str, list[Time]], peers: dict[str, Time]) -> list[str]:
    slower = [slowdown(time, peers) for group in ours.values() for time in group]
    if max(slower) == 1:
        return []
    between = f"{min(slower):.1f} to {max(slower):.1f} times slower"
    return [f"This machine was {between} than the one that goals in units of time were set on.", ""]


def _flags(report: dict[str, Any]) -> list[str]:
    return report["machine_info"].get("cpu", {}).get("flags", [])


def _whole(first_s: float, later_s: float) -> float:
    """Seconds for an episode of as many turns as there can be."""
    return first_s + (MAX_EPISODE_STEPS - 1) * later_s


def _ms(time: Time) -> float:
    return time.median_s * 1_000


def _rate(time: Time) -> str:
    rate = 1 / time.median_s
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


if __name__ == "__main__":
    main()
