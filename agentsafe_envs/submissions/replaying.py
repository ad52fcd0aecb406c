"""Playing submitted episodes again, here, and saying in what they differ.

In the cloud an episode is judged by playing its actions, so judging is replaying, and everything must be the same.
In the Bash world commands run again in the sandbox. What must be the same there is what they did; :func:`masked_step`
says what may differ.
"""

from __future__ import annotations

import posixpath
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from types import FrameType
from typing import Any

from agentsafe_envs import registration
from agentsafe_envs.bash.equivalence import equivalent
from agentsafe_envs.bash.files.start import start_tree
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey, Step
from agentsafe_envs.core.judge import Verdict
from agentsafe_envs.core.spaces import sanitise_text
from agentsafe_envs.core.transition import Reply
from agentsafe_envs.runs.judging import JudgedEpisode, judge_episode, verdict_entry
from agentsafe_envs.submissions.checking import Replayed

CHUNK = 10
"""Episodes that a worker gets at a time."""


def replay_all(
    episodes: Mapping[EpisodeKey, Episode], workers: int, on_progress: Callable[[int, int], None]
) -> dict[EpisodeKey, Replayed]:
    """What becomes of each episode.

    Args:
        episodes: By key.
        workers: Processes that replay; with 1, this one.
        on_progress: Called with the number of episodes replayed and of all.
    """
    keys = list(episodes)
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    found: dict[EpisodeKey, Replayed] = {}

    def take(chunk: Sequence[EpisodeKey], results: Sequence[Replayed]) -> None:
        found.update(zip(chunk, results, strict=True))
        on_progress(len(found), len(keys))

    if workers == 1:
        for chunk in chunks:
            take(chunk, _replay_chunk([episodes[key] for key in chunk]))
    else:
        executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_be_deaf)
        try:
            pending = {executor.submit(_replay_chunk, [episodes[key] for key in chunk]): chunk for chunk in chunks}
            for future in as_completed(pending):
                take(pending[future], future.result())
        finally:
            executor.shutdown(cancel_futures=True)
    return {key: found[key] for key in keys}


def replay_episode(episode: Episode) -> Replayed:
    """Judge an episode and play it again; nothing that it holds raises."""
    try:
        judged = judge_episode(episode)
    except EpisodeError as error:
        return Replayed(None, difference=str(error))
    except Exception as error:  # noqa: BLE001  evidence of a stranger that no detector was made for
        return Replayed(None, difference=f"it cannot be judged: {type(error).__name__}: {error}")
    if registration.find(episode.environment).world == "cloud":
        if any(step.evidence is not None for step in episode.steps):
            return Replayed(judged, difference="a step of the cloud world holds evidence, which it never records")
        return Replayed(judged)
    try:
        registration.replay(episode)
    except EpisodeError:
        return _explain(judged)
    except SandboxError as error:
        return Replayed(judged, unchecked=str(error))
    return Replayed(judged)


def _explain(judged: JudgedEpisode) -> Replayed:
    """Why an episode of the Bash world does not replay to the letter."""
    episode = judged.episode
    try:
        again = play_again(episode)
    except SandboxError as error:
        return Replayed(judged, unchecked=str(error))
    world, bias = registration.resolve(episode.environment)
    known = set(start_tree(world.redraw(bias, episode).setup.start))
    masked: set[str] = set()
    for number, (then, now) in enumerate(zip(episode.steps, again.steps, strict=True)):
        if then.result != now.result:
            masked.add("text")
        if not equivalent(then.evidence, now.evidence, known):
            if masked_step(then.evidence, known) != masked_step(now.evidence, known):
                return Replayed(judged, difference=f"step {number} has another effect here than was recorded")
            masked.add("content of files that it made")
        known.update((now.evidence or {}).get("changes", ()))
    if (again.terminated, again.success) != (episode.terminated, episode.success):
        return Replayed(judged, difference="it ends otherwise here than was recorded")
    if _counted(judge_episode(again).verdict) != _counted(judged.verdict):
        return Replayed(judged, difference="its verdict is another one here")
    return Replayed(judged, masked=" and ".join(sorted(masked)))


def play_again(episode: Episode) -> Episode:
    """The episode that comes of the same actions here.

    Raises:
        EpisodeError: Its task is another one in this release.
        SandboxError: The sandbox failed.
    """
    world, bias = registration.resolve(episode.environment)
    task = world.redraw(bias, episode)
    running = world.start(task)
    try:
        steps: list[Step] = []
        reply = Reply("")
        for step in episode.steps:
            reply = running.act(step.action)
            steps.append(Step(step.action, sanitise_text(reply.result), reply.evidence))
            if reply.submitted:
                break
        if steps and not reply.submitted:
            steps[-1] = steps[-1]._replace(evidence=running.advance(steps[-1].evidence))
        success = reply.submitted and world.succeeded(task, running.state, reply.answer)
        return episode._replace(steps=tuple(steps), terminated=reply.submitted, success=success)
    finally:
        running.close()


def masked_step(evidence: Any, known: set[str]) -> Any:
    """What a step of the Bash world must do in every replay: which paths it changed, to which kind, rights and owner.

    Masked are names below a folder that were not there before, the content that the agent made, and the system
    calls on the way; a clock, a process number or chance decides those. The verdict must be the same all the same.
    """
    if not isinstance(evidence, dict):
        return evidence
    changes = sorted(
        [path if path in known else posixpath.dirname(path), _masked_node(before), _masked_node(after)]
        for path, (before, after) in evidence.get("changes", {}).items()
    )
    return [changes, bool(evidence.get("tampered")), masked_step(evidence.get("later"), known)]


def _masked_node(node: Any) -> str:
    return "none" if node is None else str(node[:4])


def _counted(verdict: Verdict) -> Any:
    entry = verdict_entry(verdict)
    harms = [(harm["kind"], harm["step"]) for harm in entry["harms"]]
    return {**entry, "harms": sorted(harms, key=str), "unclear": len(entry["unclear"])}


def _replay_chunk(episodes: Sequence[Episode]) -> list[Replayed]:
    return [replay_episode(episode) for episode in episodes]


def _be_deaf() -> None:
    """Ctrl-C reaches every process of a terminal; the parent ends its workers by cancelling what waits."""
    signal.signal(signal.SIGINT, _ignore)  # a handler and not SIG_IGN, which sandboxed programs would inherit


def _ignore(number: int, frame: FrameType | None) -> None:
    """What a deaf worker does with Ctrl-C."""
