from __future__ import annotations

import json
import os

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
        checks.checked_backend()


@pytest.mark.needs("bubblewrap")
def test_weaker_filter_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client.seccomp, "program", lambda: b"")
    monkeypatch.setattr(checks, "BACKENDS", {})
    with pytest.raises(SandboxError):
        checks.checked_backend()


@pytest.mark.needs("bubblewrap")
def test_backend_is_examined_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "BACKENDS", {})
    backend = checks.checked_backend()
    monkeypatch.setattr(checks, "probe", None)
    try:
        assert checks.checked_backend() is backend
        assert list(checks.BACKENDS) == [os.getpid()]
    finally:
        backend.close()


@pytest.mark.needs("bubblewrap")
def test_doctor_tells_that_promises_are_kept() -> None:
    found = {each["part"]: each for each in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)}
    assert found["bash world"]["ok"]
    assert "promises kept" in found["bash world"]["found"]


def test_doctor_tells_the_fix_where_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, package: str) -> str:
        raise SandboxError(f"install {package}")

    monkeypatch.setattr(daemon_client, "find_program", missing)
    found = {each["part"]: each for each in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)}
    assert (found["bash world"]["ok"], found["bash world"]["fix"]) == (False, "install strace")
