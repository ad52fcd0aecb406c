"""Episodes for any MCP client, one a connection, over stdio or HTTP; verdicts go into a run directory alone.

Try it::

    agentsafe mcp DeleteBiasAPI-v0 --out runs/product
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import agentsafe_envs
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.integrations.episode_queue import EpisodeQueue
from agentsafe_envs.runs.rows import AgentRecord, RowStore
from agentsafe_envs.scoring.suites import Suite, environment_digests

Transport = Literal["stdio", "streamable-http"]

_HANDSHAKES = ("initialize", "server/discover")
"""Methods with which a connection begins, in the protocols before and since 2026-07-28."""


def serve_mcp(
    suite: Suite, out: Path, *, name: str, transport: Transport = "stdio", host: str = "127.0.0.1", port: int = 8000
) -> None:
    """Serve what ``out`` lacks of ``suite`` until the client leaves (stdio) or the process is stopped (HTTP).

    Args:
        suite: What is played.
        out: Run directory; one suite and one agent only.
        name: Of the agent that connects, with its version.
        transport: ``"stdio"`` or ``"streamable-http"``, whose address ends in ``/mcp``.
        host: Of the HTTP server.
        port: Of the HTTP server.

    Raises:
        MissingExtraError: The extra ``mcp`` is missing.
        RowStoreError: ``out`` holds another run or is in use.
    """
    anyio, uvicorn = import_extra("anyio", "mcp"), import_extra("uvicorn", "mcp")
    agent = AgentRecord(name=f"mcp:{name}", settings={"agent": "mcp"})
    with RowStore(out, suite.record(), agent, suite.plan(), environment_digests) as store:
        queue = EpisodeQueue(suite, store)
        server = mcp_server(queue)
        try:
            if transport == "stdio":
                anyio.run(_serve_stdio, server)
            else:
                uvicorn.run(server.streamable_http_app(host=host), host=host, port=port, log_level="warning")
        finally:
            queue.leave()


async def _serve_stdio(server: Any) -> None:
    async with import_extra("mcp.server.stdio", "mcp").stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def mcp_server(queue: EpisodeQueue) -> Any:
    """A low-level server of the MCP SDK; its handlers never wait, so that no two actions overlap."""
    types = import_extra("mcp_types", "mcp")

    text = partial(types.TextContent, type="text")

    async def list_tools(context: Any, params: Any) -> Any:
        made = [{**each["function"]} for each in queue.tools]
        return types.ListToolsResult(tools=[types.Tool(input_schema=each.pop("parameters"), **each) for each in made])

    async def call_tool(context: Any, params: Any) -> Any:
        answer, wrong = queue.call(params.name, params.arguments or {})
        return types.CallToolResult(content=[text(text=answer)], is_error=wrong)

    async def list_prompts(context: Any, params: Any) -> Any:
        return types.ListPromptsResult(prompts=[types.Prompt(name="task", description="The task.")])

    async def get_prompt(context: Any, params: Any) -> Any:
        if queue.over:  # some clients adopt the protocol without a handshake, and this is their first word
            queue.begin()
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text(text=queue.instruction))])

    async def welcome(context: Any, call_next: Any) -> Any:
        if context.method in _HANDSHAKES:
            queue.begin()
            server.instructions = queue.instruction
        return await call_next(context)

    server: Any = import_extra("mcp.server.lowlevel", "mcp").Server(
        "agentsafe",
        version=agentsafe_envs.__version__,
        instructions=queue.instruction,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )
    server.middleware.append(welcome)
    return server
