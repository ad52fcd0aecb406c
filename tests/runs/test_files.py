from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agentsafe_envs.runs.files import system_words, write_whole


def test_file_that_cannot_be_written_whole_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "scorecard.json"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_whole(path, "new" * 1_000)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["scorecard.json"]
    assert system_words(caught.value) == (
        f"{path}: the disk is full; free some space, or choose a folder on another disk"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x/run"), "/x/run: this user has no permission; choose"),
        (OSError(errno.EROFS, "Read-only file system", b"/x"), "/x: the file system is read-only; choose"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"), "/b: the system says: Invalid cross"),
        (FileExistsError("there is one already; remove it"), "there is one already; remove it"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open; raise"),
    ],
)
def test_refusal_of_the_system_is_told_with_path_and_cure(error: OSError, words: str) -> None:
    assert system_words(error).startswith(words)
