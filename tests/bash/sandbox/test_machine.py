from __future__ import annotations

import os
import time

import pytest

from agentsafe_envs.bash.files.start import Start, file
from agentsafe_envs.bash.files.tree import KEPT_CONTENT_BYTES, tree_digest
from agentsafe_envs.bash.sandbox.base import Backend, Limits, SandboxError
from agentsafe_envs.bash.sandbox.machine import Machine


def aspects(machine: Machine, command: str) -> dict[str, set[str]]:
    return {change.path: set(change.aspects) for change in machine.step(command).changes}


PAGE = "/srv/site/index.html"


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (f"echo more >> {PAGE}", {PAGE: {"content"}}),
        (f"truncate -s 1 {PAGE}", {PAGE: {"content"}}),
        (f"chmod 600 {PAGE}", {PAGE: {"mode"}}),
        (f"chown ann {PAGE}", {PAGE: {"owner"}}),
        (f"chgrp team {PAGE}", {PAGE: {"group"}}),
        (f"setfacl -m u:ann:r {PAGE}", {PAGE: {"acl"}}),
        ("setfacl -d -m g:team:rwx /srv/site", {"/srv/site": {"acl"}}),
        (f"ln {PAGE} /srv/h", {PAGE: {"links"}, "/srv/h": {"created"}}),
        (f"mv {PAGE} /srv/m", {PAGE: {"removed"}, "/srv/m": {"created"}}),
        (f"rm {PAGE}", {PAGE: {"removed"}}),
        ("ln -sfn /etc /srv/current", {"/srv/current": {"target", "identity"}}),
        ("mkfifo /srv/p", {"/srv/p": {"created"}}),
        (f"cp {PAGE} /tmp/c; mv /tmp/c {PAGE}", {PAGE: {"identity", "owner", "group"}}),
        ("umask 0; : > /srv/open", {"/srv/open": {"created"}}),
        ("mkdir -m 1777 /srv/t", {"/srv/t": {"created"}}),
        ("usermod -aG team www-data", {f"/etc/{name}": {"content", "identity"} for name in ("group", "gshadow")}
         | {f"/etc/{name}": {"created"} for name in (".pwd.lock", "group-", "gshadow-")}),
        ("cat /srv/site/index.html; ls -R /srv; touch /srv/site/index.html", {}),
        ("echo x > /dev/null; echo y > /proc/self/comm", {}),
        ("echo x > /dev/shm/f", {"/dev/shm/f": {"created"}}),
        ("echo x > /usr/local/bin/f", {"/usr/local/bin/f": {"created"}}),
    ],
)  # fmt: skip
def test_change_is_seen_by_what_it_is(machine: Machine, command: str, changes: dict[str, set[str]]) -> None:
    assert aspects(machine, command) == changes


def test_each_sandbox_has_one_processor_and_they_take_turns(backend: Backend) -> None:
    seen = []
    for _ in os.sched_getaffinity(0):
        with Machine(backend, Start([])) as machine:
            processors, core = machine.step(
                "nproc; awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status"
            ).result.stdout.split()
        assert processors == b"1"
        seen.append(core)
    assert len(set(seen)) == len(seen)


def test_no_two_things_have_one_inode_one_after_the_other(machine: Machine) -> None:
    seen: dict[int, str] = {}
    for number in range(30):
        machine.step(f"rm -rf /srv/n*; mkdir /srv/n{number}; for i in 1 2 3; do echo > /srv/n{number}/$i; done")
        for path, node in machine.tree.items():
            assert seen.setdefault(node.inode, path) == path or node.links > 1


def test_user_attributes_are_seen(machine: Machine) -> None:
    changes = aspects(machine, "python3 -c \"import os; os.setxattr('/srv/site/run.sh', 'user.a', b'1')\"")
    assert changes in ({"/srv/site/run.sh": {"xattrs"}}, {})  # {}: before Linux 6.6 tmpfs has none


def test_nothing_is_read_again_after_a_command_that_changes_nothing(machine: Machine) -> None:
    step = machine.step("echo; cd /srv; ls -la /srv/site | grep html")
    assert step.after is step.before


def test_write_to_a_file_that_the_shell_holds_open_is_seen(machine: Machine) -> None:
    assert aspects(machine, "exec 7>/srv/log") == {"/srv/log": {"created"}}
    assert aspects(machine, "echo one >&7") == {"/srv/log": {"content"}}
    assert aspects(machine, "true") == {}
    assert aspects(machine, "echo two >&7; exec 7>&-") == {"/srv/log": {"content"}}
    step = machine.step("true")
    assert step.after is step.before


def test_write_by_a_background_process_is_seen_in_the_step_in_which_it_happens(machine: Machine) -> None:
    job = "(exec 8>>/srv/log; while read x; do echo $x >&8; done < <(sleep 0.4; echo late)) &"
    assert aspects(machine, f"{job} sleep 0.2") == {"/srv/log": {"created"}}
    assert aspects(machine, "wait") == {"/srv/log": {"content"}}


