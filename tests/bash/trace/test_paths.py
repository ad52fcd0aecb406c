"""Files while calls name and change them, against a real file system too."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.files.tree import Node, Tree
from agentsafe_envs.bash.trace.paths import MOST_LOOKUPS, Files, Process
from agentsafe_envs.bash.trace.syscalls import SystemCall

Call = tuple[str, ...]


def node(kind: str = "file", mode: int = 0o644, target: str = "", inode: int = 0, links: int = 1) -> Node:
    return Node(kind, mode, 0, 0, target=target, inode=inode, links=links)


TREE: Tree = {
    "/": node("directory"),
    "/a": node("directory"),
    "/a/b": node("directory"),
    "/a/b/c": node(),
    "/f": node(),
    "/srv": node("directory"),
    "/now": node("symlink", target="srv"),
}


def call(name: str, *paths: str, target: str = "", mode: str = "") -> SystemCall:
    arguments = (target, "0") if name == "symlink" else (*paths, mode or "0")
    return SystemCall(0, 0, name, paths, arguments, ())


def done(files: Files, *calls: SystemCall) -> Files:
    """After calls that succeeded."""
    for each in calls:
        files.apply(each, [files.find(path, follow=each.follows_last_link) for path in each.paths])
    return files


def after(*calls: Call, tree: Tree = TREE) -> Files:
    named = (each if each[0] != "exchange" else ("renameat2", *each[1:]) for each in calls)
    made = [call(*each) for each in named]
    exchanged = [
        each._replace(arguments=("RENAME_EXCHANGE",)) if old[0] == "exchange" else each
        for old, each in zip(calls, made, strict=True)
    ]
    return done(Files(tree), *exchanged)


def origin(files: Files, path: str) -> str | None:
    """What was called so before the first call; None for something new, empty for nothing."""
    place = files.find(path, follow=False).place
    return "" if place is None else place.origin


@pytest.mark.parametrize(
    ("calls", "path", "old"),
    [
        ((), "/a/b", "/a/b"),
        ([("rename", "/a", "/x")], "/x", "/a"),
        ([("rename", "/a", "/x")], "/x/b/c", "/a/b/c"),
        ([("rename", "/a", "/x"), ("rename", "/x", "/a")], "/a/b", "/a/b"),
        ([("rename", "/a/b", "/a/d"), ("rename", "/a", "/x")], "/x/d", "/a/b"),
        ([("link", "/f", "/a/n"), ("rename", "/a", "/x")], "/x/n", "/f"),
        ([("link", "/f", "/n"), ("unlink", "/f")], "/n", "/f"),
        ([("link", "/f", "/n"), ("rename", "/f", "/n")], "/f", "/f"),
        ([("exchange", "/a", "/f")], "/f/b", "/a/b"),
        ([("exchange", "/a", "/f")], "/a", "/f"),
        ([("rename", "/a", "/x")], "/a", ""),
        ([("unlink", "/f")], "/f", ""),
        ([("unlink", "/f"), ("creat", "/f")], "/f", None),
        ([("rename", "/a", "/x"), ("mkdir", "/a")], "/a/b", ""),
        ([("symlink", "/x")], "/x", None),
    ],
)
def test_old_name_is_told(calls: list[Call], path: str, old: str | None) -> None:
    assert origin(after(*calls), path) == old


def test_place_knows_what_it_is_called() -> None:
    files = Files(TREE)
    place = files.find("/a/b").place
    assert place is not None
    for one, other, path in (("/a", "/x", "/x/b"), ("/x/b", "/y", "/y")):
        done(files, call("rename", one, other))
        assert (place.path, place.origin) == (path, "/a/b")
    done(files, call("rmdir", "/y"))
    assert files.whereabouts(place) == ""


def test_place_without_its_last_name_is_told_by_its_first() -> None:
    files = after(("link", "/f", "/n"), ("unlink", "/n"))
    place = files.find("/f").place
    assert place is not None
    assert files.whereabouts(place) == "/f"


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
        files = Files({"/": node("directory"), **{path: node(*kind_of(root, path)) for path in first}})
        for name, one, other in acts:
            paths = [one, other] if name in ("rename", "link") else [one]
            try:
                act(name, *(os.path.join(root, path) for path in paths))
            except OSError:
                continue
            done(files, call("creat" if name == "create" else name, *(f"/{path}" for path in paths)))
        for path, inode in seen(root).items():
            olds = {old for old, each in first.items() if each == inode}
            found = origin(files, path)
            assert found in olds if olds else found is None


def kind_of(root: Path, path: str) -> tuple[str]:
    return ("directory" if (root / path[1:]).is_dir() else "file",)


def seen(root: Path) -> dict[str, int]:
    """Inodes by path."""
    return {"/" + path.relative_to(root).as_posix(): path.stat().st_ino for path in sorted(root.rglob("*"))}


def act(name: str, *paths: str) -> None:
    if name == "create":
        Path(paths[0]).open("x").close()
    else:
        getattr(os, name)(*paths)


def test_links_are_followed_as_they_are_when_they_are_used() -> None:
    files = Files(TREE)
    assert files.find("/now/x").path == "/srv/x"
    done(files, call("rename", "/now", "/then"), call("symlink", "/now", target="/tmp"))
    assert files.find("/now/x").path == "/tmp/x"
    assert files.find("/then/x").path == "/srv/x"


@pytest.mark.parametrize(("path", "found"), [("x", "/y/x"), ("", "/y"), ("../now/x", "/srv/x"), ("../y/./../x", "/x")])
def test_path_is_relative_to_a_place_under_the_name_that_it_has(path: str, found: str) -> None:
    files = Files(TREE)
    base = files.find("/a/b")
    done(files, call("rename", "/a/b", "/y"))
    assert files.find(path, base).path == found


@pytest.mark.parametrize("path", ["/proc/7/cwd/x", "/proc/7/fd/3", "/dev/stdin", "/usr/share/../x", "/gone\0"])
def test_way_through_what_some_process_has_is_unclear(path: str) -> None:
    assert Files(TREE).find(path).unclear


def test_endless_links_end() -> None:
    assert Files({**TREE, "/l": node("symlink", target="l")}).find("/l/x").path == "/l/x"


def test_rights_are_followed_and_told_with_what_is_other_around() -> None:
    files = after(("rename", "/a", "/x"))
    done(files, call("chmod", "/x", mode="0700"), call("chmod", "/x/b/c", mode="0600"))
    place = files.find("/x/b/c").place
    assert place is not None
    found = {path: each.node.mode for path, each in files.around(place).items() if each.node}
    assert found == {"/x/b/c": 0o600, "/x/b": 0o644, "/x": 0o700}


def test_names_of_one_file_have_one_mode() -> None:
    two = {path: node(inode=7, links=2) for path in ("/f", "/g")}
    files = done(Files({**TREE, **two}), call("chmod", "/f", mode="0600"))
    found = files.find("/g").place
    assert found is not None
    assert found.node is not None
    assert found.node.mode == 0o600


def ran(begun: int = 0, ended: int | None = None, shell: bool = False) -> Process:
    return Process(Files(TREE).find("/"), begun=begun, ended=ended, shell=shell)


@pytest.mark.parametrize(
    ("reader", "writer", "sources"),
    [
        (ran(1, 9), ran(2), {"/f"}),
        (ran(1, 2), ran(3), set()),
        (ran(3), ran(1, 2), set()),
        (ran(1), ran(shell=True), set()),
        (ran(shell=True), ran(7), {"/f"}),
    ],
)
def test_what_ran_at_one_time_may_have_told_the_other(reader: Process, writer: Process, sources: set[str]) -> None:
    files = after(("creat", "/n"))
    read, written = files.find("/f").place, files.find("/n").place
    assert read is not None
    assert written is not None
    files.reads[reader] = {read}
    written.writers.add(writer)
    assert files.sources(written.writers) == sources


def test_chain_of_files_may_be_long_without_being_looked_up_for_each() -> None:
    files, process = Files(TREE), ran()
    files.reads[process] = {place for place in [files.find("/f").place] if place}
    for number in range(3_000):
        done(files, call("creat", f"/n{number}"))
        place = files.find(f"/n{number}").place
        assert place is not None
        place.writers.add(process)
        files.reads[process].add(place)
    assert files.sources([process]) == {"/f"}
    assert files.lookups < MOST_LOOKUPS / 10


def test_what_is_below_a_folder_may_be_deep() -> None:
    files = Files(TREE)
    paths = ["/deep" + "/d" * depth for depth in range(1_500)]
    done(files, *(call("mkdir", path, mode="0700") for path in paths), call("rename", "/deep", "/srv/deep"))
    place = files.find("/srv/deep").place
    assert place is not None
    assert next(iter(files.around(place))) == "/srv/deep"
    assert f"/srv{paths[-1]}" in files.around(place)


@pytest.mark.parametrize("name", ["rename", "link", "exchange"])
def test_race_that_seems_to_put_a_folder_into_itself_makes_no_circle(name: str) -> None:
    files = after(("symlink", "/l"), (name, "/a", "/a/b/new"))
    assert files.find("/a/b/new/..").path in ("/a/b", "/")
    for path in ("/", "/a", "/a/b", "/a/b/new"):
        place = files.find(path).place
        assert place is None or len([*place.folders()]) < 5
