"""What happened in one episode: serialisable, and chained so that an edit shows.

Try it::

    python -c "import gymnasium as gym, agentsafe_envs; env = gym.make('DeleteBiasAPI-v0'); \
               env.reset(seed=7); print(env.unwrapped.episode.to_json()[:400])"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from agentsafe_envs.core.notebook import html_table

if TYPE_CHECKING:
    import gymnasium as gym

SCHEMA_VERSION = 1
"""Bumped when an episode written by an older release can no longer be read."""

EVIDENCE_NESTING = 60
"""Levels of lists and objects in an episode: actions are text, and evidence has fewer than ten."""

MOST_VALUES = 5_000_000
"""In an episode, counted as often as they stand in it; the longest line of a submission holds fewer."""

MOST_CHARACTERS = 1 << 26
"""In an episode, counted likewise."""

MAX_NUMBER_BITS = 1_024
"""Of a whole number in an episode; Python writes none that is much longer."""

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class EpisodeError(ValueError):
    """An episode that cannot be believed: altered, incomplete, or of another release."""


class EpisodeKey(NamedTuple):
    """Names one scored episode: the unit of resume, sharding and pairing.

    Attributes:
        environment: Registered id, for instance ``"DeleteBiasAPI-v0"``.
        split: ``"safe"``, ``"ambiguous"``, ``"required"`` or ``"forbidden"``.
        seed: Task seed, ``>= 0``; it fixes template, values and start state.
        trial: Repetition of the same task, ``>= 0``.
    """

    environment: str
    split: str
    seed: int
    trial: int = 0


class Step(NamedTuple):
    """One action and what the world answered.

    Attributes:
        action: The agent's text, as it came.
        result: The observation's ``result`` after it.
        evidence: What the world recorded of it, in plain JSON types; None where a replay tells as much.
    """

    action: str
    result: str
    evidence: Any = None

    def recorded(self) -> dict[str, Any]:
        """The fields as they are stored; a step without evidence has no such field."""
        return {name: value for name, value in self._asdict().items() if name != "evidence" or value is not None}


class Episode(NamedTuple):
    """A task and every step taken in it.

    Attributes:
        environment: Registered id.
        split: Split the task was drawn from.
        pool: Pool the task was drawn from.
        seed: Task seed.
        toolset: ``"bias"`` or ``"full"``, the tools the agent was offered.
        task_digest: SHA-256 of instruction, tools and start state; a replay on a
            release whose task differs is refused instead of misjudged.
        steps: In order.
        terminated: The agent submitted; otherwise it was cut off or is still running.
        success: The task's own check at the end; False unless terminated.
    """

    environment: str
    split: str
    pool: str
    seed: int
    toolset: str
    task_digest: str
    steps: tuple[Step, ...]
    terminated: bool
    success: bool

    @classmethod
    def of(cls, env: gym.Env[Any, Any]) -> Episode:
        """The episode that an environment of this package holds, wrapped or not.

        Raises:
            TypeError: Another environment.
            ResetNeeded: Nothing has begun.
        """
        bare = getattr(env, "unwrapped", env)
        found = getattr(bare, "episode", None)
        if not isinstance(found, cls):
            raise TypeError(
                f"{type(bare).__name__} holds no episode, expected an Episode or an environment of agentsafe_envs"
            )
        return found

    def chain(self) -> list[str]:
        """SHA-256 hex digests, one for the header and one a step, each over its predecessor."""
        header = [SCHEMA_VERSION, self._replace(steps=()), len(self.steps)]
        digest = hashlib.sha256(_encode(header).encode()).hexdigest()
        digests = [digest]
        for step in self.steps:
            digest = hashlib.sha256(_encode([digest, list(step.recorded().values())]).encode()).hexdigest()
            digests.append(digest)
        return digests

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``from_dict`` reads it back."""
        header, *links = self.chain()
        return {
            "schema_version": SCHEMA_VERSION,
            **self._asdict(),
            "steps": [{**step.recorded(), "sha256": link} for step, link in zip(self.steps, links, strict=True)],
            "sha256": header,
        }

    def to_json(self) -> str:
        """One line of ASCII JSON with sorted keys, so equal episodes are equal bytes."""
        return _encode(self.to_dict())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Episode:
        """Read an episode and check its hash chain.

        Raises:
            EpisodeError: A field is missing or unknown, the schema is another one, the evidence is nested too
                deep or holds a number too long, or the chain does not match the content.
        """
        if not isinstance(data, dict):
            raise EpisodeError(f"expected a JSON object, got {type(data).__name__}")
        _require_bounded(data)
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise EpisodeError(
                f"episode has schema_version {version!r}, expected {SCHEMA_VERSION}; use the release that wrote it"
            )
        _require(data, _HEADER_TYPES, "the episode")
        for number, step in enumerate(data["steps"]):
            _require(step, _STEP_TYPES, f"step {number}", optional="evidence")
        recorded = [data["sha256"], *(step["sha256"] for step in data["steps"])]
        episode = cls(**{name: data[name] for name in cls._fields})._replace(
            steps=tuple(Step(step["action"], step["result"], step.get("evidence")) for step in data["steps"])
        )
        for number, (link, expected) in enumerate(zip(recorded, episode.chain(), strict=True)):
            if link != expected:
                place = "header" if number == 0 else f"step {number - 1}"
                raise EpisodeError(f"hash chain breaks at the {place}: the episode was edited after it was recorded")
        return episode

    def _repr_html_(self) -> str:
        end = "submitted" if self.terminated else "not submitted"
        done = "task done" if self.success else "task not done"
        title = f"{self.environment}, split {self.split}, pool {self.pool}, seed {self.seed}: {end}, {done}"
        lines = [(number, step.action, step.result) for number, step in enumerate(self.steps)]
        return html_table(title, ("step", "action", "result"), lines)

    @classmethod
    def from_json(cls, text: str) -> Episode:
        """Inverse of :meth:`to_json`; raises :class:`EpisodeError` like :meth:`from_dict`."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EpisodeError(f"not JSON: {error}") from error
        return cls.from_dict(data)


def require_plain(episode: Episode) -> None:
    """Refuse fields and steps that are of another type than :meth:`Episode.from_dict` would have given them.

    Raises:
        EpisodeError: One of them is.
    """
    fields = {name: getattr(episode, name) for name in Episode._fields}
    _require(fields, {name: _HEADER_TYPES[name] for name in fields} | {"steps": tuple}, "the episode")
    for number, step in enumerate(episode.steps):
        if not isinstance(step, Step) or type(step.action) is not str or type(step.result) is not str:
            raise EpisodeError(f"step {number} is no Step of a text and a text")


def require_last(episode: Episode, number: int) -> None:
    """Refuse a submission at step ``number`` that is not the last step.

    Raises:
        EpisodeError: Further steps follow, which no environment would have taken.
    """
    if number < len(episode.steps) - 1:
        raise EpisodeError(f"step {number + 1} comes after the submission, which ends an episode")


def digest(parts: Iterable[Any]) -> str:
    """SHA-256 hex digest of JSON-able ``parts``, independent of dict order."""
    return hashlib.sha256(_encode(list(parts)).encode()).hexdigest()


_HEADER_TYPES = {
    "schema_version": int,
    "environment": str,
    "split": str,
    "pool": str,
    "seed": int,
    "toolset": str,
    "task_digest": str,
    "steps": list,
    "terminated": bool,
    "success": bool,
    "sha256": str,
}
_STEP_TYPES = {"action": str, "result": str, "sha256": str}


def _require_bounded(data: Any) -> None:
    """Refuse what no encoder or replay could stand; looks without recursion, since that is what it guards."""
    level = [data]
    seen = characters = 0
    for _ in range(EVIDENCE_NESTING):
        if not level:
            return
        seen += len(level)
        below: list[Any] = []
        for each in level:
            # Before anything is copied: a list that is in a dict a thousand times is one list in memory.
            if isinstance(each, dict | list | tuple) and seen + len(below) + len(each) > MOST_VALUES:
                raise EpisodeError(f"holds too many values; expected at most {MOST_VALUES:,}")
            characters += len(each) if isinstance(each, str) else 0
            if isinstance(each, dict):
                characters += sum(len(key) for key in each if isinstance(key, str))
            if characters > MOST_CHARACTERS:
                raise EpisodeError(f"holds too much text; expected at most {MOST_CHARACTERS:,} characters")
            if isinstance(each, dict):
                if not all(isinstance(key, str) for key in each):
                    raise EpisodeError("a field's name is no text; expected plain JSON")
                below += each.values()
            elif isinstance(each, list | tuple):
                below += each
            elif isinstance(each, int) and each.bit_length() > MAX_NUMBER_BITS:
                raise EpisodeError(f"a number is too long; expected at most {MAX_NUMBER_BITS} bits")
            elif each is not None and not isinstance(each, str | int | float):
                raise EpisodeError(f"holds a {type(each).__name__}; expected plain JSON")
        level = below
    raise EpisodeError(f"lists and objects are nested too deep; expected at most {EVIDENCE_NESTING} levels")


def _require(found: Any, types: dict[str, type], place: str, optional: str = "") -> None:
    """Refuse a ``found`` that has not exactly the fields ``types``, each of its type; ``optional`` may be there."""
    if not isinstance(found, dict):
        raise EpisodeError(f"{place} is a {type(found).__name__}, expected an object with {', '.join(types)}")
    wrong = [name for name in types.keys() | found.keys() - {optional} if type(found.get(name)) is not types.get(name)]
    if wrong:
        raise EpisodeError(f"{place} has wrong or unknown fields {sorted(wrong)}; expected those of Episode.to_dict()")
