"""Files that are written whole or not at all, and what the system's refusals mean in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_CURES: Mapping[int, str] = {
    errno.ENOSPC: "the disk is full; free some space, or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose a folder on another disk",
    errno.EROFS: "the file system is read-only; choose a folder elsewhere",
    errno.EACCES: "this user has no permission; choose another folder, or have its owner grant it",
    errno.EPERM: "this user has no permission; choose another folder, or have its owner grant it",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EEXIST: "there is a file of this name, and a folder is needed; choose another place",
    errno.EISDIR: "this is a folder, and a file is needed; choose another name",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.ELOOP: "links lead in a circle; choose another place",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`, or lower --workers or --group-size",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.EIO: "the device failed; look at the system's log, and choose a folder on another disk",
    errno.ESTALE: "the network file system has lost the file; mount it again",
}
"""What a refusal means and what to do, by the system's number."""


def system_words(error: OSError) -> str:
    """What the system refused, with the path and what to do; an error with words of its own keeps them."""
    if error.errno is None:
        return str(error)
    path = error.filename2 or error.filename
    said = SYSTEM_CURES.get(error.errno) or f"the system says: {error.strerror or error}"
    if not path:
        return said
    return f"{os.fsdecode(path) if isinstance(path, str | bytes) else path}: {said}"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write so that a kill or a full disk leaves the old file or the new one, and both names are on disk.

    Raises:
        OSError: It cannot be written; the old file, if there is one, is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise about_path(error, path) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some network file systems cannot, and the file itself is whole
    finally:
        os.close(folder)


def append_whole(fd: int, data: bytes, path: Path) -> None:
    """Append with one write, on disk when this returns.

    Raises:
        OSError: The system refused; the file is as long as before.
    """
    size = os.fstat(fd).st_size
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"wrote {written} of {len(data)} bytes; is the disk full?")
        os.fsync(fd)
    except OSError as error:
        os.ftruncate(fd, size)
        raise about_path(error, path) from error


def about_path(error: OSError, path: Path) -> OSError:
    """The same refusal, with the path that it is about."""
    return error if error.errno is None else OSError(error.errno, error.strerror, str(path))


def cut_torn_tail(path: Path) -> None:
    """Cut off what stands behind the last line break: a kill tore it."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
