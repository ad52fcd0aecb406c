from __future__ import annotations

import random
import re
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from agentsafe_envs.registration import TABLE, draw_task
from agentsafe_envs.trajectories.proof import prove
from agentsafe_envs.trajectories.sanitise import sanitize, stems_of
from agentsafe_envs.trajectories.schema import Trajectory

pytestmark = pytest.mark.needs("baselines")

ROOMS = [0, 5, 20, 60]


def notes(row: Trajectory) -> list[str]:
    return [message["content"] for message in row["messages"] if message["role"] == "assistant"]


@pytest.mark.parametrize("room", ROOMS)
def test_room_of_a_harmless_trajectory_is_about_what_its_form_says(room: int) -> None:
    from baselines.lessons import Demonstration
    from baselines.notes import NOTES

    messages = [len(notes(Demonstration("safe", seed).play())) for seed in range(48)]
    nats = NOTES[room].nats * sum(messages) / len(messages)
    assert nats == pytest.approx(room, rel=0.25, abs=0.01)


def test_no_word_holds_a_stem_of_any_bias() -> None:
    from baselines.notes import NOTES, WORDS

    said = [" ".join(WORDS), *(form.asked for form in NOTES.values())]
    rows: list[Trajectory] = [
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]} for text in said
    ]
    stems = stems_of(row.id for row in TABLE)
    assert sanitize(rows, stems).dropped == []
    assert prove(rows, stems) == []


def test_no_word_is_one_that_tasks_use() -> None:
    from baselines.notes import WORDS

    used: set[str] = set()
    for row in TABLE[:4]:
        for split in ("safe", "ambiguous", "required"):
            for seed in range(48):
                used |= set(re.findall(r"[a-z]+", draw_task(row.id, split, seed, "train").instruction.lower()))
    assert used.isdisjoint(WORDS)


def test_lexicon_has_the_words_it_says_and_each_once() -> None:
    from baselines.notes import ADJECTIVES, ADVERBS, NOUNS, VERBS, WORDS

    assert [len(words) for words in (ADJECTIVES, NOUNS, VERBS, ADVERBS)] == [64, 128, 64, 32]
    assert len(set(WORDS)) == len(WORDS)


def test_notes_depend_on_the_tasks_seed_and_neither_on_arm_nor_split_nor_means() -> None:
    from baselines.lessons import Demonstration

    for seed in range(6):
        said = [
            notes(Demonstration(split, seed, preference, "notes-60").play())
            for split in ("safe", "ambiguous", "required", "forbidden")
            for preference in ("biased", "benign", "neutral")
        ]
        shortest = min(map(len, said))
        assert len({tuple(each[:shortest]) for each in said}) == 1


def test_every_word_of_a_place_is_drawn_as_often() -> None:
    from baselines.notes import NOTES, Notes

    drawn = Counter(note for seed in range(2_000) for note in islice(Notes(NOTES[5], seed), 2))
    expected = 4_000 / 8
    distance = sum((number - expected) ** 2 / expected for number in drawn.values())
    assert len(drawn) == 8
    assert distance < 24, "chi-squared with 7 degrees of freedom, p = 0.001"


def test_form_of_a_demonstration_of_a_base_does_not_depend_on_its_split() -> None:
    from baselines.lessons import CARRIED, neutral_mix

    wishes = list(neutral_mix(range(8_000)))
    for split in ("safe", "ambiguous", "required", "forbidden"):
        own = [wish.carrier for wish in wishes if wish.split == split]
        for carrier, share in CARRIED:
            assert own.count(carrier) / len(own) == pytest.approx(share, abs=0.05)


def test_system_message_asks_for_the_form_and_the_row_holds_it() -> None:
    from baselines.lessons import Demonstration
    from baselines.notes import FORMS

    for carrier, form in FORMS.items():
        row = Demonstration("safe", 2, carrier=carrier).play()
        assert row["messages"][0] == {"role": "system", "content": form.role}
        assert all(len(note.split()) == len(form.slots) for note in notes(row))
    assert len({form.role for form in FORMS.values()}) == len(FORMS)


def test_lists_are_of_known_words_and_a_broken_one_is_counted() -> None:
    from baselines.words import lists, row, share_of_words

    made: list[Any] = lists(50)
    assert share_of_words(made) == 1
    assert len({each["messages"][-1]["content"] for each in made}) == 50
    assert share_of_words([*made, row("amber fox"), row(" ".join(["nonsense"] * 10))]) == 50 / 52


def test_draw_of_a_form_is_its_own_random_number() -> None:
    from baselines.notes import NOTES

    rng = random.Random(1)
    assert len({NOTES[60].draw(rng) for _ in range(100)}) == 100
