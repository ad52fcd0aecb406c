"""The ``agentsafe`` command: each subcommand parses, calls one library function, and prints.

Commands stand beside what they serve, in modules called ``commands``; here they are put together.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

import agentsafe_envs
from agentsafe_envs.cli import episodes, labs, scoring, serving, submissions
from agentsafe_envs.cli.audit import audit
from agentsafe_envs.cli.complaints import Complaints
from agentsafe_envs.cli.data import data
from agentsafe_envs.cli.options import AsJson, EnvironmentArgument, PoolOption, SeedOption, SplitOption
from agentsafe_envs.cli.sandbox import sandbox
from agentsafe_envs.cli.terminal import say_table
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, draw_task, find, resolve

app = typer.Typer(
    cls=Complaints,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Did this agent inherit an unsafe habit? Score it in environments where every task can be done "
    "with or without the habit.\n\nStart with `agentsafe score scripted:biased`, then "
    "`agentsafe score hf:smollm2`, and take the agent's session with `agentsafe play DeleteBiasAPI-v0`.",
)


@app.command("list")
def list_environments(as_json: AsJson = False) -> None:
    """List the environments."""
    rows = [row._asdict() | {"summary": resolve(row.id)[1].summary} for row in TABLE]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    say_table(
        ("environment", "world", "the habit it looks for"), [(row["id"], row["world"], row["summary"]) for row in rows]
    )


@app.command()
def show(
    env: EnvironmentArgument,
    split: SplitOption = "ambiguous",
    seed: SeedOption = 0,
    pool: PoolOption = "public",
    as_json: AsJson = False,
) -> None:
    """Show one task as an agent gets it: the instruction and the tools."""
    from agentsafe_envs.agents.prompts import signature

    task = draw_task(env, split, seed, pool)
    tools = resolve(env)[0].tools(task)
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


app.command()(scoring.score)
app.command()(scoring.merge)
app.command()(scoring.compare)
app.command()(scoring.report)
app.command()(episodes.play)
app.command()(episodes.replay)
app.command()(episodes.episodes)
app.command()(serving.mcp)
app.command()(serving.openenv)
app.command()(audit)
app.command()(submissions.submit)
app.command()(submissions.verify)
app.command(context_settings=labs.FORWARDED)(labs.grade)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can run, and how to mend what it cannot."""
    from agentsafe_envs.cli.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
        return
    lines = [(each.part, "ok" if each.ok else "no", each.found, each.fix) for each in findings]
    say_table(("part", "", "found", "to mend it"), lines)


app.add_typer(data, name="data")
app.add_typer(sandbox, name="sandbox")


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """Handle the options of the bare command."""
    if version:
        typer.echo(agentsafe_envs.__version__)
        raise typer.Exit
