"""The ``agentsafe`` command: each subcommand parses, calls one library function, and prints.

Commands stand beside what they serve, in modules called ``commands``; here they are put together.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import agentsafe_envs
from agentsafe_envs.cli import episodes, labs, scoring, serving, submissions
from agentsafe_envs.cli.audit import audit
from agentsafe_envs.cli.data import data
from agentsafe_envs.cli.options import AsJson, EnvironmentArgument, PoolOption, SeedOption, SplitOption
from agentsafe_envs.cli.sandbox import sandbox
from agentsafe_envs.cli.terminal import escape_what_it_cannot_show, say, say_table
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, draw_task, find, resolve


class Complaints(TyperGroup):
    """Turns errors about what the caller asked for into a message and exit code 2, and Ctrl-C into 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command line, whichever command of whichever group it names."""
        escape_what_it_cannot_show()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from error
        except Exception as error:
            if not _is_complaint(error):
                raise
            say(f"agentsafe: {_in_words(error)}", err=True)
            raise typer.Exit(2) from error


def _is_complaint(error: Exception) -> bool:
    """Whether ``error`` tells the caller something, and is not a defect of ours.

    A broken pipe is neither: whoever reads the output has seen enough.
    """
    from agentsafe_envs.agents import AgentError
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.core.extras import MissingExtraError
    from agentsafe_envs.integrations.remote_client import RemoteError
    from agentsafe_envs.runs.rows import RowStoreError

    known = (ValueError, OSError, AgentError, MissingExtraError, RemoteError, RowStoreError, SandboxError)
    return isinstance(error, known) and not isinstance(error, BrokenPipeError)


def _in_words(error: Exception) -> str:
    """What to tell the caller: what the system refused with its cure, and the name that may have been meant."""
    from agentsafe_envs.cli.suggestions import suggestion
    from agentsafe_envs.runs.files import system_words

    text = system_words(error) if isinstance(error, OSError) else str(error)
    meant = suggestion(text)
    return f"{text}\nDid you mean {meant}?" if meant else text


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
