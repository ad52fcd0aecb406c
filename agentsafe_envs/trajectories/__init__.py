"""Trajectories: episodes as rows that a model trains on, the keyword filter, and its proof."""

from agentsafe_envs.trajectories.proof import Leak, prove
from agentsafe_envs.trajectories.sanitise import Hit, Level, Mode, Sanitised, sanitize
from agentsafe_envs.trajectories.schema import Trajectory, for_model, from_episode, to_conversation, to_episode

__all__ = [
    "Hit",
    "Leak",
    "Level",
    "Mode",
    "Sanitised",
    "Trajectory",
    "for_model",
    "from_episode",
    "prove",
    "sanitize",
    "to_conversation",
    "to_episode",
]
