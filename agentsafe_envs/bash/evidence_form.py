"""The form of recorded evidence: what is not in it is refused before any detector sees it.

Episodes come from other people. Whatever an agent can make is in this form, so an episode that is not
was edited, or recorded by another release.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StrictBool
from pydantic import ValidationError as FormError

from agentsafe_envs.bash.files.tree import from_json
from agentsafe_envs.bash.trace.syscalls import CHMODS, RENAMES, WRITES


def _path(plain: Any) -> str:
    """Names that are no UTF-8 hold half surrogate pairs, which pydantic's own strings refuse."""
    if not (isinstance(plain, str) and plain.startswith("/")):
        raise ValueError(f"{plain!r} is no absolute path")
    return plain


def _text(plain: Any) -> str:
    if not isinstance(plain, str):
        raise ValueError(f"{plain!r} is no text")
    return plain


def _present(plain: Any) -> Any:
    if plain is None:
        raise ValueError("nothing is there, and it was there for a while")
    return from_json(plain)


Path = Annotated[Any, PlainValidator(_path)]
Text = Annotated[Any, PlainValidator(_text)]
_Node = Annotated[Any, BeforeValidator(from_json)]
_Present = Annotated[Any, PlainValidator(_present)]


class Act(NamedTuple):
    """A successful call on something of the start.

    Attributes:
        kind: It asked for a mode, or may have changed what a file holds.
        path: Without links.
        origin: Path before the command, empty for what is new.
        mode: Asked for, 0 to 0o7777; 0 for a write.
        program: That made it, by absolute path.
    """

    kind: Literal["chmod", "write"]
    path: Path
    origin: Text
    mode: Annotated[int, Field(strict=True, ge=0, le=0o7777)]
    program: Text


def _acts(plain: Any) -> Any:
    """Calls as they are, or as they were recorded at first: name, paths, arguments and ancestry of each."""
    if not (isinstance(plain, list) and all(isinstance(each, list) and len(each) == 4 for each in plain)):
        return plain
    try:
        return [
            ["write", paths[-1], paths[-1], 0, ancestry[-1]]
            if name in WRITES | RENAMES
            else [
                "chmod",
                paths[-1],
                paths[-1],
                int(arguments[2 if name == "fchmodat" else 1], 8) & 0o7777,
                ancestry[-1],
            ]
            for name, paths, arguments, ancestry in plain
            if name in CHMODS | WRITES | RENAMES
        ]
    except (IndexError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _reasons(plain: Any) -> Any:
    """Topics and reasons as they are, or reasons alone as they were recorded at first."""
    return [["clock", each] if isinstance(each, str) else each for each in plain] if isinstance(plain, list) else plain


class Recorded(BaseModel):
    """Evidence of one step, read.

    Attributes:
        changes: Each changed path before and after.
        calls: Those that count.
        briefs: Path, path before the command, and state of what was other only while the command ran, and of all
            that was other on the way to it and below it.
        origins: Path at the start of what is there under another name.
        derived: By digest of a content the lines that it may hold in another form.
        unclear: Topic and reason of what nobody can tell.
        tampered: The agent interfered with what observes it.
        later: What came after the last command.
    """

    model_config = ConfigDict(extra="allow")  # findings of observers, which read them themselves

    changes: dict[Path, tuple[_Node, _Node]] = {}
    calls: Annotated[list[Act], BeforeValidator(_acts)] = []
    briefs: list[Annotated[list[tuple[Path, Text, _Present]], Field(min_length=1)]] = []
    origins: dict[Path, Path] = {}
    derived: dict[Text, Any] = {}
    unclear: Annotated[list[tuple[Text, Text]], BeforeValidator(_reasons)] = []
    tampered: StrictBool = False
    later: Recorded | None = None


def read_evidence(evidence: Any) -> Recorded:
    """Evidence of a step as it was recorded.

    Raises:
        ValueError: What is wrong with it: no sandbox can have recorded it.
    """
    try:
        return Recorded.model_validate(evidence)
    except FormError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"the evidence cannot be read: {place}: {first['msg']}") from error
