from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from agentsafe_envs.bash.sandbox.seccomp import NEWEST, SYSTEM_CALLS, numbers, program

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def decide(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the kernel would return: the error number, 0 for allowed."""
    data = struct.pack(
        "=iIQ6Q", number, MACHINES[machine] if audit is None else audit, 0, *arguments, *[0] * (6 - len(arguments))
    )
    code = [struct.unpack_from("=HBBI", program(machine), place) for place in range(0, len(program(machine)), 8)]
    accumulator = place = 0
    while True:
        kind, yes, no, value = code[place]
        place += 1
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif kind == 0x06:
            return 0 if value == ALLOW else value & 0xFFFF if value & ERRNO else -1
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[kind]
            place += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_refused(machine: str) -> None:
    assert {decide(machine, numbers(machine)[name]) for name in SYSTEM_CALLS} == {errno.EPERM}


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_pass(machine: str) -> None:
    listed = set(numbers(machine).values())
    assert all(decide(machine, number) == 0 for number in range(NEWEST + 1) if number not in listed)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("clone", (17,), 0),
        ("clone", (0x003D0F00,), 0),
        ("clone", (0x10000000 | 17,), errno.EPERM),
        ("clone", (0x00020000,), errno.EPERM),
        ("clone", (0x00800000,), errno.EPERM),
        ("clone3", (), errno.ENOSYS),
        ("mmap", (0, 4096, 3, 0x21), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x23), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x22), 0),
        ("mmap", (0, 4096, 3, 0x01), 0),
        ("prctl", (22,), errno.EPERM),
        ("prctl", (15,), 0),
        ("ioctl", (0, 0x5412), errno.EPERM),
        ("ioctl", (0, 0x541C), errno.EPERM),
        ("ioctl", (0, 0x5401), 0),
        ("socket", (1,), 0),
        ("socket", (2,), 0),
        ("socket", (10,), 0),
        ("socket", (16,), 0),
        ("socket", (17,), errno.EAFNOSUPPORT),
        ("socket", (38,), errno.EAFNOSUPPORT),
        ("socket", (40,), errno.EAFNOSUPPORT),
    ],
)
def test_arguments_decide(machine: str, name: str, arguments: tuple[int, ...], error: int) -> None:
    assert decide(machine, numbers(machine)[name], *arguments) == error


@pytest.mark.parametrize("machine", MACHINES)
def test_unknown_numbers_and_other_machines_are_refused(machine: str) -> None:
    assert {decide(machine, number) for number in (NEWEST + 1, 600, 0x40000000, 0x7FFFFFFF)} == {errno.ENOSYS}
    assert decide(machine, 1, audit=0x40000003) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"needs {header}")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    assert numbers(machine) == {name: int(defined[name]) for name in numbers(machine)}


def test_unknown_machine_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="vax"):
        program("vax")


def test_this_machine_is_known() -> None:
    if platform.machine() in MACHINES:
        assert program() == program(platform.machine())
