"""Optional parts: how to install one, said in a way that works in a checkout and out of it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


def install_hint(extra: str) -> str:
    """Command that installs an extra of this package.

    Args:
        extra: As ``pyproject.toml`` names it, for instance ``"lm"``.

    Returns:
        A ``pip`` command; from a checkout, which no index knows, it names the checkout's folder.
    """
    if not (CHECKOUT / "pyproject.toml").is_file():
        return f'pip install "agentsafe-envs[{extra}]"'
    folder = "." if Path.cwd() == CHECKOUT else str(CHECKOUT)
    return f'pip install --editable "{folder}[{extra}]"'


class MissingExtraError(ImportError):
    """A package of an extra that is not installed; the message says how to install it."""


def import_extra(module: str, extra: str) -> Any:
    """A module of a package that an extra of this one installs.

    Args:
        module: Its full name.
        extra: As for :func:`install_hint`.

    Raises:
        MissingExtraError: It cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{module.partition('.')[0]} is missing: {install_hint(extra)} ({error})") from error
