"""Marks are right whatever a submission does: good, wrong and hostile ones, alone and thirty in a folder."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("jupytext")

from agentsafe_envs.bash.sandbox.base import SandboxError
from labs.__main__ import app
from labs.grading import feedback, sandbox
from labs.grading.cases import Exercise, Group, same
from labs.grading.checks import examine
from labs.grading.grade import Grade, draw, grade_many, grade_one
from labs.grading.reading import find_submissions, read_cells
from labs.grading.sandbox import WORKER, NoAnswer, StudentProcess, SubmissionLimits, descendants
from labs.source import ROOT, all_labs, find_lab, is_definition, namespace
from tests.labs.submissions import HOSTILE, MARKS, WRONG, empty, solution, with_instead

pytestmark = pytest.mark.needs("bubblewrap", "labs")

LIMITS = SubmissionLimits(question_s=0.7, total_s=20)
"""Of attacks. An honest answer takes milliseconds of processor time."""

OF_WILSON = 3
"""Marks of the function that the attacks are in, two of them in its first group."""

OF_ITS_CALLER = 2
"""Marks of the solution's function that calls it."""

NAMED = {
    *(
        "endless loop",
        "fork bomb",
        "reads the solution",
        "patches the checker",
        "prints passed",
        "edits the score file",
    ),
    *("network", "huge output", "imports our judge", "deletes the grader's folder", "exits with 0"),
    "sleeps past the limit",
}
"""Attacks that every run of the tests makes; the others are made by the slow ones too."""

QUICK_LAB = "02_detector"

Marks = Callable[..., Grade]


def slow_unless(quick: bool, *values: Any) -> Any:
    return pytest.param(*values, marks=() if quick else pytest.mark.slow)


LABS = [slow_unless(lab == QUICK_LAB, lab) for lab in all_labs()]


@cache
def exercises(lab: str, *functions: str) -> list[Exercise]:
    """The first group of those exercises of a lab; or all of them, whole."""
    drawn = draw(find_lab(lab), 1)
    return [each._replace(groups=each.groups[:1]) for each in drawn if each.function in functions] or drawn


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """``marks(lab, code, function, ...)``: the grade of a script in those exercises, or in all."""

    def marks(lab: str, code: str, *functions: str, limits: SubmissionLimits | None = None) -> Grade:
        file = tmp_path / "student.py"
        file.write_text(code, encoding="utf-8")
        return grade_one(find_lab(lab), "student", file, exercises(lab, *functions), limits)

    return marks


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield server


def test_the_sandbox_keeps_its_promises() -> None:
    assert "no network" in examine()


@pytest.mark.parametrize("lab", LABS)
def test_the_solution_gets_full_marks_and_the_empty_version_none(lab: str, marks: Marks) -> None:
    full = marks(lab, solution(lab))
    assert (full.status, full.marks, full.of) == ("graded", MARKS[lab], MARKS[lab]), feedback.text(full)
    assert "every hidden case is right" in feedback.line(full)
    none = marks(lab, empty(lab))
    assert (none.status, none.marks) == ("graded", 0), feedback.text(none)


@pytest.mark.parametrize(
    ("lab", "mistake"), [slow_unless(lab == QUICK_LAB, lab, name) for lab, found in WRONG.items() for name in found]
)
def test_a_plausible_mistake_costs_what_the_scheme_says(lab: str, mistake: str, marks: Marks) -> None:
    code, cost = WRONG[lab][mistake]
    grade = marks(lab, with_instead(lab, code))
    assert (grade.status, grade.marks) == ("graded", MARKS[lab] + cost), feedback.text(grade)
    assert "hidden cases fail" in feedback.line(grade)


