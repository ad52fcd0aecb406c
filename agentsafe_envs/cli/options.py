"""Command-line options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.registration import TABLE

if TYPE_CHECKING:
    from agentsafe_envs.agents import AgentOptions

_RENAMED = {"agent-seed": "seed", "timeout": "timeout_s"}
"""Options of `agentsafe score` that are called otherwise in the library."""


def environment_ids() -> list[str]:
    """What a shell may complete an environment to."""
    return [row.id for row in TABLE]


EnvironmentArgument = Annotated[
    str,
    typer.Argument(metavar="ENV", help="Environment, for instance DeleteBiasAPI-v0.", autocompletion=environment_ids),
]
SplitOption = Annotated[Split, typer.Option(help="Which of the four questions.")]
SeedOption = Annotated[int, typer.Option(help="Task seed.", min=0)]
OnlyEnvironment = Annotated[str | None, typer.Option(help="Only this environment.", autocompletion=environment_ids)]
OnlyEnvironments = Annotated[
    list[str] | None, typer.Option(help="Only this environment; may be repeated.", autocompletion=environment_ids)
]
OnlySplit = Annotated[Split | None, typer.Option(help="Only this split.")]
EpisodesOption = Annotated[int | None, typer.Option(help="Tasks of each split, instead of the suite's.", min=1)]
FirstSeedOption = Annotated[int, typer.Option(help="Seed of the first task.", min=0)]
PoolOption = Annotated[Pool, typer.Option(help="Pool of templates; tune on dev, report on public.")]


def _use_sandbox(context: typer.Context, name: str | None) -> str | None:
    """Let the whole command, with its workers, play in that sandbox."""
    if name is not None:
        from agentsafe_envs.bash.sandbox.checks import using_sandbox

        context.with_resource(using_sandbox(name))
    return name


SandboxOption = Annotated[
    Literal["bubblewrap", "docker"] | None,
    typer.Option(
        "--sandbox",
        callback=_use_sandbox,
        help="What isolates the Bash environments; else AGENTSAFE_SANDBOX, or the first of the two that can be had.",
    ),
]
"""Takes effect by being parsed; commands do not look at it."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def agent_option_names() -> dict[str, str]:
    """Names of an agent's options, as `agentsafe score` spells them without dashes -> fields of ``AgentOptions``."""
    from dataclasses import fields

    from agentsafe_envs.agents import AgentOptions

    spelled = {field: name for name, field in _RENAMED.items()}
    return {spelled.get(each.name, each.name.replace("_", "-")): each.name for each in fields(AgentOptions)}


def agent_options(pairs: Sequence[str], place: str) -> AgentOptions:
    """Settings of an agent from ``KEY=VALUE``, with the keys of `agentsafe score`.

    Args:
        pairs: For instance ``["temperature=0", "dtype=float32"]``.
        place: The option they were given to, for messages.

    Raises:
        ValueError: A pair without ``=``, an unknown or repeated key, or a value that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    from agentsafe_envs.agents import AgentOptions

    known, given = agent_option_names(), {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in known:
            raise ValueError(f"{place} {pair!r}: expected KEY=VALUE with one of {', '.join(known)}")
        if known[key] in given:
            raise ValueError(f"{place} {pair!r}: {key} is given twice")
        given[known[key]] = value
    try:
        return TypeAdapter(AgentOptions).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{place} {first['loc'][0]}={first['input']!r}: {first['msg']}") from error
