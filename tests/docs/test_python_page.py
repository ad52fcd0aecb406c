"""The code of docs/python.md passes a type checker; `test_code_blocks.py` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"


def code() -> str:
    """Every block of the page, one after the other."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    return "\n".join(blocks)


@pytest.mark.slow
def test_code_of_the_page_is_typed(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(code())
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT}"], "reportUnusedExpression": false}}')
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
