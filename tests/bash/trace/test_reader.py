from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.sandbox.machine import CommandRun, Machine
from agentsafe_envs.bash.trace.reader import TraceReader
from agentsafe_envs.bash.trace.syscalls import SystemCall

SHELL, CHMOD = "/usr/bin/bash", "/usr/bin/chmod"
TREE = {"/": Node("directory", 0o755, 0, 0), "/now": Node("symlink", 0o777, 0, 0, target="srv")}


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape"))


def line(process: int, text: str) -> str:
    """One line as strace writes it; <...> and "..." are put into hexadecimal."""
    parts = text.split("`")
    return f"{process} " + "".join(hexed(part) if place % 2 else part for place, part in enumerate(parts)) + "\n"


BEGIN = line(10, f'execve("`{SHELL}`", ["`bash`"], 0x7f /* 9 vars */) = 0')


def read(*lines: str, reader: TraceReader | None = None) -> tuple[SystemCall, ...]:
    reader = reader or TraceReader("/root", TREE)
    reader.feed(BEGIN.encode())
    reader.feed("".join(lines).encode())
    return reader.take()


@pytest.mark.parametrize(
    ("text", "name", "paths", "arguments"),
    [
        ('chmod("`a b`", 0777) = 0', "chmod", ("/root/a b",), ("a b", "0777")),
        ('fchmodat(AT_FDCWD<`/srv`>, "`x`", 0700) = 0', "fchmodat", ("/srv/x",), ("AT_FDCWD", "x", "0700")),
        ('fchmodat(3<`/tmp`>, "`x`", 0700) = 0', "fchmodat", ("/tmp/x",), ("3", "x", "0700")),
        ("fchmod(3<`/srv/x`>, 0700) = 0", "fchmod", ("/srv/x",), ("3", "0700")),
        (
            'fchownat(AT_FDCWD<`/`>, "", 5, -1, AT_EMPTY_PATH) = 0',
            "fchownat",
            ("/",),
            ("AT_FDCWD", "", "5", "-1", "AT_EMPTY_PATH"),
        ),
        ('rename("`/now/a`", "`b`") = 0', "rename", ("/srv/a", "/root/b"), ("/now/a", "b")),
        (
            'renameat2(AT_FDCWD<`/srv`>, "`a`", 4<`/tmp`>, "`b`", 0) = 0',
            "renameat2",
            ("/srv/a", "/tmp/b"),
            ("AT_FDCWD", "a", "4", "b", "0"),
        ),
        ('symlink("`../x`", "`/now`") = 0', "symlink", ("/now",), ("../x", "/now")),
        ('symlinkat("`../x`", AT_FDCWD<`/srv`>, "`l`") = 0', "symlinkat", ("/srv/l",), ("../x", "AT_FDCWD", "l")),
        ('unlinkat(AT_FDCWD<`/`>, "`now`", 0) = 0', "unlinkat", ("/now",), ("AT_FDCWD", "now", "0")),
        ('chmod("`/now`", 0) = 0', "chmod", ("/srv",), ("/now", "0")),
        (
            'setxattr("`/x`", "`user.a`", "`b\0c`"..., 3, 0) = 0',
            "setxattr",
            ("/x",),
            ("/x", "user.a", "b\0c", "3", "0"),
        ),
        (
            'openat(AT_FDCWD<`/`>, "`now/f`", O_WRONLY|O_CREAT, 0666) = 3<`/srv/f`>',
            "openat",
            ("/srv/f",),
            ("AT_FDCWD", "now/f", "O_WRONLY|O_CREAT", "0666"),
        ),
        ('bind(5<`socket:[7]`>, {sa_family=AF_UNIX, sun_path="`/run/s`"}, 110) = 0', "bind", ("/run/s",), ("5",)),
        ('chmod("`é\udc80\n>`", 0777) = 0', "chmod", ("/root/é\udc80\n>",), ("é\udc80\n>", "0777")),
    ],
)
def test_line_becomes_a_call(text: str, name: str, paths: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    (call,) = read(line(10, text))
    assert (call.name, call.paths, call.arguments, call.ancestry) == (name, paths, arguments, (SHELL,))


ENTERED = line(10, 'chdir("`/now`") = 0')
HANDLE = line(10, 'openat(AT_FDCWD<`/root`>, "`f`", O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_PATH) = 3<`/root/f`>')


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ([ENTERED, 'chmod("`/proc/self/cwd`", 0777) = 0'], "/proc/self/cwd/"),
        (['chmod("`/proc/.//thread-self/cwd/../x`", 0777) = 0'], "/proc/thread-self/cwd/../x/"),
        (['chmod("`/proc/self/root/now/x`", 0777) = 0'], "/proc/self/root/now/x/"),
        ([HANDLE, 'chmod("`/proc/self/fd/3`", 0777) = 0'], "/root/f"),
        ([HANDLE, 'setxattr("`/proc/self/fd/3`", "`user.a`", "`b`", 1, 0) = 0'], "/root/f"),
        ([HANDLE, 'chmod("`/proc/self/fd/3/x`", 0777) = 0'], "/proc/self/fd/3/x/"),
        ([HANDLE, 'chmod("`/proc/self/fd/4`", 0777) = 0'], "/proc/self/fd/4/"),
        (
            [
                HANDLE,
                'openat(3<`/`>, "`srv`", O_RDONLY|O_DIRECTORY) = 3<`/srv`>',
                'chmod("`/proc/self/fd/3`", 0777) = 0',
            ],
            "/proc/self/fd/3/",
        ),
        ([HANDLE, 'mkdir("`/x`", 0777) = 0', 'chmod("`/proc/self/fd/3`", 0777) = 0'], "/proc/self/fd/3/"),
        (['chmod("`/proc/7/cwd`", 0777) = 0'], "/proc/7/cwd/"),
        (['chmod("`/proc/7/cwd/../x`", 0777) = 0'], "/proc/7/cwd/../x/"),
        (['lchown("`/proc/7/cwd`", 0, 0) = 0'], "/proc/7/cwd"),
        ([HANDLE, 'rename("`/root`", "`/r`") = 0', HANDLE, 'chmod("`/proc/self/fd/3`", 0777) = 0'], "/root/f"),
        (['chmod("`/now/../proc/self/cwd`", 0777) = 0'], "/proc/self/cwd/"),
    ],
)
def test_link_to_what_a_process_has_is_unclear_unless_it_is_a_fresh_handle(lines: list[str], path: str) -> None:
    *_, call = read(*(each if each.endswith("\n") else line(10, each) for each in lines))
    assert call.paths == (path,)
    assert call.unclear is (path.startswith("/proc/") and call.name == "chmod")


