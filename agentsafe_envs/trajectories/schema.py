"""An episode as a chat row that a model trains on, and back, without losing a character.

A row is a plain dict. ``messages`` and ``tools`` are what a trainer reads; every other column
says where the row comes from and is nothing that a model may see.

Try it::

    python -c "import gymnasium as gym, agentsafe_envs; from agentsafe_envs.trajectories import from_episode; \
               env = gym.make('DeleteBiasAPI-v0'); env.reset(seed=7); \
               print(from_episode(env.unwrapped.episode)['messages'])"
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Required, TypedDict

from agentsafe_envs.agents.prompts import ROLE, PromptStyle, chat_messages, inspect_template, uses_native_tools
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.core.actions import CALL_FIELDS, ToolCall, without_note
from agentsafe_envs.core.episode import Episode, EpisodeError, Step
from agentsafe_envs.core.spaces import MAX_INSTRUCTION_CHARS, sanitise_text
from agentsafe_envs.registration import resolve
from agentsafe_envs.trajectories.shapes import check_shape

DEEPEST_ARGUMENTS = 40
"""Brackets within brackets in a call's arguments; deeper ones no JSON reader is sure to take."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character that UTF-16 writes as two; no JSON reader takes one without the other."""

LARGEST_INTEGER = 2**63 - 1
"""What the JSON reader of ``datasets`` takes."""


class Trajectory(TypedDict, total=False):
    """One row. Rows of other origin come in the shapes of :mod:`agentsafe_envs.trajectories.shapes`.

    They may have columns of their own, and are filtered and written back as they came.

    Attributes:
        messages: Chat messages with the roles system, user, assistant and tool. A call is an
            assistant message with ``tool_calls`` of one entry, whose ``function.arguments`` is a
            dict, and with the call's note as ``content``; the tool message behind it holds the
            result. An action that is no call is plain ``content``, and a user message holds its
            result.
        tools: Schemas of the tools offered, in OpenAI's function form.
        environment: Registered id.
        split: Split of the task.
        pool: Pool of the task.
        seed: Task seed.
        trial: Repetition of the same task.
        template: ``"<scenario>/<wording>"``.
        toolset: ``"bias"`` or ``"full"``.
        task_digest: Of instruction, tools and start state.
        policy: Who acted, for instance the teacher's name.
        terminated: The agent submitted.
        success: The task's own check at the end.
        verdict: What the detectors said, if they were asked.
        evidence: What the world recorded of the steps, by step; for detectors only.
        spellings: Actions that were written otherwise than their call is spelled, by step.
        sha256: Last link of the episode's hash chain.
        stripped: Turns that sanitising cut out; such a row is no episode any more.
        system: The system message, where ShareGPT keeps it apart.
        origin: Format that the row was imported from, see :mod:`agentsafe_envs.trajectories.importing`.
    """

    messages: Required[list[dict[str, Any]]]
    tools: list[dict[str, Any]]
    environment: str
    split: str
    pool: str
    seed: int
    trial: int
    template: str
    toolset: str
    task_digest: str
    policy: str
    terminated: bool
    success: bool
    verdict: dict[str, Any]
    evidence: dict[str, Any]
    spellings: dict[str, str]
    sha256: str
    stripped: int
    origin: str
    system: str


def from_episode(
    episode: Episode,
    *,
    policy: str = "",
    trial: int = 0,
    verdict: Mapping[str, Any] | None = None,
    system: str = ROLE,
) -> Trajectory:
    """The row of ``episode``, in the words in which agents are shown their tasks.

    Args:
        episode: Its environment must be registered.
        policy: Who acted.
        trial: Repetition of the same task, ``>= 0``.
        verdict: Kept beside the row, in plain JSON types.
        system: The system message; empty for none. The default is what
            :class:`agentsafe_envs.agents.transformers.TransformersAgent` says to a model whose
            chat template shows tools: a student has to be evaluated in the context it was trained in.

    Raises:
        ValueError: The episode's environment is not registered.
        EpisodeError: This release draws another task for the episode's key.
    """
    world, bias = resolve(episode.environment)
    task = world.redraw(bias, episode)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": sanitise_text(task.instruction, MAX_INSTRUCTION_CHARS)})
    spellings: dict[str, str] = {}
    for number, step in enumerate(episode.steps):
        call, (_, note) = call_of_action(step.action), without_note(step.action)
        if call is None:
            messages.append({"role": "assistant", "content": step.action})
            messages.append({"role": "user", "content": step.result})
            continue
        call_id = f"call{number:05d}"
        tool_calls = [{"id": call_id, "type": "function", "function": call}]
        messages.append({"role": "assistant", "content": note, "tool_calls": tool_calls})
        messages.append({"role": "tool", "name": call["name"], "tool_call_id": call_id, "content": step.result})
        if _spelled(call, note) != step.action:
            spellings[str(number)] = step.action
    row = Trajectory(
        messages=messages,
        tools=json.loads(json.dumps(world.tools(task))),
        environment=episode.environment,
        split=episode.split,
        pool=episode.pool,
        seed=episode.seed,
        trial=trial,
        template=task.template,
        toolset=episode.toolset,
        task_digest=episode.task_digest,
        policy=policy,
        terminated=episode.terminated,
        success=episode.success,
        sha256=episode.chain()[-1],
    )
    if spellings:
        row["spellings"] = spellings
    evidence = {str(number): step.evidence for number, step in enumerate(episode.steps) if step.evidence is not None}
    if evidence:
        row["evidence"] = evidence
    if verdict is not None:
        row["verdict"] = dict(verdict)
    return row


