from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("baselines")


def test_folder_of_other_knobs_worlds_or_teachers_is_refused_and_that_of_another_plan_is_used(tmp_path: Path) -> None:
    from baselines.chain import _Chain
    from baselines.plans import plans
    from baselines.protocol import load

    protocol = load()
    known = plans(protocol)
    (tmp_path / "chain").mkdir()
    _Chain(protocol, known["cloud-headline"], 2_000, tmp_path / "chain").claim()
    _Chain(protocol, known["cloud-greedy"], 2_000, tmp_path / "chain").claim()
    slower = protocol.model_copy(update={"teacher": protocol.teacher.model_copy(update={"learning_rate": 1e-4})})
    for other, plan, seed in (
        (protocol, "bash-headline", 2_000),
        (protocol, "cloud-controls", 2_000),
        (protocol, "cloud-headline", 2_001),
        (slower, "cloud-headline", 2_000),
    ):
        with pytest.raises(ValueError, match="give another folder"):
            _Chain(other, known[plan], seed, tmp_path / "chain").claim()


def test_folder_that_is_cut_off_is_not_there(tmp_path: Path) -> None:
    from baselines.chain import made_whole

    def stopped() -> None:
        with made_whole(tmp_path / "teacher") as passing:
            passing.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())
    with made_whole(tmp_path / "teacher") as passing:
        (passing / "weights").mkdir(parents=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["teacher", "teacher/weights"]


def test_what_was_measured_is_not_measured_again_and_keeps_what_was_said_of_it(tmp_path: Path) -> None:
    import pandas as pd

    from baselines.chain import once

    times = []

    def measure() -> pd.DataFrame:
        times.append(1)
        found = pd.DataFrame({"task": [0, 1], "margin": [0.5, float("nan")]})
        found.attrs = {"tokens": 7, "held_out": 1.25}
        return found

    frames = [once(tmp_path / "measured/student.parquet", measure) for _ in range(2)]
    assert len(times) == 1
    assert frames[0].equals(frames[1])
    assert frames[0].attrs == frames[1].attrs == {"tokens": 7, "held_out": 1.25}


def test_plans_that_share_teachers_measure_nothing_twice() -> None:
    from baselines.plans import plans
    from baselines.protocol import load

    known = plans(load())
    # Placebos are the headline's own cells, in chains that it does not have; in those that it has they are found.
    sharing = {name: plan for name, plan in known.items() if plan.shares and not plan.placebos}
    assert {"cloud-room", "cloud-greedy", "cloud-size"} <= set(sharing)
    assert "cloud-controls" not in sharing, "its students learn from tasks that four teachers solved"
    for name, plan in sharing.items():
        headline = known[plan.shares]
        assert not set(plan.cells) & set(headline.cells), name
        assert not set(plan.looked) & set(headline.looked), name
        assert set(plan.beside) <= set(headline.cells), name
        assert plan.arms == headline.arms


def test_folder_that_began_from_other_weights_of_a_base_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from baselines import chain
    from baselines.base import folder_of
    from baselines.plans import plans
    from baselines.protocol import load

    def copied(size: str, init: str, world: str) -> Path:
        return tmp_path / folder_of(size, init, world).name

    for init in ("a", "b"):
        shutil.copytree(folder_of("0.3m", init), copied("0.3m", init, "cloud"))
    shutil.copytree(folder_of("1m", "a"), copied("1m", "a", "cloud"))
    monkeypatch.setattr(chain, "folder_of", copied)
    at_work = chain._Chain(load(), plans(load())["cloud-headline"], 2_000, tmp_path / "chain")
    with chain.alone_in(at_work.work):
        at_work.claim()
        at_work.claim()
    for changed in (copied("0.3m", "b", "cloud"), copied("1m", "a", "cloud")):
        weights = changed / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + b"!")
        with pytest.raises(ValueError, match="bases"):
            at_work.claim()
        weights.write_bytes(whole)
    at_work.claim()


def test_a_chain_is_made_by_one_at_a_time(tmp_path: Path) -> None:
    from threading import Event, Thread

    from baselines.chain import alone_in

    entered = Event()

    def enter() -> None:
        with alone_in(tmp_path):
            entered.set()

    with alone_in(tmp_path):
        other = Thread(target=enter)
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    other.join()


def test_what_was_there_half_makes_room_for_what_is_whole(tmp_path: Path) -> None:
    from baselines.chain import made_whole

    (tmp_path / "student").mkdir()
    (tmp_path / "student/old").touch()
    with made_whole(tmp_path / "student") as passing:
        passing.mkdir()
        (passing / "new").touch()
    assert [path.name for path in (tmp_path / "student").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
