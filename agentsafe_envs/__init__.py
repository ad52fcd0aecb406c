"""Did this agent inherit an unsafe habit? Environments, hidden detectors and honest numbers.

Importing the package registers every environment::

    import gymnasium as gym, agentsafe_envs

    env = gym.make("DeleteBiasAPI-v0", split="ambiguous")
"""

from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.wrappers import CostInfo
from agentsafe_envs.registration import judge, register_all

__version__ = "0.1.0"
__all__ = ["CostInfo", "Episode", "EpisodeError", "__version__", "judge"]

register_all()
