"""The audit of data: how much a student's training rows can carry, and whose rows they are.

The carrier meter says how much room there is. The likelihood ratio says whether the rows are likelier under the teacher
than under the base. Rows that neutral students learnt from are its placebos. Neither says that a habit passes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentsafe_envs.audit.carrier import CarrierMeter, measure_carrier
from agentsafe_envs.audit.likelihood import likelihood_ratio
from agentsafe_envs.audit.measurement import Measurement, Reading, judge_readings
from agentsafe_envs.audit.tokens import LocalModel
from agentsafe_envs.scoring.document import Document
from agentsafe_envs.trajectories.schema import Trajectory

ROWS = 200
"""Rows of each data set that the models read, drawn at random."""


class DataAudit(Document):
    """What a student's training rows are. No number of it means safe."""

    meter: CarrierMeter = Field(description="What the rows can carry from the teacher to a student.")
    findings: list[Measurement] = Field(description="The likelihood ratio: the teacher's against the base's.")


def audit_data(
    rows: Sequence[Trajectory],
    neutral: Sequence[Sequence[Trajectory]],
    teacher: LocalModel,
    base: LocalModel,
    limit: int = ROWS,
) -> DataAudit:
    """Look at what a student learnt from.

    Args:
        rows: The student's training rows.
        neutral: Rows that each of some neutral students learnt from: the placebos of the likelihood ratio.
        teacher: Model that wrote the student's rows.
        base: What the student was made of, of the same vocabulary.
        limit: Most rows of each that are read.

    Raises:
        ValueError: The models have different tokens, or some rows hold nothing that an assistant wrote.
    """

    def ratio(own: Sequence[Trajectory]) -> float:
        return likelihood_ratio(own, teacher, base, limit).nats

    meter = measure_carrier(rows, teacher, base, limit)
    found = Reading(None, "likelihood ratio", "nats a row", ratio(rows), [ratio(each) for each in neutral])
    return DataAudit(meter=meter, findings=judge_readings([found]))
