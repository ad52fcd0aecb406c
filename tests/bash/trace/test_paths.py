from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.trace.paths import Links, Location, Names
from agentsafe_envs.bash.trace.syscalls import SystemCall

Call = tuple[str, ...]


def after(*calls: Call) -> Names:
    names = Names()
    for name, *paths in calls:
        names.follow(name, paths, ("RENAME_EXCHANGE",) if name == "exchange" else ("0",))
    return names


@pytest.mark.parametrize(
    ("calls", "path", "old"),
    [
        ((), "/a/b", "/a/b"),
        ((), "/", "/"),
        ([("rename", "/a", "/x")], "/x", "/a"),
        ([("rename", "/a", "/x")], "/x/b/c", "/a/b/c"),
        ([("rename", "/a", "/x")], "/xx", "/xx"),
        ([("rename", "/a", "/x"), ("rename", "/x", "/a")], "/a/b", "/a/b"),
        ([("rename", "/a/b", "/a/c"), ("rename", "/a", "/x")], "/x/c", "/a/b"),
        ([("link", "/f", "/a/n"), ("rename", "/a", "/x")], "/x/n", "/f"),
        ([("link", "/f", "/n"), ("unlink", "/f")], "/n", "/f"),
        ([("link", "/f", "/n"), ("rename", "/f", "/n")], "/f", "/f"),
        ([("mkdir", "/a"), ("chmod", "/a")], "/a", "/a"),
    ],
)
def test_old_name_is_told(calls: list[Call], path: str, old: str) -> None:
    assert after(*calls).old(path) == old


@pytest.mark.parametrize(
    ("calls", "path"),
    [
        ([("rename", "/a", "/x")], "/a"),
        ([("rename", "/a", "/x")], "/a/b"),
        ([("unlink", "/a")], "/a"),
        ([("rmdir", "/a")], "/a/b"),
        ([("symlink", "/a")], "/a"),
        ([("link", "/f", "/n"), ("unlink", "/n")], "/n"),
    ],
)
def test_what_comes_to_be_where_something_was_is_new(calls: list[Call], path: str) -> None:
    assert after(*calls).old(path).startswith("\0")


def test_new_things_are_told_apart() -> None:
    names = after(("unlink", "/a"), ("unlink", "/b"))
    assert names.old("/a") != names.old("/b")


def test_exchange_renames_both() -> None:
    names = Names()
    names.follow("renameat2", ["/a", "/b/c"], ("AT_FDCWD", "a", "AT_FDCWD", "b/c", "RENAME_EXCHANGE"))
    assert (names.old("/a/x"), names.old("/b/c/y"), names.old("/b")) == ("/b/c/x", "/a/y", "/b")


def test_renamed_things_below_are_told() -> None:
    names = after(("link", "/f", "/a/b/n"), ("rename", "/a/b", "/x"))
    assert [path for path in ("/", "/a", "/x", "/x/n", "/b") if names.named_below(path)] == ["/a", "/x"]


def test_place_knows_what_it_is_called() -> None:
    names = Names()
    place = names.thing_at("/a/b")
    assert place.path == "/a/b"
    names.follow("rename", ["/a", "/x"])
    assert place.path == "/x/b"
    names.follow("rename", ["/x/b", "/y"])
    assert place.path == "/y"
    assert names.old("/y") == "/a/b"


NAMES = st.sampled_from(("a", "b", "c"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ACTS = st.tuples(st.sampled_from(("rename", "link", "unlink", "rmdir", "mkdir", "create")), PATHS, PATHS)


@given(st.lists(ACTS, max_size=12))
def test_old_names_are_those_that_a_real_file_system_gave(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Call]
) -> None:
    root = tmp_path_factory.mktemp("names")
    for path in ("a/a/a", "a/b", "b/a/c", "c/b/a"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    with ExitStack() as held:
        first = seen(root)
        for path in first:  # or the file system could use their inodes again
            held.callback(os.close, os.open(root / path[1:], os.O_RDONLY))
        names = Names()
        for name, one, other in acts:
            paths = [one, other] if name in ("rename", "link") else [one]
            try:
                act(name, *(os.path.join(root, path) for path in paths))
            except OSError:
                continue
            names.follow(name, [f"/{path}" for path in paths])
        for path, inode in seen(root).items():
            olds = {old for old, each in first.items() if each == inode}
            found = names.old(path)
            way = names.walk("")
            for name in path.split("/")[1:]:
                way = way.below(name)
            assert way == names.walk(path)
            assert found in olds if olds else found not in first


def seen(root: Path) -> dict[str, int]:
    """Inodes by path."""
    return {"/" + path.relative_to(root).as_posix(): path.stat().st_ino for path in sorted(root.rglob("*"))}


def act(name: str, *paths: str) -> None:
    if name == "create":
        Path(paths[0]).open("x").close()
    else:
        getattr(os, name)(*paths)


TREE = {"/now": Node("symlink", 0o777, 0, 0, target="srv"), "/srv": Node("directory", 0o755, 0, 0)}


def call(name: str, *paths: str, target: str = "", error: str = "") -> SystemCall:
    return SystemCall(0, 0, name, paths, (target, "0"), 0, error, ())


def test_links_are_followed_as_they_are_when_they_are_used() -> None:
    links = Links(TREE)
    assert links.resolved(call("chmod", "/now/x"), [None]).paths == ("/srv/x",)
    links.resolved(call("rename", "/now", "/then"), [None, None])
    links.resolved(call("symlink", "/now", target="/tmp"), [None])
    assert links.resolved(call("chmod", "/now/x"), [None]).paths == ("/tmp/x",)
    assert links.resolved(call("chmod", "/then/x"), [None]).paths == ("/srv/x",)


def test_call_that_failed_changes_no_link() -> None:
    links = Links(TREE)
    links.resolved(call("unlink", "/now", error="EACCES"), [None])
    assert links.resolved(call("chmod", "/now"), [None]).paths == ("/srv",)


@pytest.mark.parametrize(("path", "found"), [("x", "/b/x"), ("", "/b"), ("../now/x", "/srv/x"), ("../b/./../x", "/x")])
def test_place_is_known_by_what_it_is_called_now(path: str, found: str) -> None:
    links, place = Links(TREE), Location("/srv/a")
    links.enter(place)
    links.resolved(call("rename", "/srv/a", "/b"), [None, None])
    assert links.resolved(call("chmod", path), [place]).paths == (found,)
    links.leave()
    assert place.path == "/b"