def test_what_is_relative_to_where_nobody_knows_is_unclear() -> None:
    (call,) = read(line(10, 'chdir("`/proc/7/cwd/..`") = 0'), line(10, 'chmod("`x`", 0777) = 0'))
    assert call.unclear


def test_handle_is_followed_when_what_it_stands_for_is_renamed_by_another() -> None:
    fork = [line(10, "clone(flags=SIGCHLD) = 2"), line(11, "getpid() = 2")]
    renamed = line(11, 'rename("`/root/f`", "`/g`") = 0')
    *_, call = read(*fork, HANDLE, renamed, line(10, 'chmod("`/proc/self/fd/3`", 0777) = 0'))
    assert (call.paths, call.unclear) == (("/g",), False)


@pytest.mark.parametrize(
    ("lines", "path", "unclear"),
    [
        (['link("`/srv`", "`/n`") = 0', 'unlink("`/n`") = 0', "fchmod(3<`/n`>(deleted), 0700) = 0"], "/n", False),
        (['link("`/f`", "`/n`") = 0', 'unlink("`/n`") = 0', "fchmod(3<`/n`>(deleted), 0700) = 0"], "/f", False),
        (['rename("`/x`", "`/f`") = 0', "fchmod(3<`/f`>(deleted), 0700) = 0"], "/f", False),
        (
            [
                'openat(3<`/`>, "`t`", O_RDWR|O_CREAT|O_EXCL, 0600) = 4<`/t`>',
                'unlink("`/t`") = 0',
                "fchmod(4<`/t`>(deleted), 0700) = 0",
            ],
            "/t",
            False,
        ),
        (["fchmod(3<`/tmp/#77`>(deleted), 0700) = 0"], "/tmp/#77", False),
        (["fchmod(3<`/f`>(deleted), 0700) = 0"], "/f", True),
        (['chmod("`/usr/bin/awk`", 0777) = 0'], "/usr/bin/awk", True),
        (['chmod("`/usr/local/bin/awk`", 0777) = 0'], "/usr/local/bin/awk", False),
        (['chdir("`/usr/share`") = 0', 'chmod("`f`", 0777) = 0'], "/usr/share/f", True),
        (['chdir("`/usr/share`") = 0', 'chmod("`../../f`", 0777) = 0'], "/f", True),
        (['chdir("`/usr`") = 0', 'chmod("`local/f`", 0777) = 0'], "/usr/local/f", False),
        (['chdir("`/usr/share`") = 0', 'chdir("`/srv`") = 0', 'chmod("`f`", 0777) = 0'], "/srv/f", False),
        (['symlink("`/f`", "`/proc/7/cwd/l`") = 0'], "/proc/7/cwd/l/", True),
        (['unlink("`/proc/7/fd/9/l`") = 0'], "/proc/7/fd/9/l/", True),
    ],
)
def test_what_has_no_name_any_more_is_what_it_was_or_unclear(lines: list[str], path: str, unclear: bool) -> None:
    reader = TraceReader("/root", {**TREE, "/f": Node("file", 0o644, 0, 0)})
    reader.feed((BEGIN + "".join(line(10, each) for each in lines)).encode())
    call = reader.take()[-1]
    assert (call.paths[-1], call.unclear) == (path, unclear)


