"""The tokenizer in a model's folder, with one line for each way in which it cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentsafe_envs.agents.protocol import AgentError

FILE = "tokenizer.json"
_OTHER_FORMATS = ("vocab*", "*.model", "*.tiktoken", "tekken.json", "tokenizer*.py")


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of the package tokenizers in ``folder``; None where transformers reads another format.

    Raises:
        AgentError: The file is missing or damaged.
    """
    from tokenizers import Tokenizer

    file = folder / FILE
    cure = f"copy {FILE} and tokenizer_config.json of the base model there, or save the tokenizer again"
    if not file.is_file():
        if any(path for pattern in _OTHER_FORMATS for path in folder.glob(pattern)):
            return None
        raise AgentError(f"{folder} holds no {FILE}; {cure}")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # of no narrower kind in that package
        raise AgentError(f"{file} is damaged ({error}); {cure}") from error


def require_rows(name: str, tokens: int, rows: int) -> None:
    """Refuse a tokenizer that knows more tokens than the model has rows for.

    Raises:
        AgentError: It does.
    """
    if tokens > rows:
        raise AgentError(
            f"the tokenizer of {name} knows {tokens} tokens and the model only {rows}; call "
            "model.resize_token_embeddings(len(tokenizer)), train what is new, and save both again"
        )
