"""The ``agentsafe`` command: each subcommand parses, calls one library function, and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

import agentsafe_envs
from agentsafe_envs.bash.sandbox.commands import sandbox
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, draw_task, find, parts
from agentsafe_envs.trajectories.commands import data

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Did this agent inherit an unsafe habit? Score it in environments where every task can be done "
    "with or without the habit.\n\nStart with `agentsafe score scripted:biased`, then "
    "`agentsafe score hf:smollm2`.",
)
app.add_typer(data, name="data")
app.add_typer(sandbox, name="sandbox")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("list")
def list_environments(as_json: AsJson = False) -> None:
    """List the environments."""
    rows = [row._asdict() | {"summary": parts(row.id)[1].summary} for row in TABLE]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("environment", "world", "the habit it looks for")
    for row in rows:
        table.add_row(row["id"], row["world"], row["summary"])
    Console().print(table)


@app.command()
def show(
    env: Annotated[str, typer.Argument(help="Environment, for instance DeleteBiasAPI-v0.")],
    split: Annotated[Split, typer.Option(help="Which of the four questions.")] = "ambiguous",
    seed: Annotated[int, typer.Option(help="Task seed.", min=0)] = 0,
    pool: Annotated[Pool, typer.Option(help="Pool of templates.")] = "public",
    as_json: AsJson = False,
) -> None:
    """Show one task as an agent gets it: the instruction and the tools."""
    from agentsafe_envs.agents.prompts import signature

    with _Complaints():
        task = draw_task(env, split, seed, pool)
        tools = parts(env)[0].tools(task)
    if as_json:
        shown = {"template": task.template, "instruction": task.instruction, "tools": tools}
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"{find(env).id}, split {split}, seed {seed}, template {task.template}\n")
    typer.echo(f"{task.instruction}\n")
    for tool in tools:
        typer.echo(f"  {signature(tool)}")
    options = f"--suite standard --env {find(env).id} --split {split} --seed {seed} --pool {pool} --episodes 1"
    typer.echo(f"\nAt most {MAX_EPISODE_STEPS} steps. Play it with any agent: agentsafe score AGENT {options}")


@app.command()
def score(
    agent: Annotated[
        str,
        typer.Argument(
            help="`scripted:cautious`, `scripted:biased`, `scripted:<alternative>`, `scripted:null`, "
            "`scripted:random`, `python:<module>:<factory>`, `hf:smollm2`, `hf:<folder or hub id>`, "
            "`student:<name>`"
        ),
    ],
    env: Annotated[list[str] | None, typer.Option(help="Only this environment; may be repeated.")] = None,
    suite: Annotated[
        str, typer.Option(help="quick (14 episodes an environment), standard (100) or full (140, three times).")
    ] = "quick",
    split: Annotated[Split | None, typer.Option(help="Only this split.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Tasks of each split, instead of the suite's.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first task.", min=0)] = 0,
    pool: Annotated[Pool, typer.Option(help="Pool of templates; tune on dev, report on public.")] = "public",
    out: Annotated[Path | None, typer.Option(help="Run directory; an interrupted run goes on there.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that play at the same time.", min=1)] = 1,
    prompt_style: Annotated[
        Literal["signature", "json"], typer.Option(help="hf: how tools are shown, one line each or full schemas.")
    ] = "signature",
    tool_choice: Annotated[
        Literal["required", "auto"],
        typer.Option(help="hf: only calls of offered tools can be written, or anything, read leniently."),
    ] = "required",
    temperature: Annotated[float, typer.Option(help="hf: sampling temperature, 0 is greedy.", min=0)] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="hf: longest answer in tokens.", min=1)] = 96,
    group_size: Annotated[int, typer.Option(help="hf: episodes decoded together.", min=1)] = 8,
    agent_seed: Annotated[int, typer.Option(help="hf: the agent's own seed.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Score AGENT and write a scorecard.

    Rows are written as episodes end: run the same command again to go on after an interruption.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.scoring.rollout import SCORECARD_FILE, default_directory, score_agent
    from agentsafe_envs.scoring.rows import FAILURES_FILE, read_failures
    from agentsafe_envs.scoring.suites import choose
    from agentsafe_envs.scoring.table import terminal_tables, verdict_line

    console = Console(stderr=True)
    options = AgentOptions(
        prompt_style=prompt_style,
        tool_choice=tool_choice,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        group_size=group_size,
        seed=agent_seed,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console)
    bar = progress.add_task(escape(f"{agent} on {suite}"), total=None)

    def show_progress(done: int, planned: int) -> None:
        progress.start()
        progress.update(bar, completed=done, total=planned)

    with _Complaints():
        chosen = choose(suite, environments=env or (), split=split, episodes=episodes, first_seed=seed, pool=pool)
        directory = out or default_directory(agent, chosen, options)
        try:
            scorecard = score_agent(
                agent, chosen, directory, options=options, workers=workers, on_progress=show_progress
            )
        finally:
            progress.stop()
    if as_json:
        typer.echo(scorecard.to_json(), nl=False)
    else:
        Console().print(*terminal_tables(scorecard), verdict_line(scorecard), sep="\n")
    typer.echo(f"rows and {SCORECARD_FILE} are in {directory}", err=True)
    if not scorecard.overall.valid:
        last = read_failures(directory)[-1]
        typer.echo(
            f"{scorecard.overall.unscored} episodes failed, see {directory}/{FAILURES_FILE}; the last with", err=True
        )
        typer.echo(f"  {last['error']}: {last['message']}", err=True)
        typer.echo("Mend that and run the same command again: only what is missing is played.", err=True)
        raise typer.Exit(1)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can run, and how to mend what it cannot."""
    from agentsafe_envs.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("part", "", "found", "to mend it")
    for finding in findings:
        table.add_row(finding.part, "ok" if finding.ok else "no", escape(finding.found), escape(finding.fix))
    Console().print(table)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Handle the options of the bare command."""
    if version:
        typer.echo(agentsafe_envs.__version__)
        raise typer.Exit


class _Complaints:
    """Turns errors about what the caller asked for into a message and exit code 2, and Ctrl-C into 130."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        from agentsafe_envs.agents import AgentError
        from agentsafe_envs.scoring.rows import RowStoreError

        if isinstance(error, KeyboardInterrupt):
            typer.echo("stopped; the same command goes on from here", err=True)
            raise typer.Exit(130) from error
        if isinstance(error, ValueError | OSError | AgentError | RowStoreError):
            typer.echo(f"agentsafe: {error}", err=True)
            raise typer.Exit(2) from error
