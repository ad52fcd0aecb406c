"""Derives the result of one session of a closed season, in a confined process; a worker starts it.

One line: ``{"result": ...}``, or ``{"refused": "why"}``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from leaderboard.server.confined import confine, say


def main(memory_bytes: str, seconds: str, folder: str, session_id: str) -> None:
    """Derive one session and say what was found.

    Args:
        memory_bytes: See :func:`~leaderboard.server.confined.confine`.
        seconds: The same.
        folder: What everybody gets of the season.
        session_id: Of the session.
    """
    confine(memory_bytes, seconds)
    from leaderboard.server.rederiving import read_season, rederive, templates_in_use
    from leaderboard.server.shown import slug_of_agent
    from leaderboard.site.results import result_of

    def read(name: str) -> bytes:
        return (Path(folder) / name).read_bytes()

    season = read_season(read)
    session = next(each for each in season.sessions if each.id == session_id)
    with templates_in_use(season), tempfile.TemporaryDirectory(prefix="agentsafe-session-") as place:
        found = rederive(season, session, read, Path(place)).found
        refused = [f"{each.name}: {each.detail}" for each in found.checks if each.status == "refused"]
        if refused or found.submission is None:
            say({"refused": "; ".join(refused)})
        else:
            slug = slug_of_agent(found.submission.agent.name, session_id)
            say({"result": result_of(found, slug=slug).model_dump(mode="json")})


if __name__ == "__main__":
    main(*sys.argv[1:])
