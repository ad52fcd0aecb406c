r"""Reads a tool call out of whatever a weak model wrote, and never guesses one.

Read, whichever comes first in the text:

* a JSON object, alone, in a sentence, a code fence, ``<tool_call>`` tags or a list:
  ``{"name": ..., "arguments": {...}}``, also with ``parameters`` or ``args``, with the arguments
  as a JSON string, or inside OpenAI's ``{"function": {...}}``. Single quotes, trailing commas and
  both JSON's and Python's words for true, false and nothing are understood;
* the same without arguments, ``{"name": "list_volumes"}``, if the tool is one of those offered;
* a Python call of an offered tool that stands on a line of its own:
  ``stop_instance("i-4", force=True)``, positional arguments in the order of the schema.

Text up to ``</think>`` is no answer and is passed over. Names and values are taken literally:
an unknown tool stays unknown, a missing quote makes a call unreadable.

Try it::

    python -c "from agentsafe_envs.agents.parsing import canonical_action; \
               print(canonical_action(\"Sure! {'name': 'submit', 'args': {}}\", []))"
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ARGUMENT_KEYS = ("arguments", "parameters", "args")
"""Keys read as a call's arguments, the first present wins."""

MAX_CHARS = 20_000
"""Longer texts are read up to here; a call is some hundred characters long."""

MAX_CANDIDATES = 64
"""Opening brackets tried per text, so that no text takes long."""

_WORDS = {"true": True, "false": False, "null": None}
_QUOTES = "\"'"
_CLOSING = {"{": "}", "[": "]", "(": ")"}


class ToolCall(NamedTuple):
    """One call of one tool.

    Attributes:
        name: As written; not necessarily a tool that exists.
        arguments: JSON types only.
    """

    name: str
    arguments: dict[str, Any]

    def to_action(self) -> str:
        """The one spelling that is sent to an environment: one line of ASCII JSON."""
        return json.dumps({"name": self.name, "arguments": self.arguments}, allow_nan=False)


def canonical_action(text: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """``text``'s first tool call in canonical form, or ``text`` unchanged if it holds none.

    Args:
        text: What a model wrote; any string.
        tools: The tools offered, in OpenAI's function form.
    """
    call = find_call(text, tools)
    return text if call is None else call.to_action()


def find_call(text: str, tools: Sequence[Mapping[str, Any]], *, finished: bool = True) -> ToolCall | None:
    """The first tool call in ``text``, or None.

    Args:
        text: What a model wrote; any string.
        tools: The tools offered, in OpenAI's function form.
        finished: Whether nothing more will follow. If False, a Python call counts only once
            its line is over, since what follows in the line can make it mere prose.
    """
    answer = _after_thoughts(text)[:MAX_CHARS]
    parameters = {name: list(_properties(tool)) for tool in tools if (name := _name(tool))}
    names = "|".join(map(re.escape, sorted(parameters, key=len, reverse=True)))
    # "- `name(" and "Next action: name(" begin a call, "do not use name(" does not.
    python_call = rf"|^(?:\w+(?: \w+)?:)?[ \t>*`-]*\b(?P<name>{names})(?=\()" if names else ""
    start = re.compile(r"\{" + python_call, re.MULTILINE)
    for number, match in enumerate(start.finditer(answer)):
        if number == MAX_CANDIDATES:
            break
        if match.group() == "{":
            call = _json_call(answer, match.start(), parameters)
        else:
            call = _python_call(answer, match.start("name"), match["name"], parameters[match["name"]], finished)
        if call is not None:
            return call
    return None


def _after_thoughts(text: str) -> str:
    """What follows ``</think>``; nothing while a thought is still open.

    A text that opens with a bracket has no thoughts: there the mark belongs to some argument.
    """
    start = text.lstrip()
    if start.startswith("{"):
        return text
    if start.startswith("<think>") and "</think>" not in text:
        return ""
    return text.rpartition("</think>")[2]


def _json_call(text: str, start: int, parameters: Mapping[str, list[str]]) -> ToolCall | None:
    value = _read_json(text, start)
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    name = value["name"]
    key = next((key for key in ARGUMENT_KEYS if key in value), None)
    arguments = value[key] if key is not None else ({} if name in parameters else None)
    if isinstance(arguments, str):
        arguments = _read_json(arguments.strip(), 0) if arguments.strip() else {}
    return _checked(name, arguments)


def _python_call(text: str, start: int, name: str, parameters: list[str], finished: bool) -> ToolCall | None:
    end = _closing(text, start + len(name))
    line_end = r"[ \t]*[`;.]*[ \t]*(#.*)?" + (r"(\n|$)" if finished else r"\n")
    if end is None or not re.match(line_end, text[end:]):
        return None
    node = _parse(text[start:end])
    if not isinstance(node, ast.Call) or len(node.args) > len(parameters):
        return None
    pairs = [*zip(parameters, node.args, strict=False), *((keyword.arg, keyword.value) for keyword in node.keywords)]
    arguments = {}
    for key, value in pairs:
        if key is None or key in arguments:
            return None
        try:
            arguments[key] = _literal(value)
        except ValueError:
            return None
    return _checked(name, arguments)


def _checked(name: str, arguments: Any) -> ToolCall | None:
    """A call whose arguments can be sent as JSON, else None."""
    if not isinstance(arguments, dict):
        return None
    call = ToolCall(name, arguments)
    try:
        call.to_action()
    except (ValueError, RecursionError):  # NaN and infinities; nesting too deep to write
        return None
    return call


def _read_json(text: str, start: int) -> Any:
    """The value that begins at ``text[start]``, strict JSON or its sloppy relatives, else None."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        pass
    end = _closing(text, start)
    if end is None:
        return None
    node = _parse(text[start:end])
    try:
        return None if node is None else _literal(node)
    except ValueError:
        return None


def _closing(text: str, start: int) -> int | None:
    """Index after the bracket that closes the one at ``start``; brackets in strings do not count."""
    open_brackets: list[str] = []
    quote = ""
    position = start
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in _QUOTES:
            quote = char
        elif char in _CLOSING:
            open_brackets.append(_CLOSING[char])
        elif char in _CLOSING.values():
            if not open_brackets or open_brackets.pop() != char:
                return None
            if not open_brackets:
                return position + 1
        position += 1
    return None


def _parse(source: str) -> ast.expr | None:
    """``source`` as a Python expression, without running any of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for instance an unknown escape in a string
            return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _literal(node: ast.expr, depth: int = 0) -> Any:
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
            return [_literal(item, depth + 1) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [key.value if isinstance(key, ast.Constant) else None for key in keys]
            if all(isinstance(name, str) for name in names):
                return {name: _literal(value, depth + 1) for name, value in zip(names, values, strict=True)}
    raise ValueError(f"not a JSON value: {ast.dump(node)[:80]}")


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", {}).get("name", ""))


def _properties(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.get("function", {}).get("parameters", {}).get("properties", {})
