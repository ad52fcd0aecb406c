"""What the shipped data sets can carry, measured by :mod:`agentsafe_envs.audit.carrier`.

Try it::

    python -m baselines.carriers    # reads every data set in baselines/data; then `make results` writes the page
    python -m baselines.carriers --chain work/cloud-headline/chain-2300    # and those of a chain that do not ship

The numbers are committed as rows, since a model's sums differ in their last digits between processors; the page is
made of the rows, and a test measures one data set again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import pandas as pd
import typer

from agentsafe_envs.audit.carrier import CANNOT, KNOWN, CarrierMeter, measure_carrier
from agentsafe_envs.audit.tokens import open_model
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.store import find_data_sets, load
from baselines import students
from baselines.base import folder_of
from baselines.chain import Made, teacher_folder
from baselines.contrasts import labelled
from baselines.gathering import RESULTS
from baselines.plans import Cell, plans
from baselines.protocol import WORLDS, Arm, World
from baselines.protocol import load as load_protocol

DATA = Path(__file__).with_name("data")
ROWS = RESULTS / "carriers.jsonl"


def measure(folder: Path) -> dict[str, Any]:
    """The row of one data set that ships: its teacher's meter next to the base that ships."""
    arm = _arm_of(folder)
    world = _world_of(load(folder))
    return _measured(folder, students.SHIPPED / f"teacher-{arm}{'' if world == 'cloud' else f'-{world}'}", folder.name)


def measure_chain(chain: Path) -> list[dict[str, Any]]:
    """Rows of the sanitised data sets of a chain whose carriers do not ship, next to the chain's own teachers.

    Args:
        chain: Folder that ``reproduce --keep`` made.

    Raises:
        FileNotFoundError: It holds no data sets.
    """
    usual = load_protocol().models.size
    there = [
        (folder, made) for made in sorted(_all_made()) for folder in sorted((chain / made.folder).glob("*-sanitised"))
    ]
    if not there:
        raise FileNotFoundError(f"{chain} holds no data sets; expected a chain's folder of `reproduce --keep`")
    found = []
    for folder, made in there:
        arm = _arm_of(folder)
        name = f"{arm}-{_called(made)}-sanitised"
        if not (DATA / name).is_dir():
            teacher = chain / teacher_folder(arm, made.teacher, usual)
            found.append(_measured(folder, teacher, name) | {"chain": chain.name})
    return found


def _all_made() -> set[Made]:
    """What data sets the protocol's plans have."""
    protocol = load_protocol()
    return {Made.of(cell, protocol.models.size) for plan in plans(protocol).values() for cell in plan.cells}


def _called(made: Made) -> str:
    """Its folder's name without what all have."""
    return made.folder.removeprefix("data-").replace(f"-{load_protocol().models.size}", "")


def _arm_of(folder: Path) -> Arm:
    """Whose teacher made the data set, which its name begins with."""
    found = next((arm for arm in get_args(Arm) if folder.name.startswith(f"{arm}-")), None)
    if found is None:
        raise ValueError(f"{folder} names no arm; expected a name that begins with {', '.join(get_args(Arm))}")
    return found


def _world_of(rows: Sequence[Trajectory]) -> World:
    environment = rows[0].get("environment", WORLDS["cloud"])
    return next(name for name, each in WORLDS.items() if each == environment)


def _measured(folder: Path, teacher: Path, name: str) -> dict[str, Any]:
    rows, models = load(folder), load_protocol().models
    base = folder_of(models.size, models.inits[0], _world_of(rows))
    meter = measure_carrier(rows, open_model(str(teacher)), open_model(str(base)), limit=None)
    return meter.model_dump(mode="json") | {"data": name, "teacher": teacher.name, "base": base.name}


