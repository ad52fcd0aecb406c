"""The commands that the scripts' own docstrings show."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import baselines

pytestmark = pytest.mark.needs("baselines")

FOLDER = Path(next(iter(baselines.__path__)))
SHOWN = [
    (file.stem, command.split("#")[0].split()[3:])
    for file in sorted(FOLDER.glob("*.py"))
    for command in re.findall(
        rf"^    (python -m baselines\.{file.stem}\b.*)$", file.read_text().replace("\\\n", " "), re.MULTILINE
    )
]


@pytest.mark.parametrize(("name", "arguments"), SHOWN, ids=lambda value: str(value))
def test_command_of_a_docstring_can_be_read(name: str, arguments: list[str]) -> None:
    app = typer.Typer()
    app.command()(import_module(f"baselines.{name}").main)
    command: Any = get_command(app)
    parsed = command.make_context(name, list(arguments)).params
    asked = {word.removeprefix("--").replace("-", "_") for word in arguments if word.startswith("--")}
    assert asked <= parsed.keys()


def test_every_stage_shows_a_command() -> None:
    shown = {name for name, _ in SHOWN}
    assert {"base", "teach", "sample", "distill", "evaluate", "reproduce", "results", "release"} <= shown


def test_one_folder_is_not_given_to_several_bases(tmp_path: Path) -> None:
    from baselines.base import main

    with pytest.raises(typer.BadParameter, match="say which with --init"):
        main(out=tmp_path / "base")
    assert not (tmp_path / "base").exists()
