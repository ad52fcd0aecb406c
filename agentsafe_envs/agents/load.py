"""From a specification on the command line to an agent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

from agentsafe_envs.agents.protocol import Agent, AgentError
from agentsafe_envs.core.task import Pool

KINDS = {
    "scripted": "scripted:<policy>, e.g. scripted:cautious, scripted:biased, scripted:null, scripted:random",
    "python": "python:<module>:<factory>, a callable of your own",
    "process": "process:<command>, a program of your own in any language",
    "openai": "openai:<model>, behind an OpenAI-compatible API",
    "hf": "hf:<smollm2 | folder | hub id>, a language model or LoRA adapter through transformers",
    "student": "student:<name>, a small model of the checkout or of the folder AGENTSAFE_STUDENTS names",
}

_SAMPLING = ("prompt_style", "tool_choice", "temperature", "max_new_tokens", "group_size", "seed")

TAKES = {
    "python": ("timeout_s",),
    "process": ("timeout_s",),
    "openai": (*_SAMPLING, "base_url", "timeout_s", "max_tokens_field"),
    "hf": (*_SAMPLING, "device", "dtype", "chat_template"),
    "student": ("group_size", "seed"),
}
"""Options that each kind of agent takes; the others take none."""


class AgentSettings(TypedDict, total=False):
    """The fields of :class:`AgentOptions`, but for the seed, as keyword arguments of a function."""

    prompt_style: Literal["json", "signature"] | None
    tool_choice: Literal["required", "auto"] | None
    temperature: float | None
    max_new_tokens: int | None
    group_size: int | None
    base_url: str | None
    timeout_s: float | None
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None
    device: str | None
    dtype: str | None
    chat_template: str | None


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Settings of an agent; None stands for the agent's own default. What an agent does not take, it refuses.

    Attributes:
        prompt_style: ``"signature"`` (one line a tool) or ``"json"`` (full schemas).
        tool_choice: ``"required"`` (only calls of offered tools) or ``"auto"``.
        temperature: 0 is greedy; ``>= 0``.
        max_new_tokens: Longest answer in tokens.
        group_size: Episodes played together; part of what a seed reproduces.
        seed: The agent's own, ``>= 0``.
        base_url: Where an OpenAI-compatible API is.
        timeout_s: Longest wait for one action.
        max_tokens_field: Name under which an API takes ``max_new_tokens``.
        device: Where a model of this process runs, for instance ``"cuda:0"``.
        dtype: Name of the torch dtype of its weights.
        chat_template: File with a chat template in place of its own.
    """

    prompt_style: Literal["json", "signature"] | None = None
    tool_choice: Literal["required", "auto"] | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    group_size: int | None = None
    seed: int | None = None
    base_url: str | None = None
    timeout_s: float | None = None
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None
    device: str | None = None
    dtype: str | None = None
    chat_template: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are not left to the agent."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def load_agent(spec: str, options: AgentOptions | None = None, *, pool: Pool = "public") -> Agent:
    """Make the agent that ``spec`` names.

    Args:
        spec: One of the forms in :data:`KINDS`.
        options: Settings that are not the agent's own defaults.
        pool: Pool of the episodes, which scripted agents must know.

    Raises:
        AgentError: An unknown form or name, an option it does not take, or a missing extra; the
            message says what to do.
    """
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise AgentError(f"no agent {spec!r}; expected one of: {'; '.join(KINDS.values())}")
    given = (options or AgentOptions()).given()
    refused = sorted(given.keys() - set(TAKES.get(kind, ())))
    if refused:
        raise AgentError(f"{spec} takes no {', '.join(refused)}; it takes {', '.join(TAKES.get(kind, ())) or 'none'}")
    if kind == "scripted":
        from agentsafe_envs.agents.scripted import RandomAgent, ScriptedAgent

        return RandomAgent() if rest == "random" else ScriptedAgent(rest, pool)
    if kind == "python":
        from agentsafe_envs.agents.callable import load_callable

        return load_callable(rest, **given)
    if kind == "process":
        from agentsafe_envs.agents.process import ProcessAgent

        return ProcessAgent(rest, **given)
    if kind == "openai":
        from agentsafe_envs.agents.openai import OpenAIAgent

        return OpenAIAgent(rest, **given)
    if kind == "student":
        return _student(spec, rest, given)
    from agentsafe_envs.agents.loading import training_settings
    from agentsafe_envs.agents.transformers import TransformersAgent

    if trained := training_settings(rest):  # a student asked through torch is still asked as it was trained
        given = trained.model_dump() | given
    return TransformersAgent(rest, **given)


def _student(spec: str, name: str, given: dict[str, Any]) -> Agent:
    from agentsafe_envs.agents.numpy_agent import NumpyAgent, is_playable
    from agentsafe_envs.agents.students import find_student

    folder, settings = find_student(name)
    if is_playable(folder, settings):
        asked = {"group_size": settings.group_size} | given
        return NumpyAgent(
            folder, spec, settings.model_copy(update={"group_size": asked["group_size"]}), seed=given.get("seed", 0)
        )
    from agentsafe_envs.agents.transformers import TransformersAgent

    return TransformersAgent(str(folder), name=spec, **settings.model_dump() | given)
