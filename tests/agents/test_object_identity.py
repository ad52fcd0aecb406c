from __future__ import annotations

import functools
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.object_identity import object_identity

Define = Callable[..., Any]


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Define:
    """``define(source, name="choose")``: what a fresh session that runs ``source`` has under that name."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def define(source: str, name: str = "choose", **given: Any) -> Any:
        session: dict[str, Any] = {"__name__": "__main__", **given}
        exec(compile(source, "<cell>", "exec"), session)
        return session[name]

    return define


PLAIN = "def choose(conversation):\n    return 'submit'\n"


@pytest.mark.parametrize(
    ("source", "part", "other"),
    [
        (PLAIN, "submit", "wait"),
        (PLAIN, "(conversation)", "(conversation, times=2)"),
        ("LIMIT = 3\ndef choose(c): return LIMIT\n", "3", "4"),
        ("def deep(): return 3\ndef choose(c): return deep()\n", "3", "4"),
        ("def make(n): return lambda c: n\nchoose = make(3)\n", "3", "4"),
        ("def choose(c): return [c for _ in '12']\n", "12", "123"),
        ("class A:\n  def __call__(self, c): return 3\nchoose = A()", "3", "4"),
        ("class A:\n  def __init__(self, n): self.n = n\nchoose = A(3)", "3", "4"),
        ("import functools\nchoose = functools.partial(print, 3)", "3", "4"),
        ("words = {'a', 'b'}\ndef choose(c): return words", "'b'", "'c'"),
        ("a, b = [], []\nx = [a, b, a]\ndef choose(c): return x", "b, a]", "b, b]"),
    ],
)
def test_code_and_values_that_differ_are_told_apart(define: Define, source: str, part: str, other: str) -> None:
    found = object_identity(define(source))
    assert found == object_identity(define(source)) is not None
    assert object_identity(define(source.replace(part, other))) != found


def test_comments_places_and_unused_names_make_no_difference(define: Define) -> None:
    later = f"import json\n\nUNUSED = 3\n\n# a comment\n{PLAIN}"
    assert object_identity(define(PLAIN)) == object_identity(define(later))


@pytest.mark.parametrize("source", ["import helper\ndef choose(c): return helper.pick()\n",
                                    "def choose(c):\n    from helper import pick\n    return pick()\n"])  # fmt: skip
def test_module_of_the_users_counts_and_an_installed_one_is_named(define: Define, tmp_path: Path, source: str) -> None:
    found = []
    for number in (1, 2):
        sys.modules.pop("helper", None)
        (tmp_path / "helper.py").write_text(f"def pick():\n    return {'n' * number!r}\n")
        found.append(object_identity(define(source)))
    sys.modules.pop("helper", None)
    assert found[0] != found[1]
    assert object_identity(define("import json\ndef choose(c): return json.dumps(c)\n")) is not None


def test_state_of_a_random_generator_counts(define: Define) -> None:
    source = "def choose(c): return rng.random()\n"
    fresh, same, used = random.Random(1), random.Random(1), random.Random(1)
    used.random()
    identities = [object_identity(define(source, rng=rng)) for rng in (fresh, same, used)]
    assert identities[0] == identities[1] != identities[2]


def test_function_inside_an_installed_object_counts(define: Define) -> None:
    found = [object_identity(functools.lru_cache(define(f"def choose(c): return {number}\n"))) for number in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_what_cannot_be_read_has_no_identity(define: Define) -> None:
    assert object_identity(define("def choose(c): return lock\n", lock=threading.Lock())) is None


def test_functions_that_call_each_other_come_to_an_end(define: Define) -> None:
    source = "def choose(c): return other(c)\ndef other(c): return choose(c)\n"
    assert object_identity(define(source)) == object_identity(define(source)) is not None


def test_identity_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from agentsafe_envs.agents.object_identity import object_identity\n"
        "WORDS = {'stop', 'move', 'archive', 'keep'}\n"
        "def choose(c): return sorted(WORDS)\n"
        "print(object_identity(choose))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
