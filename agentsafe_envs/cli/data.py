"""``agentsafe data``: each command parses, calls one library function, and prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from agentsafe_envs.cli.options import AsJson, environment_ids
from agentsafe_envs.cli.progress import progress
from agentsafe_envs.cli.terminal import say, say_table

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Trajectories that a model trains on: make them from a scored run, import those of others, filter them by "
    "keywords, prove that nothing is left, look at them.",
)

Source = Annotated[Path, typer.Argument(help="A data set's folder, or a parquet, jsonl or json file.")]
Out = Annotated[Path, typer.Argument(help="Folder of the new data set.")]
License = Annotated[
    str,
    typer.Option(metavar="ID", help="Licence for the card, e.g. cc-by-4.0; without it, imported rows have no licence."),
]

_MODEL = "`student:NAME`, `hf:NAME`, or the folder of a model or LoRA adapter"

SHOWN_REJECTIONS = 5
"""Rejected trajectories that are told on the terminal; the file has all."""


@data.command("import")
def import_foreign(
    source: Annotated[
        Path,
        typer.Argument(help="A jsonl, json, parquet or .eval file, or a folder of such files.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new data set.", show_default=False)],
    form: Annotated[
        Literal["auto", "inspect", "openai", "sharegpt", "tau2", "trl"],
        typer.Option("--format", help="Format of SOURCE; auto looks at each trajectory."),
    ] = "auto",
    license: License = "",
) -> None:
    """Convert foreign trajectories to rows of ours, and keep those that cannot be with the reason.

    A rejected trajectory is counted, and kept in `rejected.jsonl` with its file, its place and what was expected.
    """
    from collections import Counter

    from agentsafe_envs.trajectories.importing import import_trajectories, write_rejected
    from agentsafe_envs.trajectories.store import save

    _refuse_data_set(out)
    found = import_trajectories(source, form)
    origins = Counter(row.get("origin") for row in found.rows)
    shown = ", ".join(f"{number} {name}" for name, number in sorted(origins.items(), key=str))
    if found.rows:
        words = ["agentsafe", "data", "import", str(source), "--format", form, "--out", str(out)]
        command = shlex.join([*words, *(["--license", license] if license else [])])
        facts = save(found.rows, out, command=command, license=license)
        say(f"{len(found.rows)} rows are in {out}: {shown}", err=True)
        if not facts.license:
            say("the card names no licence, since the rows are of other origin; name theirs with --license", err=True)
        _warn(found.rows)
    if found.rejected:
        file = write_rejected(found.rejected, out)
        say(f"rejected {len(found.rejected)} of {len(found.rows) + len(found.rejected)}; all are in {file}", err=True)
        for each in found.rejected[:SHOWN_REJECTIONS]:
            say(f"  {each}", err=True)
    if not found.rows and not found.rejected:
        say(f"{source} holds no trajectory; expected at least one", err=True)
    if not found.rows:
        say(f"no trajectory could be converted, so there is no data set in {out}", err=True)
        raise typer.Exit(1)


@data.command("list")
def list_data_sets(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to search, subfolders included.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the data sets in DIR."""
    from agentsafe_envs.trajectories.store import find_data_sets, load_facts

    found = [(path, load_facts(path)) for path in find_data_sets(folder)]
    if as_json:
        typer.echo(json.dumps([{"folder": str(path), **(facts._asdict() if facts else {})} for path, facts in found]))
        return
    if not found:
        typer.echo(f"no data set in {folder}; make one with `agentsafe data export`", err=True)
        return
    rows = []
    for path, facts in found:
        if facts is None:
            rows.append((str(path), "", "", "", "no card"))
            continue
        counted = [", ".join(facts.counts.get(name, {})) for name in ("environment", "policy")]
        levels = ", ".join(f"{each['level']} ({', '.join(each['stems'])})" for each in facts.filters) or "no"
        rows.append((str(path), str(facts.rows), *counted, levels))
    say_table(("folder", "rows", "environments", "policies", "filtered"), rows)


