import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.rows import (
    FAILURES_FILE,
    ROWS_FILE,
    RUN_FILE,
    AgentRecord,
    RowStore,
    RowStoreError,
    SuiteRecord,
    read_failures,
    read_rows,
    read_run,
    set_aside,
)

SUITE = SuiteRecord(name="core", digest="d1")
AGENT = AgentRecord(name="scripted:cautious", settings={"seed": 0})


def key(seed: int, trial: int = 0) -> EpisodeKey:
    return EpisodeKey("DeleteBiasAPI-v0", "safe", seed, trial)


def row(seed: int, note: str = "") -> dict[str, Any]:
    return {"key": key(seed)._asdict(), "template": "idle_volumes/3", "note": note}


def opened(directory: Path) -> RowStore:
    return RowStore(directory, SUITE, AGENT)


def filled(directory: Path, seeds: range) -> Path:
    """A closed run directory with one group."""
    with opened(directory) as store:
        store.append_group([row(seed) for seed in seeds])
    return directory


def test_rows_come_back_in_the_order_written(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "b") as store:
        store.append_group([row(2), row(0)])
        store.append_group([row(1)])
        assert store.load() == [row(2), row(0), row(1)]


def test_reopened_store_misses_only_what_it_lacks(tmp_path: Path) -> None:
    filled(tmp_path, range(3))
    with opened(tmp_path) as store:
        assert store.missing([key(4), key(1), key(3), key(1, trial=1)]) == [key(4), key(3), key(1, trial=1)]


