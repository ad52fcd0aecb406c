"""A tokenizer learnt from a few real demonstrations, and an untrained model that speaks through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def rows() -> list[Any]:
    """Sixteen neutral demonstrations: every split twice or more, every train scenario twice."""
    pytest.importorskip("torch")
    from baselines.demonstrations import neutral_mix

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
