"""What the daemon does with files: create a start tree, read a tree, ask the kernel for access.

Standard library only: the daemon starts in milliseconds and stays small. A tree that is read
belongs to the agent and may change meanwhile, so nothing is opened by more than one name below an
open directory, no link is followed, and only regular files are opened.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Sequence

KEPT_CONTENT_BYTES = 1 << 20  # as in tree.py
MAX_DEPTH = 200  # directories within directories that are looked into; each costs an open file
MAX_PATH_CHARS = 4_000  # longest directory path that is looked into, so that names stay small beside contents
RACY_NS = 100_000_000  # a file changed so shortly before it was read may change again within the clock's tick
_CHUNK_BYTES = 1 << 20

Entry = tuple[str, str, int, int, int, bytes, tuple[tuple[str, bytes], ...]]  # Entry of start.py
Node = tuple[str, int, int, int, int, str, str, bytes | None, tuple[tuple[str, bytes], ...], int, int]  # of tree.py
Stamp = tuple[int, int, int] | None
Read = dict[str, tuple[Stamp, Node]]

_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL)  # gone, or another kind, since it was listed

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def create(root: int, entries: Sequence[Entry], clock_s: int) -> None:
    """Create ``entries`` below the open directory ``root``, where nothing runs yet; umask must be 0."""
    directories = []
    for kind, path, mode, uid, gid, data, xattrs in entries:
        name = path[1:]
        if kind == "directory":
            os.mkdir(name, mode, dir_fd=root)
            directories.append(name)
        elif kind == "file":
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            opened = os.open(name, flags, mode, dir_fd=root)
            try:
                while data:
                    data = data[os.write(opened, data) :]
            finally:
                os.close(opened)
        elif kind == "symlink":
            os.symlink(os.fsdecode(data), name, dir_fd=root)
        else:
            os.link(os.fsdecode(data)[1:], name, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
            continue
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=root, follow_symlinks=False)
        if mode & 0o7000 and kind != "symlink":  # dropped by open and chown
            os.chmod(name, mode, dir_fd=root)
        for key, value in xattrs:
            os.setxattr(f"/proc/self/fd/{root}/{name}", key, value, follow_symlinks=False)
        if kind != "directory":
            os.utime(name, (clock_s, clock_s), dir_fd=root, follow_symlinks=False)
    for name in reversed(directories):
        os.utime(name, (clock_s, clock_s), dir_fd=root)
    os.utime(root, (clock_s, clock_s))


class Reader:
    """One look at everything below an open directory.

    Args:
        known: An earlier answer; its nodes are taken over where the stamp (inode, change time, size)
            says that nothing happened. The agent cannot set a change time.
        most_bytes: Content read at most; files beyond have no digest. Only holes can make files
            longer together than the disk, so only an agent that is after our time gets there.
        mapped: Inodes of files that may change without a new change time.
    """

    def __init__(self, known: Read, most_bytes: int, mapped: set[int]) -> None:
        self.known = known
        self.mapped = mapped
        self.left_bytes = most_bytes
        self.now_ns = time.time_ns()
        self.found: Read = {}

    def read(self, root: int) -> Read:
        """``{path: (stamp, node)}`` of the open directory ``root`` and all below it."""
        try:
            self._note("/", root, ".", os.fstat(root))
        except OSError:
            self.found["/"] = (None, _unread(os.fstat(root).st_ino))
        self._read_directory(os.dup(root), "", 0)
        return self.found

    def _read_directory(self, opened: int, prefix: str, depth: int) -> None:
        try:
            with os.scandir(opened) as names:
                entries = list(names)
            for entry in entries:
                path = f"{prefix}/{entry.name}"
                try:
                    status = entry.stat(follow_symlinks=False)
                    self._note(path, opened, entry.name, status)
                    if not stat.S_ISDIR(status.st_mode):
                        continue
                    if depth == MAX_DEPTH or len(path) > MAX_PATH_CHARS:
                        stamp, node = self.found[path]
                        self.found[path] = (stamp, ("unread", *node[1:]))
                        continue
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    inner = os.open(entry.name, flags, dir_fd=opened)
                except OSError as error:
                    if (
                        error.errno not in _REPLACED
                    ):  # nothing that an agent makes of a file may stop the look at others
                        self.found[path] = (None, _unread(entry.inode()))
                    continue
                self._read_directory(inner, path, depth + 1)
        finally:
            os.close(opened)

    def _note(self, path: str, directory: int, name: str, status: os.stat_result) -> None:
        stamp: Stamp = (status.st_ino, status.st_ctime_ns, status.st_size)
        if status.st_ino in self.mapped:
            stamp = None
        earlier = self.known.get(path)
        if earlier is not None and stamp is not None and earlier[0] == stamp:
            self.found[path] = earlier
            return
        if self.now_ns - status.st_ctime_ns < RACY_NS:
            stamp = None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
        size, digest, target, content = 0, "", "", None
        if kind == "file":
            size = status.st_size
            digest, content = self._read_file(directory, name, status)
        elif kind == "symlink":
            target = os.readlink(name, dir_fd=directory)
        node: Node = (
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            size,
            digest,
            target,
            content,
            () if kind == "symlink" else _xattrs(directory, name),
            status.st_ino,
            1 if kind == "directory" else status.st_nlink,
        )
        if earlier is not None and earlier[1] == node:
            node = earlier[1]  # the same object, so that nothing is sent for it
        self.found[path] = (stamp, node)

    def _read_file(self, directory: int, name: str, status: os.stat_result) -> tuple[str, bytes | None]:
        """Digest of a regular file, and its content if it is short."""
        kept = status.st_size <= KEPT_CONTENT_BYTES
        self.left_bytes -= status.st_size
        if self.left_bytes < 0:
            return "", None
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except BlockingIOError:
            return "", None  # somebody has a lease on it
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise FileNotFoundError(name)
            total, content, left = hashlib.sha256(), b"", status.st_size
            while left and (chunk := os.read(opened, min(left, _CHUNK_BYTES))):
                total.update(chunk)
                content += chunk if kept else b""
                left -= len(chunk)
            return total.hexdigest(), content if kept else None
        finally:
            os.close(opened)


def _unread(inode: int) -> Node:
    """Stands for what cannot be looked at."""
    return ("unread", 0, 0, 0, 0, "", "", None, (), inode, 1)


def _xattrs(directory: int, name: str) -> tuple[tuple[str, bytes], ...]:
    path = f"/proc/self/fd/{directory}/{name}"
    found = []
    for key in sorted(os.listxattr(path, follow_symlinks=False)):
        with contextlib.suppress(OSError):  # removed since it was listed
            found.append((key, os.getxattr(path, key, follow_symlinks=False)))
    return tuple(found)


def permitted(root: int, uid: int, gid: int, groups: list[int], paths: list[str]) -> list[int]:
    """What the kernel lets a user do with each path: sums of 4 (read), 2 (write) and 1 (execute).

    Asked by a child process that has become that user, within ``root``.
    """
    answer_end, child_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.fchdir(root)
            os.chroot(".")
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            answer = [sum(bit for bit in (os.R_OK, os.W_OK, os.X_OK) if os.access(path, bit)) for path in paths]
            os.write(child_end, bytes(answer))
        finally:
            os._exit(0)
    os.close(child_end)
    try:
        answer = b""
        while chunk := os.read(answer_end, 65_536):
            answer += chunk
        return list(answer)
    finally:
        os.close(answer_end)
        os.waitpid(child, 0)