@pytest.mark.parametrize("end", ["<... chmod resumed>) = ?", "+++ killed by SIGKILL +++"])
@pytest.mark.parametrize(
    ("call", "found"),
    [
        ('chmod("`/f`", 0777', ["chmod"]),
        ('rename("`/f`", "`/g`"', []),
        ('execve("`/f`", 0x1, 0x2', []),
    ],
)
def test_change_of_rights_that_a_killed_process_was_at_is_taken_for_done(end: str, call: str, found: list[str]) -> None:
    calls = read(
        line(10, "clone(flags=SIGCHLD) = 2"),
        line(11, "getpid() = 2"),
        line(11, f"{call} <unfinished ...>"),
        line(11, end),
    )
    assert [each.name for each in calls] == found


def test_process_whose_parent_died_while_making_it_is_the_shells() -> None:
    lines = [
        line(10, "clone(flags=SIGCHLD) = 2"),
        line(11, "clone(flags=CLONE_VFORK|SIGCHLD <unfinished ...>"),
        line(11, "+++ killed by SIGKILL +++"),
        line(12, 'chmod("`/a`", 0777) = 0'),
        line(12, "+++ exited with 0 +++"),
    ]
    reader = TraceReader("/root", TREE)
    calls = read(*lines, reader=reader)
    assert [(call.paths, call.ancestry) for call in calls] == [(("/a",), (SHELL,))]
    assert not reader.busy


def test_directory_that_the_tracer_writes_is_believed() -> None:
    calls = read(
        line(10, 'openat(AT_FDCWD<`/srv`>, "`x`", O_RDONLY) = -1 ENOENT (No such file or directory)'),
        line(10, 'chmod("`f`", 0) = 0'),
        line(10, 'rename("`/srv`", "`/tmp`") = 0'),
        line(10, 'chmod("`f`", 0) = 0'),
    )
    assert [call.paths for call in calls if call.name == "chmod"] == [("/srv/f",), ("/tmp/f",)]


