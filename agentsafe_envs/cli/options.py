"""Command-line options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.registration import TABLE


def environment_ids() -> list[str]:
    """What a shell may complete an environment to."""
    return [row.id for row in TABLE]


EnvironmentArgument = Annotated[
    str,
    typer.Argument(metavar="ENV", help="Environment, for instance DeleteBiasAPI-v0.", autocompletion=environment_ids),
]
SplitOption = Annotated[Split, typer.Option(help="Which of the four questions.")]
SeedOption = Annotated[int, typer.Option(help="Task seed.", min=0)]
PoolOption = Annotated[Pool, typer.Option(help="Pool of templates; tune on dev, report on public.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