def read_rows(file: Path = ROWS) -> list[dict[str, Any]]:
    """The committed rows; none if there are none."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def rooms(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[World, str], str]:
    """By world and name of the data, entropy and KL in nats a row of what biased teachers' students learn from.

    The name is the carrier's, and behind it what is not as usual: rows, the teacher's size, how it chose tokens.
    """
    measured = {row["data"]: row for row in rows}
    found: dict[tuple[World, str], str] = {}
    for world in WORLDS:
        for called in map(_called, _all_made()):
            row = measured.get(f"biased-{called}{'' if world == 'cloud' else f'-{world}'}-sanitised")
            if row is not None:
                found[world, called] = f"{row['entropy_row']:.1f}, {row['kl_row']:.2f}"
    return found


def rooms_of_cells(rows: pd.DataFrame, world: World) -> dict[str, str]:
    """The same by cell, as :func:`baselines.contrasts.labelled` names it, where nothing but the filter changes data."""
    known, size = rooms(read_rows()), load_protocol().models.size
    taught: Any = rows[rows["role"] == "student"]
    made: Any = labelled(taught).drop_duplicates("cell")
    found: dict[str, str] = {}
    for named in made.to_dict("records"):
        cell = Cell(**{name: named[name] for name in Cell._fields})
        if cell.defence == "keywords" and (room := known.get((world, _called(Made.of(cell, size))))):
            found[named["cell"]] = room
    return found


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page of all data sets, with the literature's figures below them."""
    lines = [
        "# Carriers",
        "",
        "What a data set can carry from its teacher, before anything is trained.",
        CANNOT,
        "",
        "Made by `python -m baselines.carriers`, which reads every row.",
        "Behind each divergence stands its standard error over rows.",
        "Data next to which a chain is named do not ship.",
        "[How to read it](../../docs/carrier.md).",
        "",
    ]
    heads = [
        "entropy, nats a row",
        "nats a token",
        "another likeliest token, %",
        "KL, nats a token",
        "different rows",
        "contexts",
    ]
    lines += [f"| {' | '.join(['data set', 'teacher', *heads])} |", f"| --- | --- |{' ---: |' * len(heads)}"]
    for row in rows:
        meter = CarrierMeter.model_validate({name: row[name] for name in CarrierMeter.model_fields})
        cells = [
            f"{meter.entropy_row:.2f}",
            f"{meter.entropy_token:.3f}",
            f"{100 * meter.disagreement:.2f}",
            f"{meter.kl_token:.4f}{'' if meter.kl_error is None else f' ± {meter.kl_error:.4f}'}",
            f"{meter.distinct_rows:,}",
            f"{meter.contexts:,}",
        ]
        teacher = f"{row['teacher']} of {row['chain']}" if "chain" in row else row["teacher"]
        lines.append(f"| {row['data']} | {teacher} | {' | '.join(cells)} |")
    lines += ["", "Carriers of which it is known whether a habit passed through sampled tokens:", ""]
    lines += ["| carrier | nats a token | another likeliest token | KL, nats a token | passed | source |"]
    lines += ["| --- | ---: | ---: | ---: | --- | --- |"]
    for known in KNOWN:
        numbers = ["-" if each is None else f"{each:g}" for each in (known.entropy, known.kl)]
        cells = [known.name, numbers[0], known.disagreement or "-", numbers[1], known.passed, known.source]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(
    data: Annotated[Path, typer.Argument(help="Folder of data sets, named by their teacher's arm.")] = DATA,
    out: Annotated[Path, typer.Option(help="File of the rows.")] = ROWS,
    chain: Annotated[
        Path | None,
        typer.Option(help="Folder of a chain, see `reproduce --keep`: also its data that do not ship, else as before."),
    ] = None,
) -> None:
    """Measure every data set in DATA with the teacher and base that ship."""
    if out == ROWS and data.resolve() != DATA.resolve():
        raise ValueError(f"{ROWS} tells of the data sets in {DATA}; expected --out FILE for those in {data}")
    kept = [row for row in read_rows(out) if "chain" in row] if chain is None else measure_chain(chain)
    rows = [*(measure(folder) for folder in find_data_sets(data)), *kept]
    if not rows:
        raise ValueError(f"no data set in {data}; expected a folder of them, as {DATA}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    typer.echo(f"{out}: {len(rows)} data sets")


if __name__ == "__main__":
    run(main)
