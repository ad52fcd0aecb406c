"""Courses: a private board, a deadline, grades that no spreadsheet works out."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.server.hosting import Host, SetClock


@pytest.fixture
def course(host: Host) -> dict[str, dict[str, str]]:
    """Headers of a teacher, of two students, and of a stranger."""
    from leaderboard.server.admin import add_course

    headers = {"teacher": host.team("prof", "teach"), "stranger": host.team("stranger", "play", "teach")}
    clock = host.board.clock
    with host.board.engine.begin() as connection:
        tokens = add_course(
            connection,
            clock,
            "safety101",
            title="Safety 101",
            teacher="prof",
            students=["ann", "=cmd()"],
            deadline=clock.now() + timedelta(days=7),
        )
    return headers | {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


def test_members_and_teacher_see_the_board_and_nobody_else(host: Host, course: dict[str, dict[str, str]]) -> None:
    host.play_out(course["ann"], host.session(course["ann"], name="anns agent"))
    host.close_season()
    for name in ("teacher", "ann", "=cmd()"):
        rows = host.http.get("/v1/courses/safety101", headers=course[name]).json()["rows"]
        assert [(row["student"], row["agent"], row["level"]) for row in rows] == [
            ("=cmd()", None, None),
            ("ann", "anns agent", "held-out"),
        ]
        assert (rows[1]["suite"], rows[1]["n"]) == ("held-out-s1", 14)
        assert 0 <= rows[1]["low"] <= rows[1]["safe_success"] <= rows[1]["high"] <= 1
        assert rows[0]["n"] is None
    assert host.http.get("/v1/courses/safety101", headers=course["stranger"]).status_code == 404
    assert host.http.get("/v1/board").json() == [], "students are not on the public board"


def test_grades_are_for_the_teacher_and_hold_no_formula(host: Host, course: dict[str, dict[str, str]]) -> None:
    path = "/v1/courses/safety101/grades.csv"
    assert host.http.get(path, headers=course["ann"]).status_code == 403
    assert host.http.get(path, headers=course["stranger"]).status_code == 404
    answer = host.http.get(path, headers=course["teacher"])
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["student"] for row in rows] == ["'=cmd()", "ann"]
    assert answer.text.startswith("student,agent,level,safe_success,unsafe,finished_at,suite,low,high,n,")
    assert answer.headers["content-disposition"] == 'attachment; filename="safety101.csv"'


def test_what_comes_after_the_deadline_does_not_count(
    host: Host, course: dict[str, dict[str, str]], clock: SetClock
) -> None:
    clock.jump += timedelta(days=8)
    host.play_out(course["ann"], host.session(course["ann"]))
    host.close_season()
    rows = host.http.get("/v1/courses/safety101", headers=course["teacher"]).json()["rows"]
    assert all(row["agent"] is None for row in rows)


def test_what_is_opened_before_the_deadline_and_played_after_it_does_not_count(
    host: Host, course: dict[str, dict[str, str]], clock: SetClock
) -> None:
    session = host.session(course["ann"])
    clock.jump += timedelta(days=8)
    host.play_out(course["ann"], session)
    host.close_season()
    rows = host.http.get("/v1/courses/safety101", headers=course["teacher"]).json()["rows"]
    assert all(row["agent"] is None for row in rows)


def test_what_was_only_reported_counts_after_everything_else(host: Host, course: dict[str, dict[str, str]]) -> None:
    from sqlalchemy import insert, select

    from leaderboard.server.store.tables import VERIFIED, Team, Upload

    host.team("other")
    rate = {"estimate": 1.0, "low": 0.9, "high": 1.0, "n": 400}
    with host.board.engine.begin() as connection:
        ann = connection.execute(select(Team.id).where(Team.name == "safety101/ann")).scalar_one()
        other = connection.execute(select(Team.id).where(Team.name == "other")).scalar_one()
        numbers: list[tuple[str, str, str, float | None]] = [
            ("a", "reported", "standard", 1.0),
            ("b", "replayed", "standard", 0.5),
            ("c", "replayed", "standard", None),
            ("d", "replayed", "quick", 0.1),
            ("e", "re-run", "standard", 0.6),
        ]
        for team in (ann, other):
            for name, level, suite, estimate in numbers:
                report = {
                    "submission": {"agent": {"name": name}, "suite": {"name": suite}},
                    "level": level,
                    "scorecard": {"overall": {"safe_success_rate": rate | {"estimate": estimate}, "unsafe_rate": rate}},
                }
                values = {"id": f"{team[:30]}-{name}", "team_id": team, "request": name, "kind": "zip", "tries": 1}
                values |= {"size_bytes": 1, "sha256": "", "received_bytes": 1, "state": VERIFIED, "progress": ""}
                values |= {"report": report, "created_at": host.board.clock.now()}
                connection.execute(insert(Upload).values(**values))
    rows = host.http.get("/v1/courses/safety101", headers=course["teacher"]).json()["rows"]
    assert [row["agent"] for row in rows] == [None, "e"]
    board = host.http.get("/v1/board").json()
    assert [each["agent"] for each in board] == ["d", "e", "b", "c", "a"]
    assert (board[0]["suite"], board[0]["low"], board[0]["high"], board[0]["n"]) == ("quick", 0.9, 1.0, 400)
    assert (board[0]["unsafe_low"], board[0]["unsafe_high"]) == (0.9, 1.0)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_looks_like_a_formula_is_quoted(start: str) -> None:
    from leaderboard.server.courses import COLUMNS, grades_csv

    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"student": f"{start}1"}
    text = grades_csv([row])
    assert next(csv.DictReader(io.StringIO(text, newline="")))["student"] == f"'{start}1"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (
            "Student;Mail\nann;a@example.org\nM\u00fcller, J\u00fcrgen;m@example.org\n".encode(),
            ["ann", "M\u00fcller, J\u00fcrgen"],
        ),
        ('student,mail\n"Doe, Jane",j@example.org\n'.encode("utf-8-sig"), ["Doe, Jane"]),
        (b"ann\n\n,nameless\nbob\n", ["ann", "bob"]),
        ("student\nM\u00fcller\n".encode("latin-1"), "is not UTF-8 .*save it as `CSV UTF-8`"),
        (b"student,mail\nann;a@example.org\n", "expected commas alone, or semicolons alone"),
    ],
)
def test_rosters_as_spreadsheets_write_them(tmp_path: Path, content: bytes, names: list[str] | str) -> None:
    from leaderboard.server.admin import AdminError, read_roster

    (tmp_path / "roster.csv").write_bytes(content)
    if isinstance(names, str):
        with pytest.raises(AdminError, match=names):
            read_roster(tmp_path / "roster.csv")
    else:
        assert read_roster(tmp_path / "roster.csv") == names


def test_a_roster_becomes_tokens_in_a_file_of_its_owner(host: Host, tmp_path: Path) -> None:
    from leaderboard.server.admin import AdminError, add_course, read_roster, write_tokens

    roster = tmp_path / "roster.csv"
    roster.write_text("student,mail\nann,a@example.org\nbob,b@example.org\n")
    host.team("prof", "teach")
    with host.board.engine.begin() as connection:
        clock = host.board.clock
        tokens = add_course(connection, clock, "c1", title="C", teacher="prof", students=read_roster(roster))
        write_tokens(tmp_path / "tokens.csv", tokens)
    assert (tmp_path / "tokens.csv").stat().st_mode & 0o077 == 0
    for row in csv.DictReader(io.StringIO((tmp_path / "tokens.csv").read_text())):
        header = {"Authorization": f"Bearer {row['token']}"}
        assert host.http.get("/v1/me", headers=header).json()["team"] == f"c1/{row['student']}"
    for course_id, students, told in (
        ("c2", ["eve", "eve"], "twice"),
        ("c2", [], "empty"),
        ("c 9", ["eve"], "expected 1 to 40 of the signs"),
    ):
        with pytest.raises(AdminError, match=told), host.board.engine.begin() as connection:
            add_course(connection, clock, course_id, title="C", teacher="prof", students=students)
