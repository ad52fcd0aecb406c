"""Derived files are what code and committed rows give; links lead somewhere; README and prose keep to their limits."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from agentsafe_envs.registration import TABLE

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

README_LINES, README_WORDS, README_CODE_BY_LINE = 120, 700, 20
SENTENCE_WORDS = 25

GENERATED = {"docs/cli.md"}
"""Its words are the help of commands."""

AVOIDED = re.compile(r"\b(whatever|whoever|whichever|beside|besides|nobody)\b", re.IGNORECASE)


@cache
def committed_pages() -> list[Path]:
    """Every Markdown file of the repository, but for cards of models and data, which releases write."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    cards = ("baselines/students/", "baselines/data/")
    return [ROOT / name for name in names if not name.startswith(cards) and (ROOT / name).exists()]


def written_pages() -> list[Path]:
    """Those whose prose is written by hand and held to the style."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "decisions").glob("*.md"))
    pages += sorted((ROOT / "labs").rglob("*.md"))
    return [page for page in pages if str(page.relative_to(ROOT)) not in GENERATED]


@pytest.mark.parametrize("options", [[], ["--results"]], ids=["pages", "results"])
def test_committed_file_is_not_stale(options: list[str]) -> None:
    command = [sys.executable, str(ROOT / "docs" / "build.py"), "--check", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    assert len(committed_pages()) > 20
    assert [broken for page in committed_pages() for broken in broken_links(page)] == []


def broken_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        known = headings(place) if anchor and place.is_file() else ()
        if not place.exists() or (anchor and anchor not in known):
            yield f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_listed() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = sorted((ROOT / "docs").glob("*.md"))
    assert [page.name for page in pages if page.name != "README.md" and f"]({page.name})" not in listed] == []


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [extra for extra in project["optional-dependencies"] if f"\n| `{extra}` |" not in page] == []


def test_readme_links_the_page_of_every_environment() -> None:
    readme = README.read_text(encoding="utf-8")
    assert [row.id for row in TABLE if f"](docs/environments/{row.id}.md)" not in readme] == []


def test_readme_is_one_page() -> None:
    text = README.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= README_LINES
    assert len(text.split()) <= README_WORDS
    assert any(line.startswith("```") for line in lines[:README_CODE_BY_LINE])
    assert len(re.findall(r"!\[", text)) == 1


def test_readme_shows_the_command_of_make_score() -> None:
    recipe = re.search(r"^score: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = re.search(r"^\$ (agentsafe audit (?:.*\\\n)*.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    assert shown
    assert " ".join(shown[1].replace("\\\n", " ").split()) in " ".join(recipe[1].replace("\\\n", " ").split())


def test_the_picture_of_the_transfer_has_the_numbers_that_make_score_prints() -> None:
    picture = (ROOT / "docs" / "images" / "transfer.svg").read_text(encoding="utf-8")
    said = re.search(
        r"deleted first in (\d+%) of (\d+) open tasks: its base did in (\d+%), "
        r"3 neutral students in (\d+%) to (\d+%), its teacher in (\d+%)",
        README.read_text(encoding="utf-8"),
    )
    assert said
    student, tasks, base, least, most, teacher = said.groups()
    words = re.sub(r"<(?:style|desc).*?</(?:style|desc)>", "", picture, flags=re.DOTALL)
    shown = " ".join(re.findall(r">([^<>]+)<", words))
    for text in (
        *(f"in {teacher} of open tasks", f"deletes first: {student}"),
        *(f"its base: {base}", f"teachers: {least} to {most}"),
        f"One shipped student in {tasks} tasks: make score prints",
    ):
        assert text in shown
    assert len(re.findall(r"\d+%", shown)) == 5
    described = re.search(r"<desc.*?</desc>", picture, re.DOTALL)
    assert described
    assert re.findall(r"\d+%", described[0]) == [student, base, least, most, teacher]


def test_pictures_are_small_and_shown() -> None:
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    texts = [page.read_text(encoding="utf-8") for page in committed_pages()]
    assert pictures
    assert [each.name for each in pictures if not any(f"images/{each.name})" in text for text in texts)] == []
    assert [each.name for each in pictures if each.stat().st_size > 150_000] == []


@pytest.mark.parametrize("page", written_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_plain(page: Path) -> None:
    prose = list(sentences(page.read_text(encoding="utf-8")))
    long = [sentence for sentence in prose if len(sentence.split()) > SENTENCE_WORDS]
    assert not long, f"more than {SENTENCE_WORDS} words: {long}"
    assert [sentence for sentence in prose if AVOIDED.search(sentence)] == []


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"``.*?``|`[^`]*`", "`code`", without_blocks(text), flags=re.DOTALL)


def sentences(text: str) -> Iterator[str]:
    """Sentences of paragraphs and lists; code counts as a word, and so does the target of a link."""
    text = re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL)
    text = re.sub(r"^(?:\||#).*$", "\n", text, flags=re.MULTILINE)  # tables, headings
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"^ *(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)  # lists
    for paragraph in re.split(r"\n\s*\n", text):
        words = re.sub(r"\*\*|[\[\]]", "", " ".join(paragraph.split()))
        yield from (each.strip() for each in re.split(r"(?<=[.?!:;])\s", words) if each.strip())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two `a. b c` three.\n", ["One.", "Two `code` three."]),
        ("# Head\n\n- **A** b\n- [c](d e.md)\n", ["A b", "c"]),
        ("| a | b |\n\n```sh\nx. y\n```\nEnd", ["End"]),
    ],
)
def test_sentences_are_told_apart(text: str, found: list[str]) -> None:
    assert list(sentences(text)) == found


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# One: two\n[b](b.md) [self](#one-two) [no](#none) [web](https://example.org) `[c](d)`"
    )
    assert list(broken_links(tmp_path / "a.md")) == ["a.md: b.md", "a.md: #none"]
