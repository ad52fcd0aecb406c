from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.files.tree import (
    AclEntry,
    Change,
    Node,
    decode_acl,
    encode_acl,
    follow_links,
    tree_changes,
    tree_digest,
)

FILE = Node("file", 0o644, 0, 0, 1, "aa", content=b"x", inode=5)
TREE = {
    "/": Node("directory", 0o755, 0, 0),
    "/a": Node("directory", 0o755, 0, 0),
    "/a/b": FILE,
    "/link": Node("symlink", 0o777, 0, 0, target="a"),
    "/up": Node("symlink", 0o777, 0, 0, target="/a/../a/b"),
    "/loop": Node("symlink", 0o777, 0, 0, target="loop"),
}

entries = st.builds(AclEntry, st.sampled_from("ug"), st.none() | st.integers(0, 65_533), st.integers(0, 7)) | st.builds(
    AclEntry, st.sampled_from("mo"), st.none(), st.integers(0, 7)
)


@given(st.lists(entries, unique_by=lambda entry: entry[:2]))
def test_acl_survives_the_kernels_form(acl: list[AclEntry]) -> None:
    assert set(decode_acl(encode_acl(acl))) == set(acl)


def test_acl_of_nothing_is_empty() -> None:
    assert decode_acl(b"") == ()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a/b", "/a/b"),
        ("/link/b", "/a/b"),
        ("/link/../up", "/a/b"),
        ("/a/./b/", "/a/b"),
        ("/link/new", "/a/new"),
        ("/../..", "/"),
        ("//a", "/a"),
    ],
)
def test_resolved_path_has_no_links_and_dots(path: str, target: str) -> None:
    assert follow_links(TREE, path) == target


def test_link_to_itself_ends() -> None:
    assert follow_links(TREE, "/loop") == "/loop"


def test_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute"):
        follow_links(TREE, "a")


@given(st.text(alphabet="/.abluopink", max_size=40))
def test_resolving_always_ends_at_an_absolute_path(text: str) -> None:
    found = follow_links(TREE, "/" + text)
    assert found.startswith("/")
    assert ".." not in found.split("/")


@pytest.mark.parametrize(
    ("change", "aspect"),
    [
        ({"mode": 0o600}, "mode"),
        ({"uid": 1}, "owner"),
        ({"gid": 1}, "group"),
        ({"digest": "bb"}, "content"),
        ({"inode": 6}, "identity"),
        ({"links": 2}, "links"),
        ({"kind": "fifo"}, "kind"),
        ({"xattrs": (("user.a", b"1"),)}, "xattrs"),
        ({"xattrs": (("system.posix_acl_access", encode_acl([AclEntry("o", None, 7)])),)}, "acl"),
    ],
)
def test_difference_names_what_changed(change: dict[str, object], aspect: str) -> None:
    after = TREE | {"/a/b": FILE._replace(**change)}
    assert [(each.path, each.aspects) for each in tree_changes(TREE, after)] == [("/a/b", {aspect})]


def test_difference_names_what_came_and_went() -> None:
    after = {path: node for path, node in TREE.items() if path != "/a/b"} | {"/c": FILE}
    assert tree_changes(TREE, after) == (
        Change("/a/b", FILE, None, frozenset({"removed"})),
        Change("/c", None, FILE, frozenset({"created"})),
    )


def test_digest_of_a_tree_does_not_depend_on_inode_numbers() -> None:
    assert tree_digest(TREE) == tree_digest(TREE | {"/a/b": FILE._replace(inode=77)})
    assert tree_digest(TREE) != tree_digest(TREE | {"/a/b": FILE._replace(mode=0)})


def test_digest_of_a_tree_tells_which_names_share_a_file() -> None:
    one, other = FILE._replace(links=2, inode=1), FILE._replace(links=2, inode=2)
    paired = {"/1": one, "/2": one, "/3": other, "/4": other}
    crossed = {"/1": one, "/2": other, "/3": one, "/4": other}
    assert tree_digest(paired) != tree_digest(crossed)
