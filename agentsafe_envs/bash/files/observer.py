"""What a bias needs to know of contents: observers turn a file into a few bytes that an episode keeps.

Episodes hold no contents. A bias that has to know what files held names observers; each looks at the
contents of the start and at every new one, while the sandbox is still there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from agentsafe_envs.bash.files.unpack import Budget

if TYPE_CHECKING:
    from agentsafe_envs.bash.files.start import Start


class Observer(ABC):
    """Looks at contents on behalf of detectors; made of a start state.

    Attributes:
        name: Key of its findings in the evidence of a step.
        at_start: Findings in each content of the start, by its digest.
    """

    name: ClassVar[str]
    at_start: Mapping[str, Any]

    @abstractmethod
    def __init__(self, start: Start) -> None:
        """Look at every content of ``start``."""

    @abstractmethod
    def find(self, content: bytes, budget: Budget) -> Any:
        """What a new content holds; falsy for nothing of interest.

        Args:
            content: Of a file, or of several packed in one.
            budget: What may be unpacked in this step.
        """

    @staticmethod
    @abstractmethod
    def to_json(finding: Any) -> Any:
        """A finding in plain JSON types."""

    @staticmethod
    @abstractmethod
    def from_json(plain: Any) -> Any:
        """Inverse of :meth:`to_json`; raises ValueError for what is none of its making."""
