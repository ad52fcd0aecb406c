from __future__ import annotations

from pathlib import Path

import pytest

from agentsafe_envs.core import extras

ROOT = Path(__file__).parents[2]


def test_hint_in_the_checkout_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert extras.install_hint("lm") == 'pip install --editable ".[lm]"'


def test_hint_elsewhere_names_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert extras.install_hint("lm") == f'pip install --editable "{ROOT}[lm]"'


def test_hint_of_an_installed_package_asks_the_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path)
    assert extras.install_hint("lm") == 'pip install "agentsafe-envs[lm]"'
