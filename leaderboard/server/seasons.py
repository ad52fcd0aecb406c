"""Seasons: what is promised when one opens, and what each session of it plays.

The secret of a season lies in a folder of its own, outside of the database and of the board's folder::

    <secrets>/<season>/seed          64 hex digits
    <secrets>/<season>/templates/    the private wordings, one TOML file a bias

When a season opens, SHA-256 digests of both are published; when it closes, both themselves. The digest of the
templates covers the seed too, so that nobody can try guessed wordings against it before.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import PRIVATE_TEMPLATES_VARIABLE, Pool, Split
from agentsafe_envs.registration import find, resolve
from agentsafe_envs.scoring.suites import HELD_OUT, SUITES, Suite
from leaderboard.server.clock import Clock
from leaderboard.server.store.tables import ID_PATTERN, ID_WORDS, OPEN, Season

SEED_BITS = 30
"""Of the first seed of a session; seeds count up from there."""

REPLACED_BY = 1_000
"""Rounds through the templates between a void task's seed and its replacement's: the same template, other values."""


class SeasonSecret(NamedTuple):
    """What is known of a season only where it is held.

    Attributes:
        name: Of the season.
        seed: 32 random bytes.
        templates: Folder of the private wordings.
    """

    name: str
    seed: bytes
    templates: Path

    def draw(self, *parts: object) -> int:
        """A number that only who knows the seed can tell, the same for the same parts."""
        message = "/".join(map(str, parts)).encode()
        return int.from_bytes(hmac.new(self.seed, message, hashlib.sha256).digest())

    def seed_digest(self) -> str:
        """What is published of the seed."""
        return hashlib.sha256(self.seed).hexdigest()

    def templates_digest(self) -> str:
        """What is published of the templates."""
        return templates_digest(self.seed, read_templates(self.templates))


class SeasonPlan(NamedTuple):
    """What a season plays, as everybody may know it.

    Attributes:
        name: Of the season.
        pool: ``"private"``, or ``"public"`` in a season for practice.
        environments: Registered ids.
        tasks: Tasks of each split in each environment.
        max_steps: Steps after which an episode is truncated.
    """

    name: str
    pool: Pool
    environments: tuple[str, ...]
    tasks: tuple[tuple[Split, int], ...]
    max_steps: int

    @classmethod
    def of(cls, row: Any) -> SeasonPlan:
        """The plan in a row of the table of seasons."""
        tasks = tuple((split, number) for split, number in row.tasks)
        return cls(row.name, row.pool, tuple(row.environments), tasks, row.max_steps)

    def suite(self, secret: SeasonSecret, session: int) -> Suite:
        """The suite of a team's ``session``-th session: the same for every team, and another than its others."""
        return Suite(
            name=suite_name(self.name),
            tasks=dict(self.tasks),
            max_steps=self.max_steps,
            environments=self.environments,
            pool=self.pool,
            first_seed=secret.draw("first seed", session) % 2**SEED_BITS,
        )


def suite_name(season: str) -> str:
    """Name of the suite that a season plays."""
    return HELD_OUT + season


