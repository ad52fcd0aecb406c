"""Programs that an operator tries first work, or say why not, on the machine's own system and on the built one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsafe_envs.bash.advance import left_for_the_clock
from agentsafe_envs.bash.sandbox import rootfs
from agentsafe_envs.bash.sandbox.base import Limits
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.machine import CommandRun, Machine
from agentsafe_envs.bash.sandbox.rootfs import System
from tests.bash.conftest import LIMITS, START

LIMIT_S = 20.0
TOOLS = """acl:setfacl bc cpio crontab curl file git ip jq less lsof make nano openssl patch ps python3 rsync ss tar top
    tree unzip vi watch xxd xz zip zstd"""

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.fixture(scope="module", params=["machine", "built"])
def system(request: pytest.FixtureRequest) -> Iterator[BubblewrapBackend]:
    found = rootfs.find_system()
    if request.param == "machine":
        found = System(Path("/"), False)
    elif not found.built:
        required = "mmdebstrap" in os.environ.get("AGENTSAFE_REQUIRE", "")
        (pytest.fail if required else pytest.skip)("no system is built; run `agentsafe sandbox build`")
    backend = BubblewrapBackend(found)
    yield backend
    backend.close()


@pytest.fixture
def world(system: BubblewrapBackend) -> Iterator[Machine]:
    with Machine(system, START, LIMITS) as machine:
        yield machine


def run(machine: Machine, command: str) -> CommandRun:
    step = machine.step(command, LIMIT_S)
    assert step.result.end == "done"
    return step


@pytest.mark.parametrize(
    "command",
    [
        "su -s /bin/sh -c 'cat /srv/site/index.html' www-data",
        "su ann -c 'cat /srv/site/index.html'",
        "su - ann -c 'cat /srv/site/index.html'",
        "runuser -u www-data -- cat /srv/site/index.html",
        "setpriv --reuid www-data --regid www-data --clear-groups cat /srv/site/index.html",
        "sudo -u www-data cat /srv/site/index.html",
        "sudo -nEu ann -- cat /srv/site/index.html",
        "sudo -i -u ann cat /srv/site/index.html",
        "sudo cat /srv/site/index.html",
    ],
)
def test_root_checks_as_another_user(world: Machine, command: str) -> None:
    assert run(world, command).result.stdout == b"hello\n"
    run(world, "chmod 600 /srv/site/index.html; chown root /srv/site/index.html")
    if command != "sudo cat /srv/site/index.html":
        denied = run(world, command).result
        assert b"Permission denied" in denied.stderr
        assert denied.status


@pytest.mark.parametrize("command", ["sudo chmod 644 /srv/site/run.sh", "su -c 'chmod 600 /srv/site/run.sh'"])
def test_change_by_another_program_keeps_its_ancestry(world: Machine, command: str) -> None:
    calls = [call for call in run(world, command).calls if "chmod" in call.name]
    assert [call.paths for call in calls] == [("/srv/site/run.sh",)]
    assert calls[0].ancestry[0] == "/usr/bin/bash"
    assert calls[0].ancestry[-1] == "/usr/bin/chmod"


def test_what_another_user_does_is_traced(world: Machine) -> None:
    step = run(world, "su ann -c 'echo x > /home/ann/new; chmod 600 /home/ann/new'")
    assert "/home/ann/new" in {change.path for change in step.changes}
    assert [call.ancestry[1] for call in step.calls if "chmod" in call.name] == ["/usr/bin/su"]
    assert not step.tampered


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("su ann -c 'sudo id'", b"sudo: ann may not become root"),
        ("su ann -c 'crontab -l'", b"crontab: only root may use it here"),
        ("sudo", b"sudo: expected a command"),
        ("sudo -u nobody-of-that-name id", b"sudo: unknown user nobody-of-that-name"),
        ("sudo --chroot=/ id", b"sudo: option --chroot=/ is not known here"),
        ("sudo no-such-program", b"sudo: no-such-program: command not found"),
        ("crontab -e", b"crontab: no terminal here to edit in"),
        ("crontab -l", b"crontab: no crontab for root"),
        ("crontab -u nosuch -l", b"crontab: user nosuch is unknown"),
        ("echo bad | crontab -", b"crontab: nothing installed; this line is no job"),
        *((f"{name} /srv/x", b"no terminal here") for name in ("vi", "vim", "nano")),
    ],
)
def test_what_cannot_be_done_ends_with_a_word(world: Machine, command: str, said: bytes) -> None:
    result = run(world, command).result
    assert said in result.stderr
    assert result.status


def test_crontab_edits_what_the_clock_reads(world: Machine) -> None:
    before = world.tree
    run(world, "echo '5 4 * * * touch /srv/x' | crontab -; EDITOR='sed -i s/x/y/' crontab -e")
    assert run(world, "crontab -l").result.stdout == b"5 4 * * * touch /srv/y\n"
    assert left_for_the_clock(before, world.tree).jobs == ["touch /srv/y"]
    assert world.tree["/var/spool/cron/crontabs/root"].mode == 0o600
    run(world, "crontab -r; echo '@daily true' > /tmp/t; crontab -u ann /tmp/t")
    assert left_for_the_clock(before, world.tree).jobs == []
    assert world.tree["/var/spool/cron/crontabs/ann"].uid == 1000


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("less -N +F /etc/hostname", b"host\n"),
        ("cat /etc/hostname | more", b"host\n"),
        ("watch -n 1 -d echo once", b"once\n"),
        ("tail -n 1 /etc/hosts", b"127.0.1.1\thost\n"),
        ("tail -1f /etc/hosts", b"127.0.1.1\thost\n"),
        ("seq 9 | tail -n2", b"8\n9\n"),
        ("top | grep -c Tasks", b"1\n"),
    ],
)
def test_program_for_a_terminal_prints_once_and_ends(world: Machine, command: str, said: bytes) -> None:
    assert run(world, command).result.stdout == said


def test_text_is_utf_8(world: Machine) -> None:
    assert run(
        world, "locale charmap; printf é | wc -m; touch /srv/é; ls /srv; printf 'b\\nA\\n' | sort"
    ).result.stdout == ("UTF-8\n1\ncurrent\nsite\né\nA\nb\n".encode())


def test_processes_of_several_users_together_are_limited(system: BubblewrapBackend) -> None:
    limits = Limits(processes=12, command_s=LIMIT_S)
    with Machine(system, START, limits) as machine:
        sleepers = "for i in 1 2 3 4 5 6 7; do setpriv --reuid $user sleep 60 & done"
        assert machine.step(f"for user in 2000 2001 2002; do {sleepers}; done; wait").result.end == "processes"
        assert machine.step("echo back").result.stdout == b"back\n"


def test_memory_mapped_by_another_user_is_seen(world: Machine) -> None:
    run(world, "chmod 666 /srv/site/run.sh")
    program = "import mmap\nf = open('/srv/site/run.sh', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nm[0:1] = b'!'"
    step = run(world, f'su ann -c "{quoted(program)}"')
    assert [change.path for change in step.changes] == ["/srv/site/run.sh"]


def quoted(program: str) -> str:
    return 'python3 -c \\"' + program.replace("\n", "; ") + '\\"'


def test_built_system_has_what_tasks_invite(system: BubblewrapBackend, world: Machine) -> None:
    if not system.system.built:
        pytest.skip("the machine's own system has what its owner installed")
    for name in TOOLS.split():
        program = name.rpartition(":")[2]
        assert run(world, f"command -v {program}").result.stdout, program
    seconds = run(world, "TIMEFORMAT='%U %S'; time du -sh / 2>&-").result.stderr
    assert sum(map(float, seconds.split())) < 0.5  # of processor time, whoever else uses the machine
