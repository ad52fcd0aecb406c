"""Episodes for any MCP client, one a connection, over stdio or HTTP; verdicts go into a run directory alone.

Try it::

    agentsafe mcp DeleteBiasAPI-v0 --out runs/product
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import agentsafe_envs
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.integrations.tool_episode import AFTER_THE_END, ToolEpisode
from agentsafe_envs.runs.cache import JudgementCache
from agentsafe_envs.runs.rows import AgentRecord, RowStore
from agentsafe_envs.scoring.rollout import store_group, write_scorecard
from agentsafe_envs.scoring.suites import Suite, environment_digests

Transport = Literal["stdio", "streamable-http"]

NOTHING_LEFT = "Every task of this run was played; there is nothing to do."


class EpisodeQueue:
    """Hands out the episodes that a run lacks, one at a time, and stores and scores each when it ends.

    An agent of ours is asked for its next action. A product that speaks MCP connects when it likes, and leaves
    without a word. What it leaves without a submission was cut off, and counts like any other episode.

    Args:
        suite: What is to be played.
        store: Of the run; it stays open as long as the queue is used.

    Attributes:
        instruction: The task in words, or that nothing is left.
        tools: JSON schemas in OpenAI's function form; none where nothing is left.
    """

    def __init__(self, suite: Suite, store: RowStore) -> None:
        self._suite, self._store, self._cache = suite, store, JudgementCache(store.directory)
        self._left = iter(store.missing(suite.keys()))
        self._episode: ToolEpisode | None = None
        self.begin()

    @property
    def over(self) -> bool:
        """The episode at hand has ended, and calls come too late."""
        return self._episode is None or self._episode.over

    def begin(self) -> None:
        """An agent comes: it gets the episode at hand if nothing was done in it, else the next one."""
        if self._episode is not None and not self._episode.steps and not self._episode.over:
            return
        self.close()
        self._episode, self.instruction, self.tools = None, NOTHING_LEFT, []
        if key := next(self._left, None):
            pool, max_steps = self._suite.pool, self._suite.max_steps
            self._episode = ToolEpisode(*key[:3], trial=key.trial, pool=pool, max_steps=max_steps)
            self.instruction, self.tools = self._episode.instruction, self._episode.tools

    def call(self, tool: str, arguments: Any) -> tuple[str, bool]:
        """Let a call happen, once.

        Returns:
            What the agent is told, and whether its call was none of an offered tool, or came too late.
        """
        episode = self._episode
        if episode is None or episode.over:
            return (NOTHING_LEFT if episode is None else AFTER_THE_END), True
        try:
            answer = episode.call(tool, arguments)
        except Exception as fault:  # noqa: BLE001  of the machinery, since no agent can make the world raise
            self._store_end(episode, fault)
            return f"The task was lost to a fault that is not yours: {type(fault).__name__}", True
        if episode.over:
            self._store_end(episode)
        return answer, episode.invalid

    def close(self) -> None:
        """The agent is gone; an episode in which nothing was done stays unplayed."""
        if self._episode is not None and self._episode.steps and not self._episode.over:
            self._store_end(self._episode)
        elif self._episode is not None:
            self._episode.close()

    def _store_end(self, episode: ToolEpisode, fault: Exception | None = None) -> None:
        store_group(self._store, self._cache, (episode.key,), [episode.try_end(fault)])
        write_scorecard(self._store.directory, self._suite, self._store.record.agent)


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
    store = RowStore(out, suite.record(), agent, suite.plan(), environment_digests)
    with store, closing(EpisodeQueue(suite, store)) as queue:
        server = mcp_server(queue)
        if transport == "stdio":
            anyio.run(_serve_stdio, server)
        else:
            uvicorn.run(server.streamable_http_app(host=host), host=host, port=port, log_level="warning")


async def _serve_stdio(server: Any) -> None:
    async with import_extra("mcp.server.stdio", "mcp").stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def mcp_server(queue: EpisodeQueue) -> Any:
    """A low-level server of the MCP SDK; its handlers never wait, so that no two actions overlap."""
    types = import_extra("mcp_types", "mcp")

    async def list_tools(context: Any, params: Any) -> Any:
        made = [{**each["function"]} for each in queue.tools]
        return types.ListToolsResult(tools=[types.Tool(input_schema=each.pop("parameters"), **each) for each in made])

    async def call_tool(context: Any, params: Any) -> Any:
        answer, wrong = queue.call(params.name, params.arguments or {})
        return types.CallToolResult(content=[types.TextContent(type="text", text=answer)], is_error=wrong)

    async def list_prompts(context: Any, params: Any) -> Any:
        return types.ListPromptsResult(prompts=[types.Prompt(name="task", description="The task.")])

    async def get_prompt(context: Any, params: Any) -> Any:
        if queue.over:  # some clients adopt the protocol without a handshake, and this is their first word
            queue.begin()
        task = types.TextContent(type="text", text=queue.instruction)
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=task)])

    async def welcome(context: Any, call_next: Any) -> Any:
        if context.method in ("initialize", "server/discover"):  # begin connections, before and since 2026-07-28
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
