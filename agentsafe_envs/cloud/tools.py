"""Typed functions become tools: schema, validation and dispatch from signature and docstring."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, FailFast, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict  # noqa: UP035  pydantic wants this TypedDict before Python 3.12

from agentsafe_envs.cloud.state import Cloud, CloudError, Project, State, live
from agentsafe_envs.core.actions import action
from agentsafe_envs.core.transition import Reply

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

LONGEST_STRING = 2_000
"""Characters of a string argument."""

PAGE_ROWS = 8
"""Rows of a page; small models read few tokens."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One operation of the API.

    Attributes:
        name: As the agent writes it.
        function: ``function(cloud, **arguments)`` returns JSON-able data or raises CloudError.
        schema: JSON schema in OpenAI's function form.
        validate: Checks and converts the arguments; raises pydantic's ValidationError.
        service: Optional service it belongs to; None for what every cloud has.
        place: What toolsets are ordered by: position and name of its module, and its number there.
    """

    name: str
    function: Callable[..., Any]
    schema: dict[str, Any]
    validate: Callable[[Any], dict[str, Any]]
    service: str | None
    place: tuple[int, str, int]


NEW_SERVICES = 1_000
"""Position of the tools of a service that states no ``TOOL_POSITION``."""

TOOLS: dict[str, Tool] = {}
"""Every tool of every imported service, by name."""


def tool(function: Callable[..., Any], service: str | None = None) -> Callable[..., Any]:
    """Register ``function`` as a tool of the API.

    The first parameter is the cloud. The docstring's first line describes the tool and its
    ``Args`` section the parameters. Tools of a ``service`` are offered only where a bias names
    it, so that a new service leaves the tasks of the other biases as they are.
    """
    summary, parameters = _docstring(function)
    hints = get_type_hints(function)
    arguments: dict[str, Any] = {}
    signature = inspect.signature(function).parameters
    for parameter in list(signature.values())[1:]:
        hint = hints[parameter.name]
        if hint == list[str]:  # one error tells as much as one for each of thousands of items
            hint = Annotated[hint, FailFast()]
        arguments[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    shape = TypedDict(f"{function.__name__}_arguments", arguments)  # type: ignore[operator]
    shape.__pydantic_config__ = ConfigDict(extra="forbid", str_max_length=LONGEST_STRING)  # type: ignore[attr-defined]
    position = function.__globals__.get("TOOL_POSITION", NEW_SERVICES)
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    schema = adapter.json_schema()
    properties = {
        name: _shown(property_schema, signature[name].default) | {"description": parameters[name]}
        for name, property_schema in schema.get("properties", {}).items()
    }
    TOOLS[function.__name__] = Tool(
        name=function.__name__,
        function=function,
        schema={
            "type": "function",
            "function": {
                "name": function.__name__,
                "description": summary,
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": schema.get("required", []),
                    "additionalProperties": False,
                },
            },
        },
        validate=adapter.validator.validate_python,
        service=service,
        place=(position, function.__module__, len(TOOLS)),
    )
    return function


def every_tool(services: Iterable[str]) -> tuple[str, ...]:
    """Names of the tools that every cloud has and of those of ``services``, whatever was imported first."""
    offered = (each for each in TOOLS.values() if each.service is None or each.service in services)
    return tuple(each.name for each in sorted(offered, key=attrgetter("place")))


def call(cloud: Cloud, name: str, arguments: Any) -> tuple[Any, Reply | None]:
    """Run one tool; either its data or the outcome that says why there is none.

    A refused call leaves the state as it was.
    """
    chosen = TOOLS[name]
    try:
        checked = chosen.validate(arguments)
    except ValidationError as error:
        return None, refusal("invalid_argument", explain(name, error), "invalid")
    before = cloud.state
    try:
        return chosen.function(cloud, **checked), None
    except CloudError as error:
        cloud.state = before
        return None, refusal(error.code, error.message, "failed")


def after(state: State, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> State:
    """``state`` after ``calls`` by somebody who may do everything.

    Raises:
        ValueError: A call is refused, so whoever planned it made a mistake.
    """
    cloud = Cloud(state, frozenset(project.id for project in live(state, Project)))
    for name, arguments in calls:
        _, problem = call(cloud, name, arguments)
        if problem is not None:
            raise ValueError(f"planned call {action(name, arguments)} is refused: {problem.result}")
    return cloud.state


def refusal(code: str, message: str, status: Any) -> Reply:
    """What the agent reads when nothing was done."""
    return Reply(encode({"error": code, "message": message}), status)


def explain(name: str, error: ValidationError) -> str:
    """One line that says which arguments of tool ``name`` were wrong, and what it takes.

    The words are our own, so that an episode replays with any release of pydantic.
    """
    properties: dict[str, Any] = TOOLS[name].schema["function"]["parameters"]["properties"]
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        argument = str(problem["loc"][0]) if problem["loc"] else "arguments"
        if problem["type"] == "missing":
            said = f"{argument} is missing"
        elif argument not in properties:
            said = f"{argument} is not known" if problem["loc"] else "arguments must be an object"
        else:
            said = f"{argument} must be {_expectation(properties[argument])}"
        problems.append(said)
    return f"{'; '.join(dict.fromkeys(problems[:3]))}. {name} takes {', '.join(properties) or 'no arguments'}"


def _expectation(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema.get("type") == "string":
        return f"a string of at most {LONGEST_STRING} characters"
    return {"integer": "an integer", "boolean": "true or false", "array": "a list of strings"}[schema["type"]]


def page(rows: Sequence[Any], number: int) -> dict[str, Any]:
    """Page ``number`` (from 1) of ``rows``, with the next page's number while there is one.

    Raises:
        CloudError: ``invalid_argument`` for a page that does not exist.
    """
    last = max(1, -(-len(rows) // PAGE_ROWS))
    if not 1 <= number <= last:
        raise CloudError("invalid_argument", f"page {number} does not exist, the last page is {last}")
    found: dict[str, Any] = {"items": [row.summary() for row in rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]]}
    if number < last:
        found["next_page"] = number + 1
    return found


def _shown(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """A parameter's schema for the agent: no titles and limits, no null beside the real type, the default."""
    shown = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    shown = {key: value for key, value in shown.items() if key not in ("title", "maxLength")}
    return shown if default in (inspect.Parameter.empty, None) else shown | {"default": default}


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    text = inspect.getdoc(function)
    if not text:
        raise TypeError(f"tool {function.__name__} has no docstring; its first line is the tool's description")
    _, _, section = text.partition("Args:\n")
    described = dict(re.findall(r"^ {4}(\w+): (.+)$", section, flags=re.MULTILINE))
    undocumented = set(list(inspect.signature(function).parameters)[1:]) - set(described)
    if undocumented:
        raise TypeError(f"tool {function.__name__} does not describe {sorted(undocumented)} under Args")
    return text.split("\n", 1)[0], described
