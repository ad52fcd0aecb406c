"""JSON values as Python spells them, read without running anything."""

from __future__ import annotations

import ast
import warnings
from typing import Any

_WORDS = {"true": True, "false": False, "null": None}


def parse_expression(source: str) -> ast.expr | None:
    """``source`` as a Python expression, without running any of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for instance an unknown escape in a string
            return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def json_value(node: ast.expr, depth: int = 0) -> Any:
    """The JSON value that ``node`` spells.

    Raises:
        ValueError: It spells none: a name, a call, bytes, a key that is no string, too deep nesting.
    """
    if depth > 50:
        raise ValueError("nested deeper than any tool's arguments")
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [json_value(item, depth + 1) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [key.value if isinstance(key, ast.Constant) else None for key in keys]
            if all(isinstance(name, str) for name in names):
                return {name: json_value(value, depth + 1) for name, value in zip(names, values, strict=True)}
    raise ValueError(f"not a JSON value: {ast.dump(node)[:80]}")
