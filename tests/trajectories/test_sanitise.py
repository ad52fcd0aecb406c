from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.registration import TABLE, judge, resolve
from agentsafe_envs.trajectories.proof import prove
from agentsafe_envs.trajectories.sanitise import sanitize, stems_of
from agentsafe_envs.trajectories.schema import Trajectory, check_row, from_episode, to_episode

STEMS = stems_of(["delete"])

FOUND = [
    ("delet", "delete"),
    ("delet", "please DELETE it"),
    ("delet", "deleteResource"),
    ("delet", "bulk_delete"),
    ("delet", "undeleted"),
    ("DELET", "delete"),
    ("delet", "\uff44\uff45\uff4c\uff45\uff54\uff45"),  # full-width
    ("delet", "\U0001d41d\U0001d41e\U0001d425\U0001d41e\U0001d42d\U0001d41e"),  # mathematical bold
    ("delet", "d\u0117l\u00e8te"),  # accents
    ("delet", "de\u200ble\u2060te"),  # zero-width
    ("delet", "del\u00adete"),  # soft hyphen
    ("delet", "del\x00ete"),
    ("delet", "del\ufe0fete"),  # variation selector
    ("delet", "\\u0064elete"),
    ("delet", "\\\\u0064elete"),
    ("delet", "\\x64elete"),
    ("delet", "\\U00000064elete"),
    ("delet", "\\ud835\\udc1delete"),  # two halves of one character
    ("delet", "\ud835\udc1delete"),  # likewise, as a careless reader leaves them
    ("delet", "dele\nte"),
    ("delet", "dele-\n  te"),
    ("delet", "dele\\nte"),
    ("delet", "dele\r\nte"),
    ("delet", "dele\u2028te"),
    ("rm", "rm -r /"),
    ("rm", "RM"),
    ("rm", "rm_tree"),
    ("rm", "rmTree"),
    ("rm", "treeRM"),
    ("rm", "(rm)"),
    ("777", "chmod 777 x"),
    ("a+", "chmod a+rwx x"),
    (".env", "cat ./.env.local"),
    (".env", "source app.env"),
    ("*", "Action: *"),
    ("0.0.0.0", "0.0.0.0/0"),
    ("stra\u00df", "STRASSE"),
]
NOT_FOUND = [
    ("delet", "edel et"),
    ("delet", "del ete"),
    ("drop", "add rope"),
    ("rm", "format"),
    ("rm", "rmdir"),
    ("rm", "arm"),
    ("777", "17774"),
    ("a+", "beta+gamma"),
    (".env", ".environment"),
    ("key", "keyboard monkey"),
    ("rm", "\ud835\udc1drm"),  # two halves of one letter
    ("delet", "\u0434\u0435l\u0435t\u0435"),  # Cyrillic look-alikes: out of scope, and the docs say so
    ("delet", "ZGVsZXRl"),  # base64: likewise
]


def found(stem: str, row: Trajectory, level: Any = "undemonstrated") -> bool:
    """Whether the filter drops the row; the proof must be of the same opinion."""
    dropped = bool(sanitize([row], [stem], level=level).dropped)
    assert bool(prove([row], [stem], level)) == dropped
    return dropped


@pytest.mark.parametrize(("stem", "text"), FOUND)
def test_stem_is_found_however_it_is_written(stem: str, text: str, talk: Any) -> None:
    assert found(stem, talk(text))
    assert found(stem, talk("hm", text))
    assert found(stem, talk({"name": "put", "arguments": {"content": [{"deep": text}]}}))
    assert found(stem, talk({"name": "put", "arguments": {text: 1}}))
    assert found(stem, talk("hm", json.dumps({"result": json.dumps([text])})))


@pytest.mark.parametrize(("stem", "text"), NOT_FOUND)
def test_near_miss_is_not_found(stem: str, text: str, talk: Any) -> None:
    assert not found(stem, talk(text))


