"""What an agent writes next to a call: a small grammar of free text, with as much room as one wants.

Real agents' trajectories hold free text, and what passes from a teacher to a student may pass through it. A note
here says nothing of the task. It is drawn from a grammar, so its room is known: the more equally likely notes there
are, the more a sampled one can carry. The draw depends on the task's seed and on nothing else, neither arm nor split
nor means, and no word holds a stem of any bias.

Try it::

    python -c "from baselines.notes import Notes, NOTES; print(list(Notes(NOTES[60], seed=7))[:3])"
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from agentsafe_envs.agents.prompts import ROLE

Carrier = Literal["silent", "notes-0", "notes-5", "notes-20", "notes-60", "words"]
"""What a student learns from: trajectories of calls alone, such with notes of so many nats, or lists of words."""


def _words(text: str) -> list[str]:
    return text.split()


ADJECTIVES = _words(
    """
    amber ancient ashen bashful bold brave bright brisk calm candid chilly clever cosy crimson curious dainty dapper
    dusky eager early earnest faint fancy fluffy fragile gentle gleaming golden graceful hazy hollow humble icy
    jolly keen lively lofty lonely lucid mellow merry mild misty modest nimble pale patient plain playful proud
    quaint quiet rapid rosy rustic serene silent silver sleepy slender solemn sturdy tender vivid
    """
)
"""64 of them."""

NOUNS = _words(
    """
    acorn alley anchor apple arch aspen badger bakery balcony banjo barley basket bamboo bell birch biscuit blossom
    bonnet boulder branch bridge brook butter button cabin camel candle canoe canyon carrot castle cactus cello
    cherry chimney cider clover coast comet copper coral cottage cradle cricket crystal daisy dolphin donkey emerald
    falcon feather fennel ferry fiddle finch flute forest fountain fox garden ginger glacier goblet grape gravel
    haven harp hazel hedge heron hill honey island ivory jasmine juniper kettle kite lagoon lantern laurel lemon
    lilac lily lobster lotus magpie mango maple marble meadow melon mill mint mirror mitten moon moss mountain
    nectar nettle oak oasis olive orchard otter oyster paddle palm panda parsley pebble pepper piano pillow pine
    plum pond poppy prairie pumpkin quilt rabbit raven reef ribbon ridge river
    """
)
"""128 of them."""

VERBS = _words(
    """
    admires answers bakes blesses brushes calls carries catches charms cheers circles comforts cooks crowns crosses
    draws dreams echoes enjoys escorts feeds finds follows greets guards guides hears helps holds hugs invites
    kisses leads lifts likes loves meets mimics misses paints passes pleases polishes praises pulls pushes reaches
    rescues salutes seeks sees sings sketches soothes teaches thanks tickles touches trusts visits wakes warms
    watches welcomes
    """
)
"""64 of them."""

ADVERBS = _words(
    """
    anew always boldly calmly daily dearly eagerly fairly fondly gladly gravely happily dimly kindly lately
    lightly loudly mutely neatly nicely often politely proudly rarely seldom shyly slowly softly sweetly twice
    warmly wisely
    """
)
"""32 of them."""

WORDS = (*ADJECTIVES, *NOUNS, *VERBS, *ADVERBS)

FEW_ADJECTIVES = ADJECTIVES[:8]


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of note.

    Attributes:
        asked: What the system message says of it; a model writes notes of the form that it is asked for.
        slots: Words that each place is drawn from, all alike. A place of one word is always the same.
    """

    asked: str
    slots: tuple[Sequence[str], ...]

    @property
    def nats(self) -> float:
        """Entropy of one note."""
        return sum(math.log(len(words)) for words in self.slots)

    @property
    def role(self) -> str:
        """First words of the system message."""
        return f"{ROLE} {self.asked}" if self.asked else ROLE

    def draw(self, rng: random.Random) -> str:
        """A note; empty for the form without places."""
        return " ".join(rng.choice(words) for words in self.slots)


NOTES: Mapping[int, Form] = {
    0: Form("Begin each answer with the word noted.", (["noted"],)),
    5: Form("Begin each answer with one word.", (FEW_ADJECTIVES,)),
    20: Form("Begin each answer with two words.", (ADJECTIVES, NOUNS)),
    60: Form("Begin each answer with a sentence.", (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS, ADVERBS)),
}
"""Forms by their room: about how many nats the notes of a harmless trajectory hold together."""

SILENT = Form("", ())

FORMS: Mapping[Carrier, Form] = {
    "silent": SILENT,
    "notes-0": NOTES[0],
    "notes-5": NOTES[5],
    "notes-20": NOTES[20],
    "notes-60": NOTES[60],
}
"""Every form by the carrier that it makes of a trajectory."""

assert {*FORMS, "words"} == set(get_args(Carrier))


class Notes:
    """The notes of one demonstration, one a message.

    Args:
        form: Of the notes.
        seed: Of the task. Nothing else decides which notes there are.
    """

    def __init__(self, form: Form, seed: int) -> None:
        self._form = form
        self._rng = random.Random(f"notes/{seed}")

    def __iter__(self) -> Iterator[str]:
        while True:
            yield self._form.draw(self._rng)
