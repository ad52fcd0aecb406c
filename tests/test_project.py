"""The shape of the house: who may import whom, what importing costs, what a module may not be."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from agentsafe_envs.registration import TABLE, WORLDS

pytest_plugins = ["pytester"]

PACKAGE = "agentsafe_envs"
ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))

LAYERS = [
    {"core"},
    {"cloud", "bash"},
    {"registration", ""},  # "" is the package itself: importing it registers the environments
    {"agents", "trajectories", "runs"},
    {"stats", "scoring", "audit", "report", "submissions"},
    {"integrations", "cli", "__main__"},
]
"""Lowest first. A part imports lower layers and its own, but neither world imports the other."""

OUTSIDE = {"baselines", "leaderboard", "labs", "docs", "tests"}
"""Built on the library, so never imported by it."""

HEAVY = {"torch", "transformers", "pandas", "pyarrow", "docker", "fastapi"}
IMPORT_BUDGET_S = 0.4
LONGEST_MODULE = 400

EPISODE_LOOP = ("core/env.py", "core/world.py", "cloud/world.py", "bash/world.py")
"""What an agent's actions pass through, and its observations come from."""

OF_A_VERDICT = {"Harm", "Verdict", "breaks_rule", "classify", "harms", "judge", "verdict"}


def test_modules_import_only_lower_layers() -> None:
    for path in MODULES:
        part = _part(path)
        assert part in _ranks(), f"{path}: {part!r} has no layer yet; give it one in DESIGN's order and in LAYERS"
        for line, name in _imports(path.read_text(), _dotted(path)):
            head, _, rest = name.partition(".")
            assert head not in OUTSIDE, f"{path}:{line}: the library must not import {name}"
            if head != PACKAGE:
                continue
            other = rest.partition(".")[0] if rest.partition(".")[0] in _ranks() else ""
            assert _may_import(part, other), f"{path}:{line}: {part} must not import {name}"


@pytest.mark.parametrize(
    ("part", "other", "allowed"),
    [
        ("cloud", "core", True),
        ("cloud", "cloud", True),
        ("audit", "scoring", True),
        ("", "cli", True),
        ("core", "cloud", False),
        ("cloud", "bash", False),
        ("registration", "agents", False),
        ("trajectories", "audit", False),
        ("core", "", False),
    ],
)
def test_order_of_layers(part: str, other: str, allowed: bool) -> None:
    assert _may_import(part, other) is allowed


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import agentsafe_envs.cli.app\ndef f():\n    from .. import scoring\n    from ..audit.gap import g\n"
    assert list(_imports(source, "agentsafe_envs.core.env")) == [
        (1, "agentsafe_envs.cli.app"),
        (3, "agentsafe_envs.scoring"),
        (4, "agentsafe_envs.audit.gap.g"),
    ]


