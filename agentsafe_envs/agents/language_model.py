"""What agents that run a language model in this process have in common: turns, groups, answers.

:class:`agentsafe_envs.agents.transformers.TransformersAgent` plays any model through torch,
:class:`agentsafe_envs.agents.numpy_agent.NumpyAgent` the small ones of this project without it.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from agentsafe_envs.agents import prompts
from agentsafe_envs.agents.decoding import Choose, ForwardPass, GroupDecoder, IsDone
from agentsafe_envs.agents.identity import identity
from agentsafe_envs.agents.parsing import canonical_action, find_call
from agentsafe_envs.agents.protocol import AgentError, Conversation

ToolChoice = Literal["required", "auto"]
TOOL_CHOICES: tuple[ToolChoice, ...] = get_args(ToolChoice)


class LanguageModelAgent(ABC):
    """Plays episodes with a language model; a subclass brings model, tokenizer and sampling.

    An episode that outgrows the model's context gets the empty action from then on, which the
    world counts as invalid: running out of context is the agent's own failure.

    Args:
        name: What scorecards call it.
        prompt_style: ``"json"`` or ``"signature"``, see :mod:`agentsafe_envs.agents.prompts`.
        tool_choice: ``"required"`` holds the model to calls of offered tools; ``"auto"`` lets it
            write what it likes and reads that leniently, see :mod:`agentsafe_envs.agents.parsing`.
        temperature: 0 always takes the likeliest token; otherwise tokens are sampled, ``> 0``.
        max_new_tokens: Longest answer in tokens, ``>= 1``; longer ones are cut and read as they are.
        group_size: Episodes decoded together, ``>= 1``. It is part of what a seed reproduces.
        seed: The agent's own, mixed with the seed of a group.
        role: First words of the system message; a student is asked in those it was trained under.

    Attributes:
        context_tokens: Longest conversation in tokens, its answer included; a subclass sets it.
        stop_ids: Tokens that end an answer; a subclass sets them.

    Raises:
        ValueError: An argument is out of its range.
    """

    context_tokens: int
    stop_ids: set[int]

    def __init__(
        self,
        name: str,
        *,
        prompt_style: prompts.PromptStyle,
        tool_choice: ToolChoice,
        temperature: float,
        max_new_tokens: int,
        group_size: int,
        seed: int,
        role: str = prompts.ROLE,
    ) -> None:
        if prompt_style not in prompts.PROMPT_STYLES:
            raise ValueError(f"prompt_style {prompt_style!r}; expected one of {', '.join(prompts.PROMPT_STYLES)}")
        if tool_choice not in TOOL_CHOICES:
            raise ValueError(f"tool_choice {tool_choice!r}; expected one of {', '.join(TOOL_CHOICES)}")
        if not temperature >= 0:
            raise ValueError(f"temperature {temperature}; expected 0 (greedy) or more")
        for option, value in (("max_new_tokens", max_new_tokens), ("group_size", group_size)):
            if value < 1:
                raise ValueError(f"{option} {value}; expected at least 1")
        self.name = name
        self.prompt_style: prompts.PromptStyle = prompt_style
        self.tool_choice: ToolChoice = tool_choice
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.group_size = group_size
        self.seed = seed
        self.role = role
        self._decoder: GroupDecoder | None = None
        self._closing: dict[int, bool] = {}

    def start(self, seed: int) -> None:
        """Forget the last group; what is sampled from now on depends on ``seed`` and the agent's own seed."""
        self._decoder = GroupDecoder(self.new_forward(), self.context_tokens)
        words = json.dumps([self.seed, seed])
        self._seed_sampling(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big", signed=True))

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """One action for each conversation: canonical JSON, or the model's own words if they hold no call.

        Raises:
            AgentError: The model failed, for instance for want of memory.
        """
        if self._decoder is None:
            self.start(0)
        assert self._decoder is not None
        read = [self.encode(conversation) for conversation in conversations]
        # At least one token must fit behind the prompt.
        fitting = [row for row, tokens in enumerate(read) if len(tokens) < self.context_tokens]
        actions = [""] * len(conversations)
        if not fitting:
            return actions
        playing = [conversations[row] for row in fitting]
        choose, is_done = self._decoding(playing)
        try:
            answers = self._decoder.generate(
                playing,
                [read[row] for row in fitting],
                choose=choose,
                is_done=is_done,
                stop_ids=self.stop_ids,
                max_new_tokens=self.max_new_tokens,
            )
        except (RuntimeError, MemoryError) as error:
            raise AgentError(
                f"{self.name} failed on {len(playing)} episodes at once: {error}; if memory ran out, lower group_size"
            ) from error
        for row, conversation, answer in zip(fitting, playing, answers, strict=True):
            actions[row] = canonical_action(self.decode(answer), conversation.tools)
        return actions

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that a reader needs to repeat the run, in plain JSON types."""

    @abstractmethod
    def encode(self, conversation: Conversation) -> list[int]:
        """Token ids of everything the model reads before its next answer."""

    @abstractmethod
    def new_forward(self) -> ForwardPass:
        """The model, with nothing read."""

    @abstractmethod
    def _seed_sampling(self, seed: int) -> None:
        """Begin to sample from ``seed``, a signed 64-bit number."""

    @abstractmethod
    def choose(self, rows: Sequence[int], logits: Any) -> list[int]:
        """One token for each line of ``logits``."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """What ``tokens`` spell, special ones left out."""

    def _decoding(self, playing: Sequence[Conversation]) -> tuple[Choose, IsDone]:
        """Decoding without bounds, which ends early where an answer already holds a call."""
        return self.choose, lambda row, answer: self._holds_call(answer, playing[row])

    def _holds_call(self, answer: Sequence[int], conversation: Conversation) -> bool:
        """Whether ``answer`` holds a call already; looked for only where one can just have ended."""
        newest = answer[-1]
        if newest not in self._closing:
            spelt = self.decode([newest])
            self._closing[newest] = "}" in spelt or "\n" in spelt
        if not self._closing[newest]:
            return False
        return find_call(self.decode(answer), conversation.tools, finished=False) is not None

    def _settings(self, files: Mapping[str, Path], *, native_tools: bool, **more: Any) -> dict[str, Any]:
        """The part of :meth:`describe` that all such agents share; ``files`` and ``more`` decide conduct as well."""
        settings = {
            "prompt_style": self.prompt_style,
            "native_tools": native_tools,
            "tool_choice": self.tool_choice,
            "temperature": self.temperature,
            "max_new_tokens": self.max_new_tokens,
            "context_tokens": self.context_tokens,
            "seed": self.seed,
            **({"role": self.role} if self.role != prompts.ROLE else {}),
        }
        # The size of groups decides which numbers are drawn, and not how an agent behaves.
        return settings | {"group_size": self.group_size, "identity": identity(files, **settings, **more)}


def weights_sha256(folder: Path) -> str | None:
    """Of a folder's safetensors in order of name; None if it has none."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    sha256 = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                sha256.update(block)
    return sha256.hexdigest()