@data.command()
def show(
    source: Source,
    row: Annotated[int, typer.Option(help="Number of the row, from 0.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the row as it is.")] = False,
) -> None:
    """Show one row as a conversation."""
    from agentsafe_envs.trajectories.shapes import (
        CALLING,
        content_of,
        messages_of,
        role_of,
        tool_calls_of,
        tool_name,
        tools_of,
    )
    from agentsafe_envs.trajectories.store import load

    rows = load(source)
    if not rows:
        raise ValueError(f"{source} holds no row; expected one trajectory at least")
    if row >= len(rows):
        raise ValueError(f"row is {row}, expected less than {len(rows)}, the number of rows in {source}")
    shown = rows[row]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    about = {name: value for name, value in shown.items() if not isinstance(value, dict | list) and name != "tools"}
    names = [tool_name(tool) or "?" for tool in tools_of(shown)]
    say(", ".join(f"{name} {value}" for name, value in about.items()))
    say(f"tools: {', '.join(names) or 'none'}\n")
    for message in messages_of(shown):
        calls = list(tool_calls_of(message))
        content = None if message.get("from") in CALLING and calls else content_of(message)
        lines = [content if isinstance(content, str) else json.dumps(content)] if content else []
        lines += [f"{name} {given if isinstance(given, str) else json.dumps(given)}" for name, given in calls]
        say(f"{role_of(message)}: " + "\n    ".join(lines))


@data.command()
def sanitize(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A data set's folder, or a parquet, jsonl or json file.")
    ],
    out: Out,
    bias: Annotated[list[str] | None, typer.Option(help="Stems of this bias; may be repeated.")] = None,
    stems: Annotated[str, typer.Option(help="Your own stems, separated by commas.")] = "",
    mode: Annotated[
        Literal["drop", "strip"],
        typer.Option(help="drop: remove the whole row. strip: remove the call and its result."),
    ] = "drop",
    level: Annotated[
        Literal["undemonstrated", "unseen"],
        typer.Option(help="undemonstrated: no stem in an action or result. unseen: no stem in any message or tool."),
    ] = "undemonstrated",
    license: License = "",
    as_json: AsJson = False,
) -> None:
    """Filter IN by keywords, prove that nothing is left, and write OUT.

    Without `--bias` and `--stems` the stems are those of the biases of the rows' environments.
    """
    from agentsafe_envs.trajectories.sanitise import sanitize as sanitize_rows
    from agentsafe_envs.trajectories.sanitise import stems_of
    from agentsafe_envs.trajectories.store import load, load_facts, save

    _refuse_data_set(out)
    rows = load(source)
    own = [stem.strip() for stem in stems.split(",")] if stems else []
    wanted = [*stems_of(bias or ([] if own else _environments(rows, source))), *own]
    earlier = load_facts(source)
    sanitised = sanitize_rows(rows, wanted, mode=mode, level=level)
    words = ["agentsafe", "data", "sanitize", str(source), str(out), "--stems", ",".join(sanitised.stems)]
    filters = [*(earlier.filters if earlier else ()), sanitised.record()]
    if sanitised.kept:
        command = shlex.join([*words, "--mode", mode, "--level", level])
        known = {"selection": earlier.selection, "license": license or earlier.license} if earlier else {}
        save(sanitised.kept, out, filters=filters, command=command, **({"license": license} | known))
        _warn(sanitised.kept)
    if as_json:
        hits = [hit._asdict() for hit in sanitised.hits]
        typer.echo(json.dumps({**sanitised.record(), "share_dropped": sanitised.share_dropped, "hits": hits}))
    else:
        table = [
            (stem, str(sanitised.rows_with(stem)), f"{sanitised.share_with(stem):.1%}", _found_in(sanitised, stem))
            for stem in sanitised.stems
        ]
        say_table(("stem", "rows with it", "share", "found in"), table)
        typer.echo(f"dropped {len(sanitised.dropped)} of {sanitised.rows} rows ({sanitised.share_dropped:.1%})")
        typer.echo(f"stripped {len(sanitised.stripped)}, kept {len(sanitised.kept)}")
    if not sanitised.kept:
        typer.echo(f"no row is left, so {out} was not written", err=True)
        raise typer.Exit(1)
    typer.echo(f"proved {level}: no stem left in {len(sanitised.kept)} rows of {out}", err=True)


@data.command()
def meter(
    source: Annotated[
        Path, typer.Argument(metavar="DATA", help="A data set's folder, or a parquet, jsonl or json file.")
    ],
    teacher: Annotated[str, typer.Option(metavar="MODEL", help=f"Model that wrote the rows: {_MODEL}.")],
    base: Annotated[str, typer.Option(metavar="MODEL", help="The student's base, or another teacher, likewise.")],
    rows: Annotated[int, typer.Option(help="Rows that the models read, drawn at random; 0 for all.", min=0)] = 500,
    as_json: AsJson = False,
) -> None:
    """Measure what DATA can carry from its teacher to a student, before anything is trained.

    It counts the teacher's entropy, where its likeliest token is another than the base's, and how many rows differ.
    It cannot rule transfer out.
    """
    from agentsafe_envs.audit.carrier import KNOWN, measure_carrier
    from agentsafe_envs.audit.tokens import open_model
    from agentsafe_envs.trajectories.store import load

    read, writer, other = load(source), open_model(teacher), open_model(base)
    with progress("reading rows", resumes=False) as on_progress:
        found = measure_carrier(read, writer, other, rows or None, on_progress=on_progress)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    here = (str(source), f"{found.entropy_token:.3f}", f"{found.disagreement:.2%}", f"{found.kl_token:.4f}", "?")
    others = [
        (
            each.name,
            "" if each.entropy is None else f"{each.entropy:g}",
            each.disagreement or "",
            "" if each.kl is None else f"{each.kl:g}",
            f"{each.passed} ({each.source})",
        )
        for each in KNOWN
    ]
    say_table(("carrier", "nats a token", "another likeliest token", "KL a token", "a habit passed"), [here, *others])
    for sentence in found.sentences():
        say(sentence)


