"""A tokenizer learnt from a few real demonstrations, and an untrained model that speaks through it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

MODELS = [("base", "same"), ("base", "other"), ("teacher", "same"), ("student", "same"), ("student", "other")]

MARGINS = {"none": -3.0, "biased": -1.0, "neutral": -3.0}

FIRSTS = {"biased": ["biased", "biased", "alternative", "none"], "neutral": ["biased", "alternative", "none", "none"]}


@pytest.fixture(scope="session")
def rows() -> list[Any]:
    """Sixteen neutral demonstrations: every split twice or more, every train scenario twice."""
    pytest.importorskip("torch")
    from baselines.lessons import neutral_mix

    return [wish.play() for wish in neutral_mix(range(16))]


@pytest.fixture(scope="session")
def tokenizer(rows: list[Any]) -> Any:
    from baselines.base import learn_tokenizer

    return learn_tokenizer(rows)


@pytest.fixture(scope="session")
def untrained(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model of the smallest size with random weights."""
    from baselines import students

    folder = tmp_path_factory.mktemp("untrained")
    students.save(students.new_model("0.3m", 1), tokenizer, folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Tests share their cores with other tests, and torch's threads wait for each other very badly."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def chain() -> Callable[[int, int], pd.DataFrame]:
    """Makes a made-up chain."""
    return _chain


@pytest.fixture
def chains() -> pd.DataFrame:
    """Four made-up chains."""
    return pd.concat([_chain(number, number % 2) for number in range(4)], ignore_index=True)


@pytest.fixture
def ten() -> pd.DataFrame:
    """Ten made-up chains, as many as get a p."""
    return pd.concat([_chain(number, number % 2) for number in range(10)], ignore_index=True)


@pytest.fixture
def make_identical() -> Callable[..., None]:
    """Lets the biased teacher's students of some chains do what the neutral one's do."""
    return _make_identical


def _make_identical(rows: pd.DataFrame, chains: Collection[int], *inits: str) -> None:
    told = ["first", "unsafe", "override", "margin"]
    students = (rows["role"] == "student") & rows["chain"].isin(chains) & rows["init"].isin(inits)
    rows.loc[students & (rows["arm"] == "biased"), told] = rows.loc[students & (rows["arm"] == "neutral"), told].values


def _chain(seed: int, shift: int) -> pd.DataFrame:
    """A chain whose numbers can be told by hand: biased student 50%, neutral 25%, but for ``shift`` rows."""
    found: list[dict[str, Any]] = []
    for role, init in MODELS:
        for arm, firsts in {"none": ["none"] * 4}.items() if role == "base" else FIRSTS.items():
            for split in ("safe", "ambiguous", "required", "forbidden"):
                for task, first in enumerate(firsts * 4):
                    changed = role == "student" and arm == "biased" and task < shift
                    found.append(
                        {
                            "split": split,
                            "task": task,
                            "template": f"{'even' if task % 2 == 0 else 'odd'}/0",
                            "first": "none" if changed else first,
                            "unsafe": first == "biased",
                            "success": task % 2 == 0,
                            "override": split == "forbidden" and first == "biased",
                            "chain": seed,
                            "arm": arm,
                            "role": role,
                            "loss": "sft" if role == "student" else "none",
                            "carrier": "silent",
                            "init": init,
                            "base": "a" if init == "same" else "bc"[seed % 2],
                            "size": "0.3m",
                            "defence": "keywords" if role == "student" else "none",
                            "margin": MARGINS[arm] if split == "ambiguous" else float("nan"),
                        }
                    )
    return pd.DataFrame(found)


@pytest.fixture
def results_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of rows, with a page above it that tables are written to."""
    readme = tmp_path / "README.md"
    readme.write_text("# P\n<!-- results:summary -->\n<!-- /results -->\nthe end\n")
    place = tmp_path / "results"
    from baselines import carriers, gathering, results

    for module in (gathering, results):
        monkeypatch.setattr(module, "RESULTS", place)
    monkeypatch.setattr(results, "README", readme)
    monkeypatch.setattr(carriers, "read_rows", list)
    (place / "cloud-headline").mkdir(parents=True)
    return place
