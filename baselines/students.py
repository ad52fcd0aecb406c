"""Tiny agents from scratch: a byte-level BPE, a chat template, and LFM2 models in three sizes.

What is saved is an ordinary folder of transformers, so that ``hf:`` agents load and score it. The
chat template shows tools by their names only, which keeps an episode at a few hundred tokens; the
schemas' arguments are learnt from demonstrations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast

from agentsafe_envs.agents.loading import silence_kernel_advice, without_progress_bars
from agentsafe_envs.agents.prompts import NAMES_TEMPLATE, ROLE
from agentsafe_envs.agents.students import StudentSettings

SHIPPED = Path(__file__).with_name("students")
"""Folder of the models that ship."""

VOCABULARY = 1_536
CONTEXT_TOKENS = 1_024

PAD, TOOLS, SYSTEM, USER, ASSISTANT, RESULT, END = SPECIAL = (
    "<|pad|>",
    "<|tools|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|result|>",
    "<|end|>",
)

# A JSON key with the punctuation around it is one piece, so that a listing costs ten tokens an item;
# words stand alone, so that a name is spelled alike wherever it occurs.
_PIECES = Regex(
    r'[^A-Za-z\d\n]*"[a-z_]+": ?[\[{]*(?:"(?![a-z_]+":))?| ?[a-z]+-(?=\d)| ?-?[A-Za-z_]+|\d+|[^A-Za-z\d\s]+|\s'
)


@dataclass(frozen=True, slots=True)
class Size:
    """Shape of a model.

    Attributes:
        width: Of the residual stream, which heads of :data:`HEAD_WIDTH` divide between them.
    """

    width: int

    def config(self) -> Lfm2Config:
        """Of transformers, with tied embeddings and a feed-forward part 8/3 as wide as the stream."""
        return Lfm2Config(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            intermediate_size=-(-self.width * 8 // 3 // 8) * 8,
            block_auto_adjust_ff_dim=False,
            layer_types=LAYERS,
            num_hidden_layers=len(LAYERS),
            num_attention_heads=self.width // HEAD_WIDTH,
            num_key_value_heads=self.width // HEAD_WIDTH,
            conv_L_cache=CONVOLVED_TOKENS,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            initializer_range=0.7 * self.width**-0.5,  # the usual 0.02 is made for streams ten times as wide
            bos_token_id=None,
            eos_token_id=SPECIAL.index(END),
            pad_token_id=SPECIAL.index(PAD),
        )


SIZES: Mapping[str, Size] = {"0.3m": Size(64), "1m": Size(128), "4m": Size(256)}
"""By name, which says about how many parameters a model has."""

HEAD_WIDTH = 16
"""Of every size: a larger model has more heads, among them those of the smaller (see :mod:`baselines.widening`)."""

LAYERS = ["conv", "full_attention", "conv", "full_attention"]
CONVOLVED_TOKENS = 5
"""Enough for what stands behind an item's name to see all of it, and to be found by it in one step of
attention. Attention alone did not learn to find anything in ten million tokens (docs/decisions/008)."""


def new_model(size: str, seed: int) -> Lfm2ForCausalLM:
    """A model with random weights.

    Args:
        size: One of :data:`SIZES`.
        seed: Of the weights: two models with equal size and seed share their initialisation.
    """
    silence_kernel_advice()
    torch.manual_seed(seed)
    return Lfm2ForCausalLM(SIZES[size].config())


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of :data:`VOCABULARY` tokens learnt from ``texts``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer)


def blank_tokenizer() -> PreTrainedTokenizerFast:
    """One that knows the chat template and no token: it renders the texts that a tokenizer is learnt from."""
    return _wrapped(Tokenizer(models.BPE()))


SETTINGS = StudentSettings(
    prompt_style="json", tool_choice="auto", temperature=1.0, max_new_tokens=96, dtype="float32", group_size=64
)
"""The chat template itself shows the tools. Everything is sampled at temperature 1: students are compared
with their teacher's distribution, and what is likeliest may stay the same while that moves."""


def save(model: Any, tokenizer: Any, folder: Path, role: str = ROLE) -> None:
    """Write what ``student:<name>`` loads, and ``hf:<folder>`` too.

    Args:
        model: Of :func:`new_model`, trained or not.
        tokenizer: The model's.
        folder: Created if missing.
        role: First words of the system message that it is to be asked under.

    Weights are kept in half precision, half the size: everything that is measured, shipped or trained on starts from
    the same rounded weights.
    """
    with without_progress_bars():
        model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spelled = folder / "tokenizer.json"  # indented it is two and a half times as long, once a model
    compact = json.dumps(json.loads(spelled.read_bytes()), ensure_ascii=False, separators=(",", ":"))
    spelled.write_text(compact, encoding="utf-8")
    SETTINGS.model_copy(update={"role": role}).save(folder)


def load(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a folder that :func:`save` wrote, for training, in float32.

    Raises:
        FileNotFoundError: There is no model.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no model; expected a folder with config.json, such as {SHIPPED}/*")
    silence_kernel_advice()
    with without_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, chat_template=NAMES_TEMPLATE
    )
