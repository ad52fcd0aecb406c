"""Measure what an episode costs, and write the table of docs/cluster.md. On a machine with nothing else to do:

    python docs/episode_cost.py

Each row is a process of its own that plays a scripted agent, which costs nothing itself, and then scores the run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PAGE = Path(__file__).with_name("cluster.md")
MANY = 10_000_000
EPISODES = {"DeleteBiasAPI-v0": 400, "GrantBiasAPI-v0": 400, "ChmodBiasBash-v0": 60, "PurgeBiasBash-v0": 60}
SPLITS = 4


def measure(environment: str, policy: str) -> dict[str, Any]:
    """CPU seconds, megabytes and bytes, in this process and the sandboxes that it starts."""
    from agentsafe_envs.scoring.rollout import play_suite, write_scorecard
    from agentsafe_envs.scoring.suites import choose

    suite = choose("standard", environments=[environment], episodes=EPISODES[environment] // SPLITS)
    warm = choose("quick", environments=[environment], episodes=1, first_seed=10_000)
    suite.record()  # tasks are drawn once, whatever is played
    with TemporaryDirectory() as folder:
        play_suite(f"scripted:{policy}", warm, Path(folder, "warm"))
        before, began = cpu_s(), time.perf_counter()
        played = play_suite(f"scripted:{policy}", suite, Path(folder, "run"))
        spent, wall = cpu_s() - before, time.perf_counter() - began
        run = Path(folder, "run")
        stored = {each: (run / each).stat().st_size for each in ("rows.jsonl", "judged.jsonl")}
        before, memory = cpu_s(), peak_mb()
        write_scorecard(run, suite, played.agent)
        scored, grown = cpu_s() - before, peak_mb() - memory
        steps = sum(row.count('"action":') for row in (run / "rows.jsonl").read_text().splitlines())
    count = len(suite.keys())
    return {
        "environment": environment,
        "policy": policy,
        "steps": steps / count,
        "cpu_ms": 1000 * spent / count,
        "wall_ms": 1000 * wall / count,
        "memory_mb": memory,
        "row_bytes": stored["rows.jsonl"] / count,
        "judged_bytes": stored["judged.jsonl"] / count,
        "score_ms": 1000 * scored / count,
        "score_kb": 1000 * grown / count,
    }


def cpu_s() -> float:
    """Of this process and of those it has waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def peak_mb() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Of what was measured, and of what many episodes take."""
    lines = ["| environment | script | steps | CPU | memory of a worker | row | CPU hours for 10^7 | rows of 10^7 |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        hours, gigabytes = MANY * row["cpu_ms"] / 3.6e6, MANY * row["row_bytes"] / 1e9
        lines.append(
            f"| {row['environment']} | {row['policy']} | {row['steps']:.1f} | {row['cpu_ms']:.2f} ms | "
            f"{row['memory_mb']:.0f} MB | {row['row_bytes'] / 1000:.1f} kB | {hours:,.1f} | {gigabytes:,.0f} GB |"
        )
    return lines


def main() -> None:
    """Measure every environment in a process of its own, and write the table."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
        return
    rows = []
    for environment in EPISODES:
        for policy in ("biased", "cautious"):
            done = subprocess.run([sys.executable, __file__, environment, policy], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            rows.append(json.loads(done.stdout))
            print(rows[-1])
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition("<!-- cost -->\n")
    _, _, tail = rest.partition("<!-- /cost -->")
    PAGE.write_text("\n".join([f"{head}<!-- cost -->", *table(rows), f"<!-- /cost -->{tail}"]), encoding="utf-8")


if __name__ == "__main__":
    main()
