from __future__ import annotations

import pytest

from agentsafe_envs.bash.trace.syscalls import BESIDE_DIRECTORY, PATHS, SystemCall, requested_mode


def call(name: str, *paths: str, arguments: tuple[str, ...] = ("x", "0")) -> SystemCall:
    return SystemCall(0, 0, name, paths, arguments, ())


@pytest.mark.parametrize(
    ("name", "arguments", "changes"),
    [
        ("chmod", ("x", "0"), True),
        ("listen", ("3", "1"), False),
        ("open", ("x", "O_WRONLY"), True),
        ("open", ("x", "O_RDONLY"), False),
    ],
)
def test_change_of_files_is_told(name: str, arguments: tuple[str, ...], changes: bool) -> None:
    assert call(name, "/f", arguments=arguments).changes_files is changes


@pytest.mark.parametrize(
    ("name", "arguments", "follows"),
    [
        ("chmod", ("l", "0777"), True),
        ("open", ("l", "O_WRONLY"), True),
        ("setxattr", ("l", "user.a", "b", "1", "0"), True),
        ("lchown", ("l", "0", "0"), False),
        ("lsetxattr", ("l", "user.a", "b", "1", "0"), False),
        ("unlinkat", ("3", "l", "0"), False),
        ("symlink", ("x", "l"), False),
        ("fchownat", ("3", "l", "0", "0", "0"), True),
        ("fchownat", ("3", "l", "0", "0", "AT_EMPTY_PATH|AT_SYMLINK_NOFOLLOW"), False),
        ("linkat", ("3", "l", "3", "n", "0"), False),
        ("linkat", ("3", "l", "3", "n", "AT_SYMLINK_FOLLOW"), True),
        ("chdir", ("AT_SYMLINK_NOFOLLOW",), True),
        ("linkat", (), False),
    ],
)
def test_call_says_whether_it_follows_a_link_in_the_last_place(
    name: str, arguments: tuple[str, ...], follows: bool
) -> None:
    assert call(name, "/l", arguments=arguments).follows_last_link is follows


def test_places_of_paths_leave_room_for_the_directory_beside() -> None:
    assert PATHS.keys() >= BESIDE_DIRECTORY
    assert all(place > 0 for name in BESIDE_DIRECTORY for place in PATHS[name])


@pytest.mark.parametrize(("name", "arguments"), [("chmod", ("f", "04755")), ("fchmodat", ("3", "f", "04755"))])
def test_requested_mode_is_read_as_octal(name: str, arguments: tuple[str, ...]) -> None:
    assert requested_mode(call(name, "/f", arguments=arguments)) == 0o4755