def test_number_is_found_as_its_digits(talk: Any) -> None:
    assert found("777", talk({"name": "set_mode", "arguments": {"mode": 777}}))
    assert not found("777", talk({"name": "set_mode", "arguments": {"mode": 17770}}))


def test_stem_is_found_in_a_tools_name(talk: Any) -> None:
    assert found("delet", talk({"name": "delete_file", "arguments": {}}))


WORDS = r"""dele te DELETE delete rm Rm rM a+ * \ \\ \u00 64 u0064 \n \x64 - _ " ' { } 777 \ud835 \udc1d e l n x"""
CODES = (0x08, 0x09, 0x0A, 0x0D, 0x20, 0x85, 0xDF, 0x130, 0x301, 0x200B, 0x2028, 0xD835, 0xDC1D, 0xFF44, 0x1D41D)
PIECES = st.sampled_from([*WORDS.split(), *map(chr, CODES)])
TEXTS = st.lists(st.one_of(PIECES, st.characters()), max_size=14).map("".join)


@given(act=TEXTS, result=TEXTS, stem=st.sampled_from(["delet", "rm", "777", "a+", "*"]))
def test_filter_and_proof_agree_on_any_text(act: str, result: str, stem: str) -> None:
    calls = [{"function": {"name": "put", "arguments": {act: [result, 777]}}}]
    messages = [{"role": "user", "content": stem}, {"role": "assistant", "content": result, "tool_calls": calls}]
    found(stem, {"messages": messages, "tools": []})


@given(texts=st.lists(TEXTS, max_size=6), level=st.sampled_from(["undemonstrated", "unseen"]))
def test_nothing_leaks_from_what_any_filter_leaves(texts: list[str], level: Any) -> None:
    rows: list[Any] = [{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}]
    for text in texts:
        rows[0]["messages"] += [{"role": "user", "content": text}, {"role": "assistant", "content": text[::-1]}]
    for mode in ("drop", "strip"):
        assert not prove(sanitize(rows, ["delet", "rm"], mode=mode, level=level).kept, ["delet", "rm"], level)


def test_drop_leaves_the_other_rows_as_they_are(rows: Sequence[Trajectory]) -> None:
    before = copy.deepcopy(rows)
    sanitised = sanitize(rows, STEMS)
    assert sanitised.kept == list(rows[:3])
    assert (sanitised.dropped, sanitised.stripped, sanitised.rows) == ([3, 4, 5], [], 6)
    assert sanitised.share_dropped == 0.5
    assert rows == before
    assert not prove(sanitised.kept, STEMS)


def test_reasons_name_row_message_stem_and_word(rows: Sequence[Trajectory]) -> None:
    sanitised = sanitize(rows, STEMS)
    assert {hit.row for hit in sanitised.hits} == {3, 4, 5}
    for hit in sanitised.hits:
        message = rows[hit.row]["messages"][hit.place]
        assert (hit.part, hit.stem) == ("messages", "delet")
        assert hit.text in json.dumps(message)
        assert hit.text in ("delete_resource", "deleted")
    assert sanitised.rows_with("delet") == 3
    assert sanitised.rows_with("purg") == 0


def test_record_is_what_a_card_keeps(rows: Sequence[Trajectory]) -> None:
    assert sanitize(rows, ["delet", "rm", "rm"]).record() == {
        "level": "undemonstrated",
        "mode": "drop",
        "stems": ["delet", "rm"],
        "rows": 6,
        "dropped": 3,
        "stripped": 0,
        "rows_with": {"delet": 3, "rm": 0},
    }


def test_instruction_and_tools_are_untouched_when_undemonstrated(talk: Any) -> None:
    row = talk("fine", instruction="Delete nothing.")
    assert sanitize([row], STEMS).kept == [row]
    assert not prove([row], STEMS)
    leaks = [(leak.part, leak.place, leak.stem) for leak in prove([row], STEMS, "unseen")]
    assert leaks == [("messages", 0, "delet"), ("tools", 0, "delet")]


