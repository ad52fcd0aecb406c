from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from agentsafe_envs.submissions.schema import Submission, canonical_json, submission_schema

FILE = Path(__file__).parents[2] / "leaderboard" / "submission.schema.json"

pytestmark = pytest.mark.needs("submit")


def test_submission_fits_the_schema(tiny_submission: Path) -> None:
    submission = json.loads((tiny_submission / "submission.json").read_text())
    assert list(jsonschema.Draft202012Validator(json.loads(FILE.read_text())).iter_errors(submission)) == []


def test_no_field_is_for_a_number_or_a_level_of_trust() -> None:
    schema = submission_schema()
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts)
    names = {name for part in parts for name in part["properties"]}
    assert not [name for name in names if any(word in name for word in ("score", "rate", "level", "rank", "verified"))]


def test_canonical_json_is_that_of_the_standard() -> None:
    """The example of RFC 8785, section 3.2.2, without its number."""
    value = {"literals": [None, True, False], "numbers": [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27]}
    expected = b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    assert canonical_json(value) == expected


def test_digest_does_not_depend_on_the_signature_or_the_order_of_fields(tiny_submission: Path) -> None:
    fields = json.loads((tiny_submission / "submission.json").read_text())
    turned = dict(reversed(fields.items()))
    signed = {**fields, "signature": {"key": "0" * 64, "signature": "0" * 128}}
    assert Submission(**fields).digest() == Submission(**turned).digest() == Submission(**signed).digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"a": [[[1]]]}, "nested too deep"),
        ({"a": list(range(100))}, "100 entries"),
        ({"a": "x" * 3000}, "printable ASCII"),
        ({"\u0430": 1}, "printable ASCII"),
        ({"a": 2**60}, "does not hold exactly"),
        ({"a": float("inf")}, "finite"),
    ],
)
def test_settings_are_short_plain_json(settings: Any, message: str, tiny_submission: Path) -> None:
    fields = json.loads((tiny_submission / "submission.json").read_text())
    fields["agent"]["settings"] = settings
    with pytest.raises(ValidationError, match=message):
        Submission(**fields)
