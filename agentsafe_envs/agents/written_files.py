"""Names of the files that a program writes to: what a run leaves behind decides no agent.

A program is read, not run. A name counts that stands in a call which writes, or in the value of a variable that
does. A file that is both written and read, a memory say, is state of a run and left out as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_OPENERS = frozenset({"open", "fdopen"})
_WRITING_MODE = re.compile(r"[rbt]*[wax+][rbtwax+]*")
_OF_RECEIVER = frozenset({"write_text", "write_bytes", "touch", "unlink"})
_OF_ARGUMENT = frozenset(
    {"connect", "FileHandler", "RotatingFileHandler", "basicConfig", "save", "to_csv", "to_json", "to_parquet"}
)
"""Calls after whose argument a file is made; ``connect`` is SQLite's."""

_SHELL_TARGET = re.compile(r"(?:>>?|\btee(?:\s+-a)?)\s*[\"']?(?:\$\w+/|\$\{\w+\}/)?([\w./@+-]+)")
_SCRIPT_CALL = re.compile(r"\b(?:writeFile|appendFile|createWriteStream)(?:Sync)?\s*\(([^\n]*)")
_SCRIPT_VARIABLE = re.compile(r"\b(?:const|let|var)\s+(\w+)\s*=([^\n]*)")
_QUOTED = re.compile(r"[\"'`]([^\"'`\n]+)[\"'`]")


def python_expressions_written(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions of a Python program whose value is the path of a file that it writes to.

    Of a variable, every value that it is given anywhere in the module.
    """
    values: dict[str, list[ast.expr]] = {}
    waiting: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                values.setdefault(_name(target), []).append(node.value)
        elif isinstance(node, ast.Call):
            waiting.extend(_written_by(node))
    seen: set[str] = set()
    while waiting:
        expression = waiting.pop()
        yield expression
        for name in {_name(each) for each in ast.walk(expression)} & values.keys() - seen:
            seen.add(name)
            waiting.extend(values[name])


def _written_by(call: ast.Call) -> Iterator[ast.expr]:
    name = _name(call.func)
    receiver = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    arguments = [*call.args, *(each.value for each in call.keywords)]
    if name in _OPENERS and any(map(_is_writing_mode, arguments)):
        yield from [*receiver, *(each for each in arguments if not _is_writing_mode(each))]
    elif name in _OF_RECEIVER:
        yield from receiver
    elif name in _OF_ARGUMENT:
        yield from arguments


def _is_writing_mode(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _WRITING_MODE.fullmatch(node.value) is not None
    )


def _name(node: ast.AST) -> str:
    """Of a variable or an attribute, whatever it belongs to; ``""`` for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def script_words_written(text: str) -> set[str]:
    """Words of a text in a shell's language or JavaScript that name what it writes to."""
    found = set(_SHELL_TARGET.findall(text))
    calls = _SCRIPT_CALL.findall(text)
    used = {word for call in calls for word in re.findall(r"\w+", call)}
    values = [value for name, value in _SCRIPT_VARIABLE.findall(text) if name in used]
    return found | {word for part in (*calls, *values) for word in _QUOTED.findall(part)}
