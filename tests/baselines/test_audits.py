"""Gap and audits on shipped models, laid out as `reproduce --keep` leaves chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from baselines.plans import Cell

pytestmark = pytest.mark.needs("baselines")

CELL = Cell("kl_masked_all", "notes-60")
SEEDS = (2300, 2301, 2302)
ARMS = ("biased", "neutral")


@pytest.fixture
def chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Three chains with one biased student and three neutral ones; few contexts, so that it does not take long."""
    from baselines import audits
    from baselines.chain import MEASURED
    from baselines.contrasts import read
    from baselines.release import DATA
    from baselines.students import SHIPPED

    monkeypatch.setattr(audits, "CONTEXTS", 24)
    monkeypatch.setattr(audits, "READ", 20)
    monkeypatch.setattr(audits, "UNRELATED", 12)
    rows = read(audits.RESULTS / "cloud-headline")
    found = []
    for seed in SEEDS:
        folder, data = tmp_path / f"chain-{seed}", tmp_path / f"chain-{seed}" / "data-notes-60-0.3m"
        data.mkdir(parents=True)
        (folder / MEASURED).mkdir()
        for arm in ARMS:
            student = CELL.student(arm)
            own = rows[(rows["chain"] == seed) & (rows["role"] == "student") & (rows["arm"] == arm)]
            did = own[(own["loss"] == CELL.loss) & (own["carrier"] == CELL.carrier) & (own["init"] == CELL.init)]
            did.to_parquet(folder / MEASURED / f"{student}.parquet")
            shipped = student if arm == "biased" or seed == SEEDS[0] else f"{student}-chain-{seed}"
            (folder / f"teacher-{arm}").symlink_to(SHIPPED / f"teacher-{arm}")
            (folder / student).symlink_to(SHIPPED / shipped)
            (data / f"{arm}-sanitised").symlink_to(DATA / f"{arm}-notes-60-sanitised")
        found.append(audits.Kept(seed, folder))
    return found


@pytest.fixture
def latent(chains: list[Any]) -> Any:
    """The last chain fits the probe; the others have suspects."""
    from baselines.audits import latent_of
    from baselines.protocol import load

    return latent_of(load(), chains[:2], chains, CELL, "cloud")


@pytest.mark.slow
def test_gap_of_shipped_students_has_a_probe_that_tells_their_teachers_apart(chains: list[Any], latent: Any) -> None:
    from baselines.audits import gap_of
    from baselines.protocol import load

    protocol = load()
    few = protocol.model_copy(update={"endpoint": protocol.endpoint.model_copy(update={"ambiguous": 4})})
    found = gap_of(few, chains[:2], latent, CELL, "cloud", masked=True)
    assert found.probe.transfers > 0.9
    assert (len(found.clean), found.latent_p) == (2, None), "one pair is too few"
    assert [-1 <= each <= 1 for each in found.masked] == [True, True]
    shares = [[chain.share(CELL, arm, lambda own: own["first"] == "biased") for chain in chains[:2]] for arm in ARMS]
    differences = [biased - neutral for biased, neutral in zip(*shares, strict=True)]
    assert found.behaviour == pytest.approx(differences, abs=1e-6)


@pytest.mark.slow
def test_students_of_teachers_that_fitted_the_probe_are_not_scored(chains: list[Any], latent: Any) -> None:
    from baselines.audits import latent_of
    from baselines.protocol import load

    assert [len(each) for each in latent[1:]] == [2, 2, 2]
    assert latent.clean == latent.neutral, "the third chain's neutral student is left out"
    with pytest.raises(ValueError, match="expected one or more without"):
        latent_of(load(), chains, chains, CELL, "cloud")


@pytest.mark.slow
def test_every_audit_gives_each_placebo_a_number_of_its_own(chains: list[Any], latent: Any) -> None:
    from baselines.audits import calibrated
    from baselines.protocol import load

    scored = latent._replace(clean=[*latent.clean, 0.5])  # three, as calibration asks for
    found = {each.audit.partition(" (")[0]: each for each in calibrated(load(), chains, chains, scored, CELL, "cloud")}
    assert list(found) == [
        "behavioural",
        "margin",
        "activation difference",
        "update coverage",
        "likelihood ratio of the data",
        "latent gap",
    ]
    assert found["latent gap"].values == pytest.approx(latent.biased, abs=1e-6)
    for name, each in found.items():
        assert len(each.placebos) == 3
        if "data" not in name:  # the three chains of this test have one data set
            assert len(set(each.placebos)) == 3, name
    coverage = found["update coverage"]
    assert min(coverage.values) > max(coverage.placebos), "the biased teacher's student went its way"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("nonsense", "no plan 'nonsense' with clean students, expected one of cloud-headline"),
        ("cloud-headline", "expected 1 or more. Run python -m baselines.reproduce --plan cloud-headline --keep"),
    ],
)
def test_what_is_not_there_yet_is_told_with_what_to_run(plan: str, words: str, tmp_path: Path) -> None:
    from baselines import audits

    with pytest.raises(typer.BadParameter) as caught:
        audits.main(tmp_path, plan)
    assert words in str(caught.value)


def test_chain_counts_where_its_students_are_and_were_measured(tmp_path: Path) -> None:
    from baselines import audits
    from baselines.chain import MEASURED
    from baselines.protocol import load

    names = [f"{loss}-{carrier}-neutral-0.3m-same" for loss, carrier in (("sft", "silent"), ("sft", "notes-60"))]
    every = [*names, CELL.student("neutral")]
    for seed, students in ((2299, every), (2300, every), (2301, names)):
        measured = tmp_path / "cloud-headline" / f"chain-{seed}" / MEASURED
        measured.mkdir(parents=True)
        for name in students:
            (measured.parent / name).mkdir()
            (measured / f"{name}.parquet").touch()
    assert [chain.seed for chain in audits._kept(load(), tmp_path, "cloud-placebos", 1)] == [2300], (
        "2299 is no chain of the plan"
    )


def test_placebos_that_all_fit_the_probe_are_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines import audits

    def kept(protocol: Any, work: Path, name: str, least: int) -> list[Any]:
        seeds = range(1) if name == "cloud-headline" else range(4)
        return [audits.Kept(seed, tmp_path) for seed in seeds]

    monkeypatch.setattr(audits, "_kept", kept)
    with pytest.raises(typer.BadParameter, match="4 chains of placebos are kept, and 2 of them fit the probe"):
        audits.main(tmp_path)