@pytest.mark.parametrize("name", [slow_unless(name in NAMED, name) for name in HOSTILE])
def test_a_hostile_submission_gets_no_wrong_grade(
    name: str, marks: Marks, tmp_path: Path, listener: socket.socket
) -> None:
    here = f"ROOT_HERE, OUT_HERE = {str(ROOT.parent)!r}, {str(tmp_path)!r}\nPORT_HERE = {listener.getsockname()[1]}\n"
    (tmp_path / "results.json").write_text("{}")
    before = time.monotonic()
    grade = marks("01_score", with_instead("01_score", here, HOSTILE[name]), "wilson", "sign_flip_p", limits=LIMITS)
    assert grade.status == "graded", feedback.text(grade)
    assert (grade.marks, grade.of) == (3, 5), feedback.text(grade)
    assert all(group.marks == 0 for group in grade.groups if group.exercise == "wilson")
    assert "hidden cases fail" in feedback.line(grade)
    assert "passed" not in feedback.text(grade)
    assert time.monotonic() - before < 2 * LIMITS.total_s
    assert (tmp_path / "results.json").read_text() == "{}", "the submission wrote outside of its sandbox"
    assert (ROOT / "source.py").exists()
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a checkout in it that everybody inside sees, as /usr may be one."""
    root = tmp_path / "usr"
    for lab in all_labs().values():
        shutil.copytree(lab.folder, root / "src" / "labs" / lab.name)
    roots = sandbox.system_roots() | {str(root): "/shown"}
    monkeypatch.setattr(sandbox, "system_roots", lambda: roots)
    return root


def test_a_checkout_below_what_is_shown_is_hidden(shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "CHECKOUT", shown / "src")
    assert "no file of a lab can be read" in examine.__wrapped__()


@pytest.mark.parametrize("name", ["labs/01_score/lab.py", "labs/01_score/hidden.py", "01_score.ipynb"])
def test_a_second_copy_of_a_lab_below_it_stops_the_grading(shown: Path, name: str) -> None:
    content = (shown / "src" / name).read_text() if "labs" in name else "{}"
    shutil.rmtree(shown / "src")
    copy = shown / "share" / name
    copy.parent.mkdir(parents=True)
    copy.write_text(content)
    with pytest.raises(SandboxError, match=rf"no file of a lab can be read', because of /shown/share/{name}"):
        examine.__wrapped__()


def test_nothing_of_a_submission_lives_on(marks: Marks) -> None:
    for name in ("leaves processes behind", "fork bomb"):
        marks("01_score", with_instead("01_score", HOSTILE[name]), "wilson", limits=LIMITS)
    assert [each for each in descendants(os.getpid()) if b"bwrap" in _command(each)] == []


def test_feedback_tells_no_case(marks: Marks) -> None:
    grade = marks("01_score", with_instead("01_score", HOSTILE["tells what it was asked"]), "wilson")
    assert "Asked" not in json.dumps(grade.document())
    assert "an error of its own" in feedback.text(grade)


def test_code_that_fails_while_it_is_taken_over_costs_only_itself(marks: Marks) -> None:
    grade = marks("01_score", "import nothing_like_this\nclass Bad(1): pass\n" + solution("01_score"), "wilson")
    assert grade.marks == grade.of


def test_a_hang_while_it_is_taken_over_gets_no_marks_and_ends(marks: Marks) -> None:
    limits = SubmissionLimits(start_s=3, question_s=0.5, total_s=6)
    code = solution("01_score") + "\ndef f(x=[0 for _ in iter(int, 1)]): pass\n"
    grade = marks("01_score", code, "wilson", limits=limits)
    assert (grade.status, grade.marks) == ("graded", 0)


def test_a_fault_of_ours_is_no_mark(tmp_path: Path) -> None:
    file = tmp_path / "student.py"
    file.write_text("def f():\n    return 1\n")

    def broken(ask: Any) -> bool:
        raise KeyError("a slip in hidden.py")

    grade = grade_one(find_lab("1"), "student", file, [Exercise("f", [Group("g", 2, [broken])])], LIMITS)
    assert (grade.status, grade.marks, grade.of) == ("ungraded", 0, 2)
    with pytest.raises(ValueError, match="could not be graded"):
        feedback.gradescope(grade)


def test_without_a_sandbox_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.find_bwrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "student.py"
    file.write_text(f"from pathlib import Path\nFOUND = Path({str(tmp_path)!r}, 'ran').write_text('x')\n")
    grade = grade_one(find_lab("1"), "student", file, exercises("1"), LIMITS)
    sandbox.find_bwrap.cache_clear()
    assert grade.status == "ungraded"
    assert "bubblewrap" in grade.reason
    assert not (tmp_path / "ran").exists()


def test_both_rules_of_what_is_taken_over_are_the_same() -> None:
    worker: dict[str, Any] = {}
    exec(WORKER.read_text(encoding="utf-8").removesuffix("main()\n"), worker)
    taken = ["LOW, HIGH = 1, 2", "[A, *B] = C = 1, 2", "D: int = 1", "import os", "def f(): pass", "class E: pass"]
    left = ["low, HIGH = 1, 2", "A = b = 1", "A.B = 1", "A[0] = 1", "*a, B = 1, 2", "for A in (): pass", "print()"]
    for line in (*taken, *left):
        (statement,) = ast.parse(line).body
        assert is_definition(statement) == worker["is_definition"](statement) == (line in taken), line
    with StudentProcess(["LOW, HIGH = 1, 2\ndef f():\n    return LOW + HIGH"], LIMITS) as process:
        assert process.ask("f") == 3


def test_one_answer_does_not_change_the_next() -> None:
    code = "import os\nCOUNT = []\ndef f(x):\n    COUNT.append(x)\n    return os._exit(3) if x == 1 else len(COUNT)"
    with StudentProcess([code], LIMITS) as process:
        assert process.ask("f", 0) == 1
        with pytest.raises(NoAnswer, match="ended before"):
            process.ask("f", 1)
        assert process.ask("f", 2) == 1, "a new process"
        with pytest.raises(NoAnswer, match="no such function"):
            process.ask("g")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=6))
def test_comparing_never_raises(value: Any) -> None:
    for expected in (0.5, [0.5, 1], {"a": 1}, True, None, "x"):
        assert same(value, expected, 1e-6) in (True, False)


def test_true_is_no_number() -> None:
    assert not same(True, 1)
    assert not same(1, True)
    assert not same(float("nan"), 0.5, 1e9)
    assert not same(10**400, 0.5, 1e9)


def test_notebooks_and_folders_are_read(tmp_path: Path) -> None:
    lab = find_lab("1")
    cells = [{"cell_type": "code", "source": ["%pip install x\n", "!ls\n", "A = 1"]}, {"cell_type": "markdown"}]
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "any.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "ann" / "notes.txt").touch()
    (tmp_path / "ann" / "._any.ipynb").touch()  # macOS leaves such
    (tmp_path / "bob.PY").write_text("B = 2\n")
    (tmp_path / "bob.txt").touch()
    found = find_submissions(tmp_path, lab)
    assert [*found] == ["ann", "bob"]
    assert read_cells(found["ann"]) == ["\n\nA = 1"]
    assert read_cells(found["bob"]) == ["B = 2\n"]


def test_a_byte_order_mark_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("A = 1", encoding="utf-8-sig")
    (tmp_path / "b.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "A = 1"}]}', encoding="utf-8-sig")
    assert read_cells(tmp_path / "a.py") == read_cells(tmp_path / "b.ipynb") == ["A = 1"]


def test_what_is_wrong_with_one_students_files_costs_that_student_alone(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("cid", "dan/sub", "eli", "fay", "gus", "new\nline"):
        (folder / name).mkdir(parents=True)
    for name in ("ann.py", "ann.ipynb", "zip.zip", "none", "roster.csv", "eli/a.py", "eli/b.py", "cid/x.zip", "gus.py"):
        (folder / name).touch()
    for suffix in ("py", "ipynb"):
        (folder / "fay" / f"01_score.{suffix}").touch()
    (folder / "link").symlink_to(folder / "eli")
    (folder / "nowhere.py").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.py")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xffve.py")).write_text("x")
    (folder / f"{'l' * 250}.py").write_text(solution("01_score"))
    (folder / "good.py").write_text(solution("01_score"))
    done = CliRunner().invoke(app, ["grade", "1", str(folder), "--seed", "3", "--out", str(out)])
    assert done.exit_code == 0, done.output
    lines = dict(line.split(": ", 1) for line in done.output.splitlines())
    assert lines.pop("good") == lines.pop("l" * 250) == "15 of 15 marks; every hidden case is right"
    assert lines.pop(r"\udcffve").startswith("0 of 15")
    reasons = {
        "ann": "ann.ipynb and ann.py are of one student",
        "cid": "holds no file that ends in .ipynb or .py",
        "dan": "holds no file",
        "eli": "holds a.py and b.py; leave one of them, or call one 01_score",
        "fay": "holds 01_score.ipynb and 01_score.py; leave one of them",
        "gus": "gus and gus.py are of one student",
        "link": "a link could lead",
        r"new\nline": "holds no file",
        "none": "it ends in nothing; expected .ipynb or .py",
        "nowhere": "a link could lead",
        "pipe": "no plain file",
        "roster": "it ends in .csv",
        "zip": "it ends in .zip",
    }
    assert lines.keys() == reasons.keys()
    for name, line in lines.items():
        assert line.startswith("refused: ")
        assert reasons[name] in line, line
    rows = {row["student"]: row for row in csv.DictReader((out / "grades.csv").read_text().splitlines())}
    assert len(rows) == len(reasons) + 3
    assert {row["marks"] for name, row in rows.items() if name in reasons} == {"0"}
    assert len([*out.glob("*.json")]) == len([*out.glob("*.txt")]) == len(rows)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", b'{"cells": [1]}', b"[" * 100_000, b'{"cells": null}'])
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.ipynb"
    file.write_bytes(content)
    grade = grade_one(find_lab("1"), "a", file, exercises("1"), LIMITS)
    assert (grade.status, grade.marks) == ("refused", 0)


def test_a_link_to_the_solution_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eve.py").symlink_to(ROOT / "01_score" / "lab.py")
    (grade,) = grade_many(find_lab("1"), find_submissions(tmp_path, find_lab("1")), seed=1, limits=LIMITS)
    assert (grade.status, grade.marks) == ("refused", 0)


@pytest.mark.parametrize("lab", LABS)
def test_another_seed_draws_other_cases(lab: str) -> None:
    def questions(seed: int) -> str:
        asked: list[Any] = []
        for exercise in draw(find_lab(lab), seed):
            for group in exercise.groups:
                for case in group.cases:
                    with suppress(NoAnswer):  # None is no answer to some
                        assert case(lambda *question: asked.append(question)) in (True, False)
        return json.dumps(asked)

    assert questions(1) == questions(1) != questions(2)


@pytest.mark.parametrize("lab", LABS)
def test_a_constant_answer_earns_nothing(lab: str, marks: Marks) -> None:
    functions = [exercise.function for exercise in exercises(lab)]
    for value in ("True", "None", "[]"):
        code = "\n".join(f"def {name}(*_):\n    return {value}" for name in functions)
        assert marks(lab, code).marks == 0, value


@pytest.mark.slow
def test_thirty_submissions_are_graded_by_one_command(tmp_path: Path) -> None:
    folder, expected = tmp_path / "in", {}
    folder.mkdir()
    for number in range(6):
        expected[f"good-{number}"] = (solution("01_score"), 15)
    expected["empty"] = (empty("01_score"), 0)
    for name, (code, cost) in WRONG["01_score"].items():
        expected[f"wrong-{name}"] = (with_instead("01_score", code), 15 + cost)
    for name in [*HOSTILE][: 30 - len(expected) - 1]:
        here = f"ROOT_HERE, OUT_HERE, PORT_HERE = {str(ROOT.parent)!r}, {str(tmp_path)!r}, 9\n"
        costs = OF_WILSON + OF_ITS_CALLER
        expected[f"hostile-{name}"] = (with_instead("01_score", here, HOSTILE[name]), 15 - costs)
    expected["broken"] = ("def wilson(:\n", 0)
    for name, (code, _) in expected.items():
        (folder / f"{name}.py").write_text(code)
    done = CliRunner().invoke(
        app, ["grade", "1", str(folder), "--seed", "4", "--seconds", "1", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert len(expected) == len(done.output.splitlines()) == 30
    rows = {row["student"]: row for row in csv.DictReader((tmp_path / "out" / "grades.csv").read_text().splitlines())}
    assert {name: int(row["marks"]) for name, row in rows.items()} == {
        name: earned for name, (_, earned) in expected.items()
    }
    assert json.loads((tmp_path / "out" / "empty.json").read_text())["status"] == "graded"


def test_gradescope_gets_its_file(tmp_path: Path) -> None:
    file, results = tmp_path / "a.py", tmp_path / "results.json"
    file.write_text(solution("01_score"))
    done = CliRunner().invoke(app, ["grade", "1", str(file), "--seed", "5", "--gradescope", str(results)])
    assert done.exit_code == 0, done.output
    found = json.loads(results.read_text())
    assert found["score"] == sum(test["score"] for test in found["tests"]) == 15
    assert {"name", "score", "max_score", "output"} == found["tests"][0].keys()


def test_gradescope_tells_no_error_that_a_submission_chose(tmp_path: Path) -> None:
    file, results = tmp_path / "a.py", tmp_path / "results.json"
    file.write_text(with_instead("01_score", HOSTILE["chooses errors of Python"]))
    done = CliRunner().invoke(app, ["grade", "1", str(file), "--seed", "5", "--gradescope", str(results)])
    assert done.exit_code == 0, done.output
    found = {test["name"]: test["output"] for test in json.loads(results.read_text())["tests"]}
    assert found["wilson: ordinary shares"].endswith("0 of 6 cases right; it raised an error (6)")
    assert not re.search(r"it raised (?!an error)", results.read_text() + done.output)


@pytest.mark.parametrize("gradescope", [False, True])
def test_without_a_seed_of_the_course_nothing_is_graded(tmp_path: Path, gradescope: bool) -> None:
    file = tmp_path / "a.py"
    file.write_text(solution("01_score"))
    words = [str(file), "--gradescope", str(tmp_path / "results.json")] if gradescope else [str(tmp_path)]
    done = CliRunner().invoke(app, ["grade", "1", *words])
    assert done.exit_code == 2
    assert "--seed is missing" in done.output
    assert not (tmp_path / "results.json").exists()


def test_a_table_of_the_public_cases_earns_nothing_in_a_course(tmp_path: Path) -> None:
    """A seed that everybody knows gives cases that everybody knows."""
    answers, told = dict(namespace(find_lab("1"))), {}

    def note(function: str, *arguments: Any) -> Any:
        return told.setdefault(f"{function}{json.dumps(arguments)}", answers[function](*arguments))

    functions = ("wilson", "sign_flip_p")
    for exercise in draw(find_lab("1"), 0):
        for case in (case for group in exercise.groups for case in group.cases if exercise.function in functions):
            case(note)
    look_up = "\n".join(f"def {name}(*given): return TABLE[{name!r} + json.dumps(given)]" for name in functions)
    (tmp_path / "eve.py").write_text(f"import json\nTABLE = {told!r}\n{look_up}\n")
    files = find_submissions(tmp_path, find_lab("1"))
    marks = {seed: next(grade_many(find_lab("1"), files, seed=seed, limits=LIMITS)).marks for seed in (0, 7)}
    assert marks == {0: 6, 7: 0}


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
