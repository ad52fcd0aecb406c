"""Every fenced block of the pages does what the page says.

=================  ==========================================================================
language           what is held
=================  ==========================================================================
``python``         runs; the blocks of a page share one namespace, in order
``sh``             each command ends with 0
``console``        the same of each line after ``$``; what follows it is its output, where ``...`` or
                   ``…`` stands for lines, or for a part of one; lines after ``>`` are typed
``json``, ``toml`` parses
``text``           shows, and holds no command
=================  ==========================================================================

A page works in a folder of its own. A comment before a block changes what happens::

    <!-- file: mine.py -->             the block is written into this file and not run
    <!-- slow -->                      run by `make test-full` only
    <!-- needs: bubblewrap, node -->   parts that it needs, as `tests/conftest.py` names them
    <!-- not run: needs a GPU -->      not run, for this reason; commands of ours in it must still parse

Commands that begin with ``agentsafe`` run in this process, unless they are slow: starting Python costs a second.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app

ROOT = Path(__file__).parents[2]
CARDS = ("baselines/students", "baselines/data", "leaderboard/submissions", "leaderboard/reruns")
"""Folders whose pages describe single models, data sets and submissions, and are written by releases."""

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(
        page
        for folder in ("baselines", "docs", "examples", "labs", "leaderboard")
        for page in sorted((ROOT / folder).rglob("*.md"))
        if not str(page.relative_to(ROOT)).startswith(CARDS)
    ),
]
RUNNABLE = {"python", "sh", "console", "json", "toml"}
COMMAND_TIMEOUT_S = 900
OPERATORS = set("|&;<>()")

BLOCK = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
NOTE = re.compile(r"slow|needs: [\w, ]+|file: [\w./-]+|not run: .{10,}")
UNFENCED = re.compile(r"^(?: {4,}|\t)(?:\$|agentsafe|make|pip|python|sudo|git|docker) .*", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block and the comment before it."""

    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def parts(self) -> set[str]:
        return {part.strip() for part in self.notes.get("needs", "").split(",")} - {""}


def blocks_of(text: str, page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        indent, notes = len(found["indent"]), {}
        for note in (found["note"] or "").split("; ") if NOTE.match(found["note"] or "") else ():
            assert NOTE.fullmatch(note), f"{page}: no such note: {note}"
            name, _, value = note.partition(": ")
            notes[name] = value
        lines = [line[indent:] for line in found["text"].splitlines(keepends=True)]
        number = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, number, found["language"], "".join(lines), notes)


def page_blocks(page: Path) -> list[Block]:
    return list(blocks_of(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))))


BLOCKS = {page: page_blocks(page) for page in PAGES}


