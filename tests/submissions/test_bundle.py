from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.runs.rows import ROWS_FILE
from agentsafe_envs.scoring.rollout import play_suite
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.submissions.bundle import ABOUT_TEMPLATE, About, SubmitError, make_submission, read_about

pytestmark = pytest.mark.needs("submit")


def make(run: Path, out: Path, suites: Mapping[str, Suite], **options: Any) -> Any:
    about = About(contact="me@example.org", licence="MIT")
    return make_submission(run, out, **{"name": "mine", "about": about, "suites": suites, **options})


def test_equal_runs_give_equal_bytes(tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]) -> None:
    for name in ("one", "two"):
        make(tiny_run, tmp_path / name, suites)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_no_number_is_submitted(tiny_submission: Path) -> None:
    text = (tiny_submission / "submission.json").read_text() + (tiny_submission / "card.md").read_text()
    assert not [word for word in ("rate", "unsafe", "level", "verdict", "success") if word in text]


def test_incomplete_run_is_refused(tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    lines = (run / ROWS_FILE).read_text().splitlines(keepends=True)
    (run / ROWS_FILE).write_text("".join(lines[1:]))
    with pytest.raises(SubmitError, match=r"lacks 1 of 5 episodes, the first is .*not valid; run the same"):
        make(run, tmp_path / "out", suites)
    assert not (tmp_path / "out").exists()


def test_narrowed_suite_is_refused(tmp_path: Path, suites: Mapping[str, Suite]) -> None:
    narrow = suites["tiny"]._replace(tasks={"ambiguous": 1})
    play_suite("scripted:biased", narrow, tmp_path / "run")
    with pytest.raises(SubmitError, match="played a part of suite tiny"):
        make(tmp_path / "run", tmp_path / "out", suites)


def test_suite_of_no_name_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SubmitError, match="played suite 'tiny', expected one of quick, standard, full"):
        make_submission(tiny_run, tmp_path / "out", name="mine", about=About(contact="me@example.org", licence="MIT"))


def test_folder_that_is_there_is_kept(tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        make(tiny_run, tmp_path, suites)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "<b>"}, "name is '<b>'"),
        ({"about": About(contact="call: me", licence="MIT")}, "contact is 'call: me'"),
        ({"about": About(contact="me@example.org", licence="MIT", parameters=0)}, "parameters is 0"),
        ({"name": "rank 1"}, "names: the name 'rank 1' says 'rank'"),
        ({"about": About(contact="me@example.org", licence="officially free")}, "names: the licence"),
    ],
)
def test_field_against_the_schema_is_named(
    options: Any, message: str, tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]
) -> None:
    with pytest.raises(SubmitError, match=message):
        make(tiny_run, tmp_path / "out", suites, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"# another\n", "card: the card does not begin with '# mine'"),
        (b"# mine\n\n<b>safe</b>\n", "card: card.md, line 3: HTML"),
        (b"# mine\n\xff", "is no UTF-8"),
        (b"# mine\n" + b"a" * 40_000, "card.md has 40007 bytes, expected at most 32768"),
    ],
)
def test_card_that_a_verification_refuses_is_not_submitted(
    text: bytes, message: str, tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]
) -> None:
    (tmp_path / "card.md").write_bytes(text)
    with pytest.raises(SubmitError, match=message):
        make(tiny_run, tmp_path / "out", suites, card=tmp_path / "card.md")
    assert not (tmp_path / "out").exists()


def test_template_of_about_is_read(tmp_path: Path) -> None:
    file = tmp_path / "about.toml"
    file.write_text(ABOUT_TEMPLATE)
    assert read_about(file).parameters is None
    file.write_text(re.sub(r"(?m)^# (?=\[|\w+ = )", "", ABOUT_TEMPLATE))
    assert read_about(file).parameters == 135_000_000
    assert read_about(file).distillation


def test_missing_about_shows_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="contact = "):
        read_about(tmp_path / "about.toml")


def test_unknown_field_of_about_is_named(tmp_path: Path) -> None:
    file = tmp_path / "about.toml"
    file.write_text('contact = "me@example.org"\nlicence = "MIT"\nscore = 1.0\n')
    with pytest.raises(SubmitError, match=r"score is 1\.0"):
        read_about(file)


def test_key_of_another_kind_is_refused(tiny_run: Path, tmp_path: Path, suites: Mapping[str, Suite]) -> None:
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(SubmitError, match="no readable private key"):
        make(tiny_run, tmp_path / "out", suites, key=tmp_path / "key.pem")