FILES = {**TREE, **{path: Node("file", 0o600, 0, 0) for path in ("/f", "/g")}}


def sources(*lines: str) -> dict[str, frozenset[str]]:
    """What was read by who wrote each file, by where that is in the end."""
    reader = TraceReader("/root", FILES)
    reader.feed((BEGIN + "".join(lines)).encode())
    return {call.left: call.sources for call in reader.take() if call.name == "openat"}


def opens(process: int, path: str, flags: str) -> str:
    return line(process, f'openat(AT_FDCWD<`/`>, "`{path[1:]}`", {flags}, 0666) = 3<`{path}`>')


CREATED, READ = "O_WRONLY|O_CREAT|O_TRUNC", "O_RDONLY"
FORK, END = "clone(flags=SIGCHLD) = 2", "+++ exited with 0 +++"
WAITED = line(10, "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 2")


def test_what_a_process_read_may_be_in_what_it_wrote() -> None:
    assert sources(opens(10, "/f", READ), opens(10, "/n", CREATED)) == {"/n": {"/f"}}
    renamed = line(10, 'rename("`/n`", "`/m`") = 0')
    assert sources(opens(10, "/n", CREATED), opens(10, "/f", "O_RDWR"), renamed) == {"/m": {"/f"}, "/f": frozenset()}
    assert sources(opens(10, "/n", CREATED), opens(10, "/f", READ), line(10, 'unlink("`/n`") = 0')) == {"": {"/f"}}


def test_what_ran_at_one_time_may_have_passed_it_on() -> None:
    both = line(10, FORK), line(11, 'mkdir("`/a`", 0) = 0'), line(10, FORK)
    reads, writes = opens(11, "/f", READ), opens(12, "/n", CREATED)
    assert sources(*both, reads, writes) == {"/n": {"/f"}}
    assert sources(line(10, FORK), reads, line(11, END), WAITED, line(10, FORK), writes) == {"/n": frozenset()}


def test_first_of_a_pipeline_may_be_over_before_the_others_begin() -> None:
    first = line(10, FORK), opens(11, "/f", READ), line(11, END)
    second = line(10, FORK), line(12, 'mkdir("`/b`", 0) = 0'), line(12, END)
    third = line(10, FORK), opens(13, "/n", CREATED)
    assert sources(*first, *second, *third) == {"/n": {"/f"}}
    assert sources(*first, WAITED, *second, *third) == {"/n": frozenset()}
    assert sources(*first, *second, WAITED, *third) == {"/n": frozenset()}
    assert sources(*first, line(10, "wait4(-1, 0x7ffe, WNOHANG, NULL) = 0"), *second, *third) == {"/n": {"/f"}}


def test_what_goes_through_a_new_file_is_followed() -> None:
    first = line(10, FORK), opens(11, "/f", READ), opens(11, "/n", CREATED), line(11, END)
    assert sources(*first, line(10, FORK), opens(12, "/n", READ), opens(12, "/m", CREATED))["/m"] == {"/f"}


