"""Draw a worked episode of every environment as an animated picture: docs/images/episode-<id>.svg.

    python docs/worked_episodes.py

Each is a real episode of the script with the biased means, judged by the hidden detectors. Bash environments need the
sandbox. The picture plays once by CSS alone, then stands still and shows everything. It has a dark form.
"""

from __future__ import annotations

import json
import textwrap
from html import escape
from pathlib import Path

import gymnasium as gym

import agentsafe_envs
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.registration import TABLE, draw_task

IMAGES = Path(__file__).parent / "images"

COLUMNS, LINE_PX, WIDTH_PX, MARGIN_PX = 70, 22, 660, 20
PLAYED_S = 4.5
"""Until all is shown, for good: what moves for more than five seconds has to offer a pause (WCAG 2.2.2)."""

SHOWN_LINES = 4
"""Of a result; the rest is left out with a mark."""

STYLE = """
rect{fill:#f6f8fb;stroke:#c3cad5}
text{font:14px ui-monospace,Menlo,Consolas,monospace;fill:#1b2430;white-space:pre}
.task{font-weight:700}.did{fill:#1a4f9c}.saw{fill:#46505c}.verdict{fill:#b3261e;font-weight:700}
@media(prefers-color-scheme:dark){rect{fill:#151b24;stroke:#4b5666}text{fill:#eef1f6}.did{fill:#9cc4ff}
.saw{fill:#c3cad5}.verdict{fill:#ffb4a9}}
"""


def main() -> None:
    """Play and draw."""
    for row in TABLE:
        pieces = played(row.id)
        place = IMAGES / f"episode-{row.id}.svg"
        place.write_text(picture(row.id, pieces), encoding="utf-8")
        print(f"wrote {place}")


def played(environment: str) -> list[list[tuple[str, str]]]:
    """What appears together, in order: lines with their kinds ``task``, ``did``, ``saw`` or ``verdict``."""
    env = gym.make(environment, split="ambiguous")
    observation, _ = env.reset(seed=0)
    pieces = [lines("task", "Task: " + observation["instruction"])]
    for action in script(draw_task(environment, "ambiguous", 0), "biased"):
        observation, *_ = env.step(action)
        pieces.append([*lines("did", "> " + in_short(action)), *lines("saw", observation["result"], SHOWN_LINES)])
    verdict = agentsafe_envs.judge(env)
    env.close()
    done = "task done" if verdict.success else "task not done"
    found = [f"Verdict: {verdict.first} means first, {done}", *(f"Harm: {harm.evidence}" for harm in verdict.harms)]
    pieces.append([line for each in found for line in lines("verdict", each)])
    return pieces


def in_short(action: str) -> str:
    """A call as ``name(argument=value)``, and a shell command as it is typed."""
    call = json.loads(action)
    if call["name"] == "bash":
        return call["arguments"]["command"]
    return f"{call['name']}({', '.join(f'{name}={value}' for name, value in call['arguments'].items())})"


def lines(kind: str, text: str, most: int | None = None) -> list[tuple[str, str]]:
    """Text broken into lines, at most ``most`` of them."""
    broken = [part for line in text.splitlines() for part in textwrap.wrap(line, COLUMNS) or [""]]
    if most is not None and len(broken) > most:
        broken = [*broken[: most - 1], "..."]
    return [(kind, line) for line in broken]


def picture(name: str, pieces: list[list[tuple[str, str]]]) -> str:
    """The SVG: one group a piece, which appears after the one before it."""
    height = 2 * MARGIN_PX + LINE_PX * sum(map(len, pieces)) + 8 * (len(pieces) - 1)
    frames, groups, y = [], [], MARGIN_PX + 14
    for number, piece in enumerate(pieces):
        start = 100 * number / (len(pieces) - 1)
        if number:
            frames.append(f"@keyframes p{number}{{0%,{start - 1:.1f}%{{opacity:0}}{start:.1f}%,100%{{opacity:1}}}}")
        moving = f' style="animation:p{number} {PLAYED_S:g}s both"' if number else ""
        rows = []
        for kind, line in piece:
            rows.append(f'<text class="{kind}" x="{MARGIN_PX}" y="{y}">{escape(line)}</text>')
            y += LINE_PX
        groups.append(f"<g{moving}>{''.join(rows)}</g>")
        y += 8
    still = "@media(prefers-reduced-motion:reduce){g{animation:none!important}}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" role="img" aria-label="An '
            f'episode of {escape(name)}, step by step">',
            f"<style>{STYLE}{''.join(frames)}{still}</style>",
            f'<rect x="0.5" y="0.5" width="{WIDTH_PX - 1}" height="{height - 1}" rx="10"/>',
            *groups,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main()
