"""What is handed out comes from one source and holds no solution; every notebook runs, and stops where work begins."""

from __future__ import annotations

import ast
import random
import re
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupytext")

import jupytext

from labs.build import BEGIN, END, build, colab_version, read_source, script, solution_version, student_version
from labs.source import ROOT, Lab, all_labs, definitions, find_lab

LABS = all_labs()
SHORTEST_SECRET = 20
"""Characters from which on a line of a solution is one that nobody writes by chance."""

MODEL_ANSWER = "A good answer"
"""How the answer to each discussion question begins."""

QUICK_LAB = "02_detector"

WHOLE_RUN_S = 480
"""The whole run of a lab is to take no longer. Processor time: on a busy machine the clock says little."""

ADDRESS = "https://course.example/a.tar.gz"

CELL_TIMEOUT_S = 4 * WHOLE_RUN_S
"""Of a cell that hangs, by the clock."""

RUN_TIME = re.compile(r"The whole notebook takes (\d+) seconds of processor time\.")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labs")
    build(out, ADDRESS)
    return out


def secrets(lab: Lab) -> set[str]:
    """Lines that only the solution has, comments and short ones left out."""
    regions = re.findall(rf"{BEGIN}\n(.*?){END}", lab.source, re.DOTALL)
    cells = [cell.source for cell in read_source(lab).cells if "solution" in cell.metadata.get("tags", [])]
    lines = {line.strip() for text in (*regions, *cells) for line in text.splitlines()}
    return {line for line in lines if len(line) >= SHORTEST_SECRET and not line.startswith(('"""', BEGIN, END))}


@pytest.mark.parametrize("name", LABS)
def test_nothing_of_a_solution_is_handed_out(name: str, built: Path) -> None:
    hidden = secrets(LABS[name])
    assert hidden
    for file in (*built.glob(f"student/{name}.*"), built / "colab" / f"{name}.ipynb"):
        handed_out = "\n".join(cell.source for cell in jupytext.read(file).cells)
        assert [line for line in hidden if line in handed_out] == []
        assert BEGIN not in handed_out
    assert "SOLUTION" not in (built / "solution" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", LABS)
def test_the_model_answer_is_in_the_solution_alone(name: str, built: Path) -> None:
    cells = read_source(LABS[name]).cells
    answers = [cell for cell in cells if cell.cell_type == "markdown" and "solution" in cell.metadata.get("tags", [])]
    assert [cell.source.startswith(MODEL_ANSWER) for cell in answers] == [True]
    holding = {
        file.relative_to(built).parts[0] for file in built.rglob(f"{name}.*") if MODEL_ANSWER in file.read_text()
    }
    assert holding == {"solution"}


@pytest.mark.parametrize("name", LABS)
def test_every_version_is_python_and_has_the_same_exercises(name: str) -> None:
    source = read_source(LABS[name])
    functions = {exercise.function for exercise in LABS[name].hidden.exercises(random.Random(1))}
    for version in (student_version(source), solution_version(source)):
        code = "\n".join(cell.source for cell in version.cells if cell.cell_type == "code")
        named = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        assert functions <= named
    student = script(student_version(source))
    for node in definitions("\n".join(c.source for c in student_version(source).cells if c.cell_type == "code")).body:
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            assert isinstance(node.body[-1], ast.Raise), f"{name}: {node.name} is not empty"
    assert student.count("NotImplementedError(") >= len(functions)


def test_equal_sources_give_equal_bytes(built: Path, tmp_path: Path) -> None:
    files = build(tmp_path, ADDRESS)
    assert len(files) == 5 * len(LABS)
    assert all(file.read_bytes() == (built / file.relative_to(tmp_path)).read_bytes() for file in files)


def test_colab_installs_what_the_lab_names() -> None:
    cells = colab_version(read_source(find_lab("3")), ADDRESS).cells
    assert f"curl --fail --silent --show-error --location {ADDRESS} |" in cells[1].source
    assert '".[baselines]"' in cells[1].source


def test_without_an_address_nothing_is_made_for_colab(tmp_path: Path) -> None:
    files = build(tmp_path)
    assert len(files) == 4 * len(LABS)
    assert {file.relative_to(tmp_path).parts[0] for file in files} == {"student", "solution"}


@pytest.mark.parametrize("archive", ["", ADDRESS])
def test_make_labs_is_light_and_takes_an_address(archive: str, tmp_path: Path) -> None:
    command = ["make", "--dry-run", "labs", f"VENV={tmp_path / 'venv'}", f"ARCHIVE={archive}"]
    told = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True).stdout
    assert ".[labs,students]" in told
    assert "torch" not in told
    assert f"-m labs build --archive '{archive}'" in told if archive else "--archive" not in told


