"""Derived files are what the code and the committed rows give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentsafe_envs.registration import TABLE

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("options", [[], ["--results"]], ids=["pages", "results"])
def test_committed_file_is_not_stale(options: list[str]) -> None:
    command = [sys.executable, str(ROOT / "docs" / "build.py"), "--check", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_of_the_readme_lead_somewhere() -> None:
    import re

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_links_the_page_of_every_environment() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [row.id for row in TABLE if f"](docs/environments/{row.id}.md)" not in readme]
    assert not missing, f"README.md, section `Use the environments`, has no line for {missing}"


def test_pictures_are_small_and_shown() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert [each.name for each in pictures if f"(docs/images/{each.name})" not in readme] == []
    assert [each.name for each in pictures if each.stat().st_size > 150_000] == []