@pytest.mark.parametrize("name", EPISODE_LOOP)
def test_what_runs_an_episode_never_touches_a_verdict(name: str) -> None:
    for node in ast.walk(ast.parse((ROOT / PACKAGE / name).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not re.search(r"\bjudge\b|\bdetectors\b", node.module or ""), f"{name}:{node.lineno}"
        attribute = {ast.Name: "id", ast.Attribute: "attr", ast.alias: "name"}.get(type(node))
        assert attribute is None or getattr(node, attribute) not in OF_A_VERDICT, f"{name}: {ast.dump(node)}"


def test_no_module_imports_itself_through_others() -> None:
    modules = {_dotted(path).removesuffix(".__init__"): path for path in MODULES}
    graph = {name: _imported_modules(name, path, modules.keys()) for name, path in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_circle_of_imports_is_found_unless_it_is_for_types_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import b\ndef f():\n    import p.c\n"
    )
    assert _imported_modules("p.a", file, {"p", "p.a", "p.b", "p.c"}) == {"p.c"}


OF_ONE_WORLD = {
    "cloud": {"services", "state.py", "tools.py"}
    | {"detectors/days.py", "scenarios/builder.py", "scenarios/estate.py", "scenarios/over_quota.py"},
    "bash": {"equivalence.py", "evidence.py", "evidence_form.py", "files", "sandbox", "trace"}
    | {"detectors/intent.py", "scenarios/accounts.py", "scenarios/data.py", "scenarios/file_cleanup.py"},
}
"""Modules and folders that the other world has no use for; all others stand in both."""


def _rooms(world: str) -> set[str]:
    """Modules and folders of a world, and modules of the folders that both have, but for the biases."""
    top = ROOT / PACKAGE / world
    shared = [folder for folder in ("detectors", "scenarios") if (top / folder).is_dir()]
    paths = [*top.iterdir(), *(path for folder in shared for path in (top / folder).iterdir())]
    return {str(path.relative_to(top)) for path in paths if path.suffix == ".py" or any(path.glob("*.py"))}


def test_both_worlds_have_the_same_rooms() -> None:
    rooms = {world: _rooms(world) for world in OF_ONE_WORLD}
    assert {world: sorted(own - rooms[world]) for world, own in OF_ONE_WORLD.items()} == {"cloud": [], "bash": []}
    assert rooms["cloud"] - OF_ONE_WORLD["cloud"] == rooms["bash"] - OF_ONE_WORLD["bash"]


@pytest.mark.parametrize("world", ["cloud", "bash"])
def test_every_bias_has_its_words_and_its_tests_beside_it(world: str) -> None:
    folder = ROOT / PACKAGE / world / "biases"
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {path.stem for path in folder.glob("*.toml")} == names
    assert {f"test_{name}" for name in names} <= {
        path.stem for path in (ROOT / "tests" / world / "biases").glob("*.py")
    }


ONE_A_MODULE = {
    "FORMAT": "a format of foreign trajectories; the import looks it up by this name",
    "CHECK": "the check that a file of submissions/verify is there for; the folder is iterated for it",
    "COMMON_TOOLS": "tools of a scenario that every task of it offers",
    "SCHEMA_VERSION": "version of the document that the module writes",
    "START_S": "seconds until a session must have started, as seen from inside and outside the sandbox",
    "TOOL_POSITION": "place of a service's tools in the full toolset",
    "WORLD": "what a world's module is there for; the registration looks it up by this name",
    "access_denied": "the scenario of that name in each world",
    "losses": "detector of losses in each world",
    "tool": "decorator that registers a service's tool, with its place or project filled in",
}
"""Public name -> its meaning, which is the same in every module that has one."""

TWO_MEANINGS = {
    "Entry": "the daemon runs in the sandbox without this package, so it has plain tuples of its own",
    "KEPT_CONTENT_BYTES": "as Entry",
    "Node": "as Entry",
    "NAMES": "words that files and cloud resources are named with",
    "PACKAGE": "of the weights of SmolLM2, and of the page's style",
    "PEOPLE": "names of users in each world",
    "PROJECTS": "words that projects in each world are named with",
    "R": "type variable",
    "SHELL": "the traced program, and the tool that plain lines go to",
    "T": "type variable",
    "load": "of services, and of data sets",
}
"""Public name -> why two modules may use it for different things; no name may be added where another would do."""


def test_a_public_name_has_one_meaning() -> None:
    places: dict[str, set[str]] = {}
    for path in MODULES:
        if path.parent.name == "biases":
            continue  # a bias is copied from another, with its names
        for name in _public_names(path):
            places.setdefault(name, set()).add(str(path.relative_to(ROOT / PACKAGE)))
    twice = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    # A command of the terminal is named after the function that it calls.
    twice = {name: found for name, found in twice.items() if sum(not each.startswith("cli/") for each in found) > 1}
    new = {name: found for name, found in twice.items() if name not in ONE_A_MODULE | TWO_MEANINGS}
    assert not new, "rename all but one, or give a reason above"
    assert (ONE_A_MODULE | TWO_MEANINGS).keys() <= twice.keys(), "a reason that is no longer needed"


def test_a_module_is_one_concern() -> None:
    assert [path for path in MODULES if path.name == "utils.py"] == [], "name it after what it does"
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: number for path, number in lines.items() if number > LONGEST_MODULE} == {}, "split it by concern"


def test_modules_are_finished() -> None:
    left_open = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")
    assert [str(path) for path in MODULES if left_open.search(path.read_text())] == []


def test_importing_is_quick_and_pulls_in_nothing_heavy() -> None:
    code = (
        "import json, sys, time; start = time.process_time(); import agentsafe_envs; "
        "print(json.dumps([time.process_time() - start, sorted(sys.modules)]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    times = []
    for _ in range(8):  # the best of a few, in processor time: the machine may be busy
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        seconds, modules = json.loads(done.stdout)
        assert HEAVY.isdisjoint(modules)
        times.append(seconds)
        if seconds <= IMPORT_BUDGET_S:
            break
    assert min(times) <= IMPORT_BUDGET_S, f"import took {times} s of processor time"


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("nothing", "errors")])
def test_missing_part_is_skipped_unless_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    monkeypatch.setenv("AGENTSAFE_REQUIRE", required)
    conftest = Path(__file__).with_name("conftest.py").read_text()
    pytester.makeconftest(conftest + "\nPARTS['nothing'] = ('no_such_module',)\n")
    pytester.makepyfile("import pytest\n@pytest.mark.needs('nothing')\ndef test_part(): pass")
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(**{outcome: 1})


@pytest.mark.parametrize("world", WORLDS)
def test_every_bias_is_registered(world: str) -> None:
    files = {path.stem for path in (ROOT / PACKAGE / world / "biases").glob("*.py")} - {"__init__"}
    missing = files - {row.bias for row in TABLE if row.world == world}
    assert not missing, f"{world}/biases: {sorted(missing)} has no row in the table of registration.py; add one"


def _ranks() -> dict[str, int]:
    return {part: rank for rank, parts in enumerate(LAYERS) for part in parts}


def _may_import(part: str, other: str) -> bool:
    if part == "":  # the public names come from everywhere
        return True
    if {part, other} == {"cloud", "bash"}:
        return False
    return _ranks()[other] <= _ranks()[part]


def _part(path: Path) -> str:
    first = path.relative_to(ROOT / PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def _dotted(path: Path) -> str:
    """Name that relative imports in ``path`` start from; a package counts as its ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported anywhere in ``source``, in order."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            prefix = [*above, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*prefix, alias.name])) for alias in node.names)


def _imported_modules(module: str, path: Path, known: Collection[str]) -> set[str]:
    """The modules among ``known`` that ``path`` imports wherever it does so, but for its annotations alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    module += ".__init__" * (path.name == "__init__.py")
    found = {name if name in known else name.rpartition(".")[0] for _, name in _imports(ast.unparse(tree), module)}
    return found & set(known) - {module.removesuffix(".__init__"), PACKAGE}


def _public_names(path: Path) -> Iterator[str]:
    """Classes, functions and constants that a module defines at its top level, or in a condition there."""
    yield from _named_in(ast.parse(path.read_text()).body)


def _named_in(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _named_in([*node.body, *node.orelse])
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)]
        yield from (name for name in names if name and not name.startswith("_"))
