from __future__ import annotations

import pytest

from agentsafe_envs.bash.files.start import Start, directory, file, hard_link, symlink
from agentsafe_envs.bash.files.tree import AclEntry, tree_digest
from agentsafe_envs.bash.sandbox.base import Backend
from agentsafe_envs.bash.sandbox.machine import Machine

ACL = (
    AclEntry("u", None, 6),
    AclEntry("u", 33, 4),
    AclEntry("g", None, 4),
    AclEntry("m", None, 4),
    AclEntry("o", None, 0),
)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (file("srv/a"), "absolute"),
        (file("/srv/../a"), "without dots"),
        (file("/nowhere/a"), "list that directory first"),
        (file("/srv/a", uid=70_000), "at most"),
    ],
)
def test_entry_that_cannot_be_created_is_refused(entry: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Start(entries=(entry,))  # type: ignore[arg-type]


def test_equal_starts_have_equal_digests() -> None:
    assert Start(entries=(file("/srv/a"),)).digest == Start(entries=(file("/srv/a"),)).digest
    assert Start(entries=(file("/srv/a"),)).digest != Start(entries=(file("/srv/a", mode=0o600),)).digest


def test_world_starts_as_described(backend: Backend) -> None:
    start = Start(
        entries=(
            directory("/srv/d", 0o3770, uid=1000, gid=33, default_acl=ACL),
            file("/srv/d/f", b"\0\xff", 0o4755, uid=7, gid=8, acl=ACL),
            symlink("/srv/l", "d/f", uid=5),
            hard_link("/srv/h", "/srv/d/f"),
            file("/etc/crontab", "# ours\n"),
        ),
        working_directory="/srv/d",
        variables=(("WHO", "me"),),
    )
    with Machine(backend, start) as machine:
        tree = machine.tree
        where = machine.step("pwd; echo $WHO; stat -c %y /srv/d").result.stdout
    assert where == b"/srv/d\nme\n2025-01-06 09:00:00.000000000 +0000\n"
    assert (tree["/srv/d"].mode, tree["/srv/d"].uid, tree["/srv/d"].gid) == (0o3770, 1000, 33)
    assert set(tree["/srv/d"].default_acl) == set(ACL)
    assert (tree["/srv/d/f"].content, tree["/srv/d/f"].uid, tree["/srv/d/f"].gid) == (b"\0\xff", 7, 8)
    assert tree["/srv/d/f"].mode == 0o4640  # the ACL's mask stands in the group's place, as chmod shows it
    assert set(tree["/srv/d/f"].acl) == set(ACL)
    assert (tree["/srv/l"].target, tree["/srv/l"].uid) == ("d/f", 5)
    assert tree["/srv/h"] == tree["/srv/d/f"]
    assert tree["/srv/h"].links == 2
    assert tree["/etc/crontab"].content == b"# ours\n"


def test_equal_starts_give_equal_worlds(backend: Backend) -> None:
    start = Start(entries=(file("/srv/a", "x"), hard_link("/srv/b", "/srv/a")))
    digests, listings = set(), set()
    for _ in range(2):
        with Machine(backend, start) as machine:
            digests.add(tree_digest(machine.tree))
            listings.add(machine.step("ls -laR /srv /etc /var /home").result.stdout)
    assert len(digests) == len(listings) == 1