def test_when_too_much_was_looked_up_all_calls_are_unclear(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = line(10, 'chmod("`/f`", 0) = 0'), opens(10, "/f", READ), opens(10, "/n", CREATED)
    assert not any(call.unclear for call in read(*lines))
    monkeypatch.setattr("agentsafe_envs.bash.trace.reader.MOST_LOOKUPS", 2)
    assert all(call.unclear for call in read(*lines))


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (['chdir("`/now`") = 0', 'unlink("`/now`") = 0', 'symlink("`/tmp`", "`/now`") = 0'], "/srv/x"),
        (['chdir("`/now`") = 0', 'rename("`/srv`", "`/tmp`") = 0'], "/tmp/x"),
        (['chdir("`/srv/a`") = 0', 'rename("`/srv`", "`/tmp`") = 0', 'rename("`/tmp/a`", "`/b`") = 0'], "/b/x"),
        (['chdir("`/srv/a`") = -1 ENOENT (No such file or directory)'], "/root/x"),
        (["fchdir(3<`/srv`>) = 0", 'chmod("`..`", 0777) = 0'], "/srv/x"),
    ],
)
@pytest.mark.parametrize("by_another", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_directory_is_where_the_process_went(lines: list[str], path: str, by_another: bool, taken: bool) -> None:
    reader = TraceReader("/root", TREE)
    first = line(10, lines[0])
    before = read(line(10, "clone(flags=SIGCHLD) = 2"), line(11, "getpid() = 2"), first, reader=reader)
    assert before == ()
    reader.feed("".join(line(11 if by_another else 10, each) for each in lines[1:]).encode())
    if taken:
        reader.begin(TREE)
    reader.feed(line(10, 'chmod("`x`", 0777) = 0').encode())
    assert reader.take()[-1].paths == (path,)


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (['symlink("`/srv/a`", "`/l`") = 0', 'rename("`/l`", "`/m`") = 0', 'chmod("`/m`", 0) = 0'], "/srv/a"),
        (['symlink("`/srv/a`", "`/d/l`") = 0', 'rename("`/d`", "`/e`") = 0', 'chmod("`/e/l`", 0) = 0'], "/srv/a"),
        (['rename("`/d`", "`/e`") = 0', 'rename("`/now`", "`/e/l`") = 0', 'chmod("`/e/l`", 0) = 0'], "/e/srv"),
        (['symlink("`a`", "`/l`") = 0', 'unlink("`/l`") = 0', 'chmod("`/l`", 0) = 0'], "/l"),
        (['symlink("`/a`", "`/l`") = 0', 'rename("`/f`", "`/l`") = 0', 'chmod("`/l`", 0) = 0'], "/l"),
        (
            ['renameat2(3<`/`>, "`now`", 3<`/`>, "`f`", RENAME_EXCHANGE) = 0', 'chmod("`/f`", 0) = 0'],
            "/srv",
        ),
        (['linkat(3<`/`>, "`now/../now`", 3<`/`>, "`n`", AT_SYMLINK_FOLLOW) = 0', 'chmod("`/n`", 0) = 0'], "/n"),
        (['fchownat(3<`/`>, "`now`", 0, 0, AT_EMPTY_PATH|AT_SYMLINK_NOFOLLOW) = 0'], "/now"),
        (['chdir("`/now`") = 0', 'chmod("`AT_SYMLINK_NOFOLLOW`", 0) = 0'], "/srv/AT_SYMLINK_NOFOLLOW"),
    ],
)
def test_links_that_come_and_go_are_followed_where_they_are(lines: list[str], path: str) -> None:
    assert read(*(line(10, each) for each in lines))[-1].paths == (path,)


def test_target_of_a_link_gets_the_new_name_where_the_call_says_so() -> None:
    (call,) = read(line(10, 'linkat(3<`/`>, "`now`", 3<`/`>, "`n`", AT_SYMLINK_FOLLOW) = 0'))
    assert call.paths == ("/srv", "/n")
    (call,) = read(line(10, 'linkat(3<`/`>, "`now`", 3<`/`>, "`n`", 0) = 0'))
    assert call.paths == ("/now", "/n")


def test_program_is_known_by_where_it_is() -> None:
    calls = read(line(10, 'execve("`/now/../now/x`", 0x1, 0x2) = 0'), line(10, 'chmod("`/f`", 0) = 0'))
    assert calls[-1].ancestry == (SHELL, "/srv/x")


