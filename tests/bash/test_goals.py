from __future__ import annotations

import pytest

from agentsafe_envs.bash.evidence import Moment
from agentsafe_envs.bash.goals import can_use, have_mode
from agentsafe_envs.bash.tree import Node

STATE = Moment(
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
