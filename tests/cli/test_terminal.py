from __future__ import annotations

import ast
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cli.terminal import printable, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü\n\t日本", "plain ü\n\t日本"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\x08", r"over\rwritten\x08"),
        ("\x9b31m", r"\x9b31m"),
        ("ab\u202ecd", r"ab\u202ecd"),
        ("\u2028\ud800", r"\u2028\ud800"),
    ],
)
def test_commands_to_a_terminal_become_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=50))
def test_nothing_that_is_printed_commands_or_breaks_a_terminal(text: str) -> None:
    shown = printable(text)
    assert all(char in "\n\t" or unicodedata.category(char)[0] != "C" for char in shown)
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_characters="\\'\n\t"), max_size=50))
def test_no_character_is_lost(text: str) -> None:
    assert ast.literal_eval(f"'{printable(text)}'") == text


def test_errors_and_answers_go_to_different_streams(capfd: pytest.CaptureFixture[str]) -> None:
    say("one\x07")
    say("two\x07", err=True)
    assert capfd.readouterr() == ("one\\x07\n", "two\\x07\n")
