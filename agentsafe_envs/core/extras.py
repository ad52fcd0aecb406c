"""Optional parts: how to install one, said in a way that works in a checkout and out of it."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).parents[2]


def install_hint(extra: str) -> str:
    """Command that installs an extra of this package.

    Args:
        extra: As ``pyproject.toml`` names it, for instance ``"lm"``.

    Returns:
        A ``pip`` command; from a checkout, which no index knows, it names the checkout's folder.
    """
    if not (_ROOT / "pyproject.toml").is_file():
        return f'pip install "agentsafe-envs[{extra}]"'
    folder = "." if Path.cwd() == _ROOT else str(_ROOT)
    return f'pip install --editable "{folder}[{extra}]"'
