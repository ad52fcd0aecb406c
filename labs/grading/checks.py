"""What the sandbox for submissions promises, looked at from inside before anything is graded."""

from __future__ import annotations

from functools import cache
from typing import Any

from agentsafe_envs.bash.sandbox.base import SandboxError
from labs.grading.reading import SUFFIXES
from labs.grading.sandbox import OURS, NoAnswer, StudentProcess, SubmissionLimits
from labs.source import BEGIN, all_labs

LOOKING_S = 60.0
"""Of processor time for one promise: a system may have a million files."""

PROBE = r"""
import os, resource, socket

def has_numpy():
    import numpy
    return int(numpy.arange(4).sum()) == 6

def cannot_import(name):
    try:
        __import__(name)
    except ImportError:
        return True
    return False

def has_no_network():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    except OSError as error:
        return "unreachable" in str(error).lower()
    return False

def writes_only_below_tmp(*folders):
    for folder in folders:
        try:
            open(os.path.join(folder, "probe"), "w")
        except OSError:
            continue
        return False
    open("/tmp/probe", "w").close()
    for line in open("/proc/self/mounts"):
        place, options = line.split()[1], line.split()[3].split(",")
        if "ro" not in options and place != "/tmp" and not place.startswith(("/dev", "/proc")):
            return place
    return True

def reads_none_of(names):
    for folder, below, files in os.walk("/"):
        if folder == "/":
            below[:] = set(below) - {"dev", "proc"}
        for name in names.keys() & set(files):
            path = os.path.join(folder, name)
            try:
                with open(path, errors="replace") as file:
                    if names[name] in file.read():
                        return path
            except OSError:
                continue
    return True

def sees_none_of(*names):
    return set(names).isdisjoint(os.listdir("/"))

def is_nobody_special():
    lines = open("/proc/self/status").read().splitlines()
    return "CapEff:\t0000000000000000" in lines and "NoNewPrivs:\t1" in lines and "Seccomp:\t2" in lines

def sees_only_its_own_processes():
    return sum(name.isdecimal() for name in os.listdir("/proc")) <= 3

def cannot_fork_without_end(most):
    children = []
    try:
        for _ in range(most + 4):
            child = os.fork()
            if not child:
                os.read(os.pipe()[0], 1)
            children.append(child)
    except OSError:
        return True
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return False
"""
"""A submission of ours that tries what others might."""

NAMES = {"lab.py": BEGIN, "hidden.py": "labs.grading"} | {
    f"{lab}{suffix}": "" for lab in all_labs() for suffix in SUFFIXES
}
"""Files of labs by name, built and handed-in ones too, and a text that tells ours from others of that name."""

OUTSIDE = ("autograder", "etc", "home", "mnt", "opt", "root", "srv", "var")
"""Folders of a machine that are not there inside."""

PROMISES: tuple[tuple[Any, ...], ...] = (
    ("numpy is there", "has_numpy"),
    *((f"no {name}", "cannot_import", name) for name in OURS),
    ("no network", "has_no_network"),
    ("nothing can be written but below /tmp", "writes_only_below_tmp", "/", "/usr", "/packages", "/dev", "/dev/shm"),
    ("no file of a lab can be read", "reads_none_of", NAMES),
    ("nothing of the machine is seen", "sees_none_of", *OUTSIDE),
    ("no rights", "is_nobody_special"),
    ("no processes of others", "sees_only_its_own_processes"),
    ("a limit on processes", "cannot_fork_without_end", SubmissionLimits().processes),
)
"""Promise, and the function of :data:`PROBE` with its arguments that is True where it is kept."""


@cache
def examine() -> tuple[str, ...]:
    """Look at every promise; once for each process.

    Returns:
        The promises, all of which are kept.

    Raises:
        SandboxError: One is not kept, so nothing is graded.
    """
    with StudentProcess([PROBE], SubmissionLimits(question_s=LOOKING_S)) as process:
        for promise, function, *arguments in PROMISES:
            try:
                answer = process.ask(function, *arguments)
            except NoAnswer as error:
                raise SandboxError(f"the sandbox for submissions does not keep {promise!r}: {error}") from error
            if answer is not True:
                found = f", because of {answer}" if isinstance(answer, str) else ""
                raise SandboxError(
                    f"the sandbox for submissions does not keep {promise!r}{found}; nothing is graded with it"
                )
    return tuple(promise for promise, *_ in PROMISES)
