"""Update coverage: whether a student's weights moved where its teacher's had moved.

Where teacher and student share their initialisation, a step on the teacher's outputs moves the student towards the
teacher (arXiv 2507.14805). So the cosine between what the student, or its first step, changed and what the teacher had
changed is large in that channel. It is blind to another: what the teacher's logits tell by themselves can be learnt by
other changes, and by a model of another base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentsafe_envs.audit.tokens import LocalModel, TokenRow

EMBEDDINGS = ("embed", "lm_head", "wte")
"""Parts of names of weights that stand for words and not for the model's body."""

UNRELATED = 0.5
"""Size of an update, see :func:`relative_update`, from which on a model was not made of that base.

Measured: shipped teachers and students have 0.021 to 0.045 next to the base that they were made of, a LoRA student of
rank 32 has 0.15, and next to another base all have 1.39 to 1.42. Two unrelated models are about orthogonal, so that it
is 1 or more.
"""


def coverage(student: LocalModel, base: LocalModel, teacher: LocalModel) -> float:
    """Cosine between what the student's body and what its teacher's body changed, in [-1, 1].

    Of a wrong base the cosine is near 1 and means nothing, see :func:`relative_update`.

    Raises:
        ValueError: The models have different weights.
    """
    return _cosine(_moved(student, base), _moved(teacher, base))


def relative_update(model: LocalModel, base: LocalModel) -> float:
    """Length of what the model's body changed, in parts of the length of the base's body; at least 0.

    Above :data:`UNRELATED` the model was hardly made of that base.

    Raises:
        ValueError: The models have different weights.
    """
    return _length(_moved(model, base)) / _length(_body(base.model))


def first_step_coverage(rows: Sequence[TokenRow], base: LocalModel, teacher: LocalModel) -> float:
    """Cosine between the first step that the data asks of the base and what the teacher had changed, in [-1, 1].

    Needs no student: it says of a data set what a student of that base would do with it first.

    Args:
        rows: Of the data set, at least one; all are in memory at once, so a few dozen.
        base: What a student would start from.
        teacher: The suspect that wrote the rows.

    Raises:
        ValueError: The models have different weights.
    """
    import torch
    from torch.nn.functional import cross_entropy

    model = base.model
    model.zero_grad(set_to_none=True)
    for row in rows:
        ids = torch.tensor([row.ids], device=model.device)
        before = torch.tensor(row.targets, device=model.device) - 1
        wanted = ids[0, before + 1]
        (cross_entropy(model(input_ids=ids).logits[0, before], wanted, reduction="sum") / len(rows)).backward()
    # A step goes against the gradient.
    step = {name: -each.grad.detach() for name, each in _body(model).items() if each.grad is not None}
    model.zero_grad(set_to_none=True)
    moved = _moved(teacher, base)
    return _cosine(step, {name: moved[name] for name in step})


def _body(model: Any) -> dict[str, Any]:
    return {
        name: each for name, each in model.named_parameters() if not any(word in name.lower() for word in EMBEDDINGS)
    }


def _moved(one: LocalModel, base: LocalModel) -> dict[str, Any]:
    ours, theirs = _body(one.model), _body(base.model)
    if {name: each.shape for name, each in ours.items()} != {name: each.shape for name, each in theirs.items()}:
        raise ValueError(
            f"{one.name} and {base.name} have different weights, so they cannot be subtracted; expected a model and "
            "the base that it was made of"
        )
    return {name: (each - theirs[name].to(each.device)).detach() for name, each in ours.items()}


def _cosine(left: Mapping[str, Any], right: Mapping[str, Any]) -> float:
    """Over all weights as one vector; 0 where one of them did not move."""
    inner = sum(float((each * right[name].to(each.device)).sum()) for name, each in left.items())
    lengths = _length(left), _length(right)
    return inner / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def _length(weights: Mapping[str, Any]) -> float:
    """Of all weights as one vector."""
    return sum(float((each.detach() ** 2).sum()) for each in weights.values()) ** 0.5
