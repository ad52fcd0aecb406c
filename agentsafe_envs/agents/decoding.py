"""Decodes several conversations with one language model, side by side.

transformers' ``generate`` reads every conversation from its beginning at every turn, and its
caches give all rows one length and copy themselves at each token (two thirds of a decoding step
of eight rows on a CPU). Here each row keeps what it has read from turn to turn, at its own length.

Which library computes is not known here: a :class:`ForwardPass` does, through torch
(:mod:`agentsafe_envs.agents.forward_torch`) or numpy (:mod:`agentsafe_envs.agents.forward_numpy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PREFILL_COLUMNS = (64, 512)
"""Tokens read per row and forward pass, fewest and most: short passes waste time, long ones memory."""

Choose = Callable[[Sequence[int], Any], list[int]]
"""Picks tokens for answers, given by their numbers, from float32 logits of shape (answers, vocabulary)."""

IsDone = Callable[[int, Sequence[int]], bool]
"""Whether an answer, given as its number and token ids, is complete."""


class ForwardPass(Protocol):
    """A language model that remembers what it read of each row."""

    def read(self, rows: Sequence[int], starts: Sequence[int], chunks: Sequence[list[int]], batch: int) -> Any:
        """Read new tokens.

        Args:
            rows: Rows that take part, in ascending order.
            starts: For each of ``rows``, how many of its tokens count as read; what was read
                behind them is overwritten.
            chunks: For each of ``rows``, the tokens that follow, at least one.
            batch: Rows in all.

        Returns:
            float32 logits behind the last token of the longest chunks, shape (rows, vocabulary).
        """
        ...

    def select(self, rows: Sequence[int | None]) -> None:
        """Keep these rows, in this order; None is a new one."""
        ...

    def swap(self, row: int, other: int) -> None:
        """Let two rows change places."""
        ...


class GroupDecoder:
    """Answers prompts of a changing group of conversations and remembers what it read of each.

    Args:
        forward: The model, with nothing read.
        context_tokens: Longest conversation in tokens, its answer included.
    """

    def __init__(self, forward: ForwardPass, context_tokens: int) -> None:
        self.context_tokens = context_tokens
        self._forward_pass = forward
        self._rows: list[_Row] = []

    def generate(
        self,
        owners: Sequence[object],
        prompts: Sequence[list[int]],
        *,
        choose: Choose,
        is_done: IsDone,
        stop_ids: set[int],
        max_new_tokens: int,
    ) -> list[list[int]]:
        """Token ids of each owner's answer, without the token that ended it.

        Args:
            owners: Whose prompts these are, by identity. An owner that is left out is forgotten.
            prompts: Token ids, each ``1 .. context_tokens - 1`` long. What a prompt has in common
                with its owner's last one and the answer to it is not read again.
            choose: See :data:`Choose`. Answers are numbered as ``owners`` are.
            is_done: See :data:`IsDone`; called after each token.
            stop_ids: Tokens that end an answer.
            max_new_tokens: Longest answer, ``>= 1``.
        """
        numbers = self._arrange(owners)
        # The last token of each prompt is kept back, so that decoding starts with one token a row.
        self._read([prompts[number][:-1] for number in numbers])
        fed = [prompt[-1] for prompt in prompts]
        limits = [min(max_new_tokens, self.context_tokens - len(prompt)) for prompt in prompts]
        answers: list[list[int]] = [[] for _ in prompts]
        running = len(numbers)  # rows 0 .. running - 1 still write; those behind them wait for their next prompt
        while running:
            rows = range(running)
            logits = self._forward(rows, [[fed[number]] for number in numbers[:running]])
            chosen = choose(numbers[:running], logits)
            # From behind, so that the row that takes a finished one's place has been looked at.
            for row in reversed(rows):
                number, token = numbers[row], chosen[row]
                self._rows[row].read.append(fed[number])
                fed[number] = token
                if token not in stop_ids:
                    answers[number].append(token)
                    if len(answers[number]) < limits[number] and not is_done(number, answers[number]):
                        continue
                running -= 1
                self._swap(row, running)
                numbers[row], numbers[running] = numbers[running], numbers[row]
        return answers

    def _arrange(self, owners: Sequence[object]) -> list[int]:
        """Give each owner a row, keeping what is cached of it; the owners' numbers in the order of the rows."""
        number_of = {id(owner): number for number, owner in enumerate(owners)}
        kept = [row for row, each in enumerate(self._rows) if id(each.owner) in number_of]
        known = {id(self._rows[row].owner) for row in kept}
        added = [_Row(owner) for owner in owners if id(owner) not in known]
        if self._rows and (added or len(kept) < len(self._rows)):
            self._forward_pass.select([*kept, *[None] * len(added)])
        self._rows = [self._rows[row] for row in kept] + added
        return [number_of[id(each.owner)] for each in self._rows]

    def _swap(self, row: int, other: int) -> None:
        if row != other:
            self._forward_pass.swap(row, other)
            self._rows[row], self._rows[other] = self._rows[other], self._rows[row]

    def _read(self, rows_tokens: Sequence[list[int]]) -> None:
        """Bring each row's cache to exactly ``tokens``, reading only what it does not hold."""
        for each, tokens in zip(self._rows, rows_tokens, strict=True):
            del each.read[_common_prefix(each.read, tokens) :]
        fewest, most = PREFILL_COLUMNS
        while True:
            missing = {
                row: tokens[len(each.read) :]
                for row, (each, tokens) in enumerate(zip(self._rows, rows_tokens, strict=True))
                if len(each.read) < len(tokens)
            }
            if not missing:
                return
            # To the end of the shortest row, so that little is spent on filling rows up.
            columns = min(max(min(map(len, missing.values())), fewest), most)
            chunks = [tokens[:columns] for tokens in missing.values()]
            self._forward(list(missing), chunks)
            for row, chunk in zip(missing, chunks, strict=True):
                self._rows[row].read.extend(chunk)

    def _forward(self, rows: Sequence[int], chunks: Sequence[list[int]]) -> Any:
        """Read ``chunks``, each behind what its row has read; float32 logits behind the longest."""
        return self._forward_pass.read(rows, [len(self._rows[row].read) for row in rows], chunks, len(self._rows))


@dataclass(slots=True, eq=False)
class _Row:
    """A row: whose it is, and the tokens whose keys and values lie in its slots 0, 1, 2 ..."""

    owner: object
    read: list[int] = field(default_factory=list)


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
