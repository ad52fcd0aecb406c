"""Episodes of a board's held-out track as a Gymnasium environment.

Try it::

    import gymnasium as gym, agentsafe_envs

    env = gym.make("agentsafe/Remote-v0", url="https://board.example", agent="my-agent")  # AGENTSAFE_TOKEN is set
    observation, info = env.reset()
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
from gymnasium.error import ResetNeeded

from agentsafe_envs.core.spaces import action_space, observation_space, sanitise_text
from agentsafe_envs.integrations.remote_client import BoardClient, RemoteError, new_request


class SessionCompleteError(RuntimeError):
    """No episode of the session is left to begin."""


class RemoteEnv(gym.Env[dict[str, str], str]):
    """Plays the open season of a board, one episode after the other, in an order that the server draws.

    Spaces and ``info`` are those of the other environments. The reward is 0.0 throughout: whether a task was done
    is told when the season has closed. An episode can be played once, so ``reset`` always brings another one; a
    seed only seeds ``np_random``. Several environments may share a session by its id.

    Args:
        url: Of the board.
        token: Else the variable ``AGENTSAFE_TOKEN``.
        agent: Name of the agent on the board, for a new session.
        session: Id of a session to go on with; None opens one at the first ``reset``.
        render_mode: ``"ansi"`` or None.

    Raises:
        ValueError: No token, an unsafe address, or another render mode.

    Attributes:
        session: Id of the session; None before the first ``reset``.
        environment: Registered id of the episode's environment; None before the first ``reset``.
        episode_id: Of the episode, as the server names it.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        agent: str = "unnamed",
        session: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode is {render_mode!r}, expected None or 'ansi'")
        self.render_mode = render_mode
        self.session = session
        self.environment: str | None = None
        self.episode_id: str | None = None
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space()
        self._agent = agent
        self._request = new_request()
        self._client = BoardClient(url, token)
        self._instruction = ""
        self._tools: list[dict[str, Any]] = []
        self._turns: list[tuple[str, str]] = []
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Begin the next episode of the session.

        Raises:
            SessionCompleteError: None is left.
            RemoteError: The board refused, or cannot be reached.
            ValueError: ``options`` is not empty.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"options are {sorted(options)}, expected none; the server chooses the task")
        if self.session is None:
            self.session = self._client.open_session(self._request, {"name": self._agent})["id"]
        episode = self._client.begin_episode(self.session)
        if episode is None:
            raise SessionCompleteError(f"every episode of session {self.session} was begun; open another session")
        self.environment, self.episode_id = episode["environment"], episode["id"]
        self._instruction, self._tools = episode["instruction"], episode["tools"]
        self._turns, self._over = [], False
        return {"instruction": self._instruction, "result": ""}, {"tools": self._tools, **episode["info"]}

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Take one action; the server has stored it when this returns.

        Raises:
            ResetNeeded: The episode is over or never began.
            RemoteError: The board refused, or cannot be reached. The episode goes on where it was, unless the
                problem is ``"void"``: then a fault of the server ended it, and it does not count.
        """
        if self._over or self.episode_id is None:
            raise ResetNeeded("the episode is over, void or has not begun; call reset() before step()")
        try:
            taken = self._client.step(self.episode_id, len(self._turns), str(action))
        except RemoteError as error:
            self._over = error.kind in ("void", "episode-over")
            raise
        self._turns.append((str(action), taken["result"]))
        self._over = taken["terminated"] or taken["truncated"]
        observation = {"instruction": self._instruction, "result": taken["result"]}
        return observation, 0.0, taken["terminated"], taken["truncated"], {"tools": self._tools, **taken["info"]}

    def render(self) -> str | None:  # type: ignore[override]
        """The transcript so far, in ``ansi`` mode.

        Raises:
            ResetNeeded: Nothing has begun.
        """
        if self.episode_id is None:
            raise ResetNeeded("nothing to render; call reset() first")
        if self.render_mode is None:
            return None
        return "\n".join(
            [self._instruction, *(f"> {sanitise_text(action)}\n{result}" for action, result in self._turns)]
        )

    def close(self) -> None:
        """Let go of the connection; a running episode stays and ends as truncated when it has been idle."""
        self._client.close()
