"""Playing one group of episodes in lockstep, judged when they are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from agentsafe_envs.agents import Agent, AgentError, Conversation
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.core.episode import EpisodeKey, Step, digest
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.judging import JudgedEpisode, judge_episode, verdict_entry
from agentsafe_envs.runs.rows import Row
from agentsafe_envs.scoring.suites import Suite

EpisodeGroup = tuple[EpisodeKey, ...]


class PlayedEpisode(NamedTuple):
    """One episode that was played to its end.

    Attributes:
        row: As it is stored.
        judged: What the detectors found in it.
    """

    row: Row
    judged: JudgedEpisode


Played = list[PlayedEpisode | Failure] | Failure
"""What became of a group: of each of its episodes, or a failure of all together."""


Make = Callable[..., gym.Env[Any, Any]]
"""Makes an environment, as ``gym.make`` does."""


class UnscoredEpisodeError(RuntimeError):
    """Episodes that came to no end, where the caller wants all of them scored."""


def play(
    agent: Agent, group: EpisodeGroup, *, pool: str = "public", max_steps: int = 20, make: Make = gym.make
) -> list[Row]:
    """Rows of :func:`play_group`, with its arguments.

    Raises:
        UnscoredEpisodeError: One of the episodes failed.
        AgentError: The agent broke.
    """
    rows = []
    for key, each in zip(group, play_group(agent, group, pool=pool, max_steps=max_steps, make=make), strict=True):
        if isinstance(each, Failure):
            raise UnscoredEpisodeError(f"{tuple(key)} cannot be scored: {each}")
        rows.append(each.row)
    return rows


def play_group(
    agent: Agent, group: EpisodeGroup, *, pool: str = "public", max_steps: int = 20, make: Make = gym.make
) -> list[PlayedEpisode | Failure]:
    """Play one group side by side and judge every episode.

    An action is executed once and never repeated. What the agent's ``act`` raises is no fault of its
    conduct, so the caller leaves the whole group unscored. An exception in place of an action, or one
    that an episode's own world raises, costs that episode alone; the others go on.

    Args:
        agent: Who plays.
        group: Which episodes.
        pool: Of the tasks.
        max_steps: Longest episode.
        make: Makes an environment, with the arguments of ``gym.make``.

    Returns:
        An entry an episode, in the order of the group.

    Raises:
        AgentError: The agent broke.
    """
    envs = [
        make(key.environment, split=key.split, pool=pool, max_episode_steps=max_steps, disable_env_checker=True)
        for key in group
    ]
    failures: dict[int, Failure] = {}
    try:
        conversations: list[Conversation] = []
        for env, key in zip(envs, group, strict=True):
            observation, info = env.reset(seed=key.seed)
            conversations.append(Conversation(observation["instruction"], info["tools"]))
        if isinstance(agent, ScriptedAgent):
            agent.look_up(*group)
        agent.start(group_seed(group))
        running = list(range(len(group)))
        while running:
            actions = agent.act([conversations[index] for index in running])
            if len(actions) != len(running):
                raise AgentError(f"{agent.name} returned {len(actions)} actions for {len(running)} conversations")
            for index, action in zip(tuple(running), actions, strict=True):
                try:
                    over = _take(envs[index], conversations[index], action)
                except Exception as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
                    failures[index], over = Failure.of(error), True
                if over:
                    running.remove(index)
        return [failures.get(index) or _end(envs[index], key, conversations[index]) for index, key in enumerate(group)]
    finally:
        for env in envs:
            env.close()


def try_group(agent: Agent, group: EpisodeGroup, suite: Suite) -> Played:
    """:func:`play_group`, and a failure where it raises."""
    try:
        return play_group(agent, group, pool=suite.pool, max_steps=suite.max_steps)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
        return Failure.of(error)


def group_seed(group: EpisodeGroup) -> int:
    """What a group's agent may draw from: the same for the same episodes, and telling nothing of them."""
    return int(digest(group)[:15], 16)


def played_episode(env: gym.Env[Any, Any], key: EpisodeKey) -> PlayedEpisode:
    """The episode that ``env`` holds, judged."""
    bare: Any = env.unwrapped
    judged = judge_episode(bare.episode)
    row = {**judged_row(key, judged), "episode": bare.episode.to_dict()}
    system = bare.world.system()
    return PlayedEpisode(row if system is None else {**row, "system": system}, judged)


def judged_row(key: EpisodeKey, judged: JudgedEpisode) -> Row:
    """What is counted of an episode: a row of a run without the episode itself."""
    return {"key": key._asdict(), "template": judged.template, "verdict": verdict_entry(judged.verdict)}


def _take(env: gym.Env[Any, Any], conversation: Conversation, action: str | BaseException) -> bool:
    """Let an action happen; whether the episode is over."""
    if isinstance(action, BaseException):
        raise action
    observation, _, terminated, truncated, _ = env.step(action)
    conversation.steps.append(Step(action, observation["result"]))
    return terminated or truncated


def _end(env: gym.Env[Any, Any], key: EpisodeKey, conversation: Conversation) -> PlayedEpisode | Failure:
    try:
        env.close()  # what comes of that belongs to an episode that was cut off
        row, judged = played_episode(env, key)
    except Exception as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
        return Failure.of(error)
    usage = {"usage": conversation.usage.entry()} if conversation.usage.requests else {}
    return PlayedEpisode(row | usage, judged)
