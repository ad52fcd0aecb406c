"""Writes what is made from code: ``submission.schema.json``, and the table of checks in ``README.md``.

Try it::

    python -m leaderboard.generate
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from agentsafe_envs.submissions.schema import submission_schema
from agentsafe_envs.submissions.verification import checks

SCHEMA = Path(__file__).with_name("submission.schema.json")
PAGE = Path(__file__).with_name("README.md")


def generated() -> dict[Path, str]:
    """What each file should hold."""
    rows = (("check", "holds once it has passed"), ("---", "---"), *((each.name, each.sentence) for each in checks()))
    table = "".join(f"| {name} | {sentence} |\n" for name, sentence in rows)
    between = re.compile(r"(?s)(?<=<!-- checks -->\n).*(?=<!-- /checks -->)")
    return {
        SCHEMA: json.dumps(submission_schema(), indent=2, sort_keys=True) + "\n",
        PAGE: between.sub(lambda _: table, PAGE.read_text()),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
