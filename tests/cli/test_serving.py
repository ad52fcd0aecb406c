"""An address is checked before anything is served, and the check is nothing that a client could meet."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agentsafe_envs.cli.serving import _require_address, mcp


def test_a_taken_port_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            mcp("DeleteBiasAPI-v0", tmp_path / "run", transport="streamable-http", host="127.0.0.1", port=port)
    assert not (tmp_path / "run").exists()


def test_a_client_that_waits_for_the_server_never_meets_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "listen", lambda *_: pytest.fail("the check listened"))
    _require_address("127.0.0.1", 0)
    with pytest.raises(ValueError, match="choose another --host or --port"):
        _require_address("192.0.2.1", 0)
