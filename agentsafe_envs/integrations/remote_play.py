"""Plays a session of a board's held-out track with any agent, in parallel, and goes on after a break.

The run directory holds ``remote.json``: the board's address, the session, and the agent. The same command finds
it and goes on; episodes that were running are continued from what the server has stored of them.
"""

from __future__ import annotations

import fcntl
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.agents import Agent, AgentError, AgentOptions, Conversation, load_agent
from agentsafe_envs.agents.process import ProcessAgent
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.core.episode import Step, digest
from agentsafe_envs.integrations.remote_client import BoardClient, RemoteError, new_request
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.runs.settings import conduct

REMOTE_FILE = "remote.json"
LONGEST_NAME = 80


class RemoteSession(NamedTuple):
    """What became of a session.

    Attributes:
        id: Of the session, as the server names it.
        season: That it is part of.
        episodes: Number of its episodes in each state.
        complete: Every episode came to an end.
        scorecard: Once the season has closed; else None.
        failures: Why episodes were not played to their end.
    """

    id: str
    season: str
    episodes: dict[str, int]
    complete: bool
    scorecard: dict[str, Any] | None
    failures: tuple[Failure, ...]


def play_remote(
    spec: str,
    url: str,
    out: Path,
    *,
    name: str | None = None,
    token: str | None = None,
    options: AgentOptions | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> RemoteSession:
    """Play what is left of a session.

    Args:
        spec: Of the agent; a script knows tasks by their key, which the server tells no agent.
        url: Of the board.
        out: Run directory; made if it is missing.
        name: Of the agent on the board; None means ``spec``.
        token: Else the variable ``AGENTSAFE_TOKEN``.
        options: Of the agent.
        workers: Groups of episodes that are played at the same time, each by an agent of its own; ``>= 1``.
        on_progress: Called with the number of episodes that ended and of all.

    Raises:
        AgentError: The agent cannot be loaded, or cannot play remotely.
        RemoteError: The board refused, or cannot be reached.
        ValueError: No token, an unsafe address, or ``out`` holds a session of another agent or board.
    """
    agent = load_agent(spec, options)
    if isinstance(agent, ScriptedAgent):
        raise AgentError(f"{spec} looks tasks up by their key, which a board tells no agent; scripted:random can play")
    with BoardClient(url, token) as client, _claimed(out, url, spec) as state:
        card = {"name": name or _plain_name(spec), "spec": spec, "settings": conduct(agent.describe())}
        session = client.open_session(state["request"], card)
        queue = _Queue(client, session, resume=not isinstance(agent, ProcessAgent), on_progress=on_progress)
        if workers == 1:
            _work(agent, client, queue)
        else:
            agents = [agent, *(load_agent(spec, options) for _ in range(workers - 1))]
            with ThreadPoolExecutor(workers) as pool:
                try:
                    for done in [pool.submit(_work, each, client, queue) for each in agents]:
                        done.result()
                finally:
                    queue.stop()
        found = client.session(session["id"])
        return RemoteSession(
            found["id"],
            found["season"],
            found["episodes"],
            found["complete"],
            found["scorecard"],
            tuple(queue.failures),
        )


def _plain_name(spec: str) -> str:
    """A specification as a name on a board, which has few signs."""
    return re.sub(r"[^A-Za-z0-9 ._+:/()-]", "-", spec)[:LONGEST_NAME]


class _Queue:
    """Hands out episodes: first those that a break left running, then new ones."""

    def __init__(
        self,
        client: BoardClient,
        session: dict[str, Any],
        *,
        resume: bool,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._client = client
        self._session_id = session["id"]
        counts = {state: number for state, number in session["episodes"].items() if state != "void"}
        self._total = sum(counts.values())
        self._done = self._total - counts.get("pending", 0) - counts.get("running", 0)
        begun = client.begun_episodes(self._session_id) if resume and counts.get("running") else []
        self._running = [each["id"] for each in begun if each["state"] == "running"]
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._stopped = False
        self.failures: list[Failure] = []
        on_progress(self._done, self._total)

    def take(self) -> dict[str, Any] | None:
        """The next episode; None where none is left."""
        while not self._stopped:
            with self._lock:
                left = self._running.pop() if self._running else None
            if left is None:
                return self._client.begin_episode(self._session_id)
            try:
                episode = self._client.episode(left)
            except RemoteError as error:
                if error.kind not in ("void", "episode-over"):
                    raise
                continue
            if episode["state"] == "running":
                return episode
        return None

    def ended(self) -> None:
        """An episode came to its end."""
        with self._lock:
            self._done += 1
            self._on_progress(self._done, self._total)

    def failed(self, failure: Failure) -> None:
        """An episode did not; it stays as it is, and the next run goes on with it."""
        with self._lock:
            self.failures.append(failure)
        if failure.hopeless:
            self.stop()

    def stop(self) -> None:
        """Hand out nothing more."""
        self._stopped = True


class _Playing(NamedTuple):
    episode_id: str
    conversation: Conversation


def _work(agent: Agent, client: BoardClient, queue: _Queue) -> None:
    """Play groups until nothing is left."""
    while group := [episode for _ in range(agent.group_size) if (episode := queue.take())]:
        try:
            _play_group(agent, client, queue, group)
        except AgentError as error:
            queue.failed(Failure.of(error))


def _play_group(agent: Agent, client: BoardClient, queue: _Queue, group: Sequence[dict[str, Any]]) -> None:
    running = [_Playing(episode["id"], _conversation(episode)) for episode in group]
    agent.start(int(digest([each.episode_id for each in running])[:15], 16))
    while running:
        actions = agent.act([each.conversation for each in running])
        if len(actions) != len(running):
            raise AgentError(f"{agent.name} returned {len(actions)} actions for {len(running)} conversations")
        for each, action in zip(tuple(running), actions, strict=True):
            if isinstance(action, BaseException):
                queue.failed(Failure.of(action))
                running.remove(each)
            elif _take(client, queue, each, action):
                running.remove(each)


def _take(client: BoardClient, queue: _Queue, playing: _Playing, action: str) -> bool:
    """Take one step; whether the episode is over."""
    steps = playing.conversation.steps
    try:
        taken = client.step(playing.episode_id, len(steps), action)
    except RemoteError as error:
        if error.kind == "void":
            return True  # another task takes its place, and the queue hands it out
        if error.kind == "episode-over":
            queue.ended()
            return True
        raise
    steps.append(Step(action, taken["result"]))
    over = taken["terminated"] or taken["truncated"]
    if over:
        queue.ended()
    return over


def _conversation(episode: dict[str, Any]) -> Conversation:
    steps = [Step(step["action"], step["result"]) for step in episode["steps"]]
    return Conversation(episode["instruction"], episode["tools"], steps)


@contextmanager
def _claimed(out: Path, url: str, spec: str) -> Iterator[dict[str, str]]:
    """The session of a run directory, held by one process at a time.

    Raises:
        ValueError: It is of another agent or board, or another process plays it.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / REMOTE_FILE
    with (out / f"{REMOTE_FILE}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process plays {out}; wait for it, or use another --out") from error
        asked = {"url": url.rstrip("/"), "agent": spec}
        if path.exists():
            state: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            if {name: state.get(name) for name in asked} != asked:
                there = f"{state.get('agent')} at {state.get('url')}"
                raise ValueError(f"{out} holds a session of {there}; use another --out for {spec} at {url}")
        else:
            # On disk before the server hears of it, so that a break in between opens no second session.
            state = asked | {"request": new_request()}
            write_whole(path, json.dumps(state, indent=2) + "\n")
        yield state
