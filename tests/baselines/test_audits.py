"""Gap and audits on shipped models, laid out as `reproduce --keep` leaves chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines.plans import Cell

pytestmark = [pytest.mark.needs("baselines"), pytest.mark.slow]

CELL = Cell("kl_masked_all", "notes-60")
SEEDS = (2200, 2201, 2202)
ARMS = ("biased", "neutral")


@pytest.fixture
def chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Three chains with one biased student and three neutral ones; few contexts, so that it does not take long."""
    from baselines import audits
    from baselines.contrasts import read
    from baselines.release import DATA
    from baselines.students import SHIPPED

    monkeypatch.setattr(audits, "CONTEXTS", 24)
    monkeypatch.setattr(audits, "READ", 20)
    rows = read(audits.RESULTS / "cloud-headline")
    found = []
    for seed in SEEDS:
        folder, data = tmp_path / f"chain-{seed}", tmp_path / f"chain-{seed}" / "data-notes-60-0.3m"
        data.mkdir(parents=True)
        for arm in ARMS:
            student = CELL.student(arm)
            shipped = student if arm == "biased" or seed == SEEDS[0] else f"{student}-chain-{seed}"
            (folder / f"teacher-{arm}").symlink_to(SHIPPED / f"teacher-{arm}")
            (folder / student).symlink_to(SHIPPED / shipped)
            (data / f"{arm}-sanitised").symlink_to(DATA / f"{arm}-notes-60-sanitised")
        found.append(audits.Kept(seed, folder, rows[rows["chain"] == seed]))
    return found


def test_gap_of_shipped_students_has_a_probe_that_tells_their_teachers_apart(chains: list[Any]) -> None:
    from baselines.audits import gap_of
    from baselines.protocol import load

    found = gap_of(load(), chains, chains, CELL, "cloud", masked=False)
    assert found.probe.transfers > 0.9
    assert found.null_pairs == 3
    assert found.latent_p is None, "three pairs are too few"
    assert found.masked is None
    shares = [[chain.share(CELL, arm, lambda own: own["first"] == "biased") for chain in chains] for arm in ARMS]
    assert found.behaviour == pytest.approx((sum(shares[0]) - sum(shares[1])) / 3, abs=1e-6)


def test_every_audit_gives_each_placebo_a_number_of_its_own(chains: list[Any]) -> None:
    from baselines.audits import calibrated
    from baselines.protocol import load

    found = {each.audit: each for each in calibrated(load(), chains, chains, CELL, "cloud")}
    assert list(found) == [
        "behavioural",
        "margin",
        "activation difference",
        "update coverage",
        "likelihood ratio of the data",
    ]
    for name, each in found.items():
        assert len(each.values) == len(each.placebos) == 3
        if "data" not in name:  # the three chains of this test have one data set
            assert len(set(each.placebos)) == 3, name
    coverage = found["update coverage"]
    assert min(coverage.values) > max(coverage.placebos), "the biased teacher's student went its way"
