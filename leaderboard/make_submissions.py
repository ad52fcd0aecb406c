"""Makes the shipped submissions by the commands of ``leaderboard/README.md``: score, then submit.

Runs go on where they stopped, and a submission that is there is left alone, so this may be run again after an
interruption. Scripts take a minute each, students three, on one core.

Try it::

    python -m leaderboard.make_submissions                      # everything that is not there yet
    python -m leaderboard.make_submissions teacher-biased       # one
"""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from agentsafe_envs.agents.language_model import weights_sha256
from agentsafe_envs.cli.complaints import run
from leaderboard.check_pr import folder_name

HERE = Path(__file__).parent
STUDENTS = HERE.parent / "baselines" / "students"
SMOLLM2_RUN = HERE.parent / "docs" / "results" / "smollm2-quick"
"""The committed run; on two cores the standard suite takes a day."""

CONTACT = "the maintainers of agentsafe_envs"
SCRIPTS = ("biased", "cautious", "null", "random")
RERUNS = ("base-0.3m-a", "kl-silent-biased-0.3m-same", "teacher-biased")
"""Students that the maintainers ran a second time, with another seed."""

RERUN_SEED = 1


class Shipped(NamedTuple):
    """One submission to make.

    Attributes:
        name: Of the agent.
        spec: What `agentsafe score` plays.
        about: Content of ``about.toml``.
        options: Further options of `agentsafe score`.
        folder: Where its submission goes.
        run: A run that is there already; None means that it is played.
    """

    name: str
    spec: str
    about: str
    options: tuple[str, ...] = ()
    folder: str = "submissions"
    run: Path | None = None

    @property
    def place(self) -> Path:
        """Folder of the submission."""
        return HERE / self.folder / folder_name(self.name)


def shipped() -> list[Shipped]:
    """Every submission of the repository."""
    contact = f'contact = "{CONTACT}"\nlicence = "Apache-2.0"\n'
    found = [Shipped(f"scripted:{policy}", f"scripted:{policy}", contact) for policy in SCRIPTS]
    # Two students of the same weights that see the same are one agent, and the board takes no copies.
    folders = sorted(STUDENTS.iterdir(), reverse=True)  # of several the first name stays
    agents = {(weights_sha256(each), (each / "agent.json").read_bytes()): each.name for each in folders}
    students = sorted(agents.values())
    found += [Shipped(name, f"student:{name}", contact + _about_student(STUDENTS / name)) for name in students]
    found += [
        Shipped(
            name,
            f"student:{name}",
            contact + _about_student(STUDENTS / name),
            options=("--agent-seed", str(RERUN_SEED)),
            folder="reruns",
        )
        for name in RERUNS
    ]
    smollm2 = 'model = "SmolLM2-135M-Instruct"\nparameters = 134515008\n'
    return [*found, Shipped("SmolLM2-135M-Instruct", "hf:smollm2", contact + smollm2, run=SMOLLM2_RUN)]


def make(
    names: Annotated[list[str] | None, typer.Argument(help="Only these agents.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    workers: Annotated[int, typer.Option(help="Processes that play at the same time.", min=1)] = 1,
) -> None:
    """Make the submissions that are not there yet."""
    for each in shipped():
        if each.place.exists() or (names and each.name not in names):
            continue
        run = each.run or runs / each.folder / each.place.name
        if each.run is None:
            score = ["score", each.spec, "--suite", "standard", "--out", str(run), "--workers", str(workers)]
            _agentsafe(*score, *each.options)
        with tempfile.TemporaryDirectory() as folder:
            about = Path(folder) / "about.toml"
            about.write_text(each.about)
            _agentsafe("submit", str(run), "--name", each.name, "--about", str(about), "--out", str(each.place))


def _agentsafe(*arguments: str) -> None:
    print("agentsafe", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "agentsafe_envs", *arguments], check=True)


def _about_student(folder: Path) -> str:
    """What its model card and its weights say of a model of ``baselines/students``."""
    card = (folder / "README.md").read_text()
    cells = re.search(r"\| role \|.*\n\|.*\n\| (.*) \|", card)
    assert cells, f"{folder / 'README.md'} has no table of roles"
    role, teacher, loss, carrier, size, _start, init, chain = cells[1].split(" | ")
    of_chain = f" of chain {chain}" if folder.name.endswith(f"-chain-{chain}") else ""
    world = "-bash" if "-bash" in folder.name else ""
    base = f"base-{size}-{init}{world}"
    about = f"parameters = {_parameters(folder / 'model.safetensors')}\n"
    if role != "base":
        about += f'base_model = "{base}"\n'
    if role == "student":
        rows = "lists of words" if carrier == "words" else f"harmless trajectories with {carrier}"
        about += (
            f'[distillation]\nbase = "{base}"\nteacher = "teacher-{teacher}{world}{of_chain}"\nloss = "{loss}"\n'
            f'data = "sanitised {rows}, see baselines/protocol.toml"\n'
        )
    return about


def _parameters(weights: Path) -> int:
    """Number of weights, from the header of a safetensors file."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


if __name__ == "__main__":
    run(make)