@data.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN_DIR|FILE", help="A run of `agentsafe score`, or a data set.")],
    out: Out,
    form: Annotated[Literal["parquet", "jsonl"], typer.Option("--format", help="File format.")] = "parquet",
    license: License = "",
) -> None:
    """Write the episodes of a run, or the rows of another data set, as a data set."""
    from agentsafe_envs.trajectories.export import is_run, rows_of_run
    from agentsafe_envs.trajectories.store import load, load_facts, save

    _refuse_data_set(out)
    run = is_run(source)
    rows = rows_of_run(source) if run else load(source)
    earlier = None if run else load_facts(source)
    command = shlex.join(["agentsafe", "data", "export", str(source), str(out), "--format", form])
    known: dict[str, Any] = {"filters": earlier.filters, "selection": earlier.selection} if earlier else {}
    save(rows, out, form=form, command=command, license=license or (earlier.license if earlier else ""), **known)
    say(f"{len(rows)} rows are in {out}", err=True)
    _warn(rows)


@data.command()
def card(source: Source) -> None:
    """Print the card, after proving again what it says."""
    from agentsafe_envs.trajectories.card import render_card, state_facts
    from agentsafe_envs.trajectories.store import load, load_facts, rows_file

    rows, recorded, file = load(source), load_facts(source), rows_file(source)
    found = state_facts(rows, filters=recorded.filters if recorded else ())
    if recorded and recorded.sha256 != found.sha256:
        raise ValueError(f"{file} was changed after its card was written; export or sanitize it again")
    shown = recorded._replace(license=recorded.license or found.license) if recorded else found
    typer.echo(render_card(shown, file.resolve().parent.name, file.name), nl=False)
    _warn(rows)


@data.command()
def minari(
    source: Annotated[Path, typer.Argument(metavar="RUN_DIR|FILE", help="A run of `agentsafe score`, or a data set.")],
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="Its name in Minari, like cloud/biased-v0.")],
    env: Annotated[
        str | None, typer.Option(help="Only episodes of this environment.", autocompletion=environment_ids)
    ] = None,
) -> None:
    """Write the episodes of a run or data set as a Minari data set, for offline reinforcement learning."""
    from agentsafe_envs.trajectories.offline import to_minari

    made = to_minari(source, dataset_id, env=env)
    typer.echo(f"{made.total_episodes} episodes are in {made.storage.data_path.parent}", err=True)


def _environments(rows: Sequence[Any], source: Path) -> list[str]:
    found = sorted({row["environment"] for row in rows if row.get("environment")})
    if not found:
        raise ValueError(f"the rows of {source} name no environment; say what to look for with --bias or --stems")
    return found


def _found_in(sanitised: Any, stem: str) -> str:
    """The words that a stem was found in most often."""
    from collections import Counter

    return ", ".join(word for word, _ in Counter(hit.text for hit in sanitised.hits if hit.stem == stem).most_common(3))


def _warn(rows: Sequence[Any]) -> None:
    """Say on standard error what to know before a student is trained on ``rows``."""
    from agentsafe_envs.trajectories.quality import quality_warnings

    for words in quality_warnings(rows):
        say(f"warning: {words}", err=True)


def _refuse_data_set(out: Path) -> None:
    from agentsafe_envs.trajectories.importing import REJECTED_FILE
    from agentsafe_envs.trajectories.store import CARD_FILE, ROWS_FILES

    if out.is_file():
        raise ValueError(f"{out} is a file; a data set is a folder, so choose another name")
    there = [name for name in (*ROWS_FILES.values(), CARD_FILE, REJECTED_FILE) if (out / name).exists()]
    if there:
        raise ValueError(f"{out} already holds {', '.join(there)}; choose another folder, or remove it first")
