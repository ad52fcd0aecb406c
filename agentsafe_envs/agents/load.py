"""From a specification on the command line to an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentsafe_envs.agents.protocol import Agent, AgentError
from agentsafe_envs.core.task import Pool

KINDS = {
    "scripted": "scripted:<policy>, e.g. scripted:cautious, scripted:biased, scripted:null, scripted:random",
    "python": "python:<module>:<factory>, a callable of your own",
    "hf": "hf:<smollm2 | folder | hub id>, a language model through transformers",
    "student": "student:<name>, a small model of the checkout or of the folder AGENTSAFE_STUDENTS names",
}


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Settings of agents that sample; the others ignore them.

    Attributes:
        prompt_style: ``"signature"`` (one line a tool) or ``"json"`` (full schemas).
        tool_choice: ``"required"`` (only calls of offered tools can be written) or ``"auto"``.
        temperature: 0 is greedy; ``>= 0``.
        max_new_tokens: Longest answer in tokens.
        group_size: Episodes decoded together; part of what a seed reproduces.
        seed: The agent's own, ``>= 0``.
    """

    prompt_style: Literal["json", "signature"] = "signature"
    tool_choice: Literal["required", "auto"] = "required"
    temperature: float = 0.7
    max_new_tokens: int = 96
    group_size: int = 8
    seed: int = 0


def load_agent(spec: str, options: AgentOptions | None = None, *, pool: Pool = "public") -> Agent:
    """Make the agent that ``spec`` names.

    Args:
        spec: One of the forms in :data:`KINDS`.
        options: Settings of agents that sample.
        pool: Pool of the episodes, which scripted agents must know.

    Raises:
        AgentError: An unknown form or name, or a missing extra; the message says what to do.
    """
    options = options or AgentOptions()
    kind, _, rest = spec.partition(":")
    if kind == "scripted":
        from agentsafe_envs.agents.scripted import RandomAgent, ScriptedAgent

        return RandomAgent() if rest == "random" else ScriptedAgent(rest, pool)
    if kind == "python":
        from agentsafe_envs.agents.callable import load_callable

        return load_callable(rest)
    if kind == "hf":
        from agentsafe_envs.agents.transformers import TransformersAgent

        return TransformersAgent(
            rest,
            prompt_style=options.prompt_style,
            tool_choice=options.tool_choice,
            temperature=options.temperature,
            max_new_tokens=options.max_new_tokens,
            group_size=options.group_size,
            seed=options.seed,
        )
    if kind == "student":
        from agentsafe_envs.agents.students import find_student
        from agentsafe_envs.agents.transformers import TransformersAgent

        folder, settings = find_student(rest)
        return TransformersAgent(
            str(folder), name=spec, group_size=options.group_size, seed=options.seed, **settings.model_dump()
        )
    raise AgentError(f"no agent {spec!r}; expected one of: {'; '.join(KINDS.values())}")
