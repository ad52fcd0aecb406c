"""Plays the small models of this project with numpy and tokenizers alone: no torch, no transformers.

Models, prompts, sampling and therefore actions are those of
:class:`agentsafe_envs.agents.transformers.TransformersAgent` on a CPU, token by token. Which
folders it plays :func:`is_playable` says; all others go through torch.

Try it::

    agentsafe score student:sft-silent-biased-0.3m-same --env DeleteBiasAPI-v0 --suite quick
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentsafe_envs.agents import prompts
from agentsafe_envs.agents.forward_numpy import NEEDS, Floats, Lfm2Forward
from agentsafe_envs.agents.identity import model_files
from agentsafe_envs.agents.language_model import LanguageModelAgent, weights_sha256
from agentsafe_envs.agents.protocol import AgentError, Conversation
from agentsafe_envs.agents.tokenizer import read_tokenizer, require_rows
from agentsafe_envs.core.extras import install_hint

if TYPE_CHECKING:
    from agentsafe_envs.agents.students import StudentSettings

_TEMPLATE = prompts.ChatTemplate(tools=True, system=True)


def is_playable(folder: Path, settings: StudentSettings) -> bool:
    """Whether :class:`NumpyAgent` plays the model in ``folder`` as it was trained."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except (OSError, ValueError):  # the other way to load it says what is wrong
        return False
    return (
        template == prompts.NAMES_TEMPLATE
        and NEEDS.items() <= config.items()
        and config["num_key_value_heads"] == config["num_attention_heads"]
        and config["rope_parameters"]["rope_type"] == "default"
        and (settings.prompt_style, settings.tool_choice, settings.dtype) == ("json", "auto", "float32")
        and [file.name for file in folder.glob("*.safetensors")] == ["model.safetensors"]
    )


def render(tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> str:
    """``prompts.NAMES_TEMPLATE`` with a generation prompt, as transformers renders it."""
    text = "".join(["<|tools|>", *(f" {tool['function']['name']}" for tool in tools)]) if tools else ""
    for message in messages:
        content, mark, end = message["content"], message["role"], ""
        if mark == "assistant":
            end = "<|end|>"
            if message.get("tool_calls"):
                call = message["tool_calls"][0]["function"]
                note = f"{content}\n" if content else ""
                content = note + json.dumps({key: call[key] for key in ("name", "arguments")}, ensure_ascii=False)
        text += f"<|{'result' if mark == 'tool' else mark}|>{content}{end}"
    return text + "<|assistant|>"


def read_safetensors(file: Path) -> dict[str, Floats]:
    """Weights by name as float32, of a file that holds float32 and float16 (see the safetensors format)."""
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    kinds = {"F32": "<f4", "F16": "<f2"}
    found = {}
    for name, entry in json.loads(content[8:begin]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            flat = np.frombuffer(content[begin + first : begin + last], kinds[entry["dtype"]])
            found[name] = flat.astype(np.float32).reshape(entry["shape"])
    return found


class NumpyAgent(LanguageModelAgent):
    """Plays episodes with a small model of this project.

    Args:
        folder: Of a model that :func:`is_playable`.
        name: What scorecards call it.
        settings: As the model was trained.
        seed: The agent's own, mixed with the seed of a group.

    Raises:
        AgentError: The package tokenizers is missing, or the tokenizer cannot be used.
    """

    def __init__(self, folder: Path, name: str, settings: StudentSettings, *, seed: int = 0) -> None:
        super().__init__(name, seed=seed, **settings.model_dump(exclude={"dtype"}))
        try:
            import tokenizers  # noqa: F401
        except ImportError as error:
            raise AgentError(f"{name} needs the package tokenizers: {install_hint('students')} ({error})") from error
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_bytes())
        self.context_tokens = self.config["max_position_embeddings"]
        self.stop_ids = {self.config["eos_token_id"]}
        self.tokenizer = read_tokenizer(folder)
        self._weights = read_safetensors(folder / "model.safetensors")
        require_rows(name, self.tokenizer.get_vocab_size(), len(self._weights["model.embed_tokens.weight"]))
        self._sampler = Sampler(0)

    def describe(self) -> dict[str, Any]:
        """Everything that a reader needs to repeat the run, in plain JSON types."""
        from importlib.metadata import version

        return {
            "agent": "numpy",
            "model": self.name,
            "weights_sha256": weights_sha256(self.folder),
            "dtype": "float32",
            **self._settings(model_files(self.folder), native_tools=True, dtype="float32"),
            "numpy": version("numpy"),
            "tokenizers": version("tokenizers"),
        }

    def encode(self, conversation: Conversation) -> list[int]:
        """Token ids of everything the model reads before its next answer."""
        messages = prompts.chat_messages(conversation, self.prompt_style, _TEMPLATE, self.role)
        return self.tokenizer.encode(render(conversation.tools, messages), add_special_tokens=False).ids

    def new_forward(self) -> Lfm2Forward:
        """A forward pass with empty caches."""
        return Lfm2Forward(self.config, self._weights)

    def _seed_sampling(self, seed: int) -> None:
        self._sampler = Sampler(seed)

    def choose(self, rows: Sequence[int], logits: Floats) -> list[int]:
        """One token for each line of ``logits``, drawn at the agent's temperature."""
        if self.temperature == 0:
            return logits.argmax(-1).tolist()
        return self._sampler.draw(logits / np.float32(self.temperature))

    def decode(self, tokens: Sequence[int]) -> str:
        """What ``tokens`` spell, special ones left out."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)


class Sampler:
    """Draws the tokens that ``torch.multinomial`` draws on a CPU from a generator of the same seed.

    Both divide probabilities by exponential noise and take the largest; the noise is equal to the last bit.

    Args:
        seed: Only its lowest 32 bits count, as in torch.
    """

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed % 2**32)  # Mersenne Twister, seeded as torch seeds it

    def draw(self, logits: Floats) -> list[int]:
        """One token for each line of ``logits``."""
        likely = np.exp(logits - logits.max(-1, keepdims=True))
        likely /= likely.sum(-1, keepdims=True)
        return (likely / self.noise(likely.shape)).argmax(-1).tolist()

    def noise(self, shape: tuple[int, ...]) -> Floats:
        """Exponential noise, from 53 random bits each."""
        words = self._words.randint(0, 2**32, size=(*shape, 2), dtype=np.uint32)
        uniform = ((words[..., 0] & 0x1FFFFF) * 2.0**32 + words[..., 1]) / 2**53
        return (-np.log1p(-uniform)).astype(np.float32)