def test_a_group_played_again_keeps_its_first_rows(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    with opened(tmp_path) as store:
        store.append_group([row(0, "again"), row(1, "again"), row(2), row(2, "twice")])
        assert store.load() == [row(0), row(1), row(2)]


def test_first_of_two_rows_in_a_file_stands(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    with (tmp_path / ROWS_FILE).open("a") as file:
        file.write(json.dumps(row(0, "later")) + "\n")
    assert read_rows(tmp_path) == [row(0)]


def test_a_group_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    write = os.write
    with opened(tmp_path) as store:
        monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(len(data)) or write(fd, data))
        store.append_group([row(seed) for seed in range(5)])
    assert sizes == [(tmp_path / ROWS_FILE).stat().st_size]


def test_a_full_disk_keeps_nothing_of_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with opened(tmp_path) as store:
        store.append_group([row(0)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: write(fd, data[:70]))
            with pytest.raises(OSError, match="disk full"):
                store.append_group([row(1), row(2)])
        assert store.load() == [row(0)]
        assert store.missing([key(1), key(2)]) == [key(1), key(2)]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_a_row_that_json_cannot_hold_stores_nothing(tmp_path: Path, value: object) -> None:
    with opened(tmp_path) as store:
        with pytest.raises((ValueError, TypeError)):
            store.append_group([row(0), {**row(1), "note": value}])
        assert store.load() == []


@settings(deadline=None, max_examples=40)  # each example waits for the disk
@given(st.data())
def test_a_line_torn_anywhere_costs_only_itself(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = filled(tmp_path_factory.mktemp("run"), range(3))
    whole = (directory / ROWS_FILE).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (directory / ROWS_FILE).write_bytes(whole[:cut])
    survivors = [row(seed) for seed in range(whole[:cut].count(b"\n"))]
    assert read_rows(directory) == survivors
    with opened(directory) as store:
        store.append_group([row(9)])
        assert store.load() == [*survivors, row(9)]


def test_reading_leaves_a_torn_line_alone(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    torn = (tmp_path / ROWS_FILE).read_bytes()[:-5]
    (tmp_path / ROWS_FILE).write_bytes(torn)
    read_rows(tmp_path)
    assert (tmp_path / ROWS_FILE).read_bytes() == torn


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"key": {"enviro', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "JSON list"),
        (b"{}", "key None"),
        (b'{"key": {"environment": "E", "split": "safe", "seed": "7", "trial": 0}}', "whole numbers"),
        (b'{"key": {"environment": "E", "split": "safe", "seed": true, "trial": 0}}', "whole numbers"),
        (b'{"key": {"environment": "E", "split": "safe", "seed": 7}}', "expected environment"),
    ],
)
def test_a_bad_line_in_the_middle_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    filled(tmp_path, range(2))
    lines = (tmp_path / ROWS_FILE).read_bytes().splitlines()
    (tmp_path / ROWS_FILE).write_bytes(b"\n".join([lines[0], line, lines[1], b""]))
    with pytest.raises(RowStoreError, match=rf"{ROWS_FILE}, line 2.*{reason}"):
        opened(tmp_path)


def test_failures_are_kept_beside_the_rows_and_stay_missing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.append_failures([key(0), key(1)], TimeoutError("sandbox gone"))
        assert store.missing([key(0), key(1)]) == [key(0), key(1)]
        assert store.load() == []
    assert read_failures(tmp_path) == [
        {"key": key(seed)._asdict(), "error": "TimeoutError", "message": "sandbox gone"} for seed in (0, 1)
    ]


def test_a_failure_names_the_lines_that_raised_it_and_its_causes(tmp_path: Path) -> None:
    def choose() -> int:
        return 1 // 0

    try:
        try:
            choose()
        except ZeroDivisionError as error:
            raise RuntimeError("the agent raised") from error
    except RuntimeError as error:
        with opened(tmp_path) as store:
            store.append_failures([key(0)], error)
    (failure,) = read_failures(tmp_path)
    line = choose.__code__.co_firstlineno + 1
    assert failure["places"][-1] == f"{__file__}:{line} in choose"


@pytest.mark.parametrize(
    ("error", "hopeless"), [(ValueError("x"), False), (type("E", (Exception,), {"hopeless": True})("no key"), True)]
)
def test_an_error_says_whether_trying_again_can_help(error: Exception, hopeless: bool) -> None:
    assert Failure.of(error).hopeless is hopeless
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert Failure.of(wrapped).hopeless is hopeless


def test_a_run_without_failures_reads_as_none(tmp_path: Path) -> None:
    assert read_failures(filled(tmp_path, range(1))) == []


def test_a_torn_failure_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    (tmp_path / FAILURES_FILE).write_bytes(b'{"key": {"envi')
    with opened(tmp_path) as store:
        store.append_failures([key(5)], OSError("again"))
    assert [failure["message"] for failure in read_failures(tmp_path)] == ["again"]


def test_run_record_says_what_was_scored(tmp_path: Path) -> None:
    record = read_run(filled(tmp_path, range(1)))
    assert (record.suite, record.agent) == (SUITE, AGENT)


def test_settings_that_json_spells_differently_are_the_same_run(tmp_path: Path) -> None:
    agent = AgentRecord(name="custom", settings={"stop": ("a", "b")})
    RowStore(tmp_path, SUITE, agent).close()
    RowStore(tmp_path, SUITE, agent).close()
    assert read_run(tmp_path).agent.settings == {"stop": ["a", "b"]}


@pytest.mark.parametrize(
    ("suite", "agent", "found", "asked"),
    [
        (SuiteRecord(name="core", digest="d2"), AGENT, '"d1" there', '"d2" asked'),
        (SuiteRecord(name="other", digest="d1"), AGENT, "suite name: core there", "other asked"),
        (SUITE, AgentRecord(name="random", settings={"seed": 0}), "name: scripted:cautious there", "random asked"),
        (SUITE, AgentRecord(name="scripted:cautious", settings={"seed": 1}), "agent seed: 0 there", "1 asked"),
        (SUITE, AgentRecord(name="scripted:cautious", settings={}), "agent seed: 0 there", "nothing asked"),
    ],
)
def test_another_run_is_refused_with_both_named(
    tmp_path: Path, suite: SuiteRecord, agent: AgentRecord, found: str, asked: str
) -> None:
    filled(tmp_path, range(1))
    with pytest.raises(RowStoreError) as caught:
        RowStore(tmp_path, suite, agent)
    assert all(part in str(caught.value) for part in (str(tmp_path), found, asked, "--fresh", "another --out"))


@pytest.mark.parametrize(
    ("found", "asked", "fits"),
    [
        ({"A": "1"}, {"A": "1", "B": "2"}, True),
        ({"A": "1", "B": "2"}, {"B": "2", "A": "1"}, True),
        ({"A": "1"}, {"A": "other", "B": "2"}, False),
        ({"A": "1", "B": "2"}, {"A": "1"}, False),
        ({}, {"A": "1"}, False),
    ],
)
def test_run_is_continued_where_the_suite_has_its_environments_and_more(
    tmp_path: Path, found: dict[str, str], asked: dict[str, str], fits: bool
) -> None:
    old, new = (SuiteRecord(name="core", digest=str(each), environments=each) for each in (found, asked))
    RowStore(tmp_path, old, AGENT).close()
    if fits:
        RowStore(tmp_path, new, AGENT).close()
        assert read_run(tmp_path).suite.environments == asked
        return
    with pytest.raises(RowStoreError, match="another run"):
        RowStore(tmp_path, new, AGENT)
    assert read_run(tmp_path).suite == old


def test_a_refused_run_leaves_the_directory_free(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    with pytest.raises(RowStoreError, match="another run"):
        RowStore(tmp_path, SuiteRecord(name="other", digest="d1"), AGENT)
    opened(tmp_path).close()


CONDUCT = {"agent": "x", "model": "m", "temperature": 0.7, "group_size": 8, "identity": "a" * 64}
CIRCUMSTANCES = {"timeout_s": 60, "base_url": "http://127.0.0.1:8000/v1", "transformers": "5.0.0", "openai": "2.1.0"}


def agent(**changed: Any) -> AgentRecord:
    return AgentRecord(name="a", settings=CONDUCT | CIRCUMSTANCES | changed)


@pytest.mark.parametrize("name", [name for name in CONDUCT if name != "agent"])
def test_another_conduct_is_another_run_and_only_what_differs_is_named(tmp_path: Path, name: str) -> None:
    RowStore(tmp_path, SUITE, agent()).close()
    with pytest.raises(RowStoreError) as caught:
        RowStore(tmp_path, SUITE, agent(**{name: "other"}))
    assert f"agent {name}: " in str(caught.value)
    assert not [
        other for other in (CONDUCT | CIRCUMSTANCES).keys() - {name, "agent"} if f"agent {other}" in str(caught.value)
    ]
    assert ("sources or weights" in str(caught.value)) is (name == "identity")


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_another_circumstance_goes_on_and_is_noted_with_the_first_row(tmp_path: Path, name: str) -> None:
    with RowStore(tmp_path, SUITE, agent()) as store:
        store.append_group([row(0)])
    other = agent(**{name: "other"})
    RowStore(tmp_path, SUITE, other).close()
    assert read_run(tmp_path).continuations == []
    with RowStore(tmp_path, SUITE, other) as store:
        store.append_group([row(1)])
        assert store.record == read_run(tmp_path)
    record = read_run(tmp_path)
    assert record.agent.varied == {name: [CIRCUMSTANCES[name], "other"]}
    assert [each.settings[name] for each in record.continuations] == ["other"]
    assert record.agent.settings == agent().settings


def test_circumstances_that_come_back_are_noted_once(tmp_path: Path) -> None:
    for seed, timeout in enumerate((60, 120, 60, 60)):
        with RowStore(tmp_path, SUITE, agent(timeout_s=timeout)) as store:
            store.append_group([row(seed)])
    record = read_run(tmp_path)
    assert record.agent.varied == {"timeout_s": [60, 120]}
    assert [each.settings["timeout_s"] for each in record.continuations] == [120, 60]


def test_group_size_is_a_circumstance_where_each_conversation_is_asked_by_itself(tmp_path: Path) -> None:
    with RowStore(tmp_path, SUITE, agent(agent="openai")) as store:
        store.append_group([row(0)])
    with RowStore(tmp_path, SUITE, agent(agent="openai", group_size=2)) as store:
        store.append_group([row(1)])
    assert read_run(tmp_path).agent.varied == {"group_size": [8, 2]}


def test_a_run_under_one_set_of_circumstances_says_nothing_of_others(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    record = json.loads((tmp_path / RUN_FILE).read_text())
    assert "continuations" not in record
    assert "varied" not in record["agent"]


def test_run_set_aside_keeps_every_byte_under_another_name(tmp_path: Path) -> None:
    rows = (filled(tmp_path / "run", range(3)) / ROWS_FILE).read_bytes()
    places = [set_aside(tmp_path / "run")]
    filled(tmp_path / "run", range(1))
    places.append(set_aside(tmp_path / "run"))
    assert (tmp_path / "run").exists() is False
    assert places[0] != places[1]
    assert places[0] is not None
    assert (places[0] / ROWS_FILE).read_bytes() == rows


def test_folder_that_is_no_run_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert set_aside(tmp_path) is None
    assert set_aside(tmp_path / "nowhere") is None


def test_run_that_is_being_written_is_not_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path / "run"), pytest.raises(RowStoreError, match="another process"):
        set_aside(tmp_path / "run")


def test_working_folder_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled(tmp_path, range(1)))
    with pytest.raises(RowStoreError, match="another --out"):
        set_aside(Path())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_named_with_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(fd: int, flags: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(RowStoreError, match=r"without locks.*--out on a local disk"):
        opened(tmp_path)


def test_rows_without_a_run_record_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    (tmp_path / RUN_FILE).unlink()
    with pytest.raises(RowStoreError, match="agent is unknown"):
        opened(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1, "suite": 3, "agent": 4}'])
def test_a_damaged_run_record_is_refused(tmp_path: Path, content: str) -> None:
    filled(tmp_path, range(1))
    (tmp_path / RUN_FILE).write_text(content)
    with pytest.raises(RowStoreError, match="not a run record"):
        opened(tmp_path)


def test_a_run_of_another_layout_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    path = tmp_path / RUN_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(RowStoreError, match="schema_version 99"):
        opened(tmp_path)


def test_two_writers_never_share_a_directory(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(RowStoreError, match="another process"):
        opened(tmp_path)


def test_closing_frees_the_directory(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    store.close()
    with opened(tmp_path):
        assert read_run(tmp_path).agent == AGENT


ENDLESS_WRITER = """
import sys
from agentsafe_envs.runs.rows import AgentRecord, RowStore, SuiteRecord
store = RowStore(sys.argv[1], SuiteRecord(name="core", digest="d1"), AgentRecord(name="a", settings={}))
filler = "x" * 500_000
for seed in range(0, 10_000, 8):
    keys = [{"environment": "E", "split": "safe", "seed": seed + i, "trial": 0} for i in range(8)]
    store.append_group([{"key": key, "filler": filler} for key in keys])
    print(seed + 8, flush=True)
"""


def test_kill_while_appending_loses_no_acknowledged_row(tmp_path: Path) -> None:
    agent = AgentRecord(name="a", settings={})
    pause = random.Random(0)
    for round_ in range(3):
        directory = tmp_path / str(round_)
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        with writer.stdout:
            writer.stdout.readline()
            time.sleep(pause.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in writer.stdout]
        assert writer.wait() == -signal.SIGKILL
        with RowStore(directory, SUITE, agent) as store:
            seeds = [stored["key"]["seed"] for stored in store.load()]
            assert seeds == list(range(len(seeds)))
            assert len(seeds) >= max(acknowledged, default=8)
            assert (directory / ROWS_FILE).read_bytes().endswith(b"\n")
            store.append_group([{"key": EpisodeKey("E", "safe", len(seeds))._asdict()}])
            assert len(store.load()) == len(seeds) + 1


def test_a_running_writer_holds_the_lock_until_it_is_killed(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        writer.stdout.readline()
        agent = AgentRecord(name="a", settings={})
        with pytest.raises(RowStoreError, match="another process"):
            RowStore(tmp_path, SUITE, agent)
        writer.kill()
        writer.wait()
    RowStore(tmp_path, SUITE, agent).close()
