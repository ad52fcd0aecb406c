"""Why an episode is unscored: what was raised, where, and whether playing on can help."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import NamedTuple, Self

MOST_PLACES = 30
"""Frames that are kept, the innermost ones."""


class Failure(NamedTuple):
    """What kept an episode from being scored; it can be sent between processes, which errors cannot.

    Attributes:
        error: Name of the error's type.
        message: Its text.
        places: Where it was raised, ``"<file>:<line> in <function>"``, outermost first: the places of what
            caused it come last, so the last one in a file of the caller's own is the line to look at.
        hopeless: It would fail again however often it is tried: a wrong key, a model that is not there.
    """

    error: str
    message: str
    places: tuple[str, ...] = ()
    hopeless: bool = False

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """What ``error`` and its causes tell."""
        causes = list(_causes(error))
        places = tuple(
            f"{frame.filename}:{frame.lineno} in {frame.name}"
            for each in causes
            for frame in traceback.extract_tb(each.__traceback__)
        )
        hopeless = any(bool(getattr(each, "hopeless", False)) for each in causes)
        return cls(type(error).__name__, str(error), places[-MOST_PLACES:], hopeless)

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what caused it, each once."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
