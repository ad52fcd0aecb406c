"""What this machine can run, and what to do about what it cannot."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

from agentsafe_envs.core.extras import install_hint

if TYPE_CHECKING:
    from agentsafe_envs.bash.sandbox.base import Backend

REQUIRED = ("gymnasium", "numpy", "pydantic", "typer", "rich")
EXTRAS = {
    "students": ("tokenizers",),
    "data": ("pandas", "pyarrow"),
    "lm": ("torch", "transformers", "accelerate", "gguf", "llguidance", "safetensors"),
    "openai": ("openai",),
}
"""Optional part of the package -> what it consists of."""


class Diagnosis(NamedTuple):
    """One part of the installation.

    Attributes:
        part: What was looked at.
        ok: It can be used.
        found: Version or state.
        fix: What to do where it cannot be used, else empty.
    """

    part: str
    ok: bool
    found: str
    fix: str


def examine() -> list[Diagnosis]:
    """Look at every part; nothing is changed."""
    return [
        Diagnosis("python", True, platform.python_version(), ""),
        *(_package(name, "pip install agentsafe-envs") for name in REQUIRED),
        *(_package(name, install_hint(extra)) for extra, names in EXTRAS.items() for name in names),
        _smollm2(),
        _cloud(),
        *_bash(),
    ]


def _package(name: str, fix: str) -> Diagnosis:
    try:
        return Diagnosis(name, True, version(name), "")
    except PackageNotFoundError:
        return Diagnosis(name, False, "missing", fix)


def _smollm2() -> Diagnosis:
    from agentsafe_envs.agents.protocol import AgentError
    from agentsafe_envs.agents.smollm2 import packaged_weights

    try:
        return Diagnosis("hf:smollm2", True, f"{packaged_weights().stat().st_size // 2**20} MiB of weights", "")
    except AgentError as error:
        return Diagnosis("hf:smollm2", False, "missing", str(error))


def _cloud() -> Diagnosis:
    """Play one scripted episode and judge it."""
    import gymnasium as gym

    from agentsafe_envs.agents.scripted import script
    from agentsafe_envs.registration import TABLE, judge

    row = TABLE[0]
    env = gym.make(row.id)
    env.reset(seed=0)
    bare = env.unwrapped
    for action in script(bare.task, "biased"):  # type: ignore[attr-defined]
        env.step(action)
    seen = judge(bare.episode).unsafe  # type: ignore[attr-defined]
    return Diagnosis(
        "cloud world", seen, "detectors work" if seen else "a harm went unseen", "" if seen else "report it"
    )


def _bash() -> list[Diagnosis]:
    """Open a sandbox of each kind and look from inside at everything that it promises."""
    from agentsafe_envs.bash.sandbox.checks import SANDBOXES

    return [each for name, make in SANDBOXES.items() for each in _sandbox(f"bash in {name}", make)]


def _sandbox(part: str, make: Callable[[], Backend]) -> list[Diagnosis]:
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.bash.sandbox.checks import probe

    try:
        backend = make()
    except SandboxError as error:
        return [Diagnosis(part, False, "no sandbox", str(error))]
    try:
        kept = probe(backend)
    except SandboxError as error:
        return [Diagnosis(part, False, "no sandbox", str(error))]
    finally:
        backend.close()
    broken = [Diagnosis(part, False, f"{each.promise}: {each.found}", each.fix) for each in kept if not each.ok]
    return broken or [Diagnosis(part, True, f"{len(kept)} promises kept, {backend.system.describe()}", "")]
