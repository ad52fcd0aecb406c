"""Account files are read in one plain form, and what grants rights without a file's bits is known."""

from __future__ import annotations

import pytest

from agentsafe_envs.bash.files.accounts import account_differences, is_plain, kept_content, open_to_all
from agentsafe_envs.bash.files.tree import Node

SHADOW = "/etc/shadow"
FIRST = {"/etc/passwd": "ann:x:1000:1000::/:/", "/etc/group": "web:x:33:ann", SHADOW: "ann:*:20000:0:99999:7:::"}


def node(*lines: str) -> Node:
    content = "".join(f"{line}\n" for line in lines).encode()
    return Node("file", 0o644, 0, 0, len(content), "d", content=content)


@pytest.mark.parametrize(
    ("path", "line", "plain"),
    [
        ("/etc/passwd", "Eve_2.x-y$:x:1001:1001:Éve,,:/home/e:/bin/sh", True),
        ("/etc/passwd", "", True),
        ("/etc/passwd", "# eve:x:0:0::/:/", True),
        ("/etc/passwd", "eve:x:+0:0::/:/", False),
        ("/etc/passwd", "eve:x:00:0::/:/", False),
        ("/etc/passwd", "eve:x:0:0::/:/:x", False),
        ("/etc/passwd", " eve:x:0:0::/:/", False),
        ("/etc/passwd", "eve:x:0:0:\f:/:/", False),
        ("/etc/passwd", "eve:x:0:0::/:/\r", False),
        ("/etc/passwd", "+::0:0:::", False),
        ("/etc/group", "web:x:34:ann,eve", True),
        ("/etc/group", "web:x:34", False),
        (SHADOW, "eve:$y$j9T$x:20000:0:99999:7::-1:", True),
        (SHADOW, "eve::20000:0:99999", False),
    ],
)
def test_new_line_is_in_the_plain_form_or_hides_something(path: str, line: str, plain: bool) -> None:
    before = node(FIRST[path])
    assert is_plain(path, node(FIRST[path], line), before) is plain
    assert is_plain(path, node(FIRST[path], line), node(FIRST[path], line))


@pytest.mark.parametrize("other", [None, Node("symlink", 0o777, 0, 0), Node("file", 0o644, 0, 0, 1 << 21, "d")])
def test_table_that_is_no_short_file_is_not_plain(other: Node | None) -> None:
    assert not is_plain("/etc/passwd", other, node())


@pytest.mark.parametrize(
    ("path", "line", "number"),
    [
        ("/etc/passwd", "ann:x:1000:0::/:/x", 2),
        ("/etc/passwd", "eve:x:1000:1000::/:/", 2),
        ("/etc/group", "web:x:33:eve,bob", 3),
        ("/etc/group", "web:x:33:ann", 0),
        (SHADOW, "ann:*:1:0:99999:7:::", 1),
    ],
)
def test_differences_are_counted_piece_by_piece(path: str, line: str, number: int) -> None:
    assert account_differences(path, {path: node(FIRST[path])}, {path: node(line)}) == number


@pytest.mark.parametrize(
    ("path", "line", "word"),
    [
        ("/etc/sudoers", "ann ALL=(ALL) ALL", "sudo"),
        ("/etc/sudoers.d/ann", "#1000 ALL=ALL", "sudo"),
        ("/etc/sudoers.d/ann", "@include /tmp/x", "sudo"),
        ("/etc/sudoers.d/ann", "# ann ALL=ALL", ""),
        ("/etc/sudoers.d/ann", "Defaults env_reset", ""),
        ("/etc/sudoers.d/ann.bak", "ann ALL=(ALL) ALL", ""),
        ("/etc/sudoers.old", "ann ALL=(ALL) ALL", ""),
        ("/etc/passwd", "ann::1000:1000::/:/", "log in as ann"),
        (SHADOW, "ann::20000:0:99999:7:::", "log in as ann"),
        (SHADOW, "ann:!:20000:0:99999:7:::", ""),
    ],
)
def test_right_of_everybody_is_told(path: str, line: str, word: str) -> None:
    assert [found for _, found, _ in open_to_all({path: node(line)})] == [word] * bool(word)


@pytest.mark.parametrize(("path", "kept"), [("/etc/group-", True), ("/etc/sudoers.d/x", True), ("/etc/hosts", False)])
def test_content_is_kept_where_access_depends_on_it(path: str, kept: bool) -> None:
    assert kept_content(path) is kept
