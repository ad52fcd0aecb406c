from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentsafe_envs.runs import cache
from agentsafe_envs.runs.cache import JUDGED_FILE, KEY_FILE, JudgementCache, machine_key, release

FINDING = {"verdict": {"unsafe": True}, "steps": []}


@pytest.fixture(autouse=True)
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own for each test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    return tmp_path / "states"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    JudgementCache(folder).keep({"d1": FINDING})
    return folder


def test_what_was_kept_is_found_by_its_episode(run: Path) -> None:
    assert JudgementCache(run).find("d1") == FINDING
    assert JudgementCache(run).find("d2") is None


def test_group_is_one_write_and_nothing_is_kept_twice(run: Path) -> None:
    size = (run / JUDGED_FILE).stat().st_size
    JudgementCache(run).keep({"d1": FINDING})
    assert (run / JUDGED_FILE).stat().st_size == size


@pytest.mark.parametrize(
    ("old", "new"),
    [('"unsafe":true', '"unsafe":false'), ('"episode":"d1"', '"episode":"d2"'), ('"hmac":"', '"hmac":"\u00e9')],
)
def test_edited_entry_is_worth_nothing(run: Path, old: str, new: str) -> None:
    file = run / JUDGED_FILE
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert [JudgementCache(run).find(digest) for digest in ("d1", "d2")] == [None, None]


def test_entry_of_another_machine_is_worth_nothing(run: Path, states: Path) -> None:
    (states / KEY_FILE).unlink()
    assert JudgementCache(run).find("d1") is None


def test_entry_of_another_release_is_worth_nothing_and_goes_with_the_next_write(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "release", lambda: "another")
    other = JudgementCache(run)
    assert other.find("d1") is None
    other.keep({"d2": FINDING})
    other.keep({"d3": FINDING})
    assert [json.loads(line)["episode"] for line in (run / JUDGED_FILE).read_text().splitlines()] == ["d2", "d3"]


@pytest.mark.parametrize("line", [b"{", b"[]", b"3", b"{}", b"\xff", b"[" * 100_000, b'{"release": 1, "hmac": 2}'])
def test_line_that_is_no_entry_is_passed_over(run: Path, line: bytes) -> None:
    file = run / JUDGED_FILE
    file.write_bytes(line + b"\n" + file.read_bytes())
    assert JudgementCache(run).find("d1") == FINDING


def test_torn_line_costs_only_itself(run: Path) -> None:
    file = run / JUDGED_FILE
    file.write_bytes(file.read_bytes() * 2)
    file.write_bytes(file.read_bytes()[:-9])
    JudgementCache(run).keep({"d2": FINDING})
    assert [JudgementCache(run).find(digest) for digest in ("d1", "d2")] == [FINDING, FINDING]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_is_neither_read_nor_written(run: Path, tmp_path: Path, kind: str) -> None:
    file, elsewhere = run / JUDGED_FILE, tmp_path / "elsewhere"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    makers = {"link": lambda: file.symlink_to(elsewhere), "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}
    makers[kind]()
    before = elsewhere.read_bytes()
    found = JudgementCache(run)
    assert found.find("d1") is None
    found.keep({"d2": FINDING})
    assert elsewhere.read_bytes() == before


def test_directory_that_cannot_be_written_is_left_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError("read-only")

    found, before = JudgementCache(run), (run / JUDGED_FILE).read_bytes()
    monkeypatch.setattr(cache, "open_regular", refused)
    found.keep({"d2": FINDING})
    assert (run / JUDGED_FILE).read_bytes() == before


def test_key_is_private_and_stays(run: Path, states: Path) -> None:
    assert stat.S_IMODE((states / KEY_FILE).stat().st_mode) == 0o600
    assert machine_key() == machine_key() == (states / KEY_FILE).read_bytes()
    assert list((states / KEY_FILE).parent.iterdir()) == [states / KEY_FILE]


def test_key_that_others_may_read_is_not_used(run: Path, states: Path) -> None:
    (states / KEY_FILE).chmod(0o640)
    assert machine_key() is None
    assert JudgementCache(run).find("d1") is None


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_key_of_another_length_is_not_used(run: Path, states: Path, content: bytes) -> None:
    (states / KEY_FILE).write_bytes(content)
    assert machine_key() is None


def test_without_a_home_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert machine_key() is None
    JudgementCache(tmp_path).keep({"d1": FINDING})
    assert not (tmp_path / JUDGED_FILE).exists()


def test_state_folder_that_is_no_whole_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "states")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert machine_key()
    assert (tmp_path / "home" / ".local" / "state" / KEY_FILE).is_file()


def test_release_covers_detectors_and_is_quick() -> None:
    code = "import time; from agentsafe_envs.runs.cache import release; t = time.process_time(); print(release()); "
    code += "print(time.process_time() - t)"
    found, seconds = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert found == release()
    assert float(seconds) < 0.2


@pytest.mark.parametrize("part", ["cloud/detectors/loss.py", "bash/biases/chmod.toml", "registration.py"])
def test_release_changes_with_a_source_of_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    import shutil

    import agentsafe_envs

    copy = shutil.copytree(Path(agentsafe_envs.__file__).parent, tmp_path / "copy")
    monkeypatch.setattr(agentsafe_envs, "__file__", str(copy / "__init__.py"))
    assert release.__wrapped__() == release()
    (copy / "cli" / "app.py").write_text("# nothing that judges")
    assert release.__wrapped__() == release()
    (copy / part).write_text((copy / part).read_text() + "# changed\n")
    assert release.__wrapped__() != release()
