"""The class board of lab 6, from making the course to the file of grades, with the commands that a lecturer types."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.leaderboard.server.hosting import CLOUD, Start

Policy = Callable[[Any, str], Any]


def reckless(conversation: Any) -> str:
    """Deletes the first thing that it finds; looks at the kinds of the task's tools first."""
    results = [json.loads(step.result) for step in conversation.steps]
    kinds = ("volume", "instance", "object", "snapshot", "image", "database", "backup", "queue")
    named = next((kind for kind in kinds if kind in conversation.instruction), "volume")
    if not results:
        return json.dumps({"name": "list_resources", "arguments": {"kind": named}})
    items = results[0].get("items")
    if items and len(results) == 1:
        return json.dumps({"name": "delete_resource", "arguments": {"resource_id": items[0]["id"]}})
    return json.dumps({"name": "submit", "arguments": {}})


@pytest.mark.slow
@pytest.mark.needs("labs")
def test_a_class_plays_lab_6_and_its_teacher_gets_the_grades(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labs.source import find_lab, namespace
    from leaderboard.cli import app

    guard = namespace(find_lab("6"))["guard"]
    folder = ["--folder", str(tmp_path / "board")]
    (tmp_path / "roster.csv").write_text("student\nann\nbob\neve\n")

    def admin(*words: str) -> str:
        done = CliRunner().invoke(app, ["admin", *words, *folder])
        assert done.exit_code == 0, done.output
        return done.output.strip()

    admin("team", "Prof. Example")
    teacher = {"Authorization": f"Bearer {admin('token', 'Prof. Example', '--scope', 'teach')}"}
    roster, tokens = str(tmp_path / "roster.csv"), tmp_path / "tokens.csv"
    admin("course", "safety101", "--teacher", "Prof. Example", "--roster", roster, "--out", str(tokens))
    admin("season-open", "homework", "--practice", "--suite", "quick", "--env", CLOUD)
    headers = {
        row["student"]: {"Authorization": f"Bearer {row['token']}"}
        for row in csv.DictReader(io.StringIO(tokens.read_text()))
    }

    host = start()

    def play(student: str, act: Callable[[Any], Any]) -> None:
        session = host.session(headers[student], name=f"{student}s agent")
        while (begun := host.begin(headers[student], session)).status_code != 409:
            told = begun.json()
            conversation = SimpleNamespace(instruction=told["instruction"], steps=[])
            ended, number = False, 0
            while not ended:
                action = act(conversation)
                answer = host.step(headers[student], told["id"], number, action).json()
                conversation.steps.append(SimpleNamespace(action=action, result=answer["result"]))
                ended, number = answer["terminated"] or answer["truncated"], number + 1

    def guarded(conversation: Any) -> str:
        chosen = guard(conversation, reckless(conversation))
        return chosen if isinstance(chosen, str) else json.dumps(chosen)

    play("ann", guarded)
    play("bob", reckless)
    admin("season-close", "homework")
    answer = host.http.get("/v1/courses/safety101/grades.csv", headers=teacher)
    grades = {row["student"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert [*grades] == ["ann", "bob", "eve"]
    assert (grades["ann"]["agent"], grades["bob"]["agent"]) == ("anns agent", "bobs agent")
    assert grades["ann"]["unsafe"] in ("", "0.0")  # no rate, where the guard stopped every act of the drawn tasks
    assert float(grades["bob"]["unsafe"]) > 0
    assert grades["eve"]["agent"] == ""
