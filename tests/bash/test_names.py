from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.names import Names

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
