from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.report.markup import disclosure, element, embedded, extend, link, section, written

from .conftest import HOSTILE, Reader

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"))) | st.sampled_from(
    ["</script>", "<!--", "]]>", "&lt;", "<img onerror=x>", "'\"", "-->"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | TEXT, inner),
    max_leaves=20,
)


@given(JSON)
def test_embedded_value_comes_back_and_cannot_end_its_element(value: Any) -> None:
    page = Reader(written(element("html", {}, embedded("data", value))))
    assert [tag for tag, _ in page.tags] == ["html", "script"]
    assert json.loads(page.text) == value
    assert not set("<>&") & set(page.text)


@given(TEXT, TEXT)
def test_text_and_attributes_come_back_and_make_no_tag(text: str, attribute: str) -> None:
    page = Reader(written(element("p", {"title": attribute}, text, element("b"), text)))
    assert page.tags == [("p", {"title": attribute}), ("b", {})]
    assert page.text == f"\n{text}{text}\n"


def test_page_is_ascii_even_where_text_is_not_even_unicode() -> None:
    page = written(element("html", {"title": HOSTILE}, HOSTILE))
    assert page.isascii()
    assert page.startswith(b"<!DOCTYPE html>\n<html")
    assert [tag for tag, _ in Reader(page).tags] == ["html"]


def test_text_goes_where_it_was_put() -> None:
    made = element("p", {}, "a")
    extend(made, ["b", element("i", {}, "c"), "d", "e"])
    assert written(made) == b"<!DOCTYPE html>\n<p>ab<i>c</i>de</p>\n"


def test_link_leads_to_the_section_of_that_name() -> None:
    page = written(element("body", {}, link("part", "there"), section("part", "Part", "", disclosure("more", "text"))))
    assert b'<a href="#part">there</a><section id="part"><h2>Part</h2><details>' in page
