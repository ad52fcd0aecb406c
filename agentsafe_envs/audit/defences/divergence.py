"""Tokens at which two clean models disagree most: dropped from what is learnt, or replaced by what one expects.

The few tokens at which differently made models differ carry most of a hidden signal (arXiv 2509.23886). Which they
are, the base and any reference model tell without knowing the habit: the larger the absolute log-ratio of a token, the
more it depends on who writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentsafe_envs.audit.tokens import LocalModel, TokenRow, expectations, require_one_vocabulary, taken

DIVERGENT_SHARE = 0.10
"""Of the tokens, those that go."""


def drop_divergent(
    rows: Sequence[TokenRow], base: LocalModel, reference: LocalModel, share: float = DIVERGENT_SHARE
) -> list[TokenRow]:
    """The rows without the most divergent tokens among what is learnt; they are still read.

    Args:
        rows: What a student learns from.
        base: What the student starts from.
        reference: Another model of the same vocabulary that the teacher was not made of.
        share: Of all the assistant's tokens, 0 to 1.

    Raises:
        ValueError: The models have different tokens, or are one, or the share is none.
    """
    found = find_divergent(rows, base, reference, share)
    return [
        TokenRow(row.ids, [index for index in row.targets if index not in gone])
        for row, gone in zip(rows, found, strict=True)
    ]


def replace_divergent(
    rows: Sequence[TokenRow], base: LocalModel, reference: LocalModel, share: float = DIVERGENT_SHARE
) -> list[TokenRow]:
    """The rows with the reference's likeliest token in place of each of the most divergent; raises like the above.

    A student that learns a teacher's distribution, and not these tokens, would meet the teacher again at each of these
    places. It has to learn the reference's distribution there, see :func:`find_divergent`.
    """
    found = find_divergent(rows, base, reference, share)
    return [
        TokenRow([instead.get(index, token) for index, token in enumerate(row.ids)], row.targets)
        for row, instead in zip(rows, found, strict=True)
    ]


def find_divergent(
    rows: Sequence[TokenRow], base: LocalModel, reference: LocalModel, share: float = DIVERGENT_SHARE
) -> list[dict[int, int]]:
    """For each row the places of its divergent tokens, with the reference's likeliest token; raises like the above."""
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected 0 to 1")
    require_one_vocabulary(base, reference)
    found: list[tuple[float, int, int, int]] = []
    for number, (own, other) in expectations([base.model, reference.model], rows):
        row = rows[number]
        ratios = (taken(own, row) - taken(other, row)).abs().tolist()
        likeliest = other.argmax(-1).tolist()
        found += [(ratio, number, row.targets[at], likeliest[at]) for at, ratio in enumerate(ratios)]
    if found and not any(ratio for ratio, *_ in found):
        raise ValueError(
            f"{base.name} and {reference.name} find every token as likely, so none is divergent; expected a reference "
            "that is another model"
        )
    worst = sorted(found, reverse=True)[: round(share * len(found))]
    instead: list[dict[int, int]] = [{} for _ in rows]
    for _, number, index, token in worst:
        instead[number][index] = token
    return instead
