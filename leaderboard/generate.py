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

HERE = Path(__file__).parent


def generated() -> dict[Path, str]:
    """What each file should hold."""
    page = HERE / "README.md"
    table = "| check | holds once it has passed |\n| --- | --- |\n" + "".join(
        f"| {check.name} | {check.sentence} |\n" for check in checks()
    )
    return {
        HERE / "submission.schema.json": json.dumps(submission_schema(), indent=2, sort_keys=True) + "\n",
        page: re.sub(
            r"(?s)(<!-- checks -->\n).*(<!-- /checks -->)",
            lambda found: f"{found[1]}{table}{found[2]}",
            page.read_text(),
        ),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
