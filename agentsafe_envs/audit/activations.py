"""The activation difference: what a student's hidden states hold beyond its base's on unrelated text.

Narrow fine-tuning leaves traces on text that has nothing to do with it (arXiv 2510.13900). The mean difference of the
last hidden states, read through the student's own head, says which words it brings nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        biased: Words of the biased means; the first token of each counts.
        others: Words of alternatives.

    Returns:
        Difference of mean logits, larger where the student leans to the biased words; no unit.

    Raises:
        ValueError: The models differ in tokens or width.
    """
    require_one_vocabulary(student, base)
    difference = _mean_state(student.model, rows) - _mean_state(base.model, rows)
    spoken = student.model.get_output_embeddings().weight.detach().float().cpu() @ difference
    ours, theirs = (_first_tokens(student.tokenizer, words) for words in (biased, others))
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


def _first_tokens(tokenizer: Any, words: Sequence[str]) -> list[int]:
    return sorted({tokenizer(word, add_special_tokens=False).input_ids[0] for word in words})
