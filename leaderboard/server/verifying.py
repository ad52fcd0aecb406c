"""Verifies one upload in a confined process; a worker starts it and reads its lines.

Lines: ``{"progress": "120 of 400 episodes"}``, and at the end ``{"report": ..., "result": ...}``. The result is what
the board shows; it is null for a submission that was refused.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from leaderboard.server.confined import confine, say

STEP = 20
"""Episodes between two lines of progress."""

HERE = Path(__file__).parents[1]
RERUNS, KEYS = HERE / "reruns", HERE / "keys.toml"


def verify(path: Path, name: str, among: list[Path]) -> dict[str, Any]:
    """Everything that ``agentsafe verify`` finds in the archive at ``path``, and what the board shows of it."""
    from agentsafe_envs.submissions.folders import find_submissions, read_neighbour, surroundings_of
    from agentsafe_envs.submissions.verification import verify_submission
    from leaderboard.server.shown import slug_of_agent
    from leaderboard.site.results import result_of

    others = [each for folder in among if folder.is_dir() for each in find_submissions(folder)]
    neighbours = [read_neighbour(each) for each in others if each.name != path.name]

    def tell(done: int, total: int) -> None:
        if done % STEP == 0 or done == total:
            say({"progress": f"{done} of {total} episodes played again"})

    around = surroundings_of(
        reruns=RERUNS if RERUNS.is_dir() else None, keys=KEYS if KEYS.is_file() else None, on_progress=tell
    )
    neighbours += around.neighbours
    found = verify_submission(path, replace(around, neighbours=tuple(filter(None, neighbours)), new=bool(name)))
    result = None
    if found.exit_status != 1 and found.scorecard is not None and found.submission is not None:
        result = result_of(found, slug=slug_of_agent(found.submission.agent.name, name)).model_dump(mode="json")
    return {"report": found.document() | {"path": path.name}, "result": result}


def main(memory_bytes: str, seconds: str, path: str, name: str, *among: str) -> None:
    """Verify ``path`` and say what was found.

    Args:
        memory_bytes: See :func:`~leaderboard.server.confined.confine`.
        seconds: The same.
        path: Of the archive.
        name: Tells its page from others of the same agent; empty for a submission of the checkout.
        among: Folders of other submissions.
    """
    confine(memory_bytes, seconds)
    say(verify(Path(path), name, [Path(each) for each in among]))


if __name__ == "__main__":
    main(*sys.argv[1:])
