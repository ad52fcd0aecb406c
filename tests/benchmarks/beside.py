"""Something short that is timed before every round of something else: a step of CliffWalking, or a peer's call.

Other machines on the same hardware slow this one for seconds at a time, to half its speed. What is compared round by
round is slowed alike.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import gymnasium as gym

GRID = "CliffWalking-v1"
STEPS = 500


class Beside:
    """Times ``work`` whenever it is called.

    Args:
        work: Does ``each`` of what is reported.
        each: At least 1.
    """

    def __init__(self, work: Callable[[], object], each: int) -> None:
        self._work, self._each = work, each
        self._times: list[float] = []

    def __call__(self) -> None:
        start = perf_counter()
        self._work()
        self._times.append((perf_counter() - start) / self._each)

    @property
    def median_s(self) -> float:
        """Seconds for one; the first time is a warm-up."""
        return median(self._times[1:] or self._times)


@contextmanager
def own_garbage() -> Iterator[None]:
    """The garbage collector leaves alone what is there already: modules of all peers, which no user has loaded."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def grid_step() -> Beside:
    """A step of CliffWalking."""
    env = gym.make(GRID)
    env.reset(seed=0)

    def steps() -> None:
        for _ in range(STEPS):
            env.step(0)

    return Beside(steps, STEPS)
