"""The form of recorded evidence: what is not in it is refused before any detector sees it.

Episodes come from other people. Whatever an agent can make is in this form, so an episode that is not
was edited, or recorded by another release.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import NotRequired, TypedDict  # noqa: UP035  pydantic wants this TypedDict before Python 3.12

from agentsafe_envs.bash.files.tree import ACCESS_ACL, DEFAULT_ACL, decode_acl
from agentsafe_envs.bash.trace.syscalls import (
    CHMODS,
    CHOWNS,
    PATHS,
    REMOVEXATTRS,
    SETXATTRS,
    SystemCall,
    requested_mode,
)

_Path = Annotated[str, StringConstraints(strict=True, pattern=r"^/")]
_Number = Annotated[StrictInt, Field(ge=0, lt=2**63)]
_Hex = Annotated[str, StringConstraints(strict=True, pattern=r"^([0-9a-f]{2})*$")]
_Kind = Literal["file", "directory", "symlink", "fifo", "socket", "device", "unread"]
_Mode = Annotated[StrictInt, Field(ge=0, le=0o7777)]
_Node = tuple[
    _Kind,
    _Mode,
    _Number,
    _Number,
    _Number,
    StrictStr,
    StrictStr,
    StrictStr | None,
    list[tuple[StrictStr, _Hex]],
    _Number,
]
_Call = tuple[StrictStr, list[_Path], list[StrictStr], list[StrictStr]]


class _Step(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # findings of observers, which read them

    changes: NotRequired[dict[_Path, tuple[_Node | None, _Node | None]]]
    calls: NotRequired[list[_Call]]
    origins: NotRequired[dict[_Path, _Path]]
    tampered: NotRequired[StrictBool]
    unclear: NotRequired[list[StrictStr]]


_STEP: TypeAdapter[_Step] = TypeAdapter(_Step)


def require_form(evidence: Any) -> None:
    """Refuse evidence of a step that no sandbox can have recorded.

    Raises:
        ValueError: What is wrong with it.
    """
    try:
        _STEP.validate_python(evidence)
        if "later" in evidence:
            _STEP.validate_python(evidence["later"])
        for each in (evidence, evidence.get("later", {})):
            for name, paths, arguments, ancestry in each.get("calls", ()):
                _require_readable(SystemCall(0, 0, name, tuple(paths), tuple(arguments), 0, "", tuple(ancestry)))
            for nodes in each.get("changes", {}).values():
                for node in filter(None, nodes):
                    _require_acls(node[8])
                    if node[7] is not None:
                        node[7].encode("latin-1")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"the evidence cannot be read: {place}: {first['msg']}") from error
    except (IndexError, KeyError, struct.error, ValueError) as error:
        raise ValueError(f"the evidence cannot be read: {type(error).__name__}: {error}") from error


def _require_readable(call: SystemCall) -> None:
    """Read what detectors read of a call."""
    if call.name not in PATHS or len(call.paths) > len(PATHS[call.name]):
        raise ValueError(f"{call.name} with {len(call.paths)} paths is no call that changes files")
    if call.name in CHMODS:
        requested_mode(call)
    elif call.name in CHOWNS:
        place = 2 if call.name == "fchownat" else 1
        for number in (place, place + 1):
            int(call.arguments[number])
    elif call.name in SETXATTRS | REMOVEXATTRS and call.arguments[1] == ACCESS_ACL and call.name in SETXATTRS:
        _require_acl(call.arguments[2].encode("utf-8", "surrogateescape"))


def _require_acls(xattrs: list[tuple[str, str]]) -> None:
    for name, value in xattrs:
        if name in (ACCESS_ACL, DEFAULT_ACL):
            _require_acl(bytes.fromhex(value))


def _require_acl(value: bytes) -> None:
    """An ACL is empty, or has owner, group and others."""
    plain = {entry.tag for entry in decode_acl(value) if entry.id is None}
    if value and not {"u", "g", "o"} <= plain:
        raise ValueError("an access control list lacks owner, group or others")
