r"""Reads a tool call out of what a weak model wrote, and never guesses one.

A call counts only where it is meant as one, since prose that quotes a call is no call:

* it stands alone: the answer is one call, or several, of which the first is taken;
* it stands in ``<tool_call>`` tags at the beginning or at the end of the answer. Words on the same line
  make it a quotation, unless they end a sentence before it. Words on other lines do not, since a server
  that reads the tags itself would call as well;
* it stands in one code fence that is the whole answer;
* it is the last line of the answer, on a line of its own; ``Action:`` may precede it.

In the second and the last case the words before the call are its note.

Spellings that are read:

* a JSON object, also in a list: ``{"name": ..., "arguments": {...}}``, also with ``parameters`` or
  ``args``, with the arguments as a JSON string, or inside OpenAI's ``{"function": {...}}``. Single
  quotes, trailing commas and both JSON's and Python's words for true, false and nothing are understood;
* the same without arguments, ``{"name": "list_volumes"}``, if the tool is one of those offered;
* a Python call of an offered tool: ``stop_instance("i-4", force=True)``, positional arguments in the
  order of the schema.

A tool's schema is no call, in any provider's spelling, nor is a call with a comment behind it or in an
object that says something else, such as ``"error"``. Thoughts such as ``<think>...</think>`` are no
answer: they are passed over, and a thought that is not closed hides what follows. Names and values are
taken literally: an unknown tool stays unknown, a missing quote makes a call unreadable.

Try it::

    python -c "from agentsafe_envs.agents.parsing import canonical_action; \
               print(canonical_action(\"Sure:\\n{'name': 'submit', 'args': {}}\", []))"
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentsafe_envs.agents.literals import json_value, parse_expression
from agentsafe_envs.core.actions import LONGEST_NOTE, ToolCall

ARGUMENT_KEYS = ("arguments", "parameters", "args")
"""Keys read as a call's arguments, the first present wins."""

WRAPPING_KEYS = ("function", "tool_calls", "tool_call", "function_call", "action")
"""Keys of an object that holds a call, or a list of calls, as its value."""

BESIDE_A_WRAPPED_CALL = {
    *("id", "index", "type", "role", "content", "note", "plan", "reason", "reasoning", "reasoning_content"),
    *("thinking", "thought", "thoughts"),
}
"""Other keys that such an object may have; any other with a value says that the call is only told of."""

BESIDE_A_BARE_NAME = {"name", "note", "type", "id"}
"""Keys of a call without arguments; with any other an object describes a tool."""

TYPE_WORDS = {
    *("any", "array", "bool", "boolean", "dict", "float", "int", "integer", "list", "number", "object", "str"),
    *("null", "string"),
}
"""Values of a schema's parameters, and not of a call's arguments."""

MAX_CHARS = 20_000
"""Longest call that is read leniently; a call is some hundred characters long."""

MAX_CANDIDATES = 64
"""Places tried per text, so that no text takes long."""

_QUOTES = "\"'"
_CLOSING = {"{": "}", "[": "]", "(": ")"}

_THOUGHT = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
_THOUGHT_OPENS = re.compile(
    rf"<{_THOUGHT}>|\[THINK\]|◁think▷|<\|channel\|>\s*analysis|<\|(?:START_THINKING|begin_of_thought)\|>", re.IGNORECASE
)
_THOUGHT_CLOSES = re.compile(
    rf"</{_THOUGHT}>|\[/THINK\]|◁/think▷|<\|channel\|>\s*final(?:\s*<\|message\|>)?"
    r"|<\|(?:END_THINKING|end_of_thought)\|>",
    re.IGNORECASE,
)

_TAG = r"<\|?/?(?:tool_calls?|function_calls?)\|?>|\[/?TOOL_CALLS\]|<\|python_tag\|>"
_BETWEEN_CALLS = re.compile(rf"(?:\s|{_TAG})*")
_TAGGED = re.compile(
    r"(?:<(?P<tag>tool_calls?|function_calls?)>|\[TOOL_CALLS\]|<\|python_tag\|>)(?P<body>.*?)"
    r"(?:</(?:tool_calls?|function_calls?)>|(?=\[TOOL_CALLS\]|<\|python_tag\|>)|\Z)",
    re.DOTALL,
)
_FENCED = re.compile(r"(?P<mark>`{3,}|~{3,})[\w+-]*[ \t]*\n(?P<body>.*?)(?:\n[ \t]*(?P=mark)\s*)?\Z", re.DOTALL)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LABEL = re.compile(
    r"\**(?:next |final )?(?:action|call|tool call|function call|tool|answer)\**:\**[ \t]*", re.IGNORECASE
)


class _Toolset(NamedTuple):
    """What must be known of the tools offered: parameters by name, and what a Python call begins with."""

    parameters: Mapping[str, list[str]]
    python_call: re.Pattern[str] | None


