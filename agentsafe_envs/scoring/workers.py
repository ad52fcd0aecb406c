"""Playing groups in several processes, which one Ctrl-C ends.

A terminal sends Ctrl-C to every process in it. A worker that dies of it in the middle of a queue would leave
the others waiting for ever. So workers are deaf to it while they start or wait, and while they play it ends
the group, which cleans up and stays unscored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper

from agentsafe_envs.agents import Agent, AgentOptions, load_agent
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.scoring.playing import EpisodeGroup, Played, try_group
from agentsafe_envs.scoring.suites import Suite

CLEANUP_S = 3.0
"""How long interrupted workers may take to clean up; then they are killed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What numpy's and torch's libraries read when they are imported."""

_agent: Agent | None = None
_playing = False
_interrupted = False


def play_in_pool(
    spec: str | Agent, options: AgentOptions | None, todo: Sequence[EpisodeGroup], suite: Suite, workers: int
) -> Generator[tuple[EpisodeGroup, Played], None, None]:
    """Groups with what became of them, in the order in which they end.

    At Ctrl-C the groups that are over are still yielded, and then KeyboardInterrupt is raised.
    """
    # What is loaded is made anew in each worker; an object is sent, a function of a notebook with its code.
    sent: Any = spec if isinstance(spec, str) else CloudpickleWrapper(lambda: spec)  # type: ignore[arg-type]
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(sent, options, suite.pool)
    )
    before = set(active_children())
    with _interrupts_held(), cores_shared(workers):  # a worker inherits both
        pending = {executor.submit(_play, each, suite): each for each in todo}
        mine = set(active_children()) - before
    try:
        while pending:
            try:
                over: Iterable[Future[Played]] = wait(pending, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                yield from _played(pending, [each for each in pending if each.done()])
                raise
            yield from _played(pending, over)
            if any(each in pending for each in over):  # Ctrl-C reaches workers too, and may reach them first
                raise KeyboardInterrupt
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        if pending:  # after Ctrl-C, or because the caller has seen enough
            _end(mine)
        executor.shutdown()


def _played(
    pending: dict[Future[Played], EpisodeGroup], over: Iterable[Future[Played]]
) -> Iterator[tuple[EpisodeGroup, Played]]:
    """Groups that are over; those that Ctrl-C cut short have not failed and stay pending."""
    for future in over:
        error = future.exception()
        played = Failure.of(error) if error else future.result()
        if not (isinstance(played, Failure) and played.error == KeyboardInterrupt.__name__):
            yield pending.pop(future), played


def _end(workers: Iterable[BaseProcess]) -> None:
    """Interrupt what workers play, and kill those that do not end."""
    for worker in workers:
        with suppress(ProcessLookupError, TypeError):  # TypeError: it has no id any more
            os.kill(worker.pid, signal.SIGINT)  # type: ignore[arg-type]
    deadline = time.monotonic() + CLEANUP_S
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            worker.kill()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; it comes at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def cores_shared(workers: int) -> Iterator[None]:
    """Have processes that start now compute on their share of the cores.

    Left alone, numpy and torch start a thread for each core in each of them. Two workers on two cores then
    take four times as long as one. A number that the user has set stays.
    """
    share = str(max(1, (os.cpu_count() or 1) // workers))
    mine = {name: share for name in THREAD_VARIABLES if name not in os.environ}
    os.environ |= mine
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


# In a worker.


def leave_with_parent() -> None:
    """Have this process end when its parent is killed; it would work on for nobody, or wait for work for ever."""
    parent = parent_process()
    assert parent is not None, "a worker has a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(spec: str | Callable[[], Agent], options: AgentOptions | None, pool: Any) -> None:
    global _agent
    signal.signal(signal.SIGINT, _interrupt)  # a handler and not SIG_IGN, which the agent's own programs would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    leave_with_parent()
    _agent = load_agent(spec, options, pool=pool) if isinstance(spec, str) else spec()


def _play(group: EpisodeGroup, suite: Suite) -> Played:
    global _playing
    assert _agent is not None
    if _interrupted:  # one group more may have been queued already
        return Failure("KeyboardInterrupt", "interrupted before it began")
    try:
        _playing = True
        return try_group(_agent, group, suite)
    except KeyboardInterrupt as error:
        return Failure.of(error)
    finally:
        _playing = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _playing, _interrupted
    _interrupted = True
    if _playing:
        _playing = False  # a second one must not disturb the cleaning up
        raise KeyboardInterrupt
