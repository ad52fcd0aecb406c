from __future__ import annotations

import pytest

from agentsafe_envs.bash.files.accounts import UnixUser
from agentsafe_envs.bash.files.start import Start, file
from agentsafe_envs.bash.files.tree import KEPT_CONTENT_BYTES, tree_digest
from agentsafe_envs.bash.sandbox.base import Backend
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.bash.sandbox.prebuild import prebuild

SCRIPT = """set -e
groupadd -g 2000 team && usermod -aG team ann
mkdir -p /srv/shop/data; cd /srv/shop
git init -q -b main . && git config user.name a && git config user.email a@b
for i in 1 2 3; do echo $i > f$i; git add .; git commit -qm "step $i"; done; git read-tree HEAD
ln f1 hard; ln -s f2 soft; printf '\\0\\377' > 'odd
name'
chown -R ann data; chmod 3770 data; setfacl -d -m u:ann:rwx data; chmod 700 /root/.. ; chmod 755 /
"""
BASE = Start(users=(UnixUser("ann", 1000, 1000),), entries=(file("/srv/kept", "kept"),), variables=(("A", "b"),))


def test_baked_world_is_the_one_that_the_script_left(backend: Backend) -> None:
    baked = prebuild(backend, BASE, SCRIPT)
    with Machine(backend, BASE) as machine:
        assert machine.step(SCRIPT).result.status == 0
        expected = tree_digest(machine.tree)
    with Machine(backend, baked) as machine:
        assert tree_digest(machine.tree) == expected
        said = machine.step(
            "cd /srv/shop; git status --short; git log --format=%s; id -nG ann; cat /srv/kept; echo $A"
        ).result
    log = b"step 3\nstep 2\nstep 1\n"
    assert said.stdout == b'?? hard\n?? "odd\\nname"\n?? soft\n' + log + b"1000 team\nkeptb\n"


def test_baking_twice_gives_equal_starts(backend: Backend) -> None:
    assert prebuild(backend, BASE, "echo x > /srv/f").digest == prebuild(backend, BASE, "echo x > /srv/f").digest


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo oops >&2; exit 3", "status 3: oops"),
        ("false", "status 1"),
        ("rm /etc/hostname", "removed /etc/hostname"),
        ("mkfifo /srv/p", "is a fifo"),
        (f"head -c {KEPT_CONTENT_BYTES + 1} /dev/zero > /srv/big", f"{KEPT_CONTENT_BYTES + 1} bytes"),
    ],
)
def test_what_cannot_be_baked_is_refused(backend: Backend, script: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        prebuild(backend, BASE, script)


def test_own_entry_replaces_the_systems(backend: Backend) -> None:
    with Machine(backend, Start(entries=(file("/etc/hostname", "shop\n", 0o600),))) as machine:
        node = machine.tree["/etc/hostname"]
    assert (node.content, node.mode) == (b"shop\n", 0o600)
