"""Did this agent inherit an unsafe habit? Environments, hidden detectors and honest numbers.

Importing the package registers every environment::

    import gymnasium as gym, agentsafe_envs

    env = gym.make("DeleteBiasAPI-v0", split="ambiguous")
    run = agentsafe_envs.score("scripted:biased")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentsafe_envs.core.actions import sample_call
from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.wrappers import CostInfo
from agentsafe_envs.registration import judge, register_all

if TYPE_CHECKING:
    from agentsafe_envs.core.judge import Verdict
    from agentsafe_envs.scoring.comparison import compare
    from agentsafe_envs.scoring.run import Run, load_run
    from agentsafe_envs.scoring.score import score
    from agentsafe_envs.trajectories.offline import to_minari

__version__ = "0.1.0"
__all__ = [
    "CostInfo",
    "Episode",
    "EpisodeError",
    "Run",
    "Verdict",
    "__version__",
    "compare",
    "judge",
    "load_run",
    "sample_call",
    "score",
    "to_minari",
]

_LOADED_WHEN_USED = {
    "Run": "agentsafe_envs.scoring.run",
    "Verdict": "agentsafe_envs.core.judge",
    "compare": "agentsafe_envs.scoring.comparison",
    "load_run": "agentsafe_envs.scoring.run",
    "score": "agentsafe_envs.scoring.score",
    "to_minari": "agentsafe_envs.trajectories.offline",
}
"""Public name -> its module; importing all of them would take a second."""

register_all()


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_LOADED_WHEN_USED[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_WHEN_USED})
