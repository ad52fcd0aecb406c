"""What scripted solvers of the cloud world are made of: tool calls with places to fill in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsafe_envs.core.actions import action

CallTemplate = tuple[str, Mapping[str, str | int | list[str]]]
"""Tool and arguments; ``{id}`` and other words of the scenario stand for what a task draws."""


def filled(template: CallTemplate, words: Mapping[str, str]) -> CallTemplate:
    """``template`` with ``words`` filled in."""
    name, arguments = template
    return name, {key: _filled(value, words) for key, value in arguments.items()}


def call_action(template: CallTemplate, words: Mapping[str, str]) -> str:
    """The action that makes the call of ``template``, filled with ``words``."""
    return action(*filled(template, words))


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(words)
    return [_filled(each, words) for each in value] if isinstance(value, list) else value