def canonical_action(text: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """``text``'s tool call in canonical form, or ``text`` unchanged if it holds none.

    What the model said before the call is kept as the call's note.

    Args:
        text: What a model wrote; any string.
        tools: The tools offered, in OpenAI's function form.
    """
    call, before = _found(text, _toolset(tools))
    if call is None:
        return text
    note = call.note or before.strip()
    return call._replace(note=note[:LONGEST_NOTE].strip()).to_action()


def find_call(text: str, tools: Sequence[Mapping[str, Any]], *, finished: bool = True) -> ToolCall | None:
    """The tool call that ``text`` makes, or None.

    Args:
        text: What a model wrote; any string.
        tools: The tools offered, in OpenAI's function form.
        finished: Whether nothing more will follow. If False, a call counts only where nothing that
            may follow can turn it into a quotation: in tags that begin the answer.
    """
    toolset = _toolset(tools)
    if not finished:
        answer = _after_thoughts(text).strip()
        first = _TAGGED.match(answer)
        closed = first is not None and answer.startswith("\n", first.end())
        # Behind the strip nothing is left of a line's end that closes the answer.
        closed = closed or (first is not None and first.end() == len(answer) and text.endswith("\n"))
        return _only_calls(first["body"], toolset) if first is not None and closed else None
    return _found(text, toolset)[0]


_Found = tuple[ToolCall | None, str]
"""A call, if there is one, and the words before it."""


def _found(text: str, toolset: _Toolset) -> _Found:
    """The call in a finished answer."""
    answer = _after_thoughts(text).strip()
    fence = _FENCED.fullmatch(answer)
    whole = fence["body"] if fence and not _FENCE_LINE.search(fence["body"]) else answer
    if call := _only_calls(whole, toolset):
        return call, ""
    tagged = _tagged_call(answer, toolset)
    return tagged if tagged[0] else _last_line_call(answer, toolset)


def _toolset(tools: Sequence[Mapping[str, Any]]) -> _Toolset:
    parameters = {name: list(_properties(tool)) for tool in tools if (name := _name(tool))}
    names = "|".join(map(re.escape, sorted(parameters, key=len, reverse=True)))
    return _Toolset(parameters, re.compile(rf"(?P<name>{names})(?=\()") if names else None)


def _after_thoughts(text: str) -> str:
    """What follows the last thought, up to one that is still open.

    A text that opens with a bracket has no thoughts: there the mark belongs to some argument.
    """
    if text.lstrip().startswith("{"):
        return text
    start = max((closing.end() for closing in _THOUGHT_CLOSES.finditer(text)), default=0)
    open_thought = _THOUGHT_OPENS.search(text, start)
    return text[start : open_thought.start() if open_thought else None]


def _only_calls(text: str, toolset: _Toolset) -> ToolCall | None:
    """The first call of a text that holds nothing but calls, tags and JSON objects; else None."""
    text = _bare(text)
    found: ToolCall | None = None
    position = _skip(text, 0)
    for _ in range(MAX_CANDIDATES):
        if position == len(text):
            return found
        call, end = _unit(text, position, toolset)
        if end is None:
            return None
        found = found or call
        position = _skip(text, end)
    return None


def _tagged_call(answer: str, toolset: _Toolset) -> _Found:
    """The first call in tags that stand at the answer's beginning or end, outside any code fence."""
    blocks = list(_islice(_TAGGED.finditer(answer)))
    if not blocks or len(_FENCE_LINE.findall(answer[: blocks[0].start()])) % 2:
        return None, ""
    first = blocks[0]
    before, after = answer[: first.start()], answer[first.end() :]
    only_blocks_follow = not _TAGGED.sub("", after).strip()
    own_line = not before.rpartition("\n")[2].strip()
    ends_line = not after.partition("\n")[0].strip() or only_blocks_follow
    at_beginning = not before.strip() and ends_line
    # "It idles. <tool_call>" calls, "This would be harmful: <tool_call>" quotes.
    at_end = only_blocks_follow and (own_line or before.rstrip()[-1:] in ".!?")
    return (_only_calls(first["body"], toolset), before) if at_beginning or at_end else (None, "")


def _last_line_call(answer: str, toolset: _Toolset) -> _Found:
    """The call that ends the answer on a line of its own; a JSON object may take several lines."""
    if len(_FENCE_LINE.findall(answer)) % 2:
        return None, ""
    starts = [match.end() for match in re.finditer(r"^[ \t]*", answer, re.MULTILINE)]
    for start in reversed(starts[-MAX_CANDIDATES:]):
        text = _bare(answer[start:])
        call, end = _unit(text, 0, toolset)
        if call is not None and end == len(text):
            return call, answer[:start]
    return None, ""


def _bare(text: str) -> str:
    """``text`` without the label and the backticks around it."""
    text = text.strip()
    label = _LABEL.match(text)
    text = text[label.end() :] if label else text
    ticks = re.fullmatch(r"(`+)(?P<inner>[^`\n]+)\1[.;]?", text)
    return ticks["inner"].strip() if ticks else text


def _islice(matches: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    yield from (match for _, match in zip(range(MAX_CANDIDATES), matches, strict=False))


def _skip(text: str, position: int) -> int:
    """Where the next call can begin."""
    between = _BETWEEN_CALLS.match(text, position)
    return between.end() if between else position


def _unit(text: str, start: int, toolset: _Toolset) -> tuple[ToolCall | None, int | None]:
    """The call that begins at ``text[start]``, and the index behind it.

    A JSON value that is no call has an end and no call; what is neither has no end.
    """
    if text[start : start + 1] in ("{", "["):
        value, end = _read_json(text, start)
        return (_json_call(value, toolset.parameters), end) if isinstance(value, dict | list) else (None, None)
    match = toolset.python_call.match(text, start) if toolset.python_call else None
    if match is None:
        return None, None
    return _python_call(text, start, match["name"], toolset.parameters[match["name"]])


def _json_call(value: Any, parameters: Mapping[str, list[str]], depth: int = 0) -> ToolCall | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    if not isinstance(value.get("name"), str):
        key = next((key for key in WRAPPING_KEYS if isinstance(value.get(key), dict | list)), None)
        beside = {other for other, said in value.items() if said is not None} - {key}
        wraps = key is not None and depth < 3 and beside <= BESIDE_A_WRAPPED_CALL
        return _json_call(value[key], parameters, depth + 1) if wraps else None
    name = value["name"]
    key = next((key for key in ARGUMENT_KEYS if key in value), None)
    if key is None and (name not in parameters or not BESIDE_A_BARE_NAME.issuperset(value)):
        return None
    if "description" in value and key != "arguments":
        return None
    arguments = value[key] if key is not None else {}
    if isinstance(arguments, str):
        arguments = _read_json(arguments.strip(), 0)[0] if arguments.strip() else {}
    call, note = _checked(name, arguments), value.get("note")
    return call._replace(note=note[:LONGEST_NOTE]) if call and isinstance(note, str) else call


def _is_schema(arguments: Mapping[str, Any]) -> bool:
    """Whether ``arguments`` say what a tool takes and not what it is given."""
    if isinstance(arguments.get("properties"), dict) or arguments.get("type") == "object":
        return True
    return bool(arguments) and all(
        _is_type(value) or (isinstance(value, dict) and _is_type(value.get("type"))) for value in arguments.values()
    )


def _is_type(value: Any) -> bool:
    """Whether ``value`` is the name of a type, or a list of some."""
    words = value if isinstance(value, list) and value else [value]
    return all(isinstance(word, str) and word.lower() in TYPE_WORDS for word in words)


def _python_call(text: str, start: int, name: str, parameters: list[str]) -> tuple[ToolCall | None, int | None]:
    end = _closing(text, start + len(name))
    rest = re.compile(r"[ \t]*[`;.]*[ \t]*(?=\n|\Z)").match(text, end) if end is not None else None
    if end is None or rest is None:
        return None, None
    node = parse_expression(text[start:end])
    if not isinstance(node, ast.Call) or len(node.args) > len(parameters):
        return None, None
    pairs = [*zip(parameters, node.args, strict=False), *((keyword.arg, keyword.value) for keyword in node.keywords)]
    arguments = {}
    for key, value in pairs:
        if key is None or key in arguments:
            return None, None
        try:
            arguments[key] = json_value(value)
        except ValueError:
            return None, None
    return _checked(name, arguments), rest.end()


def _checked(name: str, arguments: Any) -> ToolCall | None:
    """A call whose arguments can be sent as JSON and describe no tool, else None."""
    if not isinstance(arguments, dict) or _is_schema(arguments):
        return None
    call = ToolCall(name, arguments)
    try:
        call.to_action()
    except (ValueError, RecursionError):  # NaN and infinities; nesting too deep to write
        return None
    return call


def _read_json(text: str, start: int) -> tuple[Any, int | None]:
    """The value that begins at ``text[start]``, strict JSON or its sloppy relatives, and where it ends; else None."""
    text = text[: start + MAX_CHARS]
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        pass  # no strict JSON: read as one of its relatives below
    end = _closing(text, start)
    if end is None:
        return None, None
    node = parse_expression(text[start:end])
    try:
        return (None, None) if node is None else (json_value(node), end)
    except ValueError:
        return None, None


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


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", {}).get("name", ""))


def _properties(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.get("function", {}).get("parameters", {}).get("properties", {})
