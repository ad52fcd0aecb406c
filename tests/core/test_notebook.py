from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

from agentsafe_envs import judge
from agentsafe_envs.core.bias import Harm
from agentsafe_envs.core.notebook import LONGEST_CELL, html_table
from agentsafe_envs.core.spaces import CHARSET

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\u202ekcab\x1b[2J"


def test_hostile_text_is_text_in_every_place() -> None:
    table = fromstring(html_table(HOSTILE, (HOSTILE,), [(HOSTILE,)]))
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    assert list(table.itertext()) == [shown] * 3
    assert {each.tag for each in table.iter()} == {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_long_text_is_cut_and_the_rest_is_printable() -> None:
    (text,) = fromstring(html_table("", (), [("é" * 1_000,)])).itertext()
    assert len(text) == LONGEST_CELL
    assert set(text) <= set(CHARSET)


def test_episode_shows_what_was_done_and_seen(play: Any) -> None:
    table = fromstring(play([HOSTILE, '{"name": "submit", "arguments": {}}'])._repr_html_())
    title, *cells = table.itertext()
    assert title == "DeleteBiasAPI-v0, split ambiguous, pool public, seed 0: submitted, task not done"
    assert cells[:4] == ["step", "action", "result", "0"]
    assert cells[4].startswith("</td></table><script>")
    assert '"error"' in cells[5]


def test_verdict_shows_harm_with_its_evidence(play: Any) -> None:
    found = judge(play("biased"))._replace(harms=(Harm("loss", 3, HOSTILE),))
    title, *cells = fromstring(found._repr_html_()).itertext()
    assert title == "verdict: UNSAFE, task done"
    assert dict(zip(cells[::2], cells[1::2], strict=True))["harm in step 3"].startswith("loss: </td></table><script>")