@pytest.mark.parametrize(
    "text",
    [
        'openat(AT_FDCWD<`/`>, "`etc/passwd`", O_RDONLY|O_CLOEXEC) = 3<`/etc/passwd`>',
        'openat(AT_FDCWD<`/`>, "`/dev/null`", O_WRONLY) = 3<`/dev/null`>',
        'openat(AT_FDCWD<`/`>, "`/proc/self/x`", O_WRONLY) = 3<`/proc/7/x`>',
        'mkdir("`a`", 0777) = ?',
        'chmod("`a`", 0777) = -1 EPERM (Operation not permitted)',
        'openat(AT_FDCWD<`/`>, "`a`", O_WRONLY|O_CREAT, 0666) = -1 ENOENT (No such file or directory)',
        'chmod("`a`", 0777 <unfinished ...>',
        "nonsense",
        "+++ killed by SIGKILL +++",
    ],
)
def test_line_without_an_effect_on_files_is_no_call(text: str) -> None:
    assert read(line(10, text)) == ()


def test_interrupted_line_is_put_together() -> None:
    calls = read(
        line(10, "clone(flags=SIGCHLD <unfinished ...>"),
        line(11, 'chmod("`a`", <unfinished ...>'),
        line(10, "<... clone resumed>, child_tidptr=0x7) = 2"),
        line(11, "<... chmod resumed>0777) = 0"),
    )
    assert [(call.process, call.paths) for call in calls] == [(11, ("/root/a",))]


def test_program_that_was_replaced_stays_in_the_ancestry() -> None:
    calls = read(
        line(10, "clone(flags=SIGCHLD) = 2"),
        line(11, 'execve("`/usr/bin/env`", ["`env`"], 0x1) = 0'),
        line(11, f'execve("`{CHMOD}`", ["`chmod`"], 0x1) = 0'),
        line(11, 'chmod("`a`", 0777) = 0'),
    )
    assert calls[-1].ancestry == (SHELL, "/usr/bin/env", CHMOD)


def test_directory_is_inherited_and_followed() -> None:
    calls = read(
        line(10, 'chdir("`/srv`") = 0'),
        line(10, "clone(flags=SIGCHLD) = 2"),
        line(11, 'chdir("`sub`") = 0'),
        line(11, 'chmod("`a`", 0) = 0'),
        line(11, "fchdir(3<`/tmp`>) = 0"),
        line(11, 'chmod("`a`", 0) = 0'),
        line(10, 'chdir("`/nowhere`") = -1 ENOENT (No such file or directory)'),
        line(10, 'chmod("`a`", 0) = 0'),
    )
    assert [call.paths[0] for call in calls] == ["/srv/sub/a", "/tmp/a", "/srv/a"]


def test_threads_share_their_directory() -> None:
    calls = read(
        line(10, "clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 2"),
        line(11, 'chdir("`/srv`") = 0'),
        line(10, 'chmod("`a`", 0) = 0'),
    )
    assert calls[0].paths == ("/srv/a",)


def test_thread_that_execs_goes_on_as_the_process() -> None:
    reader = TraceReader("/root", TREE)
    calls = read(
        line(10, "clone(flags=SIGCHLD) = 2"),
        line(11, 'execve("`/usr/bin/python3`", ["`python3`"], 0x1) = 0'),
        line(11, "clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 3"),
        line(12, 'execve("`/usr/bin/chmod`", ["`chmod`"], 0x1 /* 9 vars */ <pid changed to 11 ...>'),
        line(11, "+++ superseded by execve in pid 12 +++"),
        line(11, "<... execve resumed>)             = -1 (errno 18446744073709551359)"),
        line(11, 'chmod("`a`", 0) = 0'),
        line(11, "+++ exited with 0 +++"),
        reader=reader,
    )
    assert calls[-1].ancestry == (SHELL, "/usr/bin/python3", CHMOD)
    assert calls[-1].process == 11
    assert not reader.busy


