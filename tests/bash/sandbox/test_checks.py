from __future__ import annotations

import json
import os
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.bash.sandbox import bubblewrap, checks
from agentsafe_envs.bash.sandbox import client as daemon_client
from agentsafe_envs.bash.sandbox.base import Backend, SandboxError
from agentsafe_envs.cli.app import app


def test_every_promise_is_kept(backend: Backend) -> None:
    assert [each for each in checks.probe(backend) if not each.ok] == []


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(
    ("taken", "promise"),
    [
        ("--unshare-net", "only its own network"),
        ("--cap-drop", "seven capabilities and no way to more"),
        ("--unshare-uts", "nothing of the machine"),
    ],
)
def test_sandbox_without_a_part_is_refused(monkeypatch: pytest.MonkeyPatch, taken: str, promise: str) -> None:
    whole = bubblewrap.bwrap_arguments

    def weakened(*arguments: object) -> list[str]:
        options = whole(*arguments)  # type: ignore[arg-type]
        place = options.index(taken)
        del options[place : place + (1 if taken.startswith("--unshare") else 2)]
        if taken == "--unshare-uts":
            place = options.index("--hostname")
            del options[place : place + 2]
        return options

    monkeypatch.setattr(bubblewrap, "bwrap_arguments", weakened)
    monkeypatch.setattr(checks, "BACKENDS", {})
    with pytest.raises(SandboxError, match=promise):
        checks.checked_backend("bubblewrap")


@pytest.mark.needs("bubblewrap")
def test_weaker_filter_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client.seccomp, "program", lambda machine: b"")
    monkeypatch.setattr(checks, "BACKENDS", {})
    with pytest.raises(SandboxError):
        checks.checked_backend("bubblewrap")


@pytest.mark.needs("bubblewrap")
def test_backend_is_examined_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "BACKENDS", {})
    backend = checks.checked_backend("bubblewrap")
    monkeypatch.setattr(checks, "probe", None)
    try:
        assert checks.checked_backend() is backend
        assert list(checks.BACKENDS) == [(os.getpid(), "bubblewrap")]
    finally:
        backend.close()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("bubblewrap", "docker")]
)
def test_doctor_tells_that_promises_are_kept(name: str) -> None:
    found = _diagnoses()
    assert found[f"bash in {name}"]["ok"]
    assert "promises kept" in found[f"bash in {name}"]["found"]


def test_doctor_tells_the_fix_where_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**packages: str) -> str:
        raise SandboxError(f"install {' '.join(packages.values())}")

    monkeypatch.setattr(daemon_client, "find_programs", missing)
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    found = _diagnoses()
    assert (found["bash in bubblewrap"]["ok"], found["bash in bubblewrap"]["fix"]) == (
        False,
        "install strace bubblewrap",
    )
    assert not found["bash in docker"]["ok"]
    assert "start Docker" in found["bash in docker"]["fix"]


def _diagnoses() -> dict[str, dict[str, Any]]:
    return {each["part"]: each for each in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)}


class Unavailable:
    def __init__(self) -> None:
        raise SandboxError("not here")


class Other:
    name, running = "other", True


@pytest.fixture
def no_sandbox_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has asked for no sandbox, in which none is examined."""
    monkeypatch.setattr(checks, "BACKENDS", {})
    monkeypatch.setattr(checks, "probe", lambda backend: [])
    monkeypatch.delenv(checks.SANDBOX_VARIABLE, raising=False)


@pytest.mark.usefixtures("no_sandbox_yet")
def test_docker_is_chosen_where_bubblewrap_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SANDBOXES", {"bubblewrap": Unavailable, "docker": Other})
    chosen = checks.checked_backend()
    assert isinstance(chosen, Other)
    monkeypatch.setattr(checks, "SANDBOXES", {"bubblewrap": Other, "docker": Other})
    assert checks.checked_backend() is chosen  # in the middle of a run nothing else is chosen
    with pytest.raises(ValueError, match="expected one of bubblewrap, docker"):
        checks.checked_backend("podman")


@pytest.mark.usefixtures("no_sandbox_yet")
def test_named_sandbox_is_had_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SANDBOXES", {"bubblewrap": Unavailable, "docker": Other})
    with pytest.raises(SandboxError, match="not here"):
        checks.checked_backend("bubblewrap")
    with checks.using_sandbox("bubblewrap"), pytest.raises(SandboxError, match="not here"):
        checks.checked_backend()
    assert checks.SANDBOX_VARIABLE not in os.environ


@pytest.mark.usefixtures("no_sandbox_yet")
def test_every_reason_is_told_where_no_sandbox_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SANDBOXES", {"bubblewrap": Unavailable, "docker": Unavailable})
    with pytest.raises(SandboxError, match="not here; or not here"):
        checks.checked_backend()
