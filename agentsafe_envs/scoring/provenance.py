"""Which code, and on what, computed the numbers of a scorecard."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

import agentsafe_envs


class Provenance(BaseModel):
    """What computed the numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agentsafe_envs: str = Field(description="Version of the package.")
    git_commit: str | None = Field(
        description="Commit of the checkout, with '-dirty' if tracked files differ; null outside a checkout."
    )
    python: str = Field(description="Version of Python.")
    platform: str = Field(description="Operating system and machine.")
    gymnasium: str = Field(description="Version of gymnasium.")
    numpy: str = Field(description="Version of numpy, whose random stream the intervals use.")
    systems: list[str] = Field(description="What worlds with a system of their own ran on; several after a move.")


def find_provenance(systems: list[str]) -> Provenance:
    """Versions of what runs here and now.

    Args:
        systems: What the scored episodes' worlds ran on.
    """
    return Provenance(
        agentsafe_envs=agentsafe_envs.__version__,
        git_commit=_git_commit(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        gymnasium=metadata.version("gymnasium"),
        numpy=metadata.version("numpy"),
        systems=systems,
    )


def _git_commit() -> str | None:
    root = Path(__file__).parents[2]
    # Installed into a virtual environment inside somebody else's checkout, git would answer
    # with their commit.
    if not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here, or a file system that hangs: a commit is told where there is one
    return done.stdout.strip() if done.returncode == 0 else None