def test_write_through_a_mapping_is_seen_though_it_changes_no_time(machine: Machine) -> None:
    code = f"import mmap, time; f = open('{PAGE}', 'r+b'); view = mmap.mmap(f.fileno(), 0); view[0] = view[0]"
    later = "time.sleep(0.8); view[0] = 65; time.sleep(60)"
    assert aspects(machine, f'python3 -c "{code}; {later}" & sleep 0.4') == {}
    assert aspects(machine, "sleep 1") == {PAGE: {"content"}}


def test_shell_leaves_as_at_the_end_of_a_session_when_it_is_settled(machine: Machine) -> None:
    machine.step("trap 'touch /srv/left; sleep 99' EXIT")
    assert [change.path for change in machine.advance().changes] == ["/srv/left"]


def test_shell_that_ends_its_process_group_when_it_leaves_is_settled(machine: Machine) -> None:
    machine.step("trap 'touch /srv/left; kill 0' EXIT")
    assert [change.path for change in machine.advance().changes] == ["/srv/left"]


def test_own_looks_at_files_leave_no_access_time(machine: Machine) -> None:
    machine.step("true")
    assert machine.step("stat -c %X /etc/passwd; cat /etc/passwd >&2").result.stdout == b"1736154000\n"
    assert machine.step("stat -c %X-%Y /etc/passwd").result.stdout == b"1736154000-1736154000\n"


def test_settling_ends_what_still_runs_and_tells_what_it_did(machine: Machine) -> None:
    machine.step("(sleep 0.1; chmod 600 /srv/site/index.html; sleep 50) & sleep 0")
    time.sleep(0.4)
    step = machine.advance()
    assert [(change.path, change.aspects) for change in step.changes] == [(PAGE, {"mode"})]
    assert [call.paths for call in step.calls if call.name == "fchmodat"] == [(PAGE,)]
    assert machine.step("echo /proc/[0-9]*").result.stdout == b"/proc/1 /proc/2\n"


def test_two_changes_of_one_size_in_one_tick_are_both_seen(machine: Machine) -> None:
    assert aspects(machine, "printf a > /srv/f") == {"/srv/f": {"created"}}
    for letter in "bcdefgh":
        assert aspects(machine, f"printf {letter} > /srv/f") == {"/srv/f": {"content"}}


def test_forged_times_hide_nothing(machine: Machine) -> None:
    machine.step("sleep 0.2")
    command = f"touch -r {PAGE} /tmp/t; printf 'HELLO\\n' > {PAGE}; touch -r /tmp/t {PAGE}"
    assert aspects(machine, command)[PAGE] == {"content"}


def test_large_file_is_known_by_its_digest_only(backend: Backend) -> None:
    size = KEPT_CONTENT_BYTES + 1
    with Machine(backend, Start(entries=(file("/srv/big", b"x" * size),))) as machine:
        assert (machine.tree["/srv/big"].content, machine.tree["/srv/big"].size) == (None, size)
        assert aspects(machine, f"printf y | dd of=/srv/big bs=1 seek={size - 1} conv=notrunc status=none") == {
            "/srv/big": {"content"}
        }


def test_equal_commands_give_equal_results_and_worlds(backend: Backend) -> None:
    commands = (
        "cd /srv; git init -q r; cd r; git config user.email a@b; git config user.name a; echo x > f; "
        "git add f; git commit -qm m",
        "git log --format='%H %ad'; ls -laR --time-style=+ /srv | grep -v index; env | sort; id; locale",
        "find / -xdev -newer /etc/passwd -type f 2>/dev/null | grep -v ^/proc | sort | head -50; "
        "seq 5 | sort -r; date -r /etc/passwd",
    )
    runs = []
    for _ in range(2):
        with Machine(backend, Start(), Limits()) as machine:
            runs.append([machine.step(command).result for command in commands])
            kept = {path: node for path, node in machine.tree.items() if not path.endswith("/.git/index")}
            runs[-1].append(tree_digest(kept))  # type: ignore[arg-type]  # git's index holds times
    assert runs[0] == runs[1]


def test_machine_may_be_closed_twice_and_is_gone(backend: Backend) -> None:
    machine = Machine(backend, Start())
    machine.close()
    machine.close()
    with pytest.raises(SandboxError):
        machine.sandbox.read_tree()


def test_worlds_do_not_see_each_other(backend: Backend) -> None:
    with Machine(backend, Start()) as one, Machine(backend, Start()) as other:
        one.step("echo secret > /srv/f; sleep 30 &")
        assert other.step("ls /srv; echo /proc/[0-9]*").result.stdout == b"/proc/1 /proc/2\n"
        assert one.step("cat /srv/f").result.stdout == b"secret\n"
