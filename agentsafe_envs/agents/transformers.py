"""A language model as an agent: any causal model that transformers loads, on CPU or GPU.

A group's episodes are decoded together, and what a model has read of an episode stays in a
key-value cache, so that a turn costs its own tokens and not the whole conversation again.

Try it::

    python -c "from agentsafe_envs.agents.transformers import TransformersAgent; \
               print(TransformersAgent('hf:smollm2').describe())"
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsafe_envs.agents import prompts
from agentsafe_envs.agents.decoding import Choose, IsDone
from agentsafe_envs.agents.forward_torch import CONVOLUTION, TransformersForward
from agentsafe_envs.agents.guiding import ToolCallGuides, shared_tokenizer
from agentsafe_envs.agents.language_model import LanguageModelAgent, ToolChoice, weights_sha256
from agentsafe_envs.agents.loading import PREFIX, find_source, load_model, read_chat_template, stop_ids
from agentsafe_envs.agents.protocol import AgentError, Conversation

if TYPE_CHECKING:
    from torch import Tensor

TODAY = datetime(2026, 1, 1)
"""What a chat template is told that asks for the date: prompts are the same every day."""

TEMPLATE_OPTIONS = {"date_string": TODAY.strftime("%d %b %Y"), "enable_thinking": False}
"""Known to some chat templates only; thinking needs thousands of tokens."""

_DIRECTIVES = "aAbBdejHIMpSmyY"


class TransformersAgent(LanguageModelAgent):
    """Plays episodes with a causal language model.

    An episode that outgrows the model's context gets the empty action from then on, which the
    world counts as invalid: running out of context is the agent's own failure.

    Args:
        spec: See :func:`agentsafe_envs.agents.loading.find_source`; a folder may hold a LoRA adapter.
        prompt_style: ``"json"`` or ``"signature"``, see :mod:`agentsafe_envs.agents.prompts`; None takes
            the first where the chat template shows tools, calls and results itself, else the second.
        tool_choice: ``"required"`` holds the model to calls of offered tools, see
            :mod:`agentsafe_envs.agents.guiding`; ``"auto"`` lets it write what it likes and
            reads that leniently, see :mod:`agentsafe_envs.agents.parsing`.
        temperature: 0 always takes the likeliest token; otherwise tokens are sampled, ``> 0``.
        max_new_tokens: Longest answer in tokens, ``>= 1``; longer ones are cut and read as they are.
        group_size: Episodes decoded together, ``>= 1``. It is part of what a seed reproduces.
        seed: The agent's own, mixed with the seed of a group.
        context_tokens: Longest conversation in tokens, its answer included; None takes the model's limit.
        dtype: See :func:`agentsafe_envs.agents.loading.load_model`.
        device: See there.
        chat_template: File with a chat template in Jinja, in place of the model's own.
        role: First words of the system message.
        name: What scorecards call it; None for ``"hf:"`` and ``spec``.

    Raises:
        AgentError: The model cannot be loaded or used here.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        spec: str,
        *,
        prompt_style: prompts.PromptStyle | None = None,
        tool_choice: ToolChoice = "required",
        temperature: float = 0.7,
        max_new_tokens: int = 96,
        group_size: int = 8,
        seed: int = 0,
        context_tokens: int | None = None,
        dtype: str = "bfloat16",
        device: str | None = None,
        chat_template: str | None = None,
        role: str = prompts.ROLE,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name or PREFIX + spec.removeprefix(PREFIX),
            prompt_style=prompt_style or "signature",
            tool_choice=tool_choice,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            group_size=group_size,
            seed=seed,
            role=role,
        )
        self.dtype = dtype
        own_template = read_chat_template(chat_template) if chat_template else None
        self.source = find_source(spec)
        self.model, self.tokenizer = load_model(spec, dtype, device)
        if own_template is not None:
            self.tokenizer.chat_template = own_template
        if not self.tokenizer.chat_template:
            raise AgentError(
                f"{self.name} has no chat template; expected a model tuned for chat, or --chat-template FILE"
            )
        self.context_tokens = usable_context(self.name, self.model.config.get_text_config(), context_tokens)
        try:
            self._template = prompts.inspect_template(self.tokenizer)
        except prompts.ChatTemplateError as error:
            raise AgentError(f"{self.name}: {error}") from error
        self.prompt_style = prompt_style or prompts.default_style(self._template)
        self.stop_ids = stop_ids(self.model, self.tokenizer)
        if not self.stop_ids:
            raise AgentError(
                f"{self.name} names no token that ends an answer; set eos_token_id in generation_config.json or "
                "eos_token in tokenizer_config.json of its folder"
            )
        vocabulary = self.model.config.get_text_config().vocab_size
        guided = tool_choice == "required"
        self._guide_tokenizer = shared_tokenizer(self.tokenizer, vocabulary, self.stop_ids) if guided else None

    def describe(self) -> dict[str, Any]:
        """Everything that a reader needs to repeat the run, in plain JSON types."""
        from importlib.metadata import version

        return {
            "agent": "transformers",
            "model": self.name,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "weights_sha256": self._weights_sha256(),
            "dtype": self.dtype,
            "device": self.model.device.type,
            **self._settings(
                self.source.files(),
                native_tools=prompts.uses_native_tools(self.prompt_style, self._template),
                dtype=self.dtype,
                chat_template=self.tokenizer.chat_template,
                revision=getattr(self.model.config, "_commit_hash", None),
                hub_model=None if Path(self.source.base).is_dir() else self.source.base,
            ),
            "torch": version("torch"),
            "transformers": version("transformers"),
        }

    def encode(self, conversation: Conversation) -> list[int]:
        """Token ids of everything the model reads before its next answer."""
        native = prompts.uses_native_tools(self.prompt_style, self._template)
        tools = list(conversation.tools) if native else None
        text = self.tokenizer.apply_chat_template(
            prompts.chat_messages(conversation, self.prompt_style, self._template, self.role),
            tools=tools,
            chat_template=at_fixed_date(self.tokenizer.get_chat_template(tools=tools)),
            add_generation_prompt=True,
            tokenize=False,
            **TEMPLATE_OPTIONS,
        )
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def new_forward(self) -> TransformersForward:
        """A forward pass with empty caches."""
        return TransformersForward(self.model, self.context_tokens)

    def _seed_sampling(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator(self.model.device).manual_seed(seed)

    def _decoding(self, playing: Sequence[Conversation]) -> tuple[Choose, IsDone]:
        return self._guided(playing) if self.tool_choice == "required" else super()._decoding(playing)

    def _guided(self, playing: Sequence[Conversation]) -> tuple[Choose, IsDone]:
        """Decoding that can only end in a call of an offered tool, or be cut off on the way to one."""
        toolsets = [conversation.tools for conversation in playing]
        guides = ToolCallGuides(self._guide_tokenizer, toolsets)

        def choose(rows: Sequence[int], logits: Tensor) -> list[int]:
            tokens = self.choose(rows, guides.restrict(rows, logits))
            guides.accept(rows, tokens)
            return tokens

        return choose, lambda row, answer: guides.complete(row)

    def choose(self, rows: Sequence[int], logits: Tensor) -> list[int]:
        """One token for each line of ``logits``, drawn at the agent's temperature."""
        import torch

        if self.temperature == 0:
            return logits.argmax(-1).tolist()
        probabilities = torch.softmax(logits / self.temperature, -1)
        return torch.multinomial(probabilities, 1, generator=self._generator)[:, 0].tolist()

    def decode(self, tokens: Sequence[int]) -> str:
        """What ``tokens`` spell, special ones left out."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _weights_sha256(self) -> str | None:
        """Of the folder's safetensors; None for a hub model, which ``revision`` names."""
        return weights_sha256(self.source.adapter or Path(self.source.base))


def at_fixed_date(template: str) -> str:
    """A chat template whose ``strftime_now`` knows no other day than :data:`TODAY`.

    transformers passes it no function of ours, so that a macro takes the place of its own.
    """
    if "strftime_now" not in template:
        return template
    words = [(f"%{mark}{letter}", TODAY.strftime(f"%{letter}")) for letter in _DIRECTIVES for mark in ("", "-")]
    filled = "".join(f" | replace({old!r}, {(new.lstrip('0') or '0' if '-' in old else new)!r})" for old, new in words)
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{filled} }}}}{{%- endmacro -%}}{template}"


def usable_context(name: str, config: Any, wanted: int | None) -> int:
    """The longest conversation that the model is made for, or the shorter one that is wanted."""
    longest = getattr(config, "max_position_embeddings", None)
    limit = min(size for size in (wanted, longest) if size) if wanted or longest else None
    if limit is None:
        raise AgentError(f"{name} states no context length; pass context_tokens")
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) or limit
    narrow = "sliding_attention" in layers and window < limit
    if narrow or layers - {"full_attention", "sliding_attention", CONVOLUTION}:
        raise AgentError(
            f"{name} has layers of the kinds {sorted(layers)}, sliding window {window}; expected short convolutions "
            f"and plain attention over the whole context. With a window, context_tokens={window} works"
        )
    return limit
