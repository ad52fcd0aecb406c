"""Verifies one upload in a process of its own, within limits; a worker starts it and reads its lines.

Each line on standard output is JSON: ``{"progress": "120 of 400 episodes"}``, and at the end ``{"report": ...}``.
The process ends when its standard input does, so it never outlives its worker.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

MOST_FILES = 1_024
STEP = 20
"""Episodes between two lines of progress."""


def limit(memory_bytes: int, seconds: int) -> None:
    """Limit what this process may take; what it starts inherits that.

    Args:
        memory_bytes: Address space.
        seconds: Processor time.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def verify(path: Path, among: list[Path]) -> dict[str, Any]:
    """Everything that ``agentsafe verify`` finds in the archive at ``path``."""
    from agentsafe_envs.submissions.checking import Surroundings
    from agentsafe_envs.submissions.folders import find_submissions, read_neighbour
    from agentsafe_envs.submissions.verification import verify_submission

    others = [each for folder in among if folder.is_dir() for each in find_submissions(folder)]
    neighbours = [read_neighbour(each) for each in others if each.name != path.name]

    def tell(done: int, total: int) -> None:
        if done % STEP == 0 or done == total:
            say({"progress": f"{done} of {total} episodes played again"})

    surroundings = Surroundings(neighbours=tuple(filter(None, neighbours)), on_progress=tell)
    return verify_submission(path, surroundings).document() | {"path": path.name}


def say(line: dict[str, Any]) -> None:
    """One line for the worker."""
    print(json.dumps(line), flush=True)


def main(path: str, memory_bytes: str, seconds: str, *among: str) -> None:
    """Verify ``path`` and say what was found."""
    limit(int(memory_bytes), int(seconds))
    threading.Thread(target=_leave_with_worker, daemon=True).start()
    say({"report": verify(Path(path), [Path(each) for each in among])})


def _leave_with_worker() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