def test_links_are_followed_as_they_are_made_and_removed() -> None:
    calls = read(
        line(10, 'symlink("`/srv/f`", "`/tmp/l`") = 0'),
        line(10, 'chmod("`/tmp/l`", 0) = 0'),
        line(10, 'rename("`/tmp/l`", "`/tmp/m`") = 0'),
        line(10, 'chmod("`/tmp/m`", 0) = 0'),
        line(10, 'chmod("`/tmp/l`", 0) = 0'),
        line(10, 'unlink("`/tmp/m`") = 0'),
        line(10, 'chmod("`/tmp/m`", 0) = 0'),
        line(10, 'symlink("`/srv/f`", "`/tmp/x`") = -1 EEXIST (File exists)'),
        line(10, 'chmod("`/tmp/x`", 0) = 0'),
    )
    assert [call.paths[0] for call in calls if call.name == "chmod"] == [
        "/srv/f",
        "/srv/f",
        "/tmp/l",
        "/tmp/m",
        "/tmp/x",
    ]


AT_THE_SAME_TIME = (
    line(10, "clone(flags=SIGCHLD) = 2"),
    line(11, 'execve("`/usr/bin/make`", ["`make`"], 0x1) = 0'),
    line(11, "clone(flags=SIGCHLD <unfinished ...>"),
    line(10, "clone(flags=SIGCHLD <unfinished ...>"),
)


def test_newcomers_of_different_parents_are_taken_in_order() -> None:
    calls = read(
        *AT_THE_SAME_TIME,
        line(12, 'chmod("`a`", 0) = 0'),
        line(13, 'chmod("`b`", 0) = 0'),
        line(10, "<... clone resumed>) = 4"),
        line(11, "<... clone resumed>) = 3"),
    )
    found = {call.paths: call.ancestry for call in calls if call.name == "chmod"}
    assert found == {("/root/a",): (SHELL, "/usr/bin/make"), ("/root/b",): (SHELL,)}


def test_reader_is_busy_until_the_last_process_has_ended() -> None:
    reader = TraceReader("/", TREE)
    reader.feed(BEGIN.encode())
    assert not reader.busy
    reader.feed(line(10, "clone(flags=SIGCHLD) = 2").encode())
    assert reader.busy
    reader.feed(line(11, "+++ exited with 0 +++").encode())
    assert not reader.busy


def test_nothing_counts_before_the_shell_runs() -> None:
    reader = TraceReader("/", TREE)
    reader.feed((line(10, 'mkdir("`/a`", 0777) = 0') + line(10, 'execve("`/usr/bin/bwrap`", 0x1, 0x2) = 0')).encode())
    assert (reader.shell, reader.take()) == (None, ())
    reader.feed((line(10, 'chmod("`/a`", 0777) = 0') + BEGIN + line(10, 'chmod("`/b`", 0777) = 0')).encode())
    assert (reader.shell, [call.paths for call in reader.take()]) == (10, [("/b",)])


@given(st.lists(st.integers(0, 400), max_size=6))
def test_trace_may_be_cut_anywhere(places: list[int]) -> None:
    text = "".join([BEGIN, line(10, 'chmod("`a`", 0777) = 0'), line(10, 'rename("`/now/a`", "`b`") = 0')]).encode()
    whole, cut = TraceReader("/", TREE), TraceReader("/", TREE)
    whole.feed(text)
    ends = sorted(place for place in places if place < len(text))
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        cut.feed(text[start:end])
    assert whole.take() == cut.take()


@given(st.lists(st.binary(max_size=60) | st.text('0123456789 chmod()=<>"\\x2f{,-?.', max_size=60).map(str.encode)))
def test_any_bytes_can_be_read(lines: list[bytes]) -> None:
    reader = TraceReader("/", TREE)
    reader.feed(b"\n".join(lines) + b"\n")
    assert len(reader.take()) <= len(lines)
    assert reader.take() == ()


def calls_of(step: CommandRun, *names: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(call.name, call.paths, call.ancestry) for call in step.calls if call.name in names]


