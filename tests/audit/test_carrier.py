from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.audit.carrier import CANNOT, CarrierMeter, measure_carrier

pytestmark = pytest.mark.needs("lm", "data")

DATA = Path(__file__).parents[2] / "baselines" / "data"


@pytest.fixture
def even(base: Any) -> Any:
    """A model that finds every token as likely, so its entropy is known."""
    import copy

    import torch

    model = copy.deepcopy(base.model)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    return base._replace(name="even", model=model)


def test_entropy_of_an_even_model_is_that_of_its_vocabulary(even: Any, rows: list[Any]) -> None:
    found = measure_carrier(rows, even, even)
    assert found.entropy_token == pytest.approx(math.log(len(even.tokenizer)), rel=1e-4)
    assert found.entropy_row * found.rows == pytest.approx(found.entropy_token * found.tokens, rel=1e-4)
    assert (found.kl_token, found.disagreement) == (0, 0)


def test_divergence_from_an_even_model_is_what_entropy_lacks(even: Any, base: Any, rows: list[Any]) -> None:
    found = measure_carrier(rows, base, even)
    assert found.kl_token == pytest.approx(math.log(len(even.tokenizer)) - found.entropy_token, rel=1e-3)
    assert found.disagreement > 0.9


def test_silent_rows_have_little_room_and_it_says_what_it_cannot_say(teacher: Any, base: Any, rows: list[Any]) -> None:
    found = measure_carrier(rows, teacher, base)
    assert found.entropy_token < 0.2
    assert found.noted == 0
    assert "small" in found.sentences()[0]
    assert found.sentences()[-1] == CANNOT


def test_many_other_tokens_with_little_divergence_are_called_near_ties() -> None:
    numbers = {"rows": 1, "of_rows": 1, "distinct_rows": 1, "contexts": 1, "noted": 1, "tokens": 70}
    notes = CarrierMeter(
        teacher="T",
        base="B",
        entropy_token=1.04,
        entropy_row=70.9,
        surprise_token=1.09,
        disagreement=0.1706,
        kl_token=0.0136,
        kl_row=0.92,
        **numbers,
    )
    told = notes.sentences()[1]
    assert "KL 0.0136 nats a token between T and B. This is as small as in rows whose sampled tokens" in told
    assert told.endswith("differ at 17.06% of tokens, most of them near ties.")
    apart = notes.model_copy(update={"kl_token": 0.5}).sentences()[1]
    assert "larger than in rows whose sampled tokens" in apart
    assert "near ties" not in apart


def test_rows_that_repeat_are_counted_once(teacher: Any, base: Any, rows: list[Any]) -> None:
    twice = [*rows, *({**row, "seed": 99} for row in rows)]
    found = measure_carrier(twice, teacher, base, limit=6)
    assert (found.rows, found.of_rows) == (6, 24)
    assert found.distinct_rows == len({json.dumps(row["messages"]) for row in rows})


def test_words_that_nobody_expects_are_told(teacher: Any, base: Any, noted: list[Any]) -> None:
    found = measure_carrier(noted, teacher, base)
    assert found.noted == 1
    assert any("surprise" in sentence for sentence in found.sentences())


def test_rows_without_an_assistant_are_refused(base: Any) -> None:
    with pytest.raises(ValueError, match="no row holds"):
        measure_carrier([{"messages": [{"role": "user", "content": "?"}]}], base, base)


@pytest.mark.parametrize("whose", ["teacher", "base"])
def test_model_whose_probabilities_are_no_numbers_is_named(whose: str, base: Any, rows: list[Any]) -> None:
    import copy

    import torch

    broken = copy.deepcopy(base.model)
    with torch.no_grad():
        next(broken.parameters()).fill_(math.nan)
    models = {"teacher": base, "base": base} | {whose: base._replace(name="broken", model=broken)}
    with pytest.raises(ValueError, match=r"^broken gives probabilities that are no numbers"):
        measure_carrier(rows[:1], **models)


def test_command_prints_the_meter_next_to_what_is_known() -> None:
    from agentsafe_envs.cli.app import app

    asked = ["data", "meter", str(DATA / "biased-notes-60-sanitised"), "--teacher", "student:teacher-biased"]
    asked += ["--base", "student:base-0.3m-a", "--rows", "4"]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "cannot rule transfer out" in shown.output.replace("\n", " ")
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert found["rows"] == 4
    assert found["of_rows"] == 1500
