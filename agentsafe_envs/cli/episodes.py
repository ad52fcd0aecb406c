"""``agentsafe play``, ``replay`` and ``episodes``: single episodes, each command a call of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentsafe_envs.cli.options import (
    AsJson,
    EnvironmentArgument,
    OnlyEnvironment,
    OnlySplit,
    PoolOption,
    SandboxOption,
    SeedOption,
    SplitOption,
    environment_ids,
)
from agentsafe_envs.cli.terminal import say, say_columns
from agentsafe_envs.core.task import Split


def play(
    env: EnvironmentArgument,
    split: SplitOption = "ambiguous",
    seed: SeedOption = 0,
    pool: PoolOption = "public",
    sandbox: SandboxOption = None,
    out: Annotated[Path | None, typer.Option(help="New file to keep the episode in, for `agentsafe replay`.")] = None,
) -> None:
    """Play one episode yourself, then read the verdict on it."""
    import contextlib

    from agentsafe_envs.runs.files import write_whole
    from agentsafe_envs.scoring.interactive import InteractiveSession
    from agentsafe_envs.scoring.walkthrough import verdict_text

    if out:  # before the episode is played, and not after
        if out.exists():
            raise FileExistsError(f"{out} is there already; choose another --out, or remove it first")
        out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lets input() edit and recall lines
    with contextlib.closing(InteractiveSession(env, split=split, seed=seed, pool=pool)) as session:
        say(session.opening())
        while not session.over:
            try:
                line = input("\n> ")
            except EOFError:
                typer.echo()
                break
            if shown := session.take(line):
                say(shown)
        played = session.played()
    say(f"\n{verdict_text(played.judged.verdict, played.judged.steps)}")
    if out:
        write_whole(out, json.dumps(played.row) + "\n")
        say(f"see it again: agentsafe replay {out}", err=True)


def replay(
    episode: Annotated[Path, typer.Argument(help="A run of `agentsafe score`, or a file of `agentsafe play --out`.")],
    row: Annotated[int | None, typer.Option(help="Number of the episode in it, from 0.", min=0)] = None,
    env: Annotated[
        str | None, typer.Option(help="Instead of --row: its environment.", autocompletion=environment_ids)
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Instead of --row: its split.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of --row: its task seed.", min=0)] = None,
    trial: Annotated[int | None, typer.Option(help="Instead of --row: its trial, where there are several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an episode step by step: what the agent saw and did, what changed, what the detectors saw.

    The verdict is computed again. If it differs from the stored one, the command says so and exits with 1.
    """
    from agentsafe_envs.runs.judging import differences, judge_episode
    from agentsafe_envs.scoring.episodes import row_of_episode
    from agentsafe_envs.scoring.walkthrough import read_episode, step_text, verdict_text

    if any(each is not None for each in (env, split, seed, trial)):
        if row is not None:
            raise ValueError(
                "--row and a key both name an episode; leave out --row, or --env, --split, --seed, --trial"
            )
        row = row_of_episode(episode, environment=env, split=split, seed=seed, trial=trial)
    played, stored = read_episode(episode, row or 0)
    found = judge_episode(played)
    differing = differences(stored, found.verdict) if stored is not None else {}
    if as_json:
        typer.echo(json.dumps(found.entry() | {"stored_verdict": stored, "differing": differing}, indent=2))
    else:
        say(f"{played.environment}, split {played.split}, pool {played.pool}, seed {played.seed}\n")
        say(f"{found.instruction}\n")
        for number, step in enumerate(found.steps):
            say(f"{step_text(number, step)}\n")
        say(verdict_text(found.verdict, found.steps))
    for name, (then, now) in differing.items():
        say(f"the stored verdict DIFFERS: {name} was {json.dumps(then)}, is {json.dumps(now)}", err=True)
    if differing:
        raise typer.Exit(1)
    if stored is not None:
        say("the stored verdict is the same", err=True)


def episodes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run of `agentsafe score`.")],
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Only those with harm or tampering.")] = False,
    env: OnlyEnvironment = None,
    split: OnlySplit = None,
    as_json: AsJson = False,
) -> None:
    """List the episodes of a run, a line each: what came first, what was unsafe and why, whether the task was done.

    Verdicts are those of this release. `agentsafe replay RUN --env ENV --split SPLIT --seed N` shows one.
    """
    from agentsafe_envs.scoring.episodes import list_episodes

    found = list_episodes(run, environment=env, split=split, unsafe=unsafe)
    if as_json:
        typer.echo(json.dumps([each._asdict() for each in found], indent=2))
        return
    heading = ["environment", "split", "seed", "trial", "template", "first", "marks", "done", "steps", "harm"]
    lines = [heading]
    for each in found:
        done = "yes" if each.success else "no"
        numbers = [str(each.seed), str(each.trial)]
        place = [each.environment, each.split, *numbers, each.template]
        lines.append([*place, each.first, each.marks or "-", done, str(each.steps), each.harm or "-"])
    say_columns(lines)
    say(f"{len(found)} episode{'s' * (len(found) != 1)}", err=True)