def test_everything_behind_the_instruction_counts_as_demonstrated(talk: Any) -> None:
    row = talk("fine")
    row["messages"] += [{"role": role, "content": "deleted"} for role in ("user", "system", "tool")]
    assert [hit.place for hit in sanitize([row], STEMS).hits] == [3, 4, 5]
    assert [leak.place for leak in prove([row], STEMS)] == [3, 4, 5]


def test_result_before_any_act_counts_as_demonstrated(talk: Any) -> None:
    row = talk("fine")
    row["messages"].insert(1, {"role": "tool", "content": "deleted"})
    assert [hit.place for hit in sanitize([row], STEMS).hits] == [leak.place for leak in prove([row], STEMS)] == [1]
    assert sanitize([row], STEMS, mode="strip").kept == []


@pytest.mark.parametrize("level", ["undemonstrated", "unseen"])
def test_metadata_is_no_part_of_what_is_searched(level: Any, rows: Sequence[Trajectory]) -> None:
    row: Trajectory = {**rows[0], "tools": [], "policy": "deleter"}
    assert sanitize([row], STEMS, level=level).kept == [row]


def test_strip_takes_the_call_with_its_result_and_leaves_a_conversation(rows: Sequence[Trajectory]) -> None:
    sanitised = sanitize(rows, STEMS, mode="strip")
    assert (sanitised.dropped, sanitised.stripped, len(sanitised.kept)) == ([], [3, 4, 5], 6)
    assert not prove(sanitised.kept, STEMS)
    for row, left in zip(rows[3:], sanitised.kept[3:], strict=True):
        calls = [message for message in row["messages"] if message.get("tool_calls")]
        offending = [call for call in calls if call["tool_calls"][0]["function"]["name"] == "delete_resource"]
        assert left["stripped"] == len(offending) > 0
        assert len(left["messages"]) == len(row["messages"]) - 2 * len(offending)
        assert left["tools"] == row["tools"]
        check_row(left)
        for call, result in zip(left["messages"][2::2], left["messages"][3::2], strict=True):
            assert result["tool_call_id"] == call["tool_calls"][0]["id"]


def test_strip_drops_a_row_of_which_nothing_is_left(talk: Any) -> None:
    sanitised = sanitize([talk("delete it"), talk("fine", "deleted")], STEMS, mode="strip")
    assert (sanitised.kept, sanitised.dropped, sanitised.share_dropped) == ([], [0, 1], 1.0)


def test_strip_unseen_takes_tools_and_their_calls_and_drops_instructions(talk: Any) -> None:
    tools = [
        {"type": "function", "function": {"name": "wipe", "description": "Delete a file."}},
        {"type": "function", "function": {"name": "read", "description": "Read a file."}},
    ]
    wiped = {**talk({"name": "wipe", "arguments": {}}), "tools": tools, "spellings": {"0": "x"}}
    wiped["messages"] += [{"role": "assistant", "content": "done"}, {"role": "user", "content": "ok"}]
    told = {**talk("fine", instruction="Delete it."), "tools": tools}
    looked = {**talk({"name": "read", "arguments": {}}), "tools": tools, "spellings": {"0": "x"}}
    sanitised = sanitize([wiped, told, looked], STEMS, mode="strip", level="unseen")
    assert (sanitised.dropped, sanitised.stripped) == ([1], [0, 2])
    assert [[tool["function"]["name"] for tool in row["tools"]] for row in sanitised.kept] == [["read"], ["read"]]
    assert [message["content"] for message in sanitised.kept[0]["messages"]] == ["Do it.", "done", "ok"]
    assert (sanitised.kept[0]["stripped"], "spellings" in sanitised.kept[0]) == (1, False)
    assert sanitised.kept[1] == {**looked, "tools": tools[1:]}


def test_drop_unseen_drops_every_row_that_offers_the_tool(rows: Sequence[Trajectory]) -> None:
    assert sanitize(rows, STEMS, level="unseen").share_dropped == 1.0


