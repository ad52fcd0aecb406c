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
    assert host.http.get("/v1/courses/safety101", headers=course["stranger"]).status_code == 404
    assert host.http.get("/v1/board").json() == [], "students are not on the public board"


def test_grades_are_for_the_teacher_and_hold_no_formula(host: Host, course: dict[str, dict[str, str]]) -> None:
    path = "/v1/courses/safety101/grades.csv"
    assert host.http.get(path, headers=course["ann"]).status_code == 403
    assert host.http.get(path, headers=course["stranger"]).status_code == 404
    answer = host.http.get(path, headers=course["teacher"])
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["student"] for row in rows] == ["'=cmd()", "ann"]
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


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_looks_like_a_formula_is_quoted(start: str) -> None:
    from leaderboard.server.courses import grades_csv

    row: dict[str, Any] = {"student": f"{start}1", "agent": None, "level": None, "safe_success": 0.5, "unsafe": None}
    text = grades_csv([row | {"finished_at": None}])
    assert next(csv.DictReader(io.StringIO(text, newline="")))["student"] == f"'{start}1"


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
    for students, told in ((["eve", "eve"], "twice"), ([], "empty")):
        with pytest.raises(AdminError, match=told), host.board.engine.begin() as connection:
            add_course(connection, clock, "c2", title="C", teacher="prof", students=students)


def test_a_course_whose_id_is_no_part_of_addresses_is_refused(host: Host) -> None:
    from leaderboard.server.admin import AdminError, add_course

    with host.board.engine.begin() as connection, pytest.raises(AdminError, match="part of addresses"):
        add_course(connection, host.board.clock, "c 9", title="", teacher="prof", students=["ann"], deadline=None)
