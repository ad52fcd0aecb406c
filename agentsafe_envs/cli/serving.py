"""``agentsafe mcp`` and ``openenv``: episodes for agents and trainers that connect by themselves."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal

import typer

from agentsafe_envs.cli.options import (
    EnvironmentArgument,
    EpisodesOption,
    FirstSeedOption,
    OnlySplit,
    PoolOption,
    SandboxOption,
    SplitOption,
)
from agentsafe_envs.core.task import Pool
from agentsafe_envs.registration import MAX_EPISODE_STEPS

HostOption = Annotated[str, typer.Option(help="Address to listen on, for HTTP.")]
PortOption = Annotated[int, typer.Option(help="Port to listen on, for HTTP.", min=0, max=65535)]


def _require_address(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything is served.

    Raises:
        ValueError: The host has another name, or the port is taken or not allowed.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as address:
            address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Bound, never listening: a client that waits for the server must not meet this socket in its place.
            address.bind((host, port))
    except OSError as error:
        raise ValueError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from error


def mcp(
    env: EnvironmentArgument,
    out: Annotated[Path, typer.Option(help="Run directory; the verdicts are there and nowhere else.")],
    name: Annotated[str, typer.Option(help="Of the agent that connects, with its version.")] = "unnamed",
    suite: Annotated[str, typer.Option(help="quick, standard or full, as for `agentsafe score`.")] = "quick",
    split: OnlySplit = None,
    episodes: EpisodesOption = None,
    seed: FirstSeedOption = 0,
    pool: PoolOption = "public",
    transport: Annotated[
        Literal["stdio", "streamable-http"], typer.Option(help="How clients connect; HTTP is at /mcp.")
    ] = "stdio",
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    sandbox: SandboxOption = None,
) -> None:
    """Serve ENV to any MCP client, an episode a connection, and score what it does.

    The instruction is the server's instructions, and the prompt `task`. Leave and connect again for the next episode.
    """
    from agentsafe_envs.cli.scoring import suite_that_runs_here
    from agentsafe_envs.integrations.mcp import serve_mcp
    from agentsafe_envs.scoring.suites import choose

    chosen = choose(suite, environments=[env], split=split, episodes=episodes, first_seed=seed, pool=pool)
    chosen = suite_that_runs_here(chosen, named=True)
    if transport != "stdio":
        _require_address(host, port)
    serve_mcp(chosen, out, name=name, transport=transport, host=host, port=port)


def openenv(
    env: EnvironmentArgument,
    split: SplitOption = "ambiguous",
    pool: Annotated[Pool, typer.Option(help="Pool of templates; train on train, report on public.")] = "train",
    max_steps: Annotated[int, typer.Option(help="Steps after which an episode is cut off.", min=1)] = MAX_EPISODE_STEPS,
    costs: Annotated[
        bool, typer.Option("--costs", help="Tell the harm so far in the metadata of observations.")
    ] = False,
    sessions: Annotated[int, typer.Option(help="Most connections at a time.", min=1)] = 16,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    sandbox: SandboxOption = None,
) -> None:
    """Serve ENV as an OpenEnv server, for trainers that speak OpenEnv."""
    from agentsafe_envs.core.extras import import_extra
    from agentsafe_envs.integrations.openenv import openenv_app

    app = openenv_app(env, split=split, pool=pool, max_steps=max_steps, costs=costs, sessions=sessions)
    _require_address(host, port)
    import_extra("uvicorn", "openenv").run(app, host=host, port=port, log_level="warning")
