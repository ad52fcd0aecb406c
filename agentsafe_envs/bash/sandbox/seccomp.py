"""System calls that no process in a sandbox may make, as a program for the kernel's filter.

Three reasons put a call on the list: the kernel keeps what it does outside every namespace (keys,
vsock), the tracer would not see what it does (io_uring, a filter that answers before the tracer's,
calls newer than the tracer), or its memory counts against nobody (memfd, System V, anonymous shared
mappings, of which all pages stay while any one of them is mapped). Sizes of socket buffers are left as they are.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import NamedTuple

# fmt: off
SYSTEM_CALLS = (
    "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "unshare", "setns", "ptrace", "process_vm_readv", "process_vm_writev",
    "kcmp", "pidfd_getfd", "process_madvise", "seccomp", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl",
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "semctl", "semop",
    "semtimedop", "msgget", "msgctl", "msgsnd", "msgrcv", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl",
    "quotactl_fd", "settimeofday", "adjtimex", "clock_adjtime", "sethostname", "setdomainname",
    "fanotify_init", "name_to_handle_at", "open_by_handle_at", "lookup_dcookie", "vmsplice", "mbind",
    "set_mempolicy", "migrate_pages", "move_pages",
)
# fmt: on
"""Refused with "operation not permitted"."""

NEEDED_TO_ISOLATE = frozenset(
    ("mount", "umount2", "pivot_root", "unshare", "ptrace", "process_vm_readv", "seccomp", "sethostname")
)
"""Of these what the daemon, the tracer and bubblewrap call themselves."""

# fmt: off
OUTDATED_CALLS = (
    "_sysctl", "afs_syscall", "create_module", "get_kernel_syms", "ioperm", "iopl", "modify_ldt", "nfsservctl",
    "query_module", "sysfs", "uselib", "ustat", "vm86", "vm86old", "vserver",
)
# fmt: on
"""Calls that no program of today needs; a container is refused them as a whole."""

NEWEST = 450
"""Calls with a higher number do not exist as far as the sandbox is concerned: the oldest tracer
that is supported (strace 6.1) cannot name them, and glibc falls back to those before them."""

_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_CLONE_UNTRACED = 0x00800000
_PR_SET_SECCOMP = 22
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 7, 8
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
FAMILIES = (1, 2, 10, 16)
"""Socket families that exist: unix, IPv4, IPv6, netlink; a network namespace holds all of them."""

_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
}


class _Machine(NamedTuple):
    audit: int
    numbers: dict[str, int]


def _numbered(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True)) | _COMMON


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        _numbered("""
            mmap 9 ioctl 16 shmget 29 shmat 30 shmctl 31 socket 41 setsockopt 54
            clone 56 semget 64 semop 65 semctl 66 msgget 68
            msgsnd 69 msgrcv 70 msgctl 71 ptrace 101 pivot_root 155 prctl 157 adjtimex 159 acct 163
            settimeofday 164 mount 165 umount2 166 swapon 167 swapoff 168 reboot 169 sethostname 170
            setdomainname 171 init_module 175 delete_module 176 quotactl 179 lookup_dcookie 212 semtimedop 220
            mbind 237 set_mempolicy 238 kexec_load 246 add_key 248 request_key 249 keyctl 250
            migrate_pages 256 unshare 272 vmsplice 278 move_pages 279 perf_event_open 298 fanotify_init 300
            name_to_handle_at 303 open_by_handle_at 304 clock_adjtime 305 setns 308 process_vm_readv 310
            process_vm_writev 311 kcmp 312 finit_module 313 seccomp 317 memfd_create 319 kexec_file_load 320
            bpf 321 userfaultfd 323
        """),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        _numbered("""
            lookup_dcookie 18 ioctl 29 umount2 39 mount 40 pivot_root 41 quotactl 60 vmsplice 75 acct 89
            unshare 97 kexec_load 104 init_module 105 delete_module 106 ptrace 117 reboot 142 sethostname 161
            setdomainname 162 prctl 167 settimeofday 170 adjtimex 171 msgget 186 msgctl 187 msgrcv 188
            msgsnd 189 semget 190 semctl 191 semtimedop 192 semop 193 shmget 194 shmctl 195 shmat 196
            socket 198 setsockopt 208 add_key 217 request_key 218 keyctl 219 clone 220 swapon 224 swapoff 225 mbind 235
            mmap 222 set_mempolicy 237 migrate_pages 238 move_pages 239 perf_event_open 241 fanotify_init 262
            name_to_handle_at 264 open_by_handle_at 265 clock_adjtime 266 setns 268 process_vm_readv 270
            process_vm_writev 271 kcmp 272 finit_module 273 seccomp 277 memfd_create 279 bpf 280
            userfaultfd 282 kexec_file_load 294
        """),
    ),
}

_LOAD, _JEQ, _JGT, _JSET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 24, 32, 40
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def numbers(machine: str) -> dict[str, int]:
    """Number of each call that the filter knows on ``machine``, as ``platform.machine()`` names it.

    Raises:
        ValueError: No numbers are known for that machine.
    """
    if machine not in _MACHINES:
        raise ValueError(f"no system call numbers for {machine!r}, expected one of {', '.join(_MACHINES)}")
    return _MACHINES[machine].numbers


def program(machine: str | None = None) -> bytes:
    """The filter in the kernel's form, 8 bytes an instruction.

    Raises:
        ValueError: No numbers are known for that machine.
    """
    name = machine or platform.machine()
    number = numbers(name)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JEQ, 1, 0, _MACHINES[name].audit),
        _refuse(errno.EPERM),  # 32-bit calls have other numbers, which the list below does not cover
        (_LOAD, 0, 0, _NUMBER),
        (_JGT, 0, 1, NEWEST),
        _refuse(errno.ENOSYS),
        *_if_number(number["clone3"], [_refuse(errno.ENOSYS)]),  # its flags lie in memory, where no filter looks
    ]
    for call in SYSTEM_CALLS:
        code += _if_number(number[call], [_refuse(errno.EPERM)])
    code += _if_number(
        number["clone"],
        [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JSET, 0, 1, _NAMESPACES | _CLONE_UNTRACED), _refuse(errno.EPERM), _PASS],
    )
    code += _if_number(
        number["mmap"],
        [
            (_LOAD, 0, 0, _FOURTH_ARGUMENT),
            (_JSET, 0, 2, _MAP_SHARED),
            (_JSET, 0, 1, _MAP_ANONYMOUS),
            _refuse(errno.EPERM),
            _PASS,
        ],
    )
    code += _if_number(
        number["prctl"],
        [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JEQ, 0, 1, _PR_SET_SECCOMP), _refuse(errno.EPERM), _PASS],
    )
    code += _if_number(
        number["ioctl"],
        [
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_JEQ, 1, 0, _TIOCSTI),
            (_JEQ, 0, 1, _TIOCLINUX),
            _refuse(errno.EPERM),
            _PASS,
        ],
    )
    code += _if_number(
        number["setsockopt"],  # answered with success: the kernel as well grants less than it is asked for
        [
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_JEQ, 0, 4, _SOL_SOCKET),
            (_LOAD, 0, 0, _THIRD_ARGUMENT),
            (_JEQ, 1, 0, _SO_SNDBUF),
            (_JEQ, 0, 1, _SO_RCVBUF),
            _refuse(0),
            _PASS,
        ],
    )
    families = [(_JEQ, len(FAMILIES) - each, 0, family) for each, family in enumerate(FAMILIES)]
    code += _if_number(
        number["socket"],
        [(_LOAD, 0, 0, _FIRST_ARGUMENT), *families, _refuse(errno.EAFNOSUPPORT), _PASS],
    )
    code.append(_PASS)
    return b"".join(struct.pack("=HBBI", *each) for each in code)


_PASS = (_RETURN, 0, 0, _ALLOW)


def _refuse(error: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | error)


def _if_number(number: int, then: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Run ``then``, which has to return, if the accumulator holds ``number``."""
    return [(_JEQ, 0, len(then), number), *then]
