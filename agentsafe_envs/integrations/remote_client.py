"""Talks to the server of a board: every wish carries a name, so what was not answered is sent again.

The token comes from the variable ``AGENTSAFE_TOKEN`` and goes into a header, never into an address, a file or an
error.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

from agentsafe_envs.core.extras import import_extra

TOKEN_VARIABLE = "AGENTSAFE_TOKEN"

AWAY_S = 300.0
"""How long a server may be away before a wish is given up."""

REQUEST_S = 60.0
"""How long one answer may take; a Bash step has ten seconds for its command."""

MOST_LOST = 8
"""Episodes that a board may lose one after the other before they are shown, with waits between: half a minute."""

MOST_REASONS = 5
"""Of a request that does not fit its schema, in one message."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0


class RemoteError(RuntimeError):
    """The board refused something, or cannot be reached; the message says why and what to do.

    Attributes:
        kind: Of the problem, as the server names it; ``"unreachable"`` where there was no answer.
        hopeless: No further attempt can succeed.
    """

    def __init__(self, kind: str, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.hopeless = hopeless


class BoardClient:
    """A connection to a board.

    Args:
        url: Of the board.
        token: Else the variable ``AGENTSAFE_TOKEN``.
        patience_s: How long a server may be away before a wish is given up.
        sleep: Waits so many seconds.

    Raises:
        ValueError: No token, or an address over which a token would travel in the clear.
        MissingExtraError: The extra ``remote`` is missing.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience_s: float = AWAY_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        httpx2 = import_extra("httpx2", "remote")
        found = token or os.environ.get(TOKEN_VARIABLE)
        if not found:
            raise ValueError(f"no token for {url}; put it into the variable {TOKEN_VARIABLE}")
        _require_safe(url)
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._sleep = sleep
        self._failures = httpx2.TransportError
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {found}"},
            timeout=REQUEST_S,
            follow_redirects=False,
            trust_env=self.url.startswith("https:"),  # a proxy for http would read the token
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def open_session(self, request: str, agent: dict[str, Any]) -> dict[str, Any]:
        """Open a session, or find the one that the same request opened."""
        return self._send("POST", "/v1/sessions", {"request": request, "agent": agent})

    def sessions(self) -> list[dict[str, Any]]:
        """The team's sessions, each with its agent and the number of its episodes in each state."""
        return self._send("GET", "/v1/sessions")

    def session(self, session_id: str) -> dict[str, Any]:
        """A session with the number of its episodes in each state."""
        return self._send("GET", f"/v1/sessions/{session_id}")

    def begun_episodes(self, session_id: str) -> list[dict[str, Any]]:
        """Episodes of a session that were begun."""
        return self._send("GET", f"/v1/sessions/{session_id}/episodes")

    def begin_episode(self, session_id: str) -> dict[str, Any] | None:
        """Begin the next episode; None where none is left, or the season is over.

        Raises:
            RemoteError: The board refuses, or lost :data:`MOST_LOST` episodes one after the other.
        """
        wait = _FIRST_WAIT_S
        for _ in range(MOST_LOST):
            try:
                return self._send("POST", f"/v1/sessions/{session_id}/episodes", {"request": new_request()})
            except RemoteError as error:
                if error.kind in ("none-left", "season-over"):
                    return None
                if error.kind != "void":  # lost by the server before it was shown: another takes its place
                    raise
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
        told = "before they were shown; perhaps its sandbox cannot start. Tell its maintainer, then go on here"
        raise RemoteError("void", f"the board lost {MOST_LOST} episodes in a row {told}", hopeless=True)

    def episode(self, episode_id: str) -> dict[str, Any]:
        """An episode with all that its agent has seen."""
        return self._send("GET", f"/v1/episodes/{episode_id}")

    def step(self, episode_id: str, number: int, action: str) -> dict[str, Any]:
        """Take step ``number``; half a surrogate pair in the action, which is no text, becomes a question mark."""
        sent = action.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._send("POST", f"/v1/episodes/{episode_id}/step", {"number": number, "action": sent})

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        deadline = time.monotonic() + self._patience_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                response = self._http.request(method, path, json=body)
            except self._failures as error:
                told = RemoteError("unreachable", f"{self.url} cannot be reached: {type(error).__name__}: {error}")
            else:
                if response.status_code < 400:
                    return response.json()
                told = _refusal(self.url, response)
                if response.status_code not in (429, 502, 503, 504):
                    raise told
                after = response.headers.get("retry-after", "")
                wait = max(wait, float(after)) if after.isdigit() else wait
            if time.monotonic() + wait > deadline:
                raise told
            self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)


def new_request() -> str:
    """A name for a wish."""
    return uuid4().hex


def _refusal(url: str, response: Any) -> RemoteError:
    try:
        problem = response.json()
        kind, detail = problem["type"].rpartition(":")[2], problem["detail"] + _reasons(problem.get("wrong"))
    except (ValueError, KeyError, TypeError, AttributeError):
        kind, detail = "not-a-board", "its answer is none of a board's; is the address right?"
    hopeless = kind in ("unauthorized", "wrong-scope", "not-a-board")
    return RemoteError(kind, f"{url} answered {response.status_code}: {detail}", hopeless=hopeless)


def _reasons(wrong: Any) -> str:
    """Which fields do not fit and why, as a board tells it with status 422; empty where it tells nothing."""
    told = [
        f"{'.'.join(map(str, each['at']))}: {each['problem']}"
        for each in (wrong if isinstance(wrong, list) else [])
        if isinstance(each, dict) and isinstance(each.get("at"), list) and "problem" in each
    ]
    return f" ({'; '.join(told[:MOST_REASONS])})" if told else ""


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError(f"{parts.scheme}://{parts.hostname} is no address of a board, expected https://<host>")
    if parts.scheme == "http" and not _is_near(parts.hostname):
        raise ValueError(f"{url} would send the token in the clear; expected https, or http to this machine or network")


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host  # a name without dots is of this network
