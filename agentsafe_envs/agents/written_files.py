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
    {"FileHandler", "RotatingFileHandler", "basicConfig", "save", "to_csv", "to_json", "to_parquet"}
)
"""Calls after whose argument a file is made; so is it by those of :data:`_DATABASES`."""
_DATABASES = frozenset({"sqlite3", "aiosqlite", "duckdb"})
_OF_PATHS = frozenset(
    {"Path", "join", "joinpath", "with_name", "with_suffix", "resolve", "absolute", "expanduser", "str"}
)
"""Calls that make one path of others. What another call returns, a read file say, is no path to write to."""

_JAVASCRIPT = frozenset({".js", ".mjs", ".cjs", ".ts"})
_SHELL = frozenset({"", ".sh", ".bash", ".zsh", ".ksh"})
_SHELL_TARGET = re.compile(r"(?:(?<![=-])>>?|\btee(?:\s+-a)?)\s*[\"']?(?:\$\w+/|\$\{\w+\}/)?([\w./@+-]+)")
_SCRIPT_CALL = re.compile(r"\b(?:writeFile|appendFile|createWriteStream)(?:Sync)?\s*\(([^\n]*)")
_SCRIPT_VARIABLE = re.compile(r"\b(?:const|let|var)\s+(\w+)\s*=([^\n]*)")
_READS = re.compile(r"\b(?:require|import|readFile)")
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
        if any(isinstance(each, ast.Call) and _name(each.func) not in _OF_PATHS for each in ast.walk(expression)):
            continue
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
    elif name in _OF_ARGUMENT or (name == "connect" and any(_name(each) in _DATABASES for each in receiver)):
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


def script_words_written(text: str, suffix: str = "") -> set[str]:
    """Words of a script that name what it writes to; its ``suffix`` says in which language, and prose has none."""
    if suffix in _SHELL:
        return set(_SHELL_TARGET.findall(text))
    if suffix not in _JAVASCRIPT:
        return set()
    paths = [_first_argument(call) for call in _SCRIPT_CALL.findall(text)]
    used = {word for path in paths for word in re.findall(r"\w+", path)}
    paths += [value for name, value in _SCRIPT_VARIABLE.findall(text) if name in used]
    return {word for path in paths if not _READS.search(path) for word in _QUOTED.findall(path)}


def _first_argument(arguments: str) -> str:
    depth = 0
    for place, letter in enumerate(arguments):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0 or (letter == "," and not depth):
            return arguments[:place]
    return arguments
