"""A person in the agent's seat: sees what an agent sees, for one episode.

Try it::

    agentsafe play DeleteBiasAPI-v0 --split ambiguous
    agentsafe play ChmodBiasBash-v0    # where a plain line is a command
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from agentsafe_envs.agents.parsing import ToolCall, find_call
from agentsafe_envs.agents.prompts import signature
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import find
from agentsafe_envs.scoring.playing import PlayedEpisode, played_episode

CALLS = """\
Write one action a line: a call of a tool, like read_resource("vol-17") or
{"name": "read_resource", "arguments": {"resource_id": "vol-17"}}."""

COMMANDS = """\
Write one action a line: a command for the shell, or a call of another tool, like
ask_operator("Which files?"). Nothing can be typed into a running program."""

HELP = """\
The episode ends with submit() or submit("an answer"), or after the last step.

  :tools        the tools, one line each
  :tool NAME    all about one tool
  :task         the task again
  :quit         leave here; what was done is judged (so does the end of input)

Ctrl-C leaves without a verdict."""

SHELL = "bash"
"""The tool that a plain line goes to, where it is offered."""


class InteractiveSession:
    """One episode, line by line.

    Args:
        environment: Registered id.
        split: Of the task.
        seed: Of the task.
        pool: Of the task.

    Attributes:
        over: The episode has ended.

    Raises:
        ValueError: No such environment, split or pool.
    """

    def __init__(self, environment: str, *, split: str, seed: int, pool: str) -> None:
        env_id = find(environment).id
        self._key = EpisodeKey(env_id, split, seed)
        self._env = gym.make(env_id, split=split, pool=pool, disable_env_checker=True)
        observation, info = self._env.reset(seed=seed)
        self._instruction: str = observation["instruction"]
        self._tools: list[dict[str, Any]] = info["tools"]
        self._names = [tool["function"]["name"] for tool in self._tools]
        self._shell = SHELL in self._names
        self.over = False

    def opening(self) -> str:
        """The task, the tools and how to begin."""
        spec = self._env.spec
        assert spec is not None
        limit = f"At most {spec.max_episode_steps} steps. :help says how to act."
        return "\n".join([self._instruction, "", *self._list_tools(), "", limit])

    def take(self, line: str) -> str:
        """Act on one line: a word of ours that begins with a colon, or an action.

        Returns:
            What the person gets to read.
        """
        words = line.split()
        match words:
            case []:
                return ""
            case [":help" | "help" | "?"] if words[0] == ":help" or not self._shell:  # a shell has a `help` of its own
                return f"{COMMANDS if self._shell else CALLS}\n{HELP}"
            case [":help" | "help" | "?", name] if words[0] == ":help" or not self._shell:
                return self._describe(name)
            case [":task"]:
                return self._instruction
            case [":tools"]:
                return "\n".join(self._list_tools())
            case [":tool", name]:
                return self._describe(name)
            case [":quit" | "quit" | "exit"] if words[0] == ":quit" or not self._shell:
                self.over = True
                return ""
            case [word, *_] if word.startswith(":") and word[1:].isalpha():  # `: >file` is a command
                return f"no {word}; there is :help, :tools, :tool NAME, :task and :quit"
        return self._act(line)

    def played(self) -> PlayedEpisode:
        """The episode so far, judged."""
        return played_episode(self._env, self._key)

    def close(self) -> None:
        """Let the world go."""
        self._env.close()

    def _act(self, line: str) -> str:
        call = self._call(line.strip())
        observation, _, terminated, truncated, _ = self._env.step(call.to_action() if call else line)
        self.over = terminated or truncated
        result = observation["result"]
        ending = ["", "That was the last step."] if truncated and not terminated else []
        return "\n".join([result.rstrip("\n") if self._shell else plain_result(result), *ending])

    def _call(self, line: str) -> ToolCall | None:
        """The call that a line is, or stands for; a command may hold what looks like another one."""
        if line in self._names and line != SHELL:
            return ToolCall(line, {})
        begins_as_call = line.startswith(("{", *(f"{name}(" for name in self._names)))
        call = find_call(line, self._tools) if begins_as_call else None
        return ToolCall(SHELL, {"command": line}) if call is None and self._shell else call

    def _list_tools(self) -> list[str]:
        return [f"  {signature(tool)}" for tool in self._tools]

    def _describe(self, name: str) -> str:
        for tool in self._tools:
            if tool["function"]["name"] == name:
                return json.dumps(tool["function"], indent=2)
        return f"no tool {name}; there is {', '.join(self._names)}"


def plain_result(result: str) -> str:
    """A JSON object with a line for each field and for each item of a list; anything else as it is."""
    try:
        found = json.loads(result)
    except ValueError:
        return result
    return "\n".join(_lines(found)) if isinstance(found, dict) else result


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, list) and value:
            yield f"{name}:"
            for item in value:
                yield f"  {_flat(item)}"
        else:
            yield f"{name}: {_flat(value)}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value)
