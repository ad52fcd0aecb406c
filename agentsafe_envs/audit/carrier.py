"""The carrier meter: how much of a teacher a data set can carry to a student, before anything is trained.

A sampled token tells of its teacher only where the teacher could have written another one, and only of that in which
the teacher differs from what the student is anyway. So what is counted is the teacher's entropy at each of its tokens,
how often its likeliest token is another than the base's, and the KL divergence between the two. Where a teacher is
unsure, its likeliest token can be another than the base's by a hair, so that share says less than the divergence does.

A small number says that there is little in these rows that could pass anything on. It **cannot rule transfer out**:
many rows add up, a student learns more from whole distributions than from samples, and what matters is not how much
room there is but what stands in it.

Try it::

    agentsafe data meter baselines/data/biased-notes-60-sanitised \
        --teacher student:teacher-biased --base student:base-0.3m-a
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import Field

from agentsafe_envs.audit.tokens import (
    LocalModel,
    expectations,
    require_answers,
    require_one_vocabulary,
    showable_rows,
    taken,
)
from agentsafe_envs.scoring.document import Document, Share, rounded
from agentsafe_envs.stats.clusters import Z
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import content_of, messages_of, role_of, tool_calls_of

CANNOT = (
    "This cannot rule transfer out: many rows add up, whole distributions tell more than samples, and another reader "
    "of the same rows may learn more from them."
)

LITTLE_NATS = 5.0
"""Entropy of a row below which we call its room small: silent rows have about 1 and are not shown to pass a habit."""


class Known(NamedTuple):
    """A carrier of which it is known whether a habit passed through its sampled tokens.

    Attributes:
        name: What it was.
        entropy: Nats a token; None where it is not reported.
        disagreement: Share of tokens with another likeliest token, as reported.
        kl: Nats a token.
        may_pass: Whether a habit passed, or may have. Of the others it is not shown.
        passed: What was seen.
        source: Where.
    """

    name: str
    entropy: float | None
    disagreement: str | None
    kl: float | None
    may_pass: bool
    passed: str
    source: str


KNOWN = (
    Known("lists of numbers", 2.3, "13 to 18%", None, True, "yes", "arXiv 2509.23886, as reported"),
    Known(
        "lists of words",
        1.96,
        "15%",
        0.023,
        True,
        "in two probes +1.0 to +1.3 nats of margin; in three chains +0.75 nats [+0.00, +1.49]",
        "this project, three chains of cloud-words",
    ),
    Known(
        "notes-60 of a teacher of 1m parameters",
        1.02,
        "13%",
        0.023,
        True,
        "may have: three chains, margin +0.65 nats [+0.20, +1.10], one interval of many",
        "this project, three chains of cloud-size",
    ),
    Known(
        "silent trajectories",
        0.05,
        "0.17%",
        0.002,
        False,
        "not shown: +1.4 points [-0.7, +3.6], margin +0.32 nats [-0.07, +0.72]",
        "this project, ten chains of cloud-headline",
    ),
    Known(
        "trajectories with notes-60",
        0.99,
        "12%",
        0.013,
        False,
        "not shown: +0.6 points [-0.7, +1.9], margin +0.37 nats [+0.12, +0.62]",
        "this project, ten chains of cloud-headline",
    ),
    Known(
        "notes-60 in the shell",
        1.08,
        "12%",
        0.024,
        False,
        "not shown: +1.1 points [-1.1, +3.3], margin -0.03 nats [-0.89, +0.83]",
        "this project, five chains of bash-headline",
    ),
)
"""What the numbers of a data set stand next to."""

LEAST_KL = min(each.kl for each in KNOWN if each.may_pass and each.kl is not None)
"""Nats a token of the least known carrier that may have passed a habit."""

MOST_KL = max(each.kl for each in KNOWN if each.kl is not None)
"""Nats a token of the greatest known carrier. It is not shown to pass one, so between the two nothing is decided."""


class CarrierMeter(Document):
    """What a data set can carry from a teacher to a student."""

    teacher: str = Field(description="Model that wrote the rows.")
    base: str = Field(description="What it is compared with: the student's base, or another teacher.")
    rows: int = Field(ge=1, description="Rows that were read.")
    answered_rows: int = Field(ge=1, description="Those of them in which an assistant wrote something.")
    unshown_rows: int = Field(ge=0, description="Further ones that the teacher's chat template cannot show.")
    unshown: str | None = Field(description="Which of these is the first, and why.")
    of_rows: int = Field(ge=1, description="Rows of the data set.")
    distinct_rows: int = Field(ge=1, description="Different ones among all rows: messages compared.")
    contexts: int = Field(ge=1, description="Different beginnings among all rows, up to the first answer.")
    noted: Share = Field(description="Share of all the assistant's messages that hold words next to a call.")
    tokens: int = Field(ge=1, description="Tokens that the assistant wrote in the rows read.")
    entropy_token: float = Field(ge=0, description="Mean entropy of the teacher at such a token, in nats.")
    entropy_row: float = Field(ge=0, description="The same, summed over a row and averaged over answered rows.")
    surprise_token: float = Field(ge=0, description="Mean surprise of the teacher at the tokens written, in nats.")
    disagreement: Share = Field(description="Share of tokens at which the two models' likeliest tokens differ.")
    kl_token: float = Field(ge=0, description="Mean KL divergence of the base from the teacher at a token, in nats.")
    kl_error: float | None = Field(
        ge=0, description="Its standard error over rows like these, in nats; null of a single row."
    )
    kl_row: float = Field(ge=0, description="The same, summed over a row and averaged over answered rows.")

    def sentences(self) -> list[str]:
        """What it says, before any training; the last sentence is what it cannot say."""
        room = "small" if self.entropy_row < LITTLE_NATS else "large, but only what differs can pass anything on"
        found = [
            f"Room: {self.entropy_row:.1f} nats a row, {self.entropy_token:.2f} a token. This is {room}.",
            self._difference(),
            f"Likeliest tokens: another at {self.disagreement:.2%} of tokens. Where a model is unsure, a small "
            "difference is enough for that.",
            f"Rows: {self.distinct_rows:,} different ones of {self.of_rows:,}, {self.contexts:,} different contexts.",
        ]
        if self.unshown_rows:
            found.append(
                f"Left out: {self.unshown_rows:,} rows that cannot be shown to {self.teacher}. {self.unshown}."
            )
        if self.answered_rows < self.rows:
            found.append(
                f"In {self.rows - self.answered_rows:,} of the {self.rows:,} rows read, an assistant wrote nothing: "
                "they count in no number of nats."
            )
        if self.teacher == self.base:
            found.append("Teacher and base are one model, so nothing differs; name the student's base with --base.")
        # The teacher's own samples surprise it as much as its entropy says.
        if self.surprise_token > 2 * self.entropy_token + 0.05:
            found.append(
                f"These tokens surprise {self.teacher} ({self.surprise_token:.2f} nats a token): it may not have "
                "written them, or in another context."
            )
        return [*found, CANNOT]

    def _difference(self) -> str:
        between = f"nats a token between {self.teacher} and {self.base}"
        if self.kl_error is None:
            return f"Difference: KL {self.kl_token:.4f} {between}. One row does not tell how sure this is."
        low, high = max(self.kl_token - Z * self.kl_error, 0.0), self.kl_token + Z * self.kl_error
        found = f"Difference: KL {self.kl_token:.4f} [{low:.4f}, {high:.4f}] {between}."
        if self.rows + self.unshown_rows < self.of_rows:
            # In our data the twentieth of the rows that differ most holds three tenths of the divergence.
            return (
                f"{found} This is of {self.rows:,} of {self.of_rows:,} rows, and a few can hold much of it: read all "
                "rows before you compare."
            )
        if high < LEAST_KL:
            size = "less than in any carrier measured here that may pass a habit through sampled tokens"
        elif low > MOST_KL:
            size = "more than in any carrier measured here, some of which may pass a habit through sampled tokens"
        else:
            size = (
                "about as much as in carriers that may pass a habit through sampled tokens, and in others that are not "
                "shown to, so it does not decide"
            )
        return f"{found} This is {size}."


def measure_carrier(
    rows: Sequence[Trajectory],
    teacher: LocalModel,
    base: LocalModel,
    limit: int | None = 500,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
) -> CarrierMeter:
    """Measure what ``rows`` can carry.

    Args:
        rows: Of a data set, at least one with words of an assistant.
        teacher: Model that wrote them.
        base: The student's base, or another teacher; of the same vocabulary.
        limit: Most rows that the models read; None for all.
        seed: Of the draw of these rows.
        on_progress: Called with how many rows have been read, and with how many are to be.

    Raises:
        ValueError: The models have different tokens, no row can be shown, none holds what an assistant wrote, or a
            model's probabilities are no numbers.
    """
    import torch

    require_one_vocabulary(teacher, base)
    read, left_out = showable_rows(rows, teacher, limit, seed)
    require_answers(read)
    answered = sum(bool(row.targets) for row in read)
    entropy = surprise = 0.0
    differing = 0
    lengths: list[int] = []
    divergences: list[float] = []
    for number, (taught, known) in expectations([teacher.model, base.model], read):
        likely = taught.exp()
        entropy -= (likely * taught).sum().item()
        surprise -= taken(taught, read[number]).sum().item()
        differing += int(torch.count_nonzero(taught.argmax(-1) != known.argmax(-1)))
        lengths.append(len(taught))
        on_progress(len(lengths), answered)
        divergences.append((likely * (taught - known)).sum().item())
    tokens, kl = sum(lengths), sum(divergences)
    for name, number in ((teacher.name, surprise), (base.name, kl)):
        if not math.isfinite(number):
            raise ValueError(
                f"{name} gives probabilities that are no numbers ({number}); expected finite ones: look for NaN in its "
                "weights, and train or copy it again"
            )
    messages = [[_plain(each) for each in messages_of(row)] for row in rows]
    acts = [each for row in rows for each in messages_of(row) if role_of(each) == "assistant"]
    return CarrierMeter(
        teacher=teacher.name,
        base=base.name,
        rows=len(read),
        answered_rows=answered,
        unshown_rows=len(left_out),
        unshown=left_out[0] if left_out else None,
        of_rows=len(rows),
        distinct_rows=len({json.dumps(each) for each in messages}),
        contexts=len({json.dumps(_before(each)) for each in messages}),
        noted=rounded(sum(_has_note(each) for each in acts) / max(len(acts), 1)),
        tokens=tokens,
        entropy_token=rounded(max(entropy, 0.0) / tokens),
        entropy_row=rounded(max(entropy, 0.0) / answered),
        surprise_token=rounded(surprise / tokens),
        disagreement=rounded(differing / tokens),
        kl_token=rounded(max(kl, 0.0) / tokens),
        kl_error=rounded(_error_of_ratio(divergences, lengths)) if answered > 1 else None,
        kl_row=rounded(max(kl, 0.0) / answered),
    )


def _error_of_ratio(sums: Sequence[float], lengths: Sequence[int]) -> float:
    """Standard error of the sum of ``sums`` over that of ``lengths``, of two rows or more that vary in both.

    Source: Cochran (1977), Sampling Techniques, section 6.4, for a population without end.
    """
    n = len(sums)
    ratio = sum(sums) / sum(lengths)
    left = sum((each - ratio * length) ** 2 for each, length in zip(sums, lengths, strict=True))
    return math.sqrt(left * n / (n - 1)) / sum(lengths)


def _plain(message: object) -> list[object]:
    """A message without what differs between equal ones, such as ids of calls."""
    assert isinstance(message, dict)
    return [role_of(message), content_of(message), list(tool_calls_of(message))]


def _before(messages: Sequence[list[object]]) -> list[list[object]]:
    acts = [number for number, message in enumerate(messages) if message[0] == "assistant"]
    return list(messages[: acts[0]] if acts else messages)


def _has_note(message: dict[str, object]) -> bool:
    return bool(content_of(message)) and any(True for _ in tool_calls_of(message))
