"""Holds a language model to calls of the offered tools, as APIs do with ``tool_choice="required"``.

A model of 135 million parameters hardly ever writes a tool call by itself. Guided, it still
decides which tool it calls and with what; only text that is no call is out of its reach.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.core.extras import install_hint

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_GUIDED_STRING = 48
"""Characters of a string argument; a weak model seldom finds the closing quote by itself."""

LONGEST_COMMAND = 120
"""Characters of a command line, which holds more than a name; it still fits into 96 tokens."""

LARGEST_NUMBER = 99_999


def shared_tokenizer(tokenizer: Any, vocabulary: int, stop_ids: set[int]) -> Any:
    """What every guide of one model shares; making it takes about half a second.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vocabulary: Number of logits the model returns.
        stop_ids: Tokens that end an answer.

    Raises:
        AgentError: llguidance is not installed.
    """
    try:
        import llguidance.hf
    except ImportError as error:
        hint = f'{install_hint("lm")}, or use tool_choice="auto"'
        raise AgentError(f'tool_choice="required" needs llguidance; {hint}') from error
    return llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(stop_ids))


class ToolCallGuides:
    """One guide for each row of a batch.

    Args:
        shared: From :func:`shared_tokenizer`.
        toolsets: For each row the tools offered.

    Raises:
        AgentError: llguidance cannot express a tool's schema.
    """

    def __init__(self, shared: Any, toolsets: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        import llguidance.numpy

        self._matchers = [llguidance.LLMatcher(shared, call_grammar(tools)) for tools in toolsets]
        self._vocabulary: int = shared.vocab_size
        self._fill = llguidance.numpy.fill_next_token_bitmask
        self._mask = llguidance.numpy.allocate_token_bitmask(len(toolsets), self._vocabulary)
        for matcher in self._matchers:
            if matcher.is_error():
                raise AgentError(f"a tool's schema cannot guide decoding: {matcher.get_error()}")

    def restrict(self, rows: Sequence[int], logits: Tensor) -> Tensor:
        """``logits``, one line for each of ``rows``, with what cannot continue its call at minus infinity."""
        import numpy as np
        import torch

        for line, row in enumerate(rows):
            self._fill(self._matchers[row], self._mask, line)
        # By hand: llguidance's own function compiles a kernel, which takes a C++ compiler.
        bits = self._mask[: len(rows)].view(np.uint8)
        allowed = np.unpackbits(bits, axis=1, count=self._vocabulary, bitorder="little")
        return logits.masked_fill(torch.from_numpy(allowed == 0).to(logits.device), -torch.inf)

    def accept(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Move each of ``rows`` on by the token chosen for it."""
        for row, token in zip(rows, tokens, strict=True):
            self._matchers[row].consume_token(token)

    def complete(self, row: int) -> bool:
        """Whether the row's call is whole."""
        return self._matchers[row].is_accepting() or self._matchers[row].is_stopped()


def call_grammar(tools: Sequence[Mapping[str, Any]]) -> str:
    """The grammar of one JSON object that calls one of ``tools``, in llguidance's form."""
    from llguidance import LLMatcher

    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool["function"]["name"]},
                "arguments": {
                    **tool["function"]["parameters"],
                    "properties": {
                        name: _bounded(name, schema)
                        for name, schema in tool["function"]["parameters"]["properties"].items()
                    },
                },
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return LLMatcher.grammar_from_json_schema(
        json.dumps({"anyOf": calls}),
        defaults={"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False},
    )


def _bounded(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with an end to strings, numbers and lists that it leaves open."""
    ends = {
        "string": {"maxLength": LONGEST_COMMAND if name == "command" else LONGEST_GUIDED_STRING},
        "integer": {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        "array": {"maxItems": 8},
    }
    kind = str(schema.get("type"))
    return {**(ends.get(kind, {}) if "enum" not in schema else {}), **schema}