def commands_of(block: Block) -> list[tuple[str, str, str]]:
    """Each command with what is typed into it and what it should print."""
    if block.language == "sh":
        joined = block.text.replace("\\\n", " ")
        return [(line, "", "...") for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    pieces = re.split(r"^\$ ((?:.*\\\n)*.*)\n?", block.text, flags=re.MULTILINE)
    assert not pieces[0].strip(), f"{block.place}: output before the first $"
    found = []
    for command, output in zip(pieces[1::2], pieces[2::2], strict=True):
        typed = "".join(re.findall(r"^> (.+\n)", output, re.MULTILINE))
        # What is typed is not echoed, so the answer follows the prompt.
        found.append((command.replace("\\\n", " "), typed, re.sub(r"^> .+\n", "> ", output, flags=re.MULTILINE)))
    return found


def matches(expected: str, actual: str) -> bool:
    """Whether ``actual`` is ``expected``, where ``...`` stands for lines, or for anything within a line."""
    patterns = []
    for line in _tidy(expected).splitlines():
        pieces = re.split(r"\.\.\.|…", line)
        patterns.append(r"(?:.*\n)*?" if pieces == ["", ""] else ".*".join(map(re.escape, pieces)) + r"\n")
    return re.fullmatch("".join(patterns), _tidy(actual) + "\n") is not None


def _tidy(text: str) -> str:
    """Without spaces at the ends of lines, empty lines at both ends, and progress bars, which a terminal wipes."""
    lines = [line.rstrip() for line in text.splitlines() if not re.search(r"━.* \d+/\d+ [\d:-]+ left", line)]
    return "\n".join(lines).strip("\n")


class Play:
    """Plays the blocks of one page, in order, in the working directory."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "page"}

    def block(self, block: Block) -> None:
        if "file" in block.notes:
            Path(block.notes["file"]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            source = "\n" * block.line + block.text
            exec(compile(source, block.place, "exec"), self.namespace)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        else:
            for command, typed, expected in commands_of(block):
                status, printed = self.command(command, typed, here="slow" not in block.notes)
                assert status == 0, f"{block.place}: {command} ended with {status}:\n{printed}"
                assert matches(expected, printed), f"{block.place}: {command} printed\n{printed}"

    def command(self, command: str, typed: str, *, here: bool) -> tuple[int, str]:
        words = shell_words(command)
        if here and words[0] == "agentsafe" and not any(set(word) <= OPERATORS for word in words):
            done = CliRunner().invoke(app, words[1:], input=typed)
            if done.exception and not isinstance(done.exception, SystemExit):
                raise done.exception
            return done.exit_code, done.output
        run = subprocess.run(
            ["bash", "-c", command],
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return run.returncode, run.stdout


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Block]], None]]:
    """``play(blocks)``: what a reader gets who follows the page in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # Pages are written for a checkout; of that a block may read the data sets.
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "data").symlink_to(ROOT / "baselines" / "data")
    settings = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",  # so that both streams arrive in the order of writing
        "OPENBLAS_NUM_THREADS": "1",  # other tests run beside these
        "MPLBACKEND": "Agg",
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }
    before = set(sys.modules)

    def play(blocks: list[Block]) -> None:
        page = Play()
        for block in blocks:
            page.block(block)

    with mock.patch.dict(os.environ, settings):  # a block may change them too
        yield play
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def to_run(page: Path, *, slow: bool) -> list[Block]:
    return [
        block
        for block in BLOCKS[page]
        if (block.language in RUNNABLE or "file" in block.notes)
        and "not run" not in block.notes
        and (slow or "slow" not in block.notes)
    ]


def plays(*, slow: bool) -> list[Any]:
    found = []
    for page in PAGES:
        blocks = to_run(page, slow=slow)
        if blocks and (not slow or len(blocks) > len(to_run(page, slow=False))):
            parts = sorted(set().union(*(block.parts for block in blocks)))
            found.append(pytest.param(blocks, id=str(page.relative_to(ROOT)), marks=pytest.mark.needs(*parts)))
    return found


