"""Writes ``submission.schema.json`` from the models.

Try it::

    python -m leaderboard.make_schema
"""

from __future__ import annotations

import json
from pathlib import Path

from agentsafe_envs.submissions.schema import submission_schema

FILE = Path(__file__).with_name("submission.schema.json")

if __name__ == "__main__":
    FILE.write_text(json.dumps(submission_schema(), indent=2, sort_keys=True) + "\n")
