"""One line for each way in which a service says the same thing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsafe_envs.agents.openai_errors import (
    Refusal,
    context_is_full,
    cure,
    is_filtered,
    is_hopeless,
    names_the_key,
    read_refusal,
)


def refused(status: int, words: str, **details: Any) -> Refusal:
    return read_refusal(status, json.dumps({"error": {"message": words, **details}}))


FULL = [
    refused(422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5001"),
    refused(422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens"),
    refused(400, "Invalid request: Your request exceeded model token limit: 8192"),
    refused(413, "Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached"),
    refused(400, "Prompt exceeds max length", code="1261"),
    refused(400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
    refused(400, "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError"),
    refused(400, "Prompt length 9000 is greater than max_seq_len 8192"),
    refused(400, "Input prompt (9000 tokens) is too long"),
    refused(400, "The input (9000) exceeds session_len 8192"),
    refused(400, "INPUT_LENGTH_ERROR"),
    refused(500, "prompt is longer than max_kv_size"),
    refused(400, "the number of input tokens 9000 cannot exceed the total tokens limit 8192 for this model"),
    refused(400, "Bad request: Exceeded maximum allowed tokens in prompt: 9000 > 8192"),
    refused(400, "Token limit exceeded: 9000 > 8192"),
    refused(400, "Requests total tokens of 9000 exceeds the limit of 8192"),
    refused(400, "Total tokens 9000 exceed the model limit of 8192 tokens."),
    refused(400, "Sequence length 9000 is larger than 8192"),
    refused(400, "This model's maximum prompt length is 131072 but the request contains 150000 tokens."),
    refused(400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    refused(400, "Requested tokens (5000) exceed context window of 2048"),
    refused(400, "Trying to keep the first 5000 tokens when context the overflows."),
    refused(400, "Input is too long for requested model."),
    refused(500, "Context size has been exceeded."),
    refused(200, "no", code="context_length_exceeded"),
    read_refusal(413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
]
OTHER_LIMITS = [
    refused(413, "Request too large on tokens per minute (TPM): Limit 6000, Requested 9000, reduce your message size"),
    refused(400, "Token rate limit exceeded for this request: 9000 > 8192"),
    refused(400, "max_tokens is too large: 99999"),
    refused(400, "litellm.BadRequestError: max_tokens is too large: 99999"),
    refused(422, "Input validation error: `max_new_tokens` must be <= 512. Given: 1024"),
    refused(422, "body.max_tokens: Input should be less than or equal to 4096"),
    refused(400, "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]"),
    refused(400, "Number of tools in the request exceeds the maximum size of 128"),
    refused(500, "The request exceeded the time limit"),
    refused(429, "Too many requests: token limit exceeded"),
    refused(400, "Content length of the answer"),
]
FILTERED = [
    refused(403, "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"),
    refused(400, "Content Exists Risk", code="invalid_request_error"),
    refused(400, "System detected potentially unsafe or sensitive content in input or generation.", code="1301"),
    refused(400, "<400> InternalError.Algo.DataInspectionFailed: Output data may contain inappropriate content."),
    refused(400, "Prompt was blocked due to safety reasons (PROHIBITED_CONTENT)"),
    refused(400, "The request was blocked by guardrail"),
    refused(400, "This content can't be shown because of our usage policies.", code="cyber_policy_violation"),
    refused(400, "The request was rejected because it was considered high risk"),
    refused(451, "Unavailable for legal reasons"),
    refused(500, "no", code="content_filter"),
]
HOPELESS = [
    refused(400, "Your credit balance is too low to access the Anthropic API."),
    refused(400, "API key not valid. Please pass a valid API key."),
    refused(400, "foo/bar is not a valid model ID"),
    refused(405, "Method Not Allowed"),
    refused(410, "This model version has been deprecated."),
    refused(501, "not implemented"),
    refused(200, "You exceeded your current quota", code="insufficient_quota"),
    refused(403, "Your account was suspended for violations of our usage policies"),
    read_refusal(422, '{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}'),
    refused(500, "tools param requires --jinja flag"),
    refused(400, "Invalid schema for function 'read_resource': In context=(), 'default' is not permitted."),
    refused(400, "tools[0].function.parameters is wrong", code="invalid_function_parameters"),
    refused(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
]
PASSING = [
    refused(500, "overloaded"),
    refused(429, "slow down"),
    refused(429, "Rate limit reached for model on tokens per day (TPD): Limit 100000"),
]


@pytest.mark.parametrize("refusal", [*FULL, *OTHER_LIMITS, *FILTERED, *HOPELESS, *PASSING], ids=str)
def test_each_refusal_is_of_one_kind(refusal: Refusal) -> None:
    assert context_is_full(refusal) == (refusal in FULL)
    assert is_filtered(refusal) == (refusal in FILTERED)
    if refusal not in OTHER_LIMITS:
        assert is_hopeless(refusal) == (refusal in HOPELESS)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("tools param requires --jinja flag", "--prompt-style signature, or the server's --jinja"),
        (
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            "--prompt-style signature, or the server's --enable-auto-tool-choice and --tool-call-parser",
        ),
        ("No endpoints found that support tool use.", "--prompt-style signature"),
        ("Invalid schema for function 'read_resource': In context=()", "--prompt-style signature"),
        ("body.seed: Extra inputs are not permitted", "no --agent-seed"),
        ("this model does not support this tool_choice", "--tool-choice auto"),
    ],
)
def test_cure_is_an_option_that_avoids_what_was_refused(words: str, option: str) -> None:
    assert cure(refused(400, words)) == option


def test_key_is_named_as_the_cause_whatever_the_status() -> None:
    assert names_the_key(refused(400, "API key not valid. Please pass a valid API key."))
    assert not names_the_key(refused(400, "this model has no key"))
