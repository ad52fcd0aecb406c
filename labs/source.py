"""Which labs there are, and the source of each: one percent script with marked solutions."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parent
SOURCE_FILE = "lab.py"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
"""Enclose what students write."""


class Lab(NamedTuple):
    """One lab.

    Attributes:
        name: Of its folder, for instance ``"01_score"``.
        folder: With the source, the teacher's page and the hidden cases.
    """

    name: str
    folder: Path

    @property
    def source(self) -> str:
        """The percent script that every version is built from."""
        return (self.folder / SOURCE_FILE).read_text(encoding="utf-8")

    @property
    def hidden(self) -> ModuleType:
        """Its module of hidden cases, with ``exercises(rng)``."""
        return import_module(f"{__package__}.{self.name}.hidden")


def all_labs() -> dict[str, Lab]:
    """Every lab by name, in the order of a course."""
    return {path.parent.name: Lab(path.parent.name, path.parent) for path in sorted(ROOT.glob(f"*/{SOURCE_FILE}"))}


def find_lab(name: str) -> Lab:
    """The lab that is called so, or whose number it is: ``01_score``, ``01`` and ``1`` are the same.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    labs = all_labs()
    found = [lab for key, lab in labs.items() if name == key or name.zfill(2) == key.partition("_")[0].zfill(2)]
    if not found and name[:1].isdigit():
        found = [lab for key, lab in labs.items() if key.partition("_")[0].lstrip("0") == name.lstrip("0")]
    if not found:
        raise ValueError(f"no lab {name!r}, expected one of {', '.join(labs)}")
    return found[0]


def definitions(source: str) -> ast.Module:
    """What of a lab's script is taken over without running it: imports, functions, classes, CONSTANTS.

    Args:
        source: Python without magics of notebooks.

    Raises:
        SyntaxError: It is no Python.
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if is_definition(node)]
    return tree


def is_definition(node: ast.stmt) -> bool:
    """Whether a statement only names something; ``labs/grading/worker.py`` has the same rule."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return isinstance(node, ast.Assign | ast.AnnAssign) and all(map(_is_constant, targets))


def _is_constant(target: ast.expr | None) -> bool:
    """Whether it is a name in capitals, or several."""
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(_is_constant, target.elts))
    if isinstance(target, ast.Starred):
        return _is_constant(target.value)
    return isinstance(target, ast.Name) and target.id.isupper()


def namespace(lab: Lab) -> Mapping[str, Any]:
    """Functions and constants of the solution, for hidden cases that need what the lab gives to students."""
    found: dict[str, Any] = {"__name__": f"solution of {lab.name}"}
    exec(compile(definitions(lab.source), str(lab.folder / SOURCE_FILE), "exec"), found)
    return found
