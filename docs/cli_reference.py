"""The page ``docs/cli.md``, from what Typer knows of every command.

`docs/build.py` writes it. Only Typer's public models are read, so the page is the same with every
release of Typer.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

HEAD = """# Command line

Every command and option of `agentsafe`. `make docs` writes this page from the program itself.

`agentsafe --version` prints the version. `agentsafe --install-completion` teaches bash, zsh, fish and PowerShell to
complete commands, options and environments. Commands end with 0, or with 1 where something is unscored, differs or is
left empty, with 2 after a wrong call, and with 130 after Ctrl-C.
"""

VALUES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def cli_page(app: typer.Typer) -> str:
    """The page of all commands of ``app``, in the order in which `agentsafe --help` lists them."""
    commands = list(_commands(app, "agentsafe"))
    contents = [f"- [`{name}`](#{name.replace(' ', '-')}): {_help(callback)[0]}" for name, callback in commands]
    parts = [HEAD, *contents, ""]
    for name, callback in commands:
        parts += _section(name, callback)
    return "\n".join(parts)


def _commands(app: typer.Typer, prefix: str) -> Iterator[tuple[str, Any]]:
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")  # pyright: ignore[reportOptionalMemberAccess]
        yield f"{prefix} {name}", command.callback
    for group in app.registered_groups:
        if group.typer_instance:
            yield from _commands(group.typer_instance, f"{prefix} {group.name}")


def _help(callback: Any) -> tuple[str, str]:
    """First sentence of a command's help, and the rest."""
    first, _, rest = inspect.cleandoc(callback.__doc__ or "").partition("\n\n")
    return first.replace("\n", " "), rest


def _section(name: str, callback: Any) -> list[str]:
    first, rest = _help(callback)
    parameters = [
        (info, parameter, annotation) for parameter, annotation, info in _parameters(callback) if not info.hidden
    ]
    arguments = [_argument(info, *rest) for info, *rest in parameters if isinstance(info, ArgumentInfo)]
    lines = [f"## {name}", "", first, *(["", rest] if rest else []), ""]
    lines += ["```text", " ".join([name, "[OPTIONS]", *arguments]), "```", ""]
    if parameters:
        lines += ["| argument or option | default | meaning |", "| --- | --- | --- |"]
        for info, parameter, annotation in parameters:
            named = _argument if isinstance(info, ArgumentInfo) else _option
            cells = (f"`{named(info, parameter, annotation)}`", _default(parameter), info.help or "")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return lines


def _parameters(callback: Any) -> Iterator[tuple[inspect.Parameter, Any, Any]]:
    """Each parameter with its type and what Typer was told of it."""
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        annotation = hints[name]
        if get_origin(annotation) is Annotated:
            annotation, info = get_args(annotation)[:2]
            yield parameter, annotation, info


def _argument(info: Any, parameter: inspect.Parameter, annotation: Any) -> str:
    name = info.metavar or parameter.name.upper()
    many = get_origin(annotation) is list
    name += "..." if many else ""
    return name if parameter.default is inspect.Parameter.empty else f"[{name}]"


def _option(info: Any, parameter: inspect.Parameter, annotation: Any) -> str:
    # Within Annotated, Typer takes the first name for a default.
    names = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]
    name = ", ".join(names) or f"--{parameter.name.replace('_', '-')}"
    value = "" if annotation is bool else info.metavar or _value(annotation)
    return f"{name} {value}".rstrip()


def _value(annotation: Any) -> str:
    """What stands for a value of this type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _value(next(each for each in get_args(annotation) if each is not type(None)))
    if get_origin(annotation) is list:
        return _value(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return VALUES[annotation]


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    empty = parameter.default is None or parameter.default is False or parameter.default == ""
    return "" if empty else f"`{parameter.default}`"