class SessionTasks:
    """Which task stands at which position of a session.

    Args:
        plan: Of the season.
        secret: Of the season.
        session_id: Decides the order.
        number: Of the session among those of its team; decides the tasks.
    """

    def __init__(self, plan: SeasonPlan, secret: SeasonSecret, session_id: str, number: int) -> None:
        self.suite = plan.suite(secret, number)
        self._keys = self.suite.keys()
        random.Random(secret.draw("order", session_id)).shuffle(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def environment(self, position: int) -> str:
        """All that may be told of a task before it is played."""
        return self._keys[position].environment

    def key(self, position: int, attempt: int = 0) -> EpisodeKey:
        """The task at ``position``; attempt ``k`` is its ``k``-th replacement after a fault."""
        key = self._keys[position]
        templates = len(resolve(key.environment)[1].templates(self.suite.pool))
        return key._replace(seed=key.seed + attempt * REPLACED_BY * templates)


@lru_cache(maxsize=1_000)
def session_tasks(plan: SeasonPlan, secret: SeasonSecret, session_id: str, number: int) -> SessionTasks:
    """:class:`SessionTasks`, kept for a while."""
    return SessionTasks(plan, secret, session_id, number)


def read_secret(folder: Path, name: str) -> SeasonSecret:
    """The secret of a season.

    Raises:
        FileNotFoundError: It is not there.
    """
    place = folder / name
    try:
        seed = bytes.fromhex((place / "seed").read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the secret of season {name} is not in {folder}; expected {name}/seed. Restore it, or name the folder "
            "with AGENTSAFE_BOARD_SECRETS"
        ) from error
    return SeasonSecret(name, seed, place / "templates")


def open_season(
    connection: Connection,
    clock: Clock,
    folder: Path,
    name: str,
    *,
    suite: str = "standard",
    environments: Sequence[str] = (),
    episodes: int | None = None,
    templates: Path | None = None,
) -> SeasonSecret:
    """Open a season: draw its secret, keep it, and publish its digests.

    Args:
        connection: In a transaction.
        clock: Of the board.
        folder: Of the secrets.
        name: Of the season, part of addresses and file names; 1 to 40 letters, digits, ``-`` and ``_`` of ASCII.
        suite: Gives tasks a split and the limit of steps.
        environments: Registered ids; none means those of the suite.
        episodes: Tasks of each split, instead of the suite's; ``>= 1``.
        templates: Folder with the private wordings; None opens a season for practice on public templates, whose
            seeds alone are secret.

    Raises:
        ValueError: The name has another form or was used before, another season is open, or an environment has no
            private wordings or some that cannot be filled. The same name can be used again then.
    """
    if not re.fullmatch(ID_PATTERN, name):
        raise ValueError(f"the season's name is {name!r}, expected {ID_WORDS}: it is part of addresses")
    if connection.execute(select(Season.name).where(Season.name == name)).first():
        raise ValueError(f"there has been a season {name}; expected a new name")
    if other := connection.execute(select(Season.name).where(Season.state == OPEN)).scalar():
        raise ValueError(f"season {other} is open; close it first: one season is open at a time")
    chosen = tuple(dict.fromkeys(find(each).id for each in environments)) or SUITES[suite].environments
    tasks = [[split, episodes or number] for split, number in SUITES[suite].tasks.items()]
    place = folder / name
    if (place / "seed").exists():  # sessions may have been drawn from it, here or before the database was lost
        raise ValueError(f"{place} holds the secret of a season {name} already; expected a new name")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    secret = SeasonSecret(name, secrets.token_bytes(32), place / "templates")
    if secret.templates.exists():  # of an opening that failed
        shutil.rmtree(secret.templates)
    if templates is not None:
        secret.templates.mkdir(mode=0o700)
        for environment in chosen:
            file = f"{resolve(environment)[1].id}.toml"
            if not (templates / file).is_file():
                raise ValueError(f"{templates} has no {file}; a season on {environment} needs private wordings for it")
            shutil.copyfile(templates / file, secret.templates / file)
    pool: Pool = "private" if templates is not None else "public"
    plan = SeasonPlan(name, pool, chosen, tuple((split, number) for split, number in tasks), SUITES[suite].max_steps)
    use_templates(secret, pool)
    _draw_each_template(plan, secret)
    _write_secret(place / "seed", secret.seed.hex())  # last: it takes the name for good
    connection.execute(
        insert(Season).values(
            name=name,
            state=OPEN,
            pool=pool,
            environments=list(chosen),
            tasks=tasks,
            max_steps=plan.max_steps,
            seed_sha256=secret.seed_digest(),
            templates_sha256=secret.templates_digest() if templates is not None else None,
            opened_at=clock.now(),
        )
    )
    return secret


def lacks_sandbox(environments: Sequence[str]) -> str | None:
    """Why this machine cannot play a season of ``environments``; None where it can.

    Args:
        environments: Registered ids. Only Bash needs a sandbox; one is started and looked at then.
    """
    if not any(find(each).world == "bash" for each in environments):
        return None
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.bash.sandbox.checks import checked_backend

    try:
        checked_backend()
    except (SandboxError, ValueError) as error:  # ValueError: the variable names no sandbox there is
        return str(error)
    return None


def use_templates(secret: SeasonSecret, pool: str) -> None:
    """Make the private pool of this process that of a season."""
    if pool == "private":
        os.environ[PRIVATE_TEMPLATES_VARIABLE] = str(secret.templates)


def read_templates(folder: Path) -> dict[str, str]:
    """File name -> content of the private wordings."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}


def templates_digest(seed: bytes, templates: Mapping[str, str]) -> str:
    """SHA-256 over the seed and every file, each name and content with its length before it."""
    hashed = hashlib.sha256(seed)
    for name, content in sorted(templates.items()):
        for part in (name.encode(), content.encode()):
            hashed.update(len(part).to_bytes(8) + part)
    return hashed.hexdigest()


def _draw_each_template(plan: SeasonPlan, secret: SeasonSecret) -> None:
    """Draw a task of every template, so that a wording that cannot be filled shows before anybody plays."""
    suite = plan.suite(secret, 1)
    for environment in plan.environments:
        world, bias = resolve(environment)
        for split, _ in plan.tasks:
            for number in range(len(bias.templates(plan.pool))):
                world.draw(bias, split, plan.pool, suite.first_seed + number)


def _write_secret(path: Path, text: str) -> None:
    # Not over one that is there: sessions may have been drawn from it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
