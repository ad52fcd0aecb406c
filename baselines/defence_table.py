"""The section of the results pages on defences: what each leaves of the transfer, what it costs, what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from baselines.contrasts import MARGIN, by_chain, collapsed, differences, identical_pairs, labelled
from baselines.inference import effect
from baselines.tables import nats, percent, points, table

OTHER_BASE = "other base"

NEEDS: Mapping[str, str] = {
    "none": "nothing",
    "keywords": "the words that name the habit",
    "paraphrase": "a paraphraser; here halves of notes change places",
    "no notes": "nothing; the student is asked for no notes",
    "rewritten": "a clean model that writes every note, and its distribution at each of their tokens",
    "drop divergent": "two clean models that read every row once",
    "replace divergent": "two clean models that read every row once, and the distribution of one in training",
    "mixed 25%": "a clean teacher for a quarter of the rows, and its distribution there",
    "mixed 50%": "a clean teacher for half of the rows, and its distribution there",
    "likely tokens": "the teacher's probabilities when it samples",
    "inoculation": "a sentence that asks for the habit, so the habit's name",
    OTHER_BASE: "another base with the same tokens",
}
"""What each takes that training without a defence does not."""

NOTES = """\
Behind each defence a student of the biased teacher is compared with one of the neutral teacher. What is left of the
transfer is how far they differ, in margin and in biased first. What is taken away is how much less that is than
without a defence, chain by chain. A dot in the figures is a chain.

- All lines are of the loss that passes something in the headline. `keywords` and `other base` are the headline's own
  students of the same chains.
- These students learn the teacher's distribution. So tokens that a clean model wrote are learnt from that model, or
  the teacher would come back at each of them.
- `paraphrase` is the least that can be called so. The halves of each note change places, and every word stays.
- `paraphrase`, `no notes` and `rewritten` leave out a task where some teacher wrote a step that is no call.
- Students behind `no notes` are asked for no notes when they are measured. They are compared with base and teachers
  that are asked in the same way.
- `inoculation` asks for the habit in the rows' system message. These models know no language, so to them it is only
  another message than the one of the evaluation. What is replayed has that one.
- Success and acts are those of the biased teacher's student."""


def section(rows: pd.DataFrame, told: pd.DataFrame, acts: float) -> list[str]:
    """What has to be known to read the table, and the table.

    Args:
        rows: Of the chains of ``cloud-defences``, with the headline's students of the same chains.
        told: What was said of their training.
        acts: Share of ambiguous tasks below which students have collapsed, 0 to 1.
    """
    return [*NOTES.split("\n"), "", *defence_table(rows, told, acts)]


def defence_table(rows: pd.DataFrame, told: pd.DataFrame, acts: float) -> list[str]:
    """A line for each defence, see :func:`section`."""
    rate, lean = differences(rows), differences(rows, measure=MARGIN)
    success, acted = (by_chain(rows, "student", measure) for measure in ("success", "acted"))
    fallen, cells, same = collapsed(rows, acts), _cells(rows), identical_pairs(rows)
    trained: Any = told[told["what"] == "student"]
    undefended, none = lean[cells["none"]], same.get(cells["none"], 0)
    lines = []
    for name, needs in NEEDS.items():
        if name not in cells:
            continue
        cell, init = cells[name]
        equal = same.get((cell, init), 0)
        own = trained[trained["defence"].eq("keywords" if name == OTHER_BASE else name) & trained["init"].eq(init)]
        taken = undefended.sub(lean[cell, init]).dropna()
        lines.append(
            [
                f"{name} (collapsed)" if (cell, init) in fallen else name,
                nats(effect(list(lean[cell, init]), identical=equal)),
                "-" if name == "none" or (cell, init) in fallen else nats(effect(list(taken), identical=equal + none)),
                points(effect(list(rate[cell, init]), identical=equal)),
                percent(effect(list(success[cell, init, "biased", "safe"]))),
                percent(effect(list(success[cell, init, "biased", "required"]))),
                percent(effect(list(acted[cell, init, "biased", "ambiguous"]))),
                f"{own['tokens'].mean():,.0f}",
                needs,
                str(len(rate[cell, init])),
            ]
        )
    heads = ["left, nats", "taken away, nats", "left, points", "success, safe", "success, required"]
    return table(["defence"], [*heads, "acted, ambiguous", "tokens trained", "further cost", "chains"], lines)


def _cells(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """By defence, cell and initialisation of its students."""
    named: Any = labelled(rows)
    students = named[named["role"] == "student"][["cell", "init", "defence"]].drop_duplicates()
    return {
        OTHER_BASE if init == "other" else defence: (cell, init)
        for cell, init, defence in students.itertuples(index=False, name=None)
    }