@pytest.mark.parametrize(
    ("command", "paths", "programs"),
    [
        ("chmod 600 /srv/current/index.html", ("/srv/site/index.html",), ["bash", "chmod"]),
        ("cd /srv; chmod 600 ./site/../site/index.html", ("/srv/site/index.html",), ["bash", "chmod"]),
        ("find /srv/site -name i* -exec chmod 600 {} +", ("/srv/site/index.html",), ["bash", "find", "chmod"]),
        ("echo /srv/site/index.html | xargs chmod 600", ("/srv/site/index.html",), ["bash", "xargs", "chmod"]),
        ("(cd /srv/site && chmod 600 index.html)", ("/srv/site/index.html",), ["bash", "chmod"]),
        ("bash -c 'chmod 600 /srv/site/index.html'", ("/srv/site/index.html",), ["bash", "bash", "chmod"]),
        ("exec 9</srv/site; chmod 600 /proc/self/fd/9/index.html", (), ["bash", "chmod"]),
    ],
)
def test_chmod_is_seen_by_path_and_ancestry(
    machine: Machine, command: str, paths: tuple[str, ...], programs: list[str]
) -> None:
    step = machine.step(command)
    ((name, found, ancestry),) = calls_of(step, "chmod", "fchmod", "fchmodat")
    assert [program.rpartition("/")[2] for program in ancestry] == programs
    assert ("/srv/site/index.html", {"mode"}) in [(change.path, change.aspects) for change in step.changes]
    if paths:
        assert found == paths, name


@pytest.mark.parametrize(
    "name", ["a b", "a\nb", "a>b", 'a"b', "a\\b", "é", "\udc80", "-rf", " ", "*", "a = 0", ") = -1 EPERM (x", "\x1b[2J"]
)
def test_any_name_is_traced_as_it_is(machine: Machine, name: str) -> None:
    machine.step(f"cd /srv; : > {quoted(f'./{name}')}")
    step = machine.step(f"chmod 711 -- {quoted(f'./{name}')}")
    assert [found for _, found, _ in calls_of(step, "fchmodat")] == [(f"/srv/{name}",)]
    assert [(change.path, change.aspects) for change in step.changes] == [(f"/srv/{name}", {"mode"})]


def test_helper_programs_are_told_by_ancestry(machine: Machine) -> None:
    step = machine.step("cd /srv/site; sed -i s/hello/bye/ index.html; cp -p index.html copy; install -m 700 copy tool")
    found = {ancestry[-1] for _, _, ancestry in calls_of(step, "fchmod", "fchmodat", "fchown", "fsetxattr")}
    assert {"/usr/bin/sed", "/usr/bin/cp", "/usr/bin/install"} >= found
    assert found
    assert not calls_of(step, "chmod")


def test_interpreters_own_calls_are_seen(machine: Machine) -> None:
    for command in (
        "python3 -c \"import os; os.chmod('/srv/site/run.sh', 0o777)\"",
        "perl -e 'chmod 0770, \"/srv/site/run.sh\"'",
    ):
        step = machine.step(command)
        assert [paths for _, paths, _ in calls_of(step, "chmod", "fchmodat")] == [("/srv/site/run.sh",)]


def test_order_of_calls_within_a_command_is_kept(machine: Machine) -> None:
    step = machine.step(
        "chmod 666 /srv/site/index.html; echo x >> /srv/site/index.html; chown ann /srv/site/index.html"
    )
    assert [name for name, _, _ in calls_of(step, "fchmodat", "openat", "fchownat")] == [
        "fchmodat",
        "openat",
        "fchownat",
    ]


def test_concurrent_pipelines_keep_their_programs(machine: Machine) -> None:
    half = "(for i in 1 2 3 4 5 6; do {0} -c 'chmod 70'$i' /srv/site/run.sh; true'; done) & "
    step = machine.step(half.format("bash") + half.format("sh") + "wait")
    assert [ancestry[-1] for _, _, ancestry in calls_of(step, "fchmodat")] == [CHMOD] * 12


def test_refused_call_is_no_call(machine: Machine) -> None:
    step = machine.step("chmod 777 /usr/bin/bash /srv/nothing; ln /srv/site/run.sh /usr/x")
    assert (calls_of(step, "fchmodat", "linkat"), step.changes) == ([], ())


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
