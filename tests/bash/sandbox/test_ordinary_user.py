"""What a sandbox promises it promises to everybody: the same tests once more, run by a user who is not root.

Where root runs the tests, a mount namespace of their own gives ``nobody`` a range of subordinate users, and a way
to files that lie in a folder of root's. Nothing of the machine is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
RANGE = "nobody:200000:65536\n"
PREPARE = r"""
set -eu
scratch=$1; shift
for table in subuid subgid; do touch /etc/$table; mount --bind "$scratch/range" /etc/$table; done
number=0
for needed in $1; do
    number=$((number + 1)); mkdir "$scratch/$number"; mount --rbind "$needed" "$scratch/$number"
done
for needed in $1; do
    folder=$needed
    while [ "$folder" != / ]; do
        folder=$(dirname "$folder")
        case $(stat -c %A "$folder") in *x|*t) ;; *) mount -t tmpfs -o mode=755 none "$folder" ;; esac
    done
done
number=0
for needed in $1; do
    number=$((number + 1))
    [ -e "$needed" ] || { mkdir -p "$needed"; mount --rbind "$scratch/$number" "$needed"; }
done
shift
exec setpriv --reuid nobody --regid nogroup --clear-groups -- "$@"
"""
"""Arguments: a folder, the folders that must be reached, and the command."""

CONFORMANCE = ("files/test_access.py", "sandbox/test_machine.py", "sandbox/test_checks.py")
LONGER = (
    "sandbox/test_shell.py",
    "trace/test_reader.py",
    "sandbox/test_escape.py",
    "sandbox/test_abuse.py",
    "sandbox/test_build.py",
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of pytest, with the range and a home for ``nobody``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "range").write_text(RANGE)
        (folder / "home").mkdir()
        shutil.chown(folder / "home", "nobody", "nogroup")
        yield folder


@pytest.mark.slow
@pytest.mark.needs("bubblewrap", "uidmap")
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all these tests already")
@pytest.mark.parametrize("files", [CONFORMANCE, LONGER])
def test_promises_hold_for_an_ordinary_user(open_folder: Path, files: tuple[str, ...]) -> None:
    needed = " ".join(dict.fromkeys([sys.base_prefix, sys.prefix, str(REPOSITORY)]))
    tests = [str(REPOSITORY / "tests/bash" / file) for file in files]
    home = open_folder / "home"
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", f"--basetemp={home}/tests"]
    command += ["-k", "not docker"]  # whose socket is root's
    prepared = ["unshare", "--mount", "bash", "-c", PREPARE, "bash", str(open_folder), needed, *command, *tests]
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"} | {"HOME": str(home)}
    done = subprocess.run(prepared, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
