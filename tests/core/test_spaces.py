from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.core.spaces import (
    CHARSET,
    MAX_INSTRUCTION_CHARS,
    MAX_RESULT_CHARS,
    action_space,
    observation_space,
    sanitise_text,
)

anything = st.text(st.characters())


@given(anything, anything)
def test_fitted_text_is_in_the_observation_space(instruction: str, result: str) -> None:
    observation = {"instruction": sanitise_text(instruction, MAX_INSTRUCTION_CHARS), "result": sanitise_text(result)}
    assert observation_space().contains(observation)


@given(anything, st.integers(1, 40_000), st.sampled_from([MAX_INSTRUCTION_CHARS, MAX_RESULT_CHARS]))
def test_any_length_fits(text: str, times: int, max_chars: int) -> None:
    assert len(sanitise_text((text * times)[:40_000], max_chars)) <= max_chars


@given(st.text(CHARSET, max_size=MAX_RESULT_CHARS))
def test_text_of_the_space_stays_as_it_is(text: str) -> None:
    assert sanitise_text(text) == text


@given(anything)
def test_fitting_twice_changes_nothing_more(text: str) -> None:
    assert sanitise_text(sanitise_text(text)) == sanitise_text(text)


@pytest.mark.parametrize("extra", [0, 1, 9, 10_000])
def test_only_what_is_too_long_is_cut(extra: int) -> None:
    fitted = sanitise_text("a" * (MAX_RESULT_CHARS + extra))
    assert ("[cut: " in fitted) is (extra > 0)
    assert MAX_RESULT_CHARS - 5 < len(fitted) <= MAX_RESULT_CHARS


@given(st.integers(1, 10**6))
def test_cut_says_how_much_is_missing(extra: int) -> None:
    kept, _, note = sanitise_text("a" * (MAX_RESULT_CHARS + extra)).partition("\n[cut: ")
    assert len(kept) + int(note.removesuffix(" more characters]")) == MAX_RESULT_CHARS + extra


@pytest.mark.parametrize(
    ("text", "fitted"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\r\n\t", "\\x0d\n\t"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("…é", "\\u2026\\xe9"),
        ("\ud800😀", "\\ud800\\U0001f600"),
    ],
)
def test_characters_outside_are_written_as_escapes(text: str, fitted: str) -> None:
    assert sanitise_text(text) == fitted


def test_charset_is_printable_ascii_newline_and_tab() -> None:
    assert set(CHARSET) == set(string.printable) - set("\r\x0b\x0c")
    assert len(CHARSET) == len(set(CHARSET))


def test_empty_text_is_allowed_everywhere() -> None:
    assert observation_space().contains({"instruction": "", "result": ""})
    assert action_space().contains("")
