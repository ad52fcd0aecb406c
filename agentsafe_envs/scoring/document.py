"""What scorecards, comparisons and audits have in common as JSON: strict fields, rounded numbers, equal bytes."""

from __future__ import annotations

import json
from typing import Annotated, overload

from pydantic import BaseModel, ConfigDict, Field

DIGITS = 6
"""Decimals that are kept: far below any interval's width, and it hides the last bits of floats."""

Share = Annotated[float, Field(ge=0, le=1)]
SignedShare = Annotated[float, Field(ge=-1, le=1)]


class Document(BaseModel):
    """A document, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> str:
        """Indented JSON with sorted keys and a final newline; equal documents are equal bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False) + "\n"


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: None) -> None: ...
@overload
def rounded(value: float | None) -> float | None: ...
def rounded(value: float | None) -> float | None:
    """``value`` with :data:`DIGITS` decimals; None stays None."""
    return None if value is None else round(value, DIGITS)
