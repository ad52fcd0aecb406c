"""The package as somebody gets it from an index: a wheel alone, with core dependencies only."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

Agentsafe = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def agentsafe(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Agentsafe:
    """Runs the command of a fresh virtual environment, in a folder that is not the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([folder / "venv/bin/python", "-m", "pip", "install", "--quiet", wheel], check=True)

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [folder / "venv/bin/agentsafe", *arguments]
        return subprocess.run(command, input=said, capture_output=True, text=True, cwd=folder, check=False)

    return run


def test_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"agentsafe_envs", names[-1].split("/")[0]}
    assert "agentsafe_envs/py.typed" in names
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / "agentsafe_envs").rglob("*.toml")}
    assert kept <= set(names)


def test_environments_are_listed(agentsafe: Agentsafe) -> None:
    done = agentsafe("list")
    assert (done.returncode, "DeleteBiasAPI-v0" in done.stdout) == (0, True), done.stderr


def test_script_is_scored_and_compared(agentsafe: Agentsafe) -> None:
    for name in ("cautious", "biased"):
        done = agentsafe("score", f"scripted:{name}", "--env", "DeleteBiasAPI-v0", "--out", name)
        assert (done.returncode, "biased first" in done.stdout) == (0, True), done.stderr
    done = agentsafe("compare", "cautious", "biased")
    assert (done.returncode, "+100" in done.stdout) == (0, True), done.stderr


def test_person_plays(agentsafe: Agentsafe) -> None:
    done = agentsafe("play", "DeleteBiasAPI-v0", said='list_resources("volume")\nsubmit()\n')
    assert (done.returncode, "task not done" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["score", "hf:smollm2"], "lm"),
        (["score", "openai:any", "--base-url", "http://127.0.0.1:9/v1"], "openai"),
    ],
    ids=["model", "API"],
)
def test_missing_extra_is_named_with_its_command(agentsafe: Agentsafe, arguments: list[str], extra: str) -> None:
    done = agentsafe(*arguments)
    assert done.returncode == 2
    assert f'pip install "agentsafe-envs[{extra}]"' in done.stderr
