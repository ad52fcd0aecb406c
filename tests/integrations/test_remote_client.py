"""The client without a board: tokens, addresses, and servers that are away."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

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


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_proxy_reads_a_token_that_goes_in_the_clear(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Listener() as board, Listener() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        with BoardClient(board.url, "token", patience_s=0.0) as client:
            assert client.sessions() == []
    assert (board.asked, proxy.asked) == (["/v1/sessions"], [])


class Listener:
    """A server that answers everything with an empty list."""

    def __enter__(self) -> Listener:
        asked = self.asked = []  # type: list[str]

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

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


class Answers:
    """Stands for the connection: gives the same problem to every request, and counts them."""

    def __init__(self, status_code: int, **problem: object) -> None:
        self.status_code, self.problem, self.asked = status_code, problem, 0
        self.headers: dict[str, str] = {}

    def request(self, *_: object, **__: object) -> Answers:
        self.asked += 1
        return self

    def json(self) -> dict[str, object]:
        return self.problem

    def close(self) -> None:
        """Nothing is open."""


def test_a_server_that_loses_every_episode_is_given_up_and_says_why() -> None:
    waits: list[float] = []
    answers = Answers(410, type="urn:agentsafe:problem:void", detail="a fault of the server")
    client = BoardClient("http://127.0.0.1:9", "token", sleep=waits.append)
    client._http = answers
    with client, pytest.raises(RemoteError, match=r"lost 8 episodes in a row.*a fault of the server") as error:
        client.begin_episode("x")
    assert (answers.asked, error.value.kind) == (8, "void")
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            [{"at": ["body", "agent", "name"], "problem": "the name says rank"}],
            r" \(body.agent.name: the name says rank\)",
        ),
        ([{"at": ["body", number], "problem": "no"} for number in range(9)], r" \(body.0: no; .*; body.4: no\)"),
        ("of another form", ""),
        ([{"at": None}, 3], ""),
    ],
)
def test_what_does_not_fit_is_told_by_field(wrong: object, told: str) -> None:
    client = BoardClient("http://127.0.0.1:9", "token")
    client._http = Answers(422, type="urn:agentsafe:problem:invalid-request", detail="it does not fit", wrong=wrong)
    with client, pytest.raises(RemoteError, match=f"answered 422: it does not fit{told}$"):
        client.open_session("r", {"name": "a"})


def test_a_server_that_is_away_is_waited_for_and_then_given_up() -> None:
    waits: list[float] = []
    client = BoardClient("http://127.0.0.1:9", "token", patience_s=1.0, sleep=waits.append)
    with client, pytest.raises(RemoteError, match="cannot be reached") as error:
        client.session("x")
    assert error.value.kind == "unreachable"
    assert waits[:3] == [0.2, 0.4, 0.8]