def to_episode(row: Trajectory) -> Episode:
    """Inverse of :func:`from_episode`, to judge a row again.

    Raises:
        EpisodeError: A column is missing, turns were cut out, or the row was edited.
    """
    if row.get("stripped"):
        raise EpisodeError(f"{row.get('stripped')} turns were stripped from the row; the rest never happened that way")
    fields = [name for name in Episode._fields if name != "steps"]
    missing = [name for name in (*fields, "sha256") if name not in row]
    if missing:
        raise EpisodeError(f"the row has no {', '.join(missing)}; expected a row made by from_episode")
    try:
        steps = to_conversation(row).steps
    except ValueError as error:
        raise EpisodeError(f"the row is no episode: {error}") from error
    values: dict[str, Any] = {name: row[name] for name in fields}
    evidence = row.get("evidence", {})
    seen = tuple(step._replace(evidence=evidence.get(str(number))) for number, step in enumerate(steps))
    episode = Episode(**values, steps=seen)
    if episode.chain()[-1] != row.get("sha256"):
        raise EpisodeError("the row was edited after the episode was recorded: its hash chain ends otherwise")
    return episode


def to_conversation(row: Trajectory) -> Conversation:
    """The row as agents are shown an episode.

    Raises:
        ValueError: The messages are not an instruction followed by actions and their results.
    """
    if "messages" not in row:
        raise ValueError("no messages; expected a row of ours; `agentsafe data import` makes such of others")
    messages = list(enumerate(row["messages"]))
    while messages and messages[0][1]["role"] == "system":
        messages.pop(0)
    if not messages or messages[0][1]["role"] != "user":
        raise ValueError("no instruction; expected a user message before the first action")
    instruction = messages.pop(0)[1]["content"]
    if len(messages) % 2:
        raise ValueError(f"message {messages[-1][0]} is an action without a result, or a result without an action")
    spellings = row.get("spellings", {})
    steps = []
    for number, ((place, action), (_, result)) in enumerate(zip(messages[::2], messages[1::2], strict=True)):
        if action["role"] != "assistant" or result["role"] not in ("tool", "user"):
            raise ValueError(f"message {place} and the next are not an action and its result")
        calls = action.get("tool_calls") or []
        note = action.get("content") or ""
        if len(calls) > 1 or (calls and not isinstance(note, str)):
            raise ValueError(f"message {place} is more than one action")
        text = _spelled(calls[0]["function"], note) if calls else action["content"]
        steps.append(Step(spellings.get(str(number), text), result["content"]))
    return Conversation(instruction, row.get("tools", []), steps)


def for_model(row: Trajectory, tokenizer: Any, style: PromptStyle = "signature", role: str = ROLE) -> dict[str, Any]:
    """The row in the words that an evaluation shows to the model of ``tokenizer``.

    Many chat templates silently drop tools, and a student has to be trained in the context in
    which it is evaluated: what comes out has the tools where the model will see them.

    Args:
        row: Made by :func:`from_episode`.
        tokenizer: Anything with transformers' ``apply_chat_template``.
        style: How tools are shown, as in ``agentsafe score --prompt-style``.
        role: First words of the system message. With others than an evaluation uses, a student is
            trained in another context than it is measured in.

    Returns:
        ``messages``, and ``tools`` only if the chat template shows them itself.
    """
    template = inspect_template(tokenizer)
    shown: dict[str, Any] = {"messages": chat_messages(to_conversation(row), style, template, role)}
    return {**shown, "tools": row.get("tools", [])} if uses_native_tools(style, template) else shown


def check_row(row: Any, place: str = "the row") -> Trajectory:
    """``row`` itself, if the sanitiser can tell who says and calls what in it; it may be of other origin.

    Raises:
        ValueError: It is of no shape of :mod:`agentsafe_envs.trajectories.shapes`.
    """
    check_shape(row, place)
    return row


def is_ours(row: Mapping[str, Any]) -> bool:
    """Whether :func:`from_episode` made the row, so that its licence is this package's."""
    return "task_digest" in row and "origin" not in row


def call_of_action(action: str) -> dict[str, Any] | None:
    """Name and arguments, if ``action`` is one JSON tool call that any reader of JSON understands alike."""
    try:
        call = json.loads(action)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not call.keys() <= CALL_FIELDS or not isinstance(call.get("name"), str):
        return None
    if not isinstance(note := call.get("note", ""), str) or not _portable(note, 0):
        return None
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict) or not _portable(arguments, DEEPEST_ARGUMENTS):
        return None
    return {"name": call["name"], "arguments": arguments}


def _portable(value: Any, levels: int) -> bool:
    """Whether every JSON reader takes ``value``: no NaN, no huge number, no deep nesting, no half letter."""
    if isinstance(value, str):
        return not LONE_SURROGATE.search(value)
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return levels > 0 and all(_portable(each, levels - 1) for each in inner)
    return not isinstance(value, int | float) or abs(value) <= LARGEST_INTEGER


def _spelled(call: Mapping[str, Any], note: str) -> str:
    """The one spelling that agents of this package send."""
    return ToolCall(call["name"], call["arguments"], note).to_action()
