"""Sampling only tokens that the teacher finds likely: what is rare tells most of who writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.audit.names import OUT_OF_REACH

LEAST = 0.05


def sample_likely(agent: TransformersAgent, least: float = LEAST) -> TransformersAgent:
    """``agent`` itself, which from now on samples no token of less probability; the likeliest always may be taken.

    The probability is that with which the agent samples, at its own temperature.

    Args:
        agent: The teacher that writes the trajectories, played through torch.
        least: Probability, 0 to 1.

    Raises:
        TypeError: The agent is played without torch.
        ValueError: ``least`` is none.
    """
    if not isinstance(agent, TransformersAgent):
        raise TypeError(f"{type(agent).__name__} is not played through torch; expected a TransformersAgent")
    if not 0 <= least <= 1:
        raise ValueError(f"least is {least}, expected 0 to 1")
    usual = agent.choose

    def choose(rows: Sequence[int], logits: Any) -> list[int]:
        sampled = logits / agent.temperature if agent.temperature else logits
        return usual(rows, logits.masked_fill(rare(sampled, least), OUT_OF_REACH))

    agent.choose = choose  # type: ignore[method-assign]
    return agent


def rare(logits: Any, least: float = LEAST) -> Any:
    """Which tokens have less probability than ``least``, but for the likeliest.

    Args:
        logits: Tensor, shape (places, vocabulary).
        least: Probability, 0 to 1.

    Returns:
        Booleans of the same shape. A student that learns the teacher's distribution, and not what was sampled, has to
        be kept from these too.
    """
    likely = logits.softmax(-1)
    return (likely < least) & (likely < likely.amax(-1, keepdim=True))
