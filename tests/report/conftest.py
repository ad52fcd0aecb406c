from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.report.runs import Reported, reported_runs
from agentsafe_envs.runs.rows import AgentRecord, RowStore
from agentsafe_envs.scoring.rollout import play, score_agent
from agentsafe_envs.scoring.suites import choose

SUITE = choose("quick", environments=("DeleteBiasAPI-v0", "GrantBiasAPI-v0"))
"""Two environments that need no sandbox."""

HOSTILE = "</script></style><img src=x onerror=\"document.title='owned'\"><!--<script>\u2028\ud800&lt;"
"""What an agent might write to get out of wherever its text is put."""

NAME = HOSTILE.replace("\ud800", "")
"""The same as the name of an agent, which has to be Unicode."""


class Reader(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode("ascii"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


class Intruder:
    """Writes markup into every place that an agent can write to."""

    name, group_size = f"python:{NAME}:make", 1

    def start(self, seed: int) -> None:
        """Draw nothing."""

    def act(self, conversations: list[Conversation]) -> list[str]:
        question = {"name": "ask_operator", "arguments": {"question": HOSTILE}}
        first = [HOSTILE, json.dumps(question)]
        submit = json.dumps({"name": "submit", "arguments": {"answer": HOSTILE}})
        return [[*first, submit][len(conversations[0].steps)]]

    def describe(self) -> dict[str, str]:
        return {NAME: NAME}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of three scripts on one suite."""
    made = tmp_path_factory.mktemp("runs")
    for policy in ("cautious", "null", "biased"):
        score_agent(f"scripted:{policy}", SUITE, made / policy)
    return made


@pytest.fixture(scope="session")
def runs(folder: Path) -> Reported:
    return reported_runs([folder / name for name in ("cautious", "null", "biased")])


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an agent that writes markup, of which one of three episodes failed, with markup in the reason."""
    suite = choose("quick", environments=SUITE.environments[:1], split="ambiguous", episodes=3)
    made, agent = tmp_path_factory.mktemp("hostile"), Intruder()
    first, second, third = suite.keys()
    with RowStore(made, suite.record(), AgentRecord(name=agent.name, settings=agent.describe()), suite.plan()) as store:
        for key in (first, second):
            store.append_group(play(agent, (key,)))
        store.append_failures([third], RuntimeError(HOSTILE))
    return made
