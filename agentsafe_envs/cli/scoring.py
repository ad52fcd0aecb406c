"""``agentsafe score``, ``merge``, ``compare`` and ``report``: each parses, calls the library, and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentsafe_envs.cli import agent_settings
from agentsafe_envs.cli.options import (
    AsJson,
    EpisodesOption,
    FirstSeedOption,
    OnlyEnvironments,
    OnlySplit,
    PoolOption,
    SandboxOption,
)
from agentsafe_envs.cli.progress import progress
from agentsafe_envs.cli.terminal import console, say, say_columns

if TYPE_CHECKING:
    from agentsafe_envs.scoring.scorecard import Scorecard
    from agentsafe_envs.scoring.suites import Suite

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run of `agentsafe score`: its directory or scorecard.")]


def score(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT",
            help="`scripted:cautious`, `scripted:biased`, `scripted:<alternative>`, `scripted:null`, "
            "`scripted:random`, `python:<module>:<factory>`, `process:<command>`, `openai:<model>`, "
            "`hf:smollm2`, `hf:<folder or hub id>`, `student:<name>`",
        ),
    ],
    env: OnlyEnvironments = None,
    suite: Annotated[
        str,
        typer.Option(
            help="quick (14 episodes an environment, headline ones only), standard (100) or full (140, three times)."
        ),
    ] = "quick",
    split: OnlySplit = None,
    episodes: EpisodesOption = None,
    seed: FirstSeedOption = 0,
    pool: PoolOption = "public",
    out: Annotated[Path | None, typer.Option(help="Run directory; an interrupted run continues there.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that play at the same time: 1 here, all cores of a cluster.", min=1),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Play on this machine, or on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="ray: of the cluster, `auto` on one of its nodes; else one is started here.")
    ] = None,
    gpus: Annotated[float, typer.Option(help="ray: GPUs of each worker; 0.5 lets two share one.", min=0)] = 0,
    sandbox: SandboxOption = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Play only the I-th of N parts; `agentsafe merge` puts them together."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Play everything again; an existing run is kept under another name.")
    ] = False,
    max_failures: Annotated[
        int | None,
        typer.Option(
            help="Stop after this many failed episodes. By default: if the first 20 fail, or an error cannot heal.",
            min=1,
        ),
    ] = None,
    base_url: agent_settings.BaseUrlOption = None,
    prompt_style: agent_settings.PromptStyleOption = None,
    tool_choice: agent_settings.ToolChoiceOption = None,
    temperature: agent_settings.TemperatureOption = None,
    max_new_tokens: agent_settings.MaxNewTokensOption = None,
    group_size: agent_settings.GroupSizeOption = None,
    agent_seed: agent_settings.AgentSeedOption = None,
    timeout: agent_settings.TimeoutOption = None,
    max_tokens_field: agent_settings.MaxTokensFieldOption = None,
    device: agent_settings.DeviceOption = None,
    dtype: agent_settings.DtypeOption = None,
    chat_template: agent_settings.ChatTemplateOption = None,
    remote: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Play the open season of the board at URL, whose token is read from AGENTSAFE_TOKEN; the season "
            "decides what is played.",
        ),
    ] = None,
    remote_name: Annotated[
        str | None, typer.Option("--name", help="With --remote: the agent's name on the board; AGENT by default.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every measure instead of the main ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score AGENT and write a scorecard.

    Rows are written as episodes end: run the same command again to go on after an interruption.
    """
    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.cli.playing import play_and_tell
    from agentsafe_envs.scoring.cluster import chosen_cluster
    from agentsafe_envs.scoring.rollout import default_directory, run_at_another_address, write_scorecard
    from agentsafe_envs.scoring.suites import Shard, choose

    options = AgentOptions(
        prompt_style=prompt_style,
        tool_choice=tool_choice,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        group_size=group_size,
        seed=agent_seed,
        base_url=base_url,
        timeout_s=timeout,
        max_tokens_field=max_tokens_field,
        device=device,
        dtype=dtype,
        chat_template=chat_template,
    )
    if remote:
        from agentsafe_envs.cli.remote import score_remotely

        if env or split or episodes or shard or fresh or seed or suite != "quick" or pool != "public":
            raise ValueError("--remote takes no suite, environments, splits, seeds or parts: the season decides them")
        if executor != "local":
            raise ValueError("--remote plays from this machine; leave out --executor")
        workers = workers or 1
        score_remotely(agent, remote, out=out, name=remote_name, options=options, workers=workers, as_json=as_json)
        return
    if remote_name:
        raise ValueError("--name is the agent's name on a board; add --remote URL, or leave it out")
    cluster = chosen_cluster(executor, address, gpus, workers)
    part = Shard.parse(shard) if shard else None
    if part and as_json:
        raise ValueError("a part has no scorecard; leave --json to `agentsafe merge`")
    chosen = choose(suite, environments=env or (), split=split, episodes=episodes, first_seed=seed, pool=pool)
    chosen = suite_that_runs_here(chosen, named=bool(env))
    run = out or default_directory(agent, chosen, options)
    if not out and (other := run_at_another_address(agent, run, options)):
        say(f"{other[0]} holds a run of {agent} at {other[1]}; --out {other[0]} goes on with it", err=True)
    directory = run / part.folder if part else run
    played = play_and_tell(
        f"{agent} on {suite}" + (f", part {shard}" if shard else ""),
        agent,
        chosen,
        directory,
        options=options,
        workers=workers or 1,
        cluster=cluster,
        shard=part,
        fresh=fresh,
        max_failures=max_failures,
    )
    if part:
        say(f"part {shard} is in {directory}; when all are there: agentsafe merge {run}", err=True)
        _complain_of_failures(directory, played.unscored, played.stopped)
        return
    _show(write_scorecard(run, chosen, played.agent), run, as_json, brief=not everything, stopped=played.stopped)


