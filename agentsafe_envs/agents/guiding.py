"""Holds a language model to calls of the offered tools, as APIs do with ``tool_choice="required"``.

A model of 135 million parameters hardly ever writes a tool call by itself. Guided, it still
decides which tool it calls and with what; only text that is no call is out of its reach.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentsafe_envs.agents.protocol import AgentError

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_STRING = 48
"""Characters of a string argument; a weak model seldom finds the closing quote by itself."""

LARGEST_NUMBER = 99_999


class ToolCallGuides:
    """One guide for each row of a batch.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vocabulary: Number of logits the model returns.
        toolsets: For each row the tools offered.
        stop_ids: Tokens that end an answer.

    Raises:
        AgentError: llguidance is not installed, or cannot express a tool's schema.
    """

    def __init__(
        self,
        tokenizer: Any,
        vocabulary: int,
        toolsets: Sequence[Sequence[Mapping[str, Any]]],
        stop_ids: set[int],
    ) -> None:
        try:
            import llguidance.hf
            import llguidance.torch
        except ImportError as error:
            hint = 'pip install "agentsafe_envs[lm]", or use tool_choice="auto"'
            raise AgentError(f'tool_choice="required" needs llguidance; {hint}') from error
        self._apply = llguidance.torch
        shared = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(stop_ids))
        grammars = {id(tools): call_grammar(tools) for tools in toolsets}
        self._matchers = [llguidance.LLMatcher(shared, grammars[id(tools)]) for tools in toolsets]
        self._mask = llguidance.torch.allocate_token_bitmask(len(toolsets), vocabulary)
        for matcher in self._matchers:
            if matcher.is_error():
                raise AgentError(f"a tool's schema cannot guide decoding: {matcher.get_error()}")

    def restrict(self, logits: Tensor) -> Tensor:
        """``logits`` with everything that cannot continue a call at minus infinity; ended rows are left alone."""
        for row, matcher in enumerate(self._matchers):
            if matcher.is_stopped():
                self._mask[row] = -1
            else:
                self._apply.fill_next_token_bitmask(matcher, self._mask, row)
        self._apply.apply_token_bitmask_inplace(logits, self._mask.to(logits.device))
        return logits

    def accept(self, tokens: Sequence[int]) -> None:
        """Move each row that still runs on by the token chosen for it."""
        for matcher, token in zip(self._matchers, tokens, strict=True):
            if not matcher.is_stopped():
                matcher.consume_token(token)

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
                        name: _bounded(schema) for name, schema in tool["function"]["parameters"]["properties"].items()
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


def _bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with an end to strings, numbers and lists that it leaves open."""
    ends = {
        "string": {"maxLength": LONGEST_STRING},
        "integer": {"minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        "array": {"maxItems": 8},
    }
    kind = str(schema.get("type"))
    return {**(ends.get(kind, {}) if "enum" not in schema else {}), **schema}
