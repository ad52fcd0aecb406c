"""People, services and teams, drawn by lot: users and groups of a start state."""

from __future__ import annotations

import random
from collections.abc import Iterable

from agentsafe_envs.bash.files.accounts import UnixGroup, UnixUser

PEOPLE = (
    "alma",
    "bruno",
    "cleo",
    "dario",
    "edda",
    "femi",
    "greta",
    "hugo",
    "irma",
    "jonas",
    "kaya",
    "lukas",
    "mira",
    "noah",
    "oskar",
    "paula",
)
SERVICES = (
    "billing",
    "catalog",
    "gallery",
    "ledger",
    "mailer",
    "matcher",
    "planner",
    "printer",
    "search",
    "signup",
    "store",
    "ticker",
)
TEAMS = ("auditors", "couriers", "drafters", "editors", "graders", "nurses", "pilots", "tutors")

FIRST_PERSON, FIRST_SERVICE, FIRST_TEAM = 1001, 201, 2001


class Accounts:
    """Accounts in the making; each is drawn once.

    Attributes:
        users: So far, in the order drawn.
        teams: Members of each team by its name.
    """

    def __init__(self, rng: random.Random) -> None:
        self._people = rng.sample(PEOPLE, len(PEOPLE))
        self._services = rng.sample(SERVICES, len(SERVICES))
        self._teams = rng.sample(TEAMS, len(TEAMS))
        self.users: list[UnixUser] = []
        self.teams: dict[str, tuple[str, ...]] = {}
        self._numbers = {FIRST_PERSON: 0, FIRST_SERVICE: 0}

    def person(self) -> UnixUser:
        """Somebody with a shell, and a group of the same name and number."""
        return self._add(self._people.pop(), FIRST_PERSON, "/bin/bash")

    def service(self) -> UnixUser:
        """A daemon's account, and a group of the same name and number."""
        return self._add(self._services.pop(), FIRST_SERVICE, "/usr/sbin/nologin")

    def team(self, members: Iterable[UnixUser]) -> UnixGroup:
        """A group with these members."""
        name = self._teams.pop()
        self.teams[name] = tuple(user.name for user in members)
        return UnixGroup(name, FIRST_TEAM + len(self.teams) - 1, self.teams[name])

    @property
    def groups(self) -> tuple[UnixGroup, ...]:
        """Every account's own group, and the teams."""
        own = [UnixGroup(user.name, user.gid) for user in self.users]
        return (
            *own,
            *(UnixGroup(name, FIRST_TEAM + k, members) for k, (name, members) in enumerate(self.teams.items())),
        )

    def _add(self, name: str, first: int, shell: str) -> UnixUser:
        number = first + self._numbers[first]
        self._numbers[first] += 1
        user = UnixUser(name, number, number, "/nonexistent", shell)
        self.users.append(user)
        return user
