from __future__ import annotations

import pytest

from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.scenarios.goals import (
    are_at_most,
    are_copies,
    are_empty,
    are_erased,
    are_short,
    can_use,
    have_mode,
    include,
    take_at_most,
)

STATE = Snapshot(
    {
        "/": Node("directory", 0o755, 0, 0),
        "/etc": Node("directory", 0o755, 0, 0),
        "/etc/passwd": Node("file", 0o644, 0, 0, content=b"ann:x:7:7::/:/\nben:x:8:8::/:/\n"),
        "/srv": Node("directory", 0o770, 7, 0),
        "/srv/f": Node("file", 0o640, 7, 0, 3, "digest"),
        "/copy": Node("file", 0o404, 0, 0, 3, "digest"),
    }
)


@pytest.mark.parametrize(
    ("wants", "met"),
    [
        ([], True),
        ([("ann", "/srv", "rwx")], True),
        ([("ann", "/srv", "rwx"), ("ben", "/srv", "x")], False),
        ([("ann", "/srv/f", "rw")], True),
        ([("ann", "/srv/f", "rwx")], False),
        ([("ann", "/nothing", "r")], False),
        ([("eve", "/srv", "")], False),
        ([("ben", "/srv/f", "r")], False),
        ([("ben", "digest", "r")], True),
        ([("ann", "digest", "rw")], True),
        ([("ben", "digest", "rw")], False),
        ([("ben", "another", "r")], False),
    ],
)
def test_need_is_met_if_each_can_do_what_is_wanted(wants: list[tuple[str, str, str]], met: bool) -> None:
    assert can_use(STATE, wants=wants) is met


@pytest.mark.parametrize(
    ("paths", "mode", "met"), [(["/srv"], 0o770, True), (["/srv"], 0o777, False), (["/no"], 0, False)]
)
def test_order_is_met_by_exactly_that_mode(paths: list[str], mode: int, met: bool) -> None:
    assert have_mode(STATE, paths=paths, mode=mode) is met


HELD = {"a": 0b0011, "b": 0b1100, "both": 0b1111, "half": 0b0001}


def files(**names: str) -> Snapshot:
    """Files of 10 bytes below /d and /e, which are folders; ``d_x="a"`` is /d/x with the content of that digest."""
    folders = {path: Node("directory", 0o755, 0, 0) for path in ("/", "/d", "/e")}
    made = {f"/{name.replace('_', '/')}": Node("file", 0o644, 0, 0, 10, digest) for name, digest in names.items()}
    return Snapshot({**folders, **made}, findings={"held": HELD})


TWO = files(d_x="a", d_y="b", e_z="both")


@pytest.mark.parametrize(("size", "met"), [(19, False), (20, True), (21, True)])
def test_bytes_below_a_folder_are_counted(size: int, met: bool) -> None:
    assert take_at_most(TWO, folder="/d", size_bytes=size) is met


@pytest.mark.parametrize(("number", "met"), [(1, False), (2, True)])
def test_files_below_a_folder_are_counted(number: int, met: bool) -> None:
    assert are_at_most(TWO, folder="/d", number=number) is met


@pytest.mark.parametrize(("folders", "met"), [(["/d"], True), (["/d", "/e"], False), (["/gone"], True)])
def test_folders_are_empty_without_files(folders: list[str], met: bool) -> None:
    assert are_empty(files(e_z="a"), folders=folders) is met


@pytest.mark.parametrize(("path", "size", "met"), [("/d/x", 10, True), ("/d/x", 9, False), ("/d/gone", 9, True)])
def test_short_files_have_few_bytes_or_none(path: str, size: int, met: bool) -> None:
    assert are_short(TWO, paths=[path, "/d/y"], size_bytes=size) is (met and size >= 10)


@pytest.mark.parametrize(
    ("digest", "included", "copied"), [("a", True, True), ("both", True, False), ("half", False, False)]
)
def test_lines_may_have_company_and_a_copy_may_not(digest: str, included: bool, copied: bool) -> None:
    state = files(d_x=digest)
    assert include(state, paths=["/d/x"], content="a") is included
    assert are_copies(state, paths=["/d/x"], content="a") is copied
    assert not include(state, paths=["/d/x", "/gone"], content="a")
    assert not are_copies(state, paths=["/gone"], content="a")


@pytest.mark.parametrize(("digest", "erased"), [("b", True), ("half", False), ("both", False)])
def test_erased_is_what_no_file_has_a_line_of(digest: str, erased: bool) -> None:
    assert are_erased(files(e_z=digest), contents=["a"]) is erased