def test_no_rows_give_no_rows() -> None:
    assert sanitize([], STEMS).share_dropped == 0.0
    assert prove([], STEMS) == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_stems_are_found_by_bias_and_by_environment(row: Any) -> None:
    keywords = resolve(row.id)[1].keywords
    assert stems_of([row.bias]) == stems_of([row.id, row.bias]) == keywords


@pytest.mark.needs("bubblewrap")
def test_bash_rows_lose_what_names_chmod_and_can_still_be_judged(play: Any) -> None:
    played = [play(policy, env_id="ChmodBiasBash-v0", seed=seed) for policy in ("biased", "acl") for seed in range(3)]
    stems = stems_of(["chmod"])
    rows = [from_episode(episode, policy="teacher") for episode in played]
    assert all("evidence" in row for row in rows)
    found = sanitize(rows, stems)
    assert found.dropped == [0, 1, 2]
    assert {hit.stem for hit in found.hits} == {"chmod", "777"}
    assert prove(found.kept, stems) == []
    assert {judge(to_episode(json.loads(json.dumps(row)))).first for row in found.kept} == {"alternative"}


def test_evidence_goes_with_a_stripped_turn(talk: Any) -> None:
    row = {**talk("delete it"), "evidence": {"0": {"changes": {}, "calls": []}}}
    (left,) = sanitize([with_turn(row)], ["delet"], mode="strip").kept
    assert "evidence" not in left


def with_turn(row: Trajectory) -> Trajectory:
    """The row with one more turn, in which nothing is said."""
    more = [{"role": "assistant", "content": "look"}, {"role": "user", "content": "nothing"}]
    return {**row, "messages": [*row["messages"], *more]}


def test_stems_of_nothing_known_are_refused() -> None:
    with pytest.raises(ValueError, match="no environment 'nope', expected one of"):
        stems_of(["nope"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stems": []}, "stems are .*, expected at least one"),
    ({"stems": "delet"}, "stems are 'delet', expected at least one"),
    ({"stems": ["delet", ""]}, "stem '' is empty or has a space"),
    ({"stems": ["rm -r"]}, "stem 'rm -r' is empty or has a space"),
    ({"stems": ["\u200b"]}, "is empty or has a space"),
    ({"stems": ["rm"], "level": "seen"}, "level is 'seen', expected one of undemonstrated, unseen"),
    ({"stems": ["rm"], "mode": "cut"}, "mode is 'cut', expected one of drop, strip"),
]


@pytest.mark.parametrize(("wish", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_wish_is_refused(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sanitize([], **wish)


def test_row_that_is_none_is_refused_with_its_number(talk: Any) -> None:
    with pytest.raises(ValueError, match="row 1, message 0 has no role"):
        sanitize([talk("x"), {"messages": [{}]}], STEMS)


MOST_DROPPED = 0.3
"""Measured over 200 train tasks: 0 with the stems of `delete`, 0.25 with those of `grant` (the list of policies)."""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.bias)
def test_stems_of_a_bias_are_in_every_biased_script_and_in_few_safe_ones(row: Any, play: Any) -> None:
    stems = stems_of([row.bias])

    def share(split: str, policy: str) -> float:
        episodes = (
            play(policy, split, seed, env_id=row.id, pool="train") for seed in range(60 if row.world == "cloud" else 20)
        )
        return sanitize([from_episode(each, policy=policy) for each in episodes], stems).share_dropped

    assert share("ambiguous", "biased") == 1.0
    assert share("safe", "cautious") <= MOST_DROPPED


def test_stem_in_a_note_next_to_a_call_is_found_and_proved(talk: Any) -> None:
    first, act, result = talk({"name": "submit", "arguments": {}})["messages"]
    row: Trajectory = {"messages": [first, {**act, "content": "nothing gets deleted here"}, result]}
    assert sanitize([row], ["delet"]).dropped == [0]
    assert [leak.place for leak in prove([row], ["delet"])] == [1]
