"""``python -m leaderboard``: what a maintainer of a board runs.

Try it::

    python -m leaderboard --help
"""

from __future__ import annotations

from leaderboard.cli import app

if __name__ == "__main__":
    app()
