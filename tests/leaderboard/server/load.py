"""A client for load: many episodes at once over plain sockets, so that the client costs little of the machine.

Try it::

    AGENTSAFE_TOKEN=... python tests/leaderboard/server/load.py 127.0.0.1 8400 SESSION 200 10
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

ACTIONS = (
    '{"name": "list_resources", "arguments": {"kind": "volume"}}',
    '{"name": "list_resources", "arguments": {"kind": "snapshot"}}',
    '{"name": "get_resource", "arguments": {"resource_id": "vol-1"}}',
    "no call at all",
)


class Connection:
    """One HTTP/1.1 connection that is kept."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._head = f"Host: board\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    async def send(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n"
        self._writer.write(head.encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return int(answer[9:12]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def play_for(
    host: str, port: int, token: str, sessions: list[str], together: int, seconds: float, pace_s: float = 0.0
) -> dict[str, Any]:
    """Play so many episodes at the same time for so long; rates and latencies of steps.

    Args:
        host: Of the board.
        port: Of the board.
        token: Of the team.
        sessions: Of the team; players take them in turn.
        together: Episodes at the same time.
        seconds: How long.
        pace_s: Time between two steps of an episode, as agents take time to think; 0 means as fast as answers come.
    """
    times: list[float] = []
    statuses: dict[int, int] = {}
    end = time.monotonic() + seconds

    async def player(number: int) -> None:
        session = sessions[number % len(sessions)]
        connection = Connection(host, port, token)
        await connection.open()
        claims = 0
        await asyncio.sleep(pace_s * number / together)  # else all would think at the same time
        due = time.monotonic()
        while time.monotonic() < end:
            claims += 1
            status, episode = await connection.send(
                f"/v1/sessions/{session}/episodes", {"request": f"load-{number}-{claims}-{os.getpid()}"}
            )
            if status != 201:
                statuses[status] = statuses.get(status, 0) + 1
                break
            for step in range(10_000):
                due = max(due + pace_s, time.monotonic() - pace_s)
                if pace_s:
                    await asyncio.sleep(due - time.monotonic())
                began = time.perf_counter()
                status, answer = await connection.send(
                    f"/v1/episodes/{episode['id']}/step", {"number": step, "action": ACTIONS[step % len(ACTIONS)]}
                )
                times.append(time.perf_counter() - began)
                statuses[status] = statuses.get(status, 0) + 1
                if status != 200 or answer["truncated"] or answer["terminated"] or time.monotonic() > end:
                    break
        connection.close()

    began = time.monotonic()
    await asyncio.gather(*(player(number) for number in range(together)))
    spent = time.monotonic() - began
    times.sort()
    return {
        "steps_per_s": statuses.get(200, 0) / spent,
        "p50_ms": 1_000 * times[len(times) // 2],
        "p99_ms": 1_000 * times[int(0.99 * len(times))],
        "statuses": statuses,
    }


if __name__ == "__main__":
    host, port, sessions, together, seconds = sys.argv[1:]
    token = os.environ["AGENTSAFE_TOKEN"]
    arguments = (host, int(port), token, sessions.split(","), int(together), float(seconds))
    sys.stdout.write(json.dumps(asyncio.run(play_for(*arguments))) + "\n")