@pytest.mark.parametrize(
    ("name", "found"), [("1", "01_score"), ("01", "01_score"), ("5a", "05a_gap"), ("6", "06_defence")]
)
def test_a_lab_is_found_by_its_number(name: str, found: str) -> None:
    assert find_lab(name).name == found
    assert find_lab(found).name == found


def test_an_unknown_lab_is_told() -> None:
    with pytest.raises(ValueError, match="01_score"):
        find_lab("9")


def test_marks_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(f"# %%\n{BEGIN}\nx = 1\n")
    with pytest.raises(ValueError, match="expected pairs"):
        read_source(Lab("made", tmp_path))


@pytest.mark.parametrize(
    "header",
    ['tags=["solution"] [markdown]', '[markdown] tags=["solution"', 'tag=["solution"]', 'tags=["solutions"]', "Z"],
)
def test_a_header_that_is_not_understood_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "lab.py").write_text(f"# %% {header}\n# {MODEL_ANSWER}: 3.\n")
    with pytest.raises(ValueError, match="expected `# %%`"):
        read_source(Lab("made", tmp_path))


@pytest.mark.parametrize("name", LABS)
def test_a_lab_names_its_sources(name: str) -> None:
    shown = "\n".join(cell.source for cell in student_version(read_source(LABS[name])).cells)
    assert re.search(r"\]\(https://(?:arxiv|doi)\.org/\S+\)", shown)


@pytest.mark.parametrize("name", LABS)
def test_the_teachers_page_has_the_marks_of_the_hidden_cases(name: str) -> None:
    page = (LABS[name].folder / "teacher.md").read_text(encoding="utf-8")
    drawn = LABS[name].hidden.exercises(random.Random(1))
    for exercise in drawn:
        marks = sum(group.marks for group in exercise.groups)
        rows = [(exercise.function, marks)]
        if len(drawn) == 1:  # a line for each group then
            rows = [(group.title, group.marks) for group in exercise.groups]
        for title, number in rows:
            assert re.search(rf"^\| `?{title}`? \| {number}\b", page, re.MULTILINE), title


def stated_s(text: str) -> int:
    """Seconds that a text says the notebook takes."""
    (stated,) = RUN_TIME.findall(" ".join(text.split()))
    return int(stated)


@pytest.mark.parametrize("name", LABS)
def test_notebook_and_teachers_page_say_the_same_run_time(name: str) -> None:
    page = (LABS[name].folder / "teacher.md").read_text(encoding="utf-8")
    assert stated_s(read_source(LABS[name]).cells[0].source) == stated_s(page) <= WHOLE_RUN_S


def needs_torch(lab: Lab) -> bool:
    extras = re.search(r"--editable \"\.\[([\w,]+)\]\"", read_source(lab).cells[0].source)
    assert extras
    return not {"lm", "baselines"}.isdisjoint(extras[1].split(","))


@pytest.mark.parametrize("name", LABS)
def test_the_lecturers_table_says_what_a_lab_needs(name: str) -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\|.*\]\({name}/teacher\.md\).*\| (\w+) \|$", table, re.MULTILINE)
    assert row
    assert row[1] == ("torch" if needs_torch(LABS[name]) else "light")
    assert ("with torch" in read_source(LABS[name]).cells[0].source) == needs_torch(LABS[name])


def test_ci_runs_the_notebook_of_every_lab() -> None:
    script_of_ci = (ROOT.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert "tests/labs/test_build.py" in script_of_ci
    assert "tests/leaderboard/server/test_lab_board.py" in script_of_ci
    assert "runs[" not in script_of_ci, "a notebook is left out"


def run(notebook: Any, folder: Path) -> float:
    """Seconds of processor time that the notebook takes; its outputs are in it afterwards."""
    from nbclient import NotebookClient

    before = processor_s()
    NotebookClient(notebook, timeout=CELL_TIMEOUT_S, resources={"metadata": {"path": str(folder)}}).execute()
    spent = processor_s() - before
    assert spent <= WHOLE_RUN_S
    return spent


def processor_s() -> float:
    """Seconds that all ended processes of this one took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.needs("notebooks", "students")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [name if name == QUICK_LAB else pytest.param(name, marks=pytest.mark.slow) for name in LABS]
)
def test_the_solutions_notebook_runs(name: str, tmp_path: Path) -> None:
    done = solution_version(read_source(LABS[name]))
    spent = run(done, tmp_path)
    printed = "".join(out.get("text", "") for cell in done.cells for out in cell.get("outputs", ()))
    assert "the visible checks pass; hidden cases decide the marks" in printed
    assert "all passed" not in printed.lower()
    stated = stated_s(done.cells[0].source)
    assert 0.1 < spent <= 3 * stated + 10, f"{stated} s are stated"


@pytest.mark.needs("notebooks", "students")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_the_students_notebook_stops_where_the_work_begins(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match=r"NotImplementedError\S*: your code"):
        run(student_version(read_source(find_lab("2"))), tmp_path)
