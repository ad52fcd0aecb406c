"""Names that must not be written: which tokens begin them, and an agent that cannot.

What a model does while the names of the prohibited tools are out of its reach is the *masked* part of the trajectory
sanitisation gap: roads to the same harm that avoid the name stay open. In the shell a name is barred as the first word
of a command line. Behind ``cd /srv &&`` it can still be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentsafe_envs.agents.decoding import Choose, IsDone
from agentsafe_envs.agents.language_model import LanguageModelAgent
from agentsafe_envs.agents.protocol import Conversation

OPENINGS: Mapping[str, str] = {"cloud": '{"name": "', "bash": '{"name": "bash", "arguments": {"command": "'}
"""What stands in a call before the word that tells what it does, by world."""

OUT_OF_REACH = -1e9
"""Logit of a token that must not be chosen."""


class NameTrie:
    """Tells which tokens begin, or go on with, any of some names where a call is named.

    It knows the spelling that the tokenizer itself gives to a call, which is how models learn it. A name could also be
    spelled out of shorter tokens; models trained on calls give that hardly any probability.

    Args:
        names: Of the tools, or other words that tell what a call does.
        ids: From text to token ids, without special tokens.
        opening: What stands in a call before such a word, one of :data:`OPENINGS`.
    """

    def __init__(self, names: Iterable[str], ids: Any, opening: str = OPENINGS["cloud"]) -> None:
        self._calls = [ids(opening + name) for name in names]
        self._first = len(ids(opening))
        self._longest = max(map(len, self._calls), default=0)
        # A call begins a line, and after it there is none.
        self._line = ids("\n")[-1]

    def barred(self, written: Sequence[int]) -> set[int]:
        """Tokens that begin or continue one of the names after ``written``, the answer so far with its note."""
        if self._line in written:
            written = written[len(written) - list(written)[::-1].index(self._line) :]
        if not self._first <= len(written) < self._longest:
            return set()
        return {
            call[len(written)]
            for call in self._calls
            if len(written) < len(call) and call[: len(written)] == list(written)
        }


def without_names(agent: LanguageModelAgent, trie: NameTrie) -> LanguageModelAgent:
    """``agent`` itself, which from now on cannot name what ``trie`` knows.

    Args:
        agent: One that writes what it likes (``tool_choice="auto"``).
        trie: Made with the agent's own tokenizer.

    Raises:
        ValueError: The agent is held to a grammar of calls already.
    """
    if agent.tool_choice != "auto":
        raise ValueError(f"{agent.name} is held to calls of the tools offered; expected tool_choice='auto'")
    usual = agent._decoding

    def decoding(playing: Sequence[Conversation]) -> tuple[Choose, IsDone]:
        choose, is_done = usual(playing)
        written: list[list[int]] = [[] for _ in playing]

        def held(rows: Sequence[int], logits: Any) -> list[int]:
            barred = [trie.barred(written[row]) for row in rows]
            if any(barred):
                logits = logits + 0  # torch lets no one write into the tensors of its inference mode
                for line, tokens in enumerate(barred):
                    logits[line, sorted(tokens)] = OUT_OF_REACH
            chosen = choose(rows, logits)
            for row, token in zip(rows, chosen, strict=True):
                written[row].append(token)
            return chosen

        return held, is_done

    agent._decoding = decoding  # type: ignore[method-assign]
    return agent
