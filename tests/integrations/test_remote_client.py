"""The client without a board: tokens, addresses, and servers that are away."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from agentsafe_envs.integrations.remote_client import MOST_LOST, TOKEN_VARIABLE, BoardClient, RemoteError

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


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_proxy_reads_a_token_that_goes_in_the_clear(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Listener() as board, Listener() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        with BoardClient(board.url, "token", patience_s=0.0) as client:
            assert client.sessions() == []
    assert (board.asked, proxy.asked) == (["/v1/sessions"], [])


def problem(kind: str, **more: Any) -> Any:
    """A board's refusal."""
    return {"type": f"urn:agentsafe:problem:{kind}", "detail": "no", **more}


class Listener:
    """A server that answers everything alike."""

    def __init__(self, status: int = 200, answer: Any = ()) -> None:
        self._status, self._body = status, json.dumps(answer).encode()

    def __enter__(self) -> Listener:
        asked = self.asked = []  # type: list[str]
        status, body = self._status, self._body

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            [{"at": ["body", "agent", "name"], "problem": "the name says rank"}],
            r" \(body\.agent\.name: the name says rank\)",
        ),
        ([{"at": ["body", number], "problem": "bad"} for number in range(9)], r" \(body\.0: bad; .*; body\.4: bad\)"),
        ("of another form", ""),
        ([{"at": None}, 3], ""),
    ],
)
def test_a_refusal_tells_by_field_what_is_wrong(wrong: object, told: str) -> None:
    with (
        Listener(422, problem("invalid-request", wrong=wrong)) as board,
        BoardClient(board.url, "token") as client,
        pytest.raises(RemoteError, match=f"answered 422: no{told}$"),
    ):
        client.open_session("r", {"name": "rank 1"})


def test_a_board_that_loses_every_episode_is_given_up_with_a_word() -> None:
    waits: list[float] = []
    with (
        Listener(410, problem("void")) as board,
        BoardClient(board.url, "token", sleep=waits.append) as client,
        pytest.raises(RemoteError, match=r"lost 8 episodes in a row.*sandbox cannot start") as error,
    ):
        client.begin_episode("s")
    assert error.value.hopeless
    assert len(board.asked) == MOST_LOST == len(waits)
    assert waits[:3] == [0.2, 0.4, 0.8]


def test_a_server_that_is_away_is_waited_for_and_then_given_up() -> None:
    waits: list[float] = []
    client = BoardClient("http://127.0.0.1:9", "token", patience_s=1.0, sleep=waits.append)
    with client, pytest.raises(RemoteError, match="cannot be reached") as error:
        client.session("x")
    assert error.value.kind == "unreachable"
    assert waits[:3] == [0.2, 0.4, 0.8]