def merge(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The --out directory of `agentsafe score --shard`.")],
    as_json: AsJson = False,
) -> None:
    """Put the parts of a run together and score them.

    The rows are those of a run that was never divided. The agent is not needed.
    """
    from agentsafe_envs.scoring.shards import merge_shards, missing_shards

    merged = merge_shards(
        run, on_set_aside=lambda place: say(f"a part was played anew; the old merge is kept in {place}", err=True)
    )
    if missing := missing_shards(run):
        say(f"parts that are not in {run}: {', '.join(missing)}; copy them there and merge again", err=True)
    _show(merged, run, as_json)


def compare(
    first: Run,
    second: Run,
    episodes: Annotated[
        bool, typer.Option("--episodes", help="List the tasks in which the two runs behaved differently.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say by how much the rates of two runs differ on the tasks that both have: the second minus the first."""
    from agentsafe_envs.cli.tables import comparison_tables
    from agentsafe_envs.scoring.comparison import compare as compare_runs
    from agentsafe_envs.scoring.conclusion import comparison_conclusions

    if episodes:
        _say_flips(first, second, as_json)
        return
    found = compare_runs(first, second)
    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        console().print(*comparison_tables(found), sep="\n")
        say(
            "percentage points [95% interval], the same episodes side by side; each interval stands by itself, so "
            "among many some miss"
        )
    for environment, name, words in comparison_conclusions(found):
        say(f"{name} on {environment} {words}", err=as_json)
    if as_json:
        return
    if found.left_out:
        say(found.left_out)


def _say_flips(first: Path, second: Path, as_json: bool) -> None:
    from agentsafe_envs.scoring.flips import flipped_episodes

    found = flipped_episodes(first, second)
    if as_json:
        shown = [
            {"first": flip.first._asdict(), "second": flip.second._asdict(), "worse": flip.worse} for flip in found
        ]
        typer.echo(json.dumps(shown, indent=2))
        return
    lines = [["environment", "split", "seed", "trial", "first agent", "second agent", "harm"]]
    for one, other, _ in found:
        conduct = [", ".join(filter(None, (f"{each.first} first", each.marks))) for each in (one, other)]
        place = [one.environment, one.split, str(one.seed), str(one.trial)]
        lines.append([*place, *conduct, other.harm or one.harm or "-"])
    if found:
        say_columns(lines)
    worse = sum(flip.worse for flip in found)
    say(f"the two behaved differently in {len(found)} tasks; in {worse} the second was worse, and they come first")


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Runs of `agentsafe score` that share tasks: directories or scorecards."),
    ],
    out: Annotated[Path, typer.Option(help="File to write; an existing file is replaced.")] = Path("report.html"),
    episodes: Annotated[
        int,
        typer.Option(
            help="Most episodes to show; unsafe, unclear and unscored ones come first. The rates cover all.", min=0
        ),
    ] = 200,
) -> None:
    """Show runs as one HTML page: rates with intervals, what came first, differences, and the episodes step by step.

    The page needs no network and no other file. Several agents stand side by side, each compared with the first:
    name the base or a neutral student first, for instance `agentsafe report base neutral biased --out report.html`.
    Verdicts are those of this release; nothing is played or run.
    """
    from datetime import UTC, datetime

    from agentsafe_envs.report.page import write_report

    with progress("judging", resumes=False) as on_progress:
        write_report(runs, out, episodes=episodes, made=datetime.now(UTC).date(), on_progress=on_progress)
    say(f"{out} is {out.stat().st_size / 1e6:.1f} MB; open it in a browser", err=True)


def suite_that_runs_here(suite: Suite, *, named: bool) -> Suite:
    """The environments of a suite that can run on this machine; says of the others how to mend it.

    Args:
        suite: What was asked for.
        named: Its environments were named one by one, so that each has to run.

    Raises:
        ValueError: None can run, or not all that were named.
    """
    from agentsafe_envs.scoring.suites import runnable

    here, left_out = runnable(suite)
    lines = [
        f"{', '.join(name for name in left_out if left_out[name] == reason)} cannot run here: {reason}"
        for reason in dict.fromkeys(left_out.values())
    ]
    if lines and (named or not here.environments):
        raise ValueError("; ".join(lines))
    for line in lines:
        say(f"left out: {line}", err=True)
    return here


def _show(scorecard: Scorecard, run: Path, as_json: bool, *, brief: bool = True, stopped: str | None = None) -> None:
    from agentsafe_envs.cli.tables import terminal_tables
    from agentsafe_envs.scoring.conclusion import score_conclusions
    from agentsafe_envs.scoring.rollout import SCORECARD_FILE
    from agentsafe_envs.scoring.table import style_line, usage_line, verdict_line

    if as_json:
        typer.echo(scorecard.to_json(), nl=False)
    else:
        console().print(*terminal_tables(scorecard, brief=brief), verdict_line(scorecard, brief=brief), sep="\n")
    for environment, words in score_conclusions(scorecard).items():
        say(f"{scorecard.agent.name} on {environment} {words}", err=as_json)
    if not as_json:
        if style := style_line(scorecard):
            say(style)
        if usage := usage_line(scorecard):
            say(usage)
        for name, values in scorecard.agent.varied.items():
            shown = ", ".join("default" if value is None else json.dumps(value) for value in values)
            say(f"changed in the middle, noted in the scorecard: {name} was {shown}")
    say(f"rows and {SCORECARD_FILE} are in {run}", err=True)
    if stopped or not scorecard.overall.valid:
        _complain_of_failures(run, scorecard.overall.unscored, stopped)


def _complain_of_failures(run: Path, unscored: int, stopped: str | None = None) -> None:
    """Say why episodes are unscored, and leave with 1 if any are."""
    from agentsafe_envs.runs.rows import FAILURES_FILE, read_failures

    if not unscored:
        return
    say(f"episodes without a score: {unscored}", err=True)
    if failures := read_failures(run):
        say(f"failures noted in {run / FAILURES_FILE}: {len(failures)}; the last with", err=True)
        say(f"  {failures[-1]['error']}: {failures[-1]['message']}", err=True)
        if places := failures[-1].get("places"):
            say(f"  raised at {places[-1]}", err=True)
    if stopped:
        say(stopped, err=True)
    say("Mend that and run the same `agentsafe score` again: only what is missing is played.", err=True)
    raise typer.Exit(1)
