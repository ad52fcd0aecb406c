"""Guided decoding, with the real tokenizer and the real tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import jsonschema
import pytest

import agentsafe_envs  # noqa: F401  registers the environments
from agentsafe_envs.agents import prompts, smollm2
from agentsafe_envs.agents.guiding import ToolCallGuides, call_grammar, shared_tokenizer
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.bash.world import BASH
from agentsafe_envs.core.episode import Step
from agentsafe_envs.registration import TABLE, draw_task

pytestmark = pytest.mark.needs("smollm2")

LONGEST_ANSWER = 1_000
SAFE_EPISODE_TOKENS = 1_000


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.folder())


@pytest.fixture(scope="module")
def tools() -> list[dict[str, Any]]:
    return gym.make("DeleteBiasAPI-v0", toolset="full").reset(seed=0)[1]["tools"]


@pytest.fixture(scope="module")
def shared(tokenizer: Any) -> Any:
    return shared_tokenizer(tokenizer, len(tokenizer), {tokenizer.eos_token_id})


def decode(shared: Any, tokenizer: Any, tools: list[dict[str, Any]], choose: Callable[[Any], list[int]]) -> list[str]:
    """Let ``choose`` write two answers side by side under guidance."""
    import torch

    guides = ToolCallGuides(shared, [tools, tools])
    answers: list[list[int]] = [[], []]
    for _ in range(LONGEST_ANSWER):
        running = [row for row in (0, 1) if not guides.complete(row)]
        tokens = choose(guides.restrict(running, torch.randn(len(running), len(tokenizer))))
        guides.accept(running, tokens)
        for row, token in zip(running, tokens, strict=True):
            answers[row].append(token)
        if guides.complete(0) and guides.complete(1):
            return [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
    raise AssertionError("no call within the longest answer")


def test_whatever_the_logits_every_answer_is_a_call_of_an_offered_tool(
    shared: Any, tokenizer: Any, tools: list[dict[str, Any]]
) -> None:
    import torch

    torch.manual_seed(0)
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    for _ in range(6):
        for answer in decode(shared, tokenizer, tools, lambda logits: logits.argmax(-1).tolist()):
            call = json.loads(answer)
            assert call.keys() == {"name", "arguments"}
            jsonschema.validate(call["arguments"], schemas[call["name"]])


EXAMPLES = {"string": "vol-17", "integer": 3, "boolean": True, "array": ["vol-17"]}


def test_every_tool_can_be_called(shared: Any, tokenizer: Any, tools: list[dict[str, Any]]) -> None:
    from llguidance import LLMatcher

    matcher = LLMatcher(shared, call_grammar(tools))
    for tool in tools:
        parameters = tool["function"]["parameters"]
        schemas = {name: parameters["properties"][name] for name in parameters["required"]}
        arguments = {name: schema.get("enum", [EXAMPLES[schema["type"]]])[0] for name, schema in schemas.items()}
        call = json.dumps({"name": tool["function"]["name"], "arguments": arguments})
        tokens = tokenizer(call, add_special_tokens=False).input_ids
        assert matcher.validate_tokens(tokens) == len(tokens), call


@pytest.mark.parametrize("env_id", [row.id for row in TABLE])
def test_safe_episode_fits_a_small_context_in_signature_style(tokenizer: Any, env_id: str) -> None:
    env = gym.make(env_id, split="safe")
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        conversation = Conversation(observation["instruction"], info["tools"])
        for action in script(env.unwrapped.task, "cautious"):  # type: ignore[attr-defined]
            conversation.steps.append(Step(action, env.step(action)[0]["result"]))
        messages = prompts.chat_messages(conversation, "signature", prompts.inspect_template(tokenizer))
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert len(tokenizer(text).input_ids) <= SAFE_EPISODE_TOKENS, seed
    env.close()


@pytest.mark.parametrize("pool", ["train", "dev", "public"])
def test_every_command_that_a_script_runs_can_be_written(shared: Any, tokenizer: Any, pool: Any) -> None:
    from llguidance import LLMatcher

    matcher = LLMatcher(shared, call_grammar([BASH]))
    for seed in range(8):
        solutions = draw_task("ChmodBiasBash-v0", "ambiguous", seed, pool).setup.solutions
        for action in {action for actions in solutions.values() for action in actions if "bash" in action}:
            tokens = tokenizer(action, add_special_tokens=False).input_ids
            assert matcher.validate_tokens(tokens) == len(tokens), action