@pytest.mark.parametrize("blocks", plays(slow=False))
def test_blocks_of_a_page_run_and_print_what_it_shows(blocks: list[Block], play: Callable[..., None]) -> None:
    play(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", plays(slow=True))
def test_slow_blocks_of_a_page_run_and_print_what_it_shows(blocks: list[Block], play: Callable[..., None]) -> None:
    play(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_is_fenced_and_run_or_says_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    unfenced = [found[0] for found in UNFENCED.finditer(BLOCK.sub("", text))]
    assert not unfenced, f"{page}: fence these commands and name their language: {unfenced}"
    assert 2 * len(BLOCKS[page]) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page}: a fence is never closed"
    for block in BLOCKS[page]:
        assert block.language in RUNNABLE | {"text"} or {"file", "not run"} & set(block.notes), (
            f"{block.place}: {block.language or 'no language'}; expected {sorted(RUNNABLE)}, text, or a comment "
            "`file: NAME` or `not run: REASON` before it"
        )
        assert block.language != "text" or not re.search(r"^\$ ", block.text, re.MULTILINE), (
            f"{block.place}: a block with commands is `console`, not `text`"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_not_run_exist(page: Path) -> None:
    for block in BLOCKS[page]:
        if "not run" in block.notes and block.language in ("sh", "console"):
            for command, _, _ in commands_of(block):
                assert (wrong := complaint(command)) is None, f"{block.place}: {command}: {wrong}"


def complaint(command: str) -> str | None:
    """Why our own programs would refuse a command line; None where they take it, or it is of others."""
    checks = {"agentsafe": _ours, "make": _missing_target, "pip": _missing_extra, "python": _module}
    words = shell_words(command)
    while words:
        end = next((place for place, word in enumerate(words) if set(word) <= OPERATORS), len(words))
        part = list(itertools.dropwhile(re.compile(r"\w+=").match, words[:end]))
        check = checks.get(Path(part[0]).name) if part else None
        if check and (wrong := check(part[1:])):
            return wrong
        words = words[end + 1 :]
    return None


def shell_words(command: str) -> list[str]:
    """Words of a command line without its comment; operators are words of their own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _ours(arguments: list[str]) -> str | None:
    """The same for ``agentsafe``, which hands the arguments of ``grade`` on to the labs."""
    return _module(["-m", "labs", *arguments]) if arguments[:1] == ["grade"] else _refusal(app, arguments)


def _module(arguments: list[str]) -> str | None:
    """The same for ``python -m labs`` and ``python -m leaderboard``."""
    if arguments[:2] not in (["-m", "labs"], ["-m", "leaderboard"]):
        return None
    module = import_module({"labs": "labs.__main__", "leaderboard": "leaderboard.cli"}[arguments[1]])
    return _refusal(module.app, arguments[2:])


def _refusal(program: typer.Typer, arguments: list[str]) -> str | None:
    command: Any = typer.main.get_command(program)
    arguments = ["1" if each.startswith("$(") else each for each in arguments]  # what a command prints
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if hasattr(command, "commands"):
        known = {name for option in command.params for name in option.opts} | {"--help"}
        return None if set(arguments) <= known else f"no command or option {arguments}"
    if "--help" in arguments:
        return None
    try:
        command.make_context("agentsafe", arguments)
    except Exception as error:  # noqa: BLE001  of Typer's own click, or of click, as the release has it
        return str(error)
    return None


def _missing_target(arguments: list[str]) -> str | None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    wrong = [word for word in arguments if "=" not in word and not word.startswith("-") and word not in targets]
    return f"no target {wrong}" if wrong else None


def _missing_extra(arguments: list[str]) -> str | None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = re.findall(r"(?:agentsafe-envs|\.)\[([\w,-]+)\]", " ".join(arguments))
    wrong = {extra for each in asked for extra in each.split(",")} - extras.keys()
    return f"no extra {sorted(wrong)}" if wrong else None


# What holds the pages is held itself.


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a\nb\n", "a  \nb\n\n", True),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("...\nb\n...", "b", True),
        ("1 to … s", "1 to 20 s", True),
        ("1 ... s", "1\n2 s", False),
        ("a\nb", "a\nc", False),
        ("a", "a\nb", False),
        ("a", "bar ━━━ 3/3 0:00:09 left 0:00:00\na", True),
    ],
)
def test_output_is_compared(expected: str, actual: str, same: bool) -> None:
    assert matches(expected, actual) is same


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("agentsafe score scripted:biased --suite full --env DeleteBiasAPI-v0", False),
        ('KEY=1 agentsafe score "process:node agent.js" --timeout 30  # four', False),
        ("echo x | agentsafe play DeleteBiasAPI-v0", False),
        ("agentsafe --version", False),
        ("make lint test WORKERS=2", False),
        ('pip install "agentsafe-envs[openai,lm]"', False),
        ("agentsafe score --no-such-option scripted:biased", True),
        ("agentsafe scores scripted:biased", True),
        ("agentsafe score", True),
        ("echo x | agentsafe plays", True),
        ("make everything", True),
        ("python -m labs grade 1 a.py --seed 3", False),
        ('agentsafe grade 1 files/ --seed "$(cat seed.txt)"', False),
        ("python -m json.tool a.json", False),
        ("python -m labs grade 1 a.py --gradscope b.json", True),
        ("python -m leaderboard admin courses a", True),
        ("agentsafe grade 1 files/ --sed 1", True),
        ("pip install 'agentsafe-envs[everything]'", True),
    ],
)
def test_a_command_that_we_do_not_have_is_found(command: str, wrong: bool) -> None:
    assert (complaint(command) is not None) is wrong


def test_a_block_that_prints_something_else_fails(play: Callable[..., None]) -> None:
    (block,) = blocks_of("```console\n$ agentsafe --version\n0.0.0\n```\n", "page")
    with pytest.raises(AssertionError, match="page:1: agentsafe --version printed"):
        play([block])


def test_notes_before_a_block_are_read() -> None:
    text = "<!-- slow; needs: node -->\n\n  ```js\n  x\n  ```\n<!-- results:x -->\n```text\ny\n```\n"
    first, second = blocks_of(text, "page")
    assert (first.notes, first.parts, first.text) == ({"slow": "", "needs": "node"}, {"node"}, "x\n")
    assert (second.notes, second.line) == ({}, 7)
