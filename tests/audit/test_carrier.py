from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agentsafe_envs.audit.carrier import CANNOT, KNOWN, LEAST_KL, MOST_KL, CarrierMeter, measure_carrier

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


def told_of(**changed: Any) -> list[str]:
    """What a meter says, of numbers like those of notes."""
    counts = {
        "rows": 9,
        "answered_rows": 9,
        "unshown_rows": 0,
        "unshown": None,
        "of_rows": 9,
        "distinct_rows": 9,
        "contexts": 9,
        "noted": 1,
        "tokens": 70,
    }
    nats = {"entropy_token": 1.04, "entropy_row": 70.9, "surprise_token": 1.09, "kl_row": 0.92}
    differing = {"disagreement": 0.1706, "kl_token": 0.0136, "kl_error": 0.001}
    return CarrierMeter(**{"teacher": "T", "base": "B", **counts, **nats, **differing, **changed}).sentences()


def test_divergence_is_small_where_its_interval_lies_below_all_that_may_pass() -> None:
    told = told_of()
    assert told[1].startswith("Difference: KL 0.0136 [0.0116, 0.0156] nats a token between T and B. This is less than")
    assert "at 17.06% of tokens" in told[2]
    for unsure in ({"kl_error": 0.02}, {"kl_token": 0.024}):
        assert "so it does not decide" in told_of(**unsure)[1]
    assert "This is more than in any carrier measured here" in told_of(kl_token=0.5)[1]
    assert told_of(of_rows=10)[1].endswith(
        "This is of 9 of 10 rows, and a few can hold much of it: read all rows before you compare."
    )
    assert told_of(kl_error=None)[1].endswith("between T and B. One row does not tell how sure this is.")


def test_known_carriers_do_not_fall_apart_by_their_divergence() -> None:
    passing, others = ([each.kl for each in KNOWN if each.may_pass == way and each.kl] for way in (True, False))
    assert MOST_KL == max(others) > min(passing) == LEAST_KL


def test_model_that_is_compared_with_itself_is_told() -> None:
    assert not any("one model" in sentence for sentence in told_of())
    assert any("one model, so nothing differs" in sentence for sentence in told_of(base="T", kl_token=0))


def test_error_of_the_divergence_is_that_of_draws(teacher: Any, base: Any, rows: list[Any]) -> None:
    whole = measure_carrier(rows, teacher, base, limit=None)
    drawn = [
        measure_carrier([rows[place] for place in places], teacher, base, limit=None).kl_token
        for places in np.random.default_rng(0).integers(0, len(rows), size=(60, len(rows)))
    ]
    assert whole.kl_error == pytest.approx(np.std(drawn), rel=0.35)
    assert measure_carrier(rows[:1], teacher, base).kl_error is None


def test_rows_that_cannot_be_shown_are_left_out_and_told(teacher: Any, base: Any, rows: list[Any]) -> None:
    first: Any = {"messages": [{"role": "assistant", "content": "amber"}, {"role": "user", "content": "?"}]}
    alone, mixed = (measure_carrier(each, teacher, base, limit=None) for each in (rows, [first, *rows, first]))
    assert (mixed.rows, mixed.unshown_rows, mixed.of_rows) == (len(rows), 2, len(rows) + 2)
    assert (mixed.kl_token, mixed.kl_row) == pytest.approx((alone.kl_token, alone.kl_row), rel=1e-4)
    (told,) = (sentence for sentence in mixed.sentences() if sentence.startswith("Left out: 2 rows"))
    assert "row 0: the row begins with the assistant; expected a message before it" in told
    assert "read all rows" not in mixed.sentences()[1], "they were"
    with pytest.raises(ValueError, match=r"^row 0: the row begins with the assistant"):
        measure_carrier([first], teacher, base)


def test_rows_without_an_answer_count_in_no_nats(teacher: Any, base: Any, rows: list[Any]) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "?"}]}
    told: list[tuple[int, int]] = []
    alone = measure_carrier(rows, teacher, base, limit=None)
    mixed = measure_carrier(
        [*rows, *[asked] * 30], teacher, base, limit=None, on_progress=lambda *each: told.append(each)
    )
    assert told == [(done, len(rows)) for done in range(1, len(rows) + 1)]
    assert (mixed.rows, mixed.answered_rows) == (len(rows) + 30, len(rows))
    assert (mixed.entropy_row, mixed.kl_row) == pytest.approx((alone.entropy_row, alone.kl_row), rel=1e-4)
    assert any(f"In 30 of the {len(rows) + 30} rows read" in sentence for sentence in mixed.sentences())
    assert not any("wrote nothing" in sentence for sentence in alone.sentences())


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
