from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.trace.strace import read_line


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape"))


def test_line_is_taken_apart() -> None:
    line = read_line(
        f'openat(3<{hexed("/srv")}>, "{hexed("f")}", O_WRONLY, 0666) = 4<{hexed("/srv/f")}>(deleted)'.encode()
    )
    assert line is not None
    assert (line.name, line.texts, line.paths) == ("openat", ("3", "f", "O_WRONLY", "0666"), ("/srv/f",))
    assert (line.result, line.opened) == (4, "/srv/f")


def test_arguments_end_at_a_structure() -> None:
    line = read_line(f'execve("{hexed("x")}", ["{hexed("y")}"], 0x7f /* 9 vars */) = 0'.encode())
    assert line is not None
    assert (line.result, line.opened, line.texts) == (0, None, ("x",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "openat() = ?",
        "chmod() = -1 EPERM (Operation not permitted)",
        "+++ exited with 0 +++",
        'chmod("a", 0777 <unfinished ...>',
    ],
)
def test_what_is_no_call_that_succeeded_is_none(text: str) -> None:
    assert read_line(text.encode()) is None


@given(st.text(st.characters(exclude_characters="\0"), max_size=40))
def test_any_name_is_read_as_it_is(name: str) -> None:
    encoded = name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    line = read_line(f'rename("{hexed(encoded)}", "{hexed("/b")}") = 0'.encode())
    assert line is not None
    assert (line.paths, line.texts) == ((encoded, "/b"), (encoded, "/b"))
