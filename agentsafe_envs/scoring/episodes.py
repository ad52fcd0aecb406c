"""The episodes of a run, a line each, and one of them by its key.

Try it::

    agentsafe episodes run --unsafe
    agentsafe replay run --env DeleteBiasAPI-v0 --split ambiguous --seed 3
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import find
from agentsafe_envs.runs.judging import JudgedEpisode, judge_run
from agentsafe_envs.runs.rows import ROWS_FILE, read_rows, row_key


class EpisodeSummary(NamedTuple):
    """One episode of a run.

    Attributes:
        environment: Registered id.
        split: Of the task.
        seed: Of the task.
        trial: Repetition of the task.
        template: ``"<scenario>/<wording>"``.
        first: Means of the first step that acted: ``"biased"``, ``"alternative"`` or ``"none"``.
        unsafe: Harm was done, or the agent tampered.
        unclear: Something may have been harm.
        override: The stated rule was broken.
        success: The task was done.
        steps: Actions taken.
        harm: The first harm in one line, and how many more there were; empty where there was none.
    """

    environment: str
    split: str
    seed: int
    trial: int
    template: str
    first: str
    unsafe: bool
    unclear: bool
    override: bool
    success: bool
    steps: int
    harm: str

    @property
    def marks(self) -> str:
        """What is remarkable about it, in words; empty where nothing is."""
        found = {"UNSAFE": self.unsafe, "unclear": self.unclear, "broke the rule": self.override}
        return ", ".join(word for word, held in found.items() if held)


def list_episodes(
    run: Path, *, environment: str | None = None, split: str | None = None, unsafe: bool = False
) -> list[EpisodeSummary]:
    """The episodes of a run by the verdicts of this release, in order of environment, split, seed and trial.

    Args:
        run: Its directory.
        environment: Only this one.
        split: Only this one.
        unsafe: Only those that are unsafe.

    Raises:
        ValueError: No such environment.
        FileNotFoundError: There is no such run.
        RowStoreError: An episode cannot be judged.
    """
    wanted = find(environment).id if environment else None
    keys = {
        key for key in map(row_key, read_rows(run)) if wanted in (None, key.environment) and split in (None, key.split)
    }
    found = [summary(key, judged) for key, judged in judge_run(run, wanted=keys).episodes.items()]
    return sorted(each for each in found if each.unsafe or not unsafe)


def row_of_episode(
    source: Path,
    *,
    environment: str | None = None,
    split: str | None = None,
    seed: int | None = None,
    trial: int | None = None,
) -> int:
    """Number of the row of an episode, for :func:`~agentsafe_envs.scoring.walkthrough.read_episode`.

    What is left out may be anything, as long as one episode alone is meant.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No environment of that name, or no episode or several are meant.
    """
    file = source / ROWS_FILE if source.is_dir() else source
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; expected a run of `agentsafe score`, or what `play --out` wrote")
    asked = {
        "environment": find(environment).id if environment else None,
        "split": split,
        "seed": seed,
        "trial": trial,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    found: dict[EpisodeKey, int] = {}
    for number, key in _keys(file):
        if asked.items() <= key._asdict().items():
            found.setdefault(key, number)  # of two rows with one key the first stands
    words = ", ".join(f"{name} {value}" for name, value in asked.items())
    if not found:
        raise ValueError(f"no episode with {words} in {file}; `agentsafe episodes {source}` lists those there are")
    if len(found) > 1:
        keys = list(found)
        names = [name for name in EpisodeKey._fields if len({getattr(key, name) for key in keys}) > 1]
        options = " or ".join(f"--{name.replace('environment', 'env')}" for name in names)
        raise ValueError(f"{len(found)} episodes with {words} in {file}; say which with {options}")
    return next(iter(found.values()))


def _keys(file: Path) -> Iterator[tuple[int, EpisodeKey]]:
    lines = [line for line in file.read_bytes().split(b"\n") if line.strip()]
    for number, line in enumerate(lines):
        try:
            row: Any = json.loads(line)
            fields: Mapping[str, Any] = row.get("key", row)  # a bare episode has its own
            yield number, EpisodeKey(fields["environment"], fields["split"], fields["seed"], fields.get("trial", 0))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # torn, or not ours: it is no episode that could be meant


def summary(key: EpisodeKey, judged: JudgedEpisode) -> EpisodeSummary:
    """One judged episode in a line."""
    found = judged.verdict
    harm = ""
    if found.harms:
        evidence = " ".join(f"{found.harms[0].kind}: {found.harms[0].evidence}".split())
        more = len(found.harms) - 1
        harm = f"{evidence} (and {more} more)" if more else evidence
    elif found.tampered:
        harm = "the agent interfered with what observes it"
    return EpisodeSummary(
        *key,
        template=judged.template,
        first=str(found.first),
        unsafe=found.unsafe or found.tampered,
        unclear=bool(found.unclear),
        override=found.override,
        success=found.success and not found.tampered,
        steps=found.steps,
        harm=harm,
    )
