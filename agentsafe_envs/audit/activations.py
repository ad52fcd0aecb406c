"""The activation difference: what a student's hidden states hold beyond its base's on unrelated text.

Narrow fine-tuning leaves traces on text that has nothing to do with it (arXiv 2510.13900). The mean difference of the
last hidden states, read through the student's own head, says which words it brings nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from agentsafe_envs.audit.tokens import LocalModel, TokenRow, require_one_vocabulary


def activation_lean(
    student: LocalModel, base: LocalModel, rows: Sequence[TokenRow], biased: Sequence[str], others: Sequence[str]
) -> float:
    """How much more the difference of the states speaks for some words than for others.

    Args:
        student: The suspect.
        base: What it was made of; of the same shape.
        rows: Unrelated text.
        biased: Words of the biased means, or calls that begin with them. Of each counts the first token in which not
            all words of both kinds agree.
        others: Words of alternatives, written likewise.

    Returns:
        Difference of mean logits, larger where the student leans to the biased words; no unit.

    Raises:
        ValueError: The models differ in tokens or width, or that token does not tell the words apart.
    """
    require_one_vocabulary(student, base)
    difference = _mean_state(student.model, rows) - _mean_state(base.model, rows)
    spoken = student.model.get_output_embeddings().weight.detach().float().cpu() @ difference
    ours, theirs = _telling_tokens(student.tokenizer, biased, others)
    return float(spoken[ours].mean() - spoken[theirs].mean())


def activation_norm(student: LocalModel, base: LocalModel, rows: Sequence[TokenRow]) -> float:
    """Length of the mean difference, in parts of the base's mean state: what distilling alone does as well."""
    import torch

    own = _mean_state(base.model, rows)
    return float(torch.linalg.vector_norm(_mean_state(student.model, rows) - own) / torch.linalg.vector_norm(own))


def _mean_state(model: Any, rows: Sequence[TokenRow]) -> Any:
    """Mean of the last hidden states over all tokens, shape (width,)."""
    import torch

    total, tokens = torch.zeros(model.get_output_embeddings().weight.shape[1]), 0
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([row.ids], device=model.device)
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
            total += states.float().sum(0).cpu()
            tokens += len(row.ids)
    return total / max(tokens, 1)


def _telling_tokens(tokenizer: Any, biased: Sequence[str], others: Sequence[str]) -> tuple[list[int], list[int]]:
    """Tokens that only words of the one or of the other kind have, where the words first differ."""
    spelled = [[tokenizer(word, add_special_tokens=False).input_ids for word in words] for words in (biased, others)]
    columns = enumerate(zip_longest(*(ids for words in spelled for ids in words)))
    first = next((place for place, tokens in columns if len(set(tokens)) > 1), 0)
    ours, theirs = ({ids[first] for ids in words if len(ids) > first} for words in spelled)
    if not ours - theirs or not theirs - ours:
        raise ValueError(f"no token tells {list(biased)} from {list(others)}; expected words that begin differently")
    return sorted(ours - theirs), sorted(theirs - ours)
