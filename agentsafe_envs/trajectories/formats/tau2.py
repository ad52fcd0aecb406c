"""Results of tau2-bench: a file of simulations, or a single one.

The messages are those of agent, user and environment together. A user with tools of its own (the telecom
domain) calls them in between; the agent never saw that, so such calls and their results are left out, and
the number of calls stands in the column ``user_calls``. The policy, which a file holds once, is what the agent was
told before the first message, and becomes the system message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentsafe_envs.trajectories.conversion import (
    CallParts,
    Format,
    called,
    converted,
    said,
    system_message,
    tool_result,
)
from agentsafe_envs.trajectories.schema import Trajectory

_COLUMNS = {"id": "simulation", "task_id": "task", "trial": "trial", "seed": "seed", "termination_reason": "ended_by"}
_STOPPED = ("user_stop", "agent_stop")
"""Reasons of a simulation that came to its end; the others cut it off."""

_SOLVED = 1.0 - 1e-6
"""Reward from which a task counts as solved; rewards are products of checks, in [0, 1]."""


class _Simulation(NamedTuple):
    run: Any
    info: Mapping[str, Any]


def _recognises(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("simulations"), list) or value.keys() >= {"task_id", "messages", "termination_reason"}


def _split(value: Any) -> Iterator[_Simulation]:
    if not isinstance(value, dict) or "simulations" not in value:
        yield _Simulation(value, {})
        return
    info = value.get("info")
    yield from (_Simulation(each, info if isinstance(info, dict) else {}) for each in value["simulations"] or ())


def _convert(simulation: _Simulation) -> Trajectory:
    run, info = simulation
    if not isinstance(run, dict) or not isinstance(run.get("messages"), list):
        raise ValueError(
            f"no list `messages`; expected {FORMAT.expected}. Runs with speech keep ticks instead, which are not read"
        )
    environment, agent = _object(info, "environment_info"), _object(info, "agent_info")
    policy = run.get("policy") or environment.get("policy")
    messages = [system_message(policy)] if policy else []
    names: dict[str, str] = {}
    user_calls = 0
    for number, message in enumerate(_flat(run["messages"])):
        found = _message(message, names, f"message {number}")
        messages += [found] if found else []
        user_calls += len(message.get("tool_calls") or ()) if message["role"] == "user" else 0
    columns = {ours: run.get(theirs) for theirs, ours in _COLUMNS.items()}
    reward = _object(run, "reward_info").get("reward")
    return converted(
        messages,
        _tools(environment),
        {
            **columns,
            "domain": environment.get("domain_name"),
            "policy": agent.get("llm"),
            "reward": reward,
            "success": None if reward is None else reward >= _SOLVED,
            "terminated": run.get("termination_reason") in _STOPPED,
            "user_calls": user_calls or None,
        },
        "tau2",
    )


def _flat(messages: list[Any]) -> Iterator[Any]:
    """Messages with several tools' results made one each."""
    for message in messages:
        if isinstance(message, dict) and isinstance(message.get("tool_messages"), list):
            yield from message["tool_messages"]
        else:
            yield message


def _message(message: Any, names: dict[str, str], place: str) -> dict[str, Any] | None:
    """In our words; None where only the user saw it. ``names`` learns which call has which name."""
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"{place} has the role {role!r}, expected system, user, assistant or tool")
    if message.get("is_audio"):
        raise ValueError(f"{place} is speech, expected text")
    content = message.get("content")
    if role == "tool":
        if message.get("requestor") == "user":
            return None
        identifier = str(message.get("id") or "")
        return tool_result(content, names.get(identifier, ""), identifier, place)
    calls = message.get("tool_calls") or []
    if role == "user" and calls:
        return said(role, content, place) if content else None
    if role != "assistant" or not calls:
        return said(role, content, place)
    parts: list[CallParts] = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ValueError(f"{place} has a call without a name")
        parts.append((call["name"], call.get("arguments"), str(call.get("id") or "")))
    names |= {identifier: name for name, _, identifier in parts}
    return called(content, parts, place)


def _tools(environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    definitions = environment.get("tool_defs")
    return [
        {
            "type": "function",
            "function": {"name": name, "description": each.get("doc") or "", "parameters": each.get("params") or {}},
        }
        for name, each in (definitions.items() if isinstance(definitions, dict) else ())
        if isinstance(each, dict)
    ]


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


FORMAT = Format(
    '{"simulations": [{"task_id", "messages", "reward_info", "termination_reason"}], "info"}',
    _recognises,
    _convert,
    _split,
)
