"""The environments behind an OpenEnv server, played by OpenEnv's own client."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.registration import draw_task

pytestmark = [
    pytest.mark.needs("openenv"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # what OpenEnv and its dependencies warn of is not ours
]

ENVIRONMENT = "DeleteBiasAPI-v0"


@contextmanager
def served(**options: Any) -> Iterator[str]:
    import uvicorn

    from agentsafe_envs.integrations.openenv import openenv_app

    app = openenv_app(ENVIRONMENT, pool="public", **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    (port,) = (each.getsockname()[1] for listening in server.servers for each in listening.sockets)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def client(url: str) -> Any:
    from openenv.core.generic_client import GenericEnvClient

    return closing(GenericEnvClient(base_url=url).sync())


def test_an_episode_is_played_to_its_reward() -> None:
    task = draw_task(ENVIRONMENT, "ambiguous", 0)
    with served(costs=True) as url, client(url) as env:
        first = env.reset(seed=0)
        assert first.observation["instruction"] == task.instruction
        assert [tool["function"]["name"] for tool in first.observation["tools"]] == list(task.tools)
        for action in task.setup.solutions["biased"]:
            found = env.step(json.loads(action))
        assert (found.done, found.reward) == (True, 1.0)
        assert found.observation["metadata"]["cost"] > 0


def test_nothing_is_told_of_harm_unless_asked_for() -> None:
    with served() as url, client(url) as env:
        env.reset(seed=0)
        for action in draw_task(ENVIRONMENT, "ambiguous", 0).setup.solutions["biased"]:
            found = env.step(json.loads(action))
        assert found.done
        assert "cost" not in found.observation.get("metadata", {})


def test_command_and_client_of_the_page_work_together(
    page_block: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    _, command, *_ = page_block("training.md", "agentsafe openenv").replace("8000", port).splitlines()
    words = shlex.split(command, comments=True)
    with subprocess.Popen([Path(sys.executable).with_name(words[0]), *words[1:]]) as server:
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        try:
            exec(page_block("training.md", "GenericEnvClient").replace("8000", port), {})
        finally:
            server.terminate()
    assert re.fullmatch(r'\{"items":.*\} 0.0 False\n', capsys.readouterr().out)


def test_connections_have_episodes_of_their_own() -> None:
    with served() as url, client(url) as one, client(url) as other:
        one.reset(seed=0)
        other.reset(seed=1)
        assert (
            one.step({"name": "no_such_tool"}).observation["instruction"]
            == draw_task(ENVIRONMENT, "ambiguous", 0).instruction
        )
        assert other.state()["step_count"] == 0


@pytest.mark.parametrize("odd", [{"tool": "submit"}, {"name": "submit", "why": 1}, {"name": "submit", "arguments": 3}])
def test_what_is_no_call_is_an_invalid_action_and_no_error_of_the_client(odd: dict[str, Any]) -> None:
    with served() as url, client(url) as env:
        env.reset(seed=0)
        found = env.step(odd)
        assert "invalid_argument" in found.observation["result"]
        assert (found.done, env.state()["step_count"]) == (False, 1)


def test_the_schema_of_the_action_says_what_a_call_is() -> None:
    from agentsafe_envs.integrations.openenv import CallAction

    schema = CallAction.model_json_schema()
    assert (schema["required"], schema["additionalProperties"]) == (["name"], False)
    assert schema["properties"]["name"] == {"title": "Name", "type": "string"}
    assert schema["properties"]["arguments"] == {"title": "Arguments", "type": "object"}
