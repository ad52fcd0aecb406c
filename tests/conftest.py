"""Optional parts: a test marked ``needs("smollm2")`` skips without them.

Where the environment variable AGENTSAFE_REQUIRE (names separated by commas) names a part, its
tests fail instead, so that an automated run cannot pass by skipping.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

import pytest


def require(part: str) -> None:
    """Skip the running test if ``part`` is missing, or fail it if AGENTSAFE_REQUIRE names the part."""
    missing = PARTS[part]()
    if missing is None:
        return
    if part in os.environ.get("AGENTSAFE_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"AGENTSAFE_REQUIRE names {part!r}, but {missing}", pytrace=False)
    pytest.skip(missing)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            require(part)


def _missing_lm() -> str | None:
    absent = [name for name in ("torch", "transformers", "gguf", "accelerate") if not importlib.util.find_spec(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


def _missing_smollm2() -> str | None:
    from agentsafe_envs.agents import smollm2
    from agentsafe_envs.agents.protocol import AgentError

    try:
        smollm2.packaged_weights()
    except AgentError as error:
        return str(error)
    return _missing_lm()


PARTS: dict[str, Callable[[], str | None]] = {"lm": _missing_lm, "smollm2": _missing_smollm2}
"""Name of each optional part, and what says why it is missing (None if it is there)."""
