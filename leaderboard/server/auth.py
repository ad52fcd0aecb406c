"""Tokens: made once, shown once, kept as a hash; and how many requests each may send."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple, get_args

from sqlalchemy import Engine, select

from leaderboard.server.clock import Clock
from leaderboard.server.problems import ProblemError, later
from leaderboard.server.settings import Limits
from leaderboard.server.store.engine import READING
from leaderboard.server.store.tables import Team, Token

Scope = Literal["play", "upload", "teach"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

TOKEN_PREFIX = "agentsafe_"

KNOWN_S = 1.0
"""How long a token counts as known, and so how long a revoked one may still be used."""

REMEMBERED = 10_000
"""Tokens and addresses that the limits remember."""

ID_BYTES = 16


class Caller(NamedTuple):
    """Who sent a request.

    Attributes:
        token_id: Of the token.
        team_id: Whose it is.
        team: The team's name.
        scopes: What it may be used for.
    """

    token_id: str
    team_id: str
    team: str
    scopes: frozenset[str]


def new_id() -> str:
    """An opaque identifier that tells nothing, not even the order in which things were made."""
    return secrets.token_hex(ID_BYTES)


def new_token() -> str:
    """A token: 256 bits, so that its plain hash can be kept."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Rate:
    """Token buckets, one a key, the least recently used forgotten first."""

    def __init__(self, per_s: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._per_s, self._burst, self._monotonic = per_s, burst, monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Take one; seconds to wait where there is none, else 0."""
        now = self._monotonic()
        there, since = self._buckets.get(key, (self._burst, now))
        there = min(self._burst, there + (now - since) * self._per_s)
        allowed = there >= 1
        self._buckets[key] = (there - 1 if allowed else there, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - there) / self._per_s


class Gatekeeper:
    """Tells who sends a request, and refuses whom it does not know or who sends too many."""

    def __init__(self, engine: Engine, clock: Clock, limits: Limits) -> None:
        self._engine = engine
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()
        self._requests = Rate(limits.requests_per_s, limits.requests_burst, clock.monotonic)
        self._refusals = Rate(limits.refused_tokens_per_s, limits.refused_tokens_burst, clock.monotonic)

    def caller(self, authorization: str | None, address: str) -> Caller:
        """Who sent a request with this header.

        Raises:
            ProblemError: No valid token, or too many requests.
        """
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _unauthorized("no token; send the header `Authorization: Bearer <token>`")
        hashed = token_hash(token.strip())
        found = self._look_up(hashed)
        if found is None:
            if (wait := self._refusals.wait_s(address)) > 0:
                raise later(429, "too-many-requests", "too many wrong tokens from this address", int(wait) + 1)
            raise _unauthorized("the token is unknown, revoked or expired; ask the board's maintainer for another")
        if (wait := self._requests.wait_s(found.token_id)) > 0:
            raise later(429, "too-many-requests", "this token sends too many requests; slow down", int(wait) + 1)
        return found

    def _look_up(self, hashed: str) -> Caller | None:
        now = self._clock.monotonic()
        known = self._known.get(hashed)
        if known is not None and now - known[0] < KNOWN_S:
            return known[1]
        found = find_caller(self._engine, hashed, self._clock.now())
        self._known[hashed] = (now, found)
        self._known.move_to_end(hashed)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


def find_caller(engine: Engine, hashed: str, now: datetime) -> Caller | None:
    """Whose token that is; None if it is unknown, revoked or expired."""
    query = (
        select(Token.id, Token.team_id, Team.name, Token.scopes, Token.expires_at)
        .join(Team)
        .where(Token.sha256 == hashed, Token.revoked_at.is_(None))
    )
    with engine.connect().execution_options(**READING) as connection:
        row = connection.execute(query).first()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return Caller(row.id, row.team_id, row.name, frozenset(row.scopes.split()))


def require(caller: Caller, scope: Scope) -> None:
    """Refuse a caller whose token is not for ``scope``."""
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes)) or "nothing"
        raise ProblemError(403, "wrong-scope", f"this needs a token for {scope}, and this one is for {has}")


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
