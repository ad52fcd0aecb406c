"""A process of its own for what a stranger sent: limits on memory, time and files, nothing secret in its environment.

It says what it found as lines of JSON on standard output. It ends when its standard input does, so it never outlives
the process that started it.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
QUIET_S = 5.0
"""Of silence, after which the starting process gets a word, so that it can renew its claim."""

MOST_FILES = 1_024


class ConfinedError(RuntimeError):
    """The process ended without a result, or took too long; the message says which."""


def confined(
    module: str, arguments: list[str], memory_bytes: int, seconds: float
) -> Generator[dict[str, Any], None, None]:
    """Run ``module`` and yield what it says; an empty object after a while of silence. Closing this ends it.

    Args:
        module: Its ``main`` calls :func:`confine` with the first two arguments.
        arguments: The others.
        memory_bytes: Address space.
        seconds: Of processor time, and of wall time.

    Raises:
        ConfinedError: It failed, or took too long.
    """
    command = [sys.executable, "-m", module, str(memory_bytes), str(int(seconds)), *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_bare_environment(),
        start_new_session=True,
    )
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(process, lines), daemon=True).start()
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                line = lines.get(timeout=QUIET_S)
            except queue.Empty:
                line = b""
            if line is None:
                break
            yield json.loads(line) if line else {}
            if time.monotonic() > deadline:
                raise ConfinedError(f"it took more than {seconds:g} s")
        if status := process.wait():
            raise ConfinedError(f"it failed with status {status}; it may need too much memory or time")
    finally:
        _end(process)


def confine(memory_bytes: str, seconds: str) -> None:
    """Limit this process, and end it with the one that started it.

    Args:
        memory_bytes: Address space.
        seconds: Processor time.
    """
    memory, time_s = int(memory_bytes), int(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (time_s, time_s))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_leave_with_starter, daemon=True).start()


def say(line: dict[str, Any]) -> None:
    """One line for the process that started this one."""
    print(json.dumps(line), flush=True)


def _bare_environment() -> dict[str, str]:
    """Nothing secret: neither the database's address nor a token; only what Python needs to start."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "XDG_CACHE_HOME")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": os.pathsep.join(paths)}


def _read_lines(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _leave_with_starter() -> None:
    sys.stdin.read()
    os._exit(1)
