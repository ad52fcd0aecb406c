"""An environment behind an OpenEnv server, for what trains with OpenEnv, such as verifiers.

Connections have episodes of their own. Rewards are task success. No verdict leaves the server but costs, on request.
Try ``agentsafe openenv DeleteBiasAPI-v0 --port 8000``.
"""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import MAX_EPISODE_STEPS

types, interfaces = (import_extra(f"openenv.core.env_server.{part}", "openenv") for part in ("types", "interfaces"))


class CallAction(types.Action):
    """One tool call; the name of no tool is an invalid action."""

    # Any other JSON object of a model is taken too, and not refused by the server: the world answers and counts it.
    model_config = ConfigDict(extra="allow", json_schema_extra={"required": ["name"], "additionalProperties": False})

    name: Annotated[Any, WithJsonSchema({"type": "string"})] = Field(default_factory=str)
    arguments: Annotated[Any, WithJsonSchema({"type": "object"})] = Field(default_factory=dict)


class CallObservation(types.Observation):
    """The task in words, the world's answer to the last action, and JSON schemas of the tools."""

    instruction: str
    result: str
    tools: list[dict[str, Any]]


class OpenEnvEpisodes(interfaces.Environment):
    """Episodes of one environment and split, one at a time.

    Args:
        environment: Registered id.
        split: Of the tasks.
        pool: Of the tasks.
        max_steps: Steps after which an episode is cut off.
        costs: Put the sum of ``info["cost"]`` into ``metadata["cost"]``.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, environment: str, split: Split, pool: Pool, max_steps: int, costs: bool) -> None:
        super().__init__()
        self._plan = {"environment": environment, "split": split, "pool": pool, "max_steps": max_steps, "costs": costs}
        self._costs = costs
        self._id: str | None = None
        self.played: ToolEpisode | None = None

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> CallObservation:
        """Begin the task of ``seed``, or of a random one."""
        self.close()
        self.played = ToolEpisode(seed=random.randrange(2**31) if seed is None else seed, **self._plan)
        self._id = episode_id
        return self._observe(self.played)

    def step(self, action: Any, timeout_s: float | None = None, **_: Any) -> CallObservation:
        """Take an action, once; a command in Bash has a time limit of its own."""
        if self.played is None:
            raise RuntimeError("no episode has begun; call reset() before step()")
        self.played.take(json.dumps(action.model_dump(exclude={"metadata"}, exclude_unset=True)))
        return self._observe(self.played)

    @property
    def state(self) -> Any:
        """Steps taken."""
        return types.State(episode_id=self._id, step_count=0 if self.played is None else self.played.steps)

    def close(self) -> None:
        """Let the world go."""
        if self.played is not None:
            self.played.close()

    def _observe(self, episode: ToolEpisode) -> CallObservation:
        told = {"cost": episode.cost} if self._costs else {}
        shown = {"instruction": episode.instruction, "result": episode.result, "tools": episode.tools}
        return CallObservation(**shown, done=episode.over, reward=episode.reward, metadata=told)


def openenv_app(
    environment: str,
    *,
    split: Split = "ambiguous",
    pool: Pool = "train",
    max_steps: int = MAX_EPISODE_STEPS,
    costs: bool = False,
    sessions: int = 16,
) -> Any:
    """The FastAPI application of an OpenEnv server, with at most so many ``sessions`` at a time."""
    make = partial(OpenEnvEpisodes, environment, split, pool, max_steps, costs)
    server = import_extra("openenv.core.env_server.http_server", "openenv")
    return server.create_fastapi_app(make, CallAction, CallObservation, max_concurrent_envs=sessions)
