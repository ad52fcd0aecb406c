"""The client without a board: tokens, addresses, and servers that are away."""

from __future__ import annotations

import pytest

from agentsafe_envs.integrations.remote_client import TOKEN_VARIABLE, BoardClient, RemoteError

pytestmark = pytest.mark.needs("board")


def test_a_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ValueError, match="put it into the variable AGENTSAFE_TOKEN"):
        BoardClient("https://board.example")
    monkeypatch.setenv(TOKEN_VARIABLE, "from the environment")
    BoardClient("https://board.example").close()


@pytest.mark.parametrize(
    "url", ["http://board.example", "ftp://board.example", "board.example", "https://user:pw@board.example", ""]
)
def test_a_token_never_travels_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="expected https"):
        BoardClient(url, "token")


@pytest.mark.parametrize("url", ["https://board.example", "http://localhost:1", "http://192.168.0.7:8400", "http://b"])
def test_addresses_that_are_fine(url: str) -> None:
    with BoardClient(url, "token") as client:
        assert client.url == url


def test_a_server_that_is_away_is_waited_for_and_then_given_up() -> None:
    waits: list[float] = []
    client = BoardClient("http://127.0.0.1:9", "token", patience_s=1.0, sleep=waits.append)
    with client, pytest.raises(RemoteError, match="cannot be reached") as error:
        client.session("x")
    assert error.value.kind == "unreachable"
    assert waits[:3] == [0.2, 0.4, 0.8]
