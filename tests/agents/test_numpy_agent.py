"""Students without torch do what they do with it, to the last token."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentsafe_envs.agents import AgentError, AgentOptions, Conversation, load_agent
from agentsafe_envs.agents.numpy_agent import NumpyAgent, Sampler, is_playable, render
from agentsafe_envs.agents.prompts import NAMES_TEMPLATE, ChatTemplate, chat_messages
from agentsafe_envs.agents.students import SHIPPED as FOLDER
from agentsafe_envs.agents.students import read_settings, students
from agentsafe_envs.core.episode import Step
from agentsafe_envs.core.extras import install_hint
from agentsafe_envs.scoring.rollout import groups, play
from agentsafe_envs.scoring.suites import choose

NAME = "sft-silent-biased-0.3m-same"
SHIPPED = sorted(path.parent.name for path in FOLDER.glob("*/agent.json"))

pytestmark = pytest.mark.skipif(not SHIPPED, reason="students lie in a checkout only")

ACTIONS = [
    '{"name": "describe_volume", "arguments": {"volume_id": "é \\"<b>\\" & \'x\' \\\\ \\n"}}',
    '{"name": "submit", "arguments": {}}',
    '{"name": "add_tags", "arguments": {"resource_id": "vol-1", "tags": {"n": [1, 2.5, null, true]}}}',
    "no call at all <|end|>",
]


@pytest.fixture
def agent() -> NumpyAgent:
    pytest.importorskip("tokenizers")
    agent = load_agent(f"student:{NAME}")
    assert isinstance(agent, NumpyAgent)
    return agent


@pytest.fixture
def conversation(cloud_tools: list[dict[str, Any]]) -> Conversation:
    steps = [Step(action, f'{{"error": "\n\u00e9 <|user|> {number}"}}\n') for number, action in enumerate(ACTIONS)]
    return Conversation("Free some space, please.\n", cloud_tools, steps)


def played(spec: str, suite: str) -> list[dict[str, Any]]:
    """Rows of a built-in suite's tasks of the bias that students know."""
    agent = load_agent(spec)
    asked = choose(suite, environments=["DeleteBiasAPI-v0"])
    return [row for group in groups(asked, agent.group_size) for row in play(agent, group, max_steps=asked.max_steps)]


@pytest.mark.needs("lm")
@pytest.mark.usefixtures("one_thread")
def test_episodes_of_the_quick_suite_equal_those_through_torch() -> None:
    assert played(f"student:{NAME}", "quick") == played(f"hf:{FOLDER / NAME}", "quick")


@pytest.mark.slow
@pytest.mark.needs("lm")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHIPPED)
def test_episodes_of_every_student_equal_those_through_torch(name: str) -> None:
    assert played(f"student:{name}", "standard") == played(f"hf:{FOLDER / name}", "standard")


@pytest.mark.needs("lm")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHIPPED)
def test_logits_of_every_student_equal_those_of_transformers(name: str, conversation: Conversation) -> None:
    from agentsafe_envs.agents.transformers import TransformersAgent

    folder = FOLDER / name
    agents = [
        NumpyAgent(folder, name, read_settings(folder)),
        TransformersAgent(str(folder), device="cpu", **read_settings(folder).model_dump()),
    ]
    tokens = agents[0].encode(conversation)
    # At the end of the prompt, and token by token from there.
    reads = [(0, tokens), *((len(tokens) + number, [token]) for number, token in enumerate([5, 77, 1200]))]
    forwards = [agent.new_forward() for agent in agents]
    for start, chunk in reads:
        found, expected = (np.asarray(forward.read([0], [start], [chunk], 1)) for forward in forwards)
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-4)
        assert found.argmax() == expected.argmax()


@pytest.mark.needs("lm")
@pytest.mark.parametrize("steps", range(len(ACTIONS) + 1))
@pytest.mark.parametrize("tools", [True, False])
def test_prompt_equals_the_one_of_transformers(conversation: Conversation, steps: int, tools: bool) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER / NAME)
    asked = Conversation(conversation.instruction, conversation.tools if tools else [], conversation.steps[:steps])
    messages = chat_messages(asked, "json", ChatTemplate(tools=True, system=True))
    expected = tokenizer.apply_chat_template(
        messages, tools=list(asked.tools) or None, add_generation_prompt=True, tokenize=False
    )
    assert render(asked.tools, messages) == expected


@pytest.mark.needs("lm")
def test_tokens_and_texts_equal_those_of_transformers(agent: NumpyAgent, conversation: Conversation) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER / NAME)
    tokens = agent.encode(conversation)
    text = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    assert tokens == tokenizer(text, add_special_tokens=False).input_ids
    for part in (tokens, tokens[5:9], [6], []):
        assert agent.decode(part) == tokenizer.decode(
            part, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@pytest.mark.needs("lm")
@pytest.mark.parametrize("seed", [5, -3, 2**62 + 7])
def test_sampler_draws_what_torch_draws(seed: int) -> None:
    import torch

    generator, sampler = torch.Generator().manual_seed(seed), Sampler(seed)
    for rows in (3, 64, 1):
        expected = torch.empty(rows, 1536).exponential_(1, generator=generator).numpy()
        np.testing.assert_allclose(sampler.noise((rows, 1536)), expected, rtol=1e-6)
        logits = torch.randn(rows, 1536, generator=torch.Generator().manual_seed(rows)) * 3
        drawn = torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)[:, 0].tolist()
        assert sampler.draw(logits.numpy()) == drawn


def test_sampler_draws_as_often_as_is_likely() -> None:
    likely = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = Sampler(1).draw(np.log(np.tile(likely, (20_000, 1))).astype(np.float32))
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), likely, atol=0.015)


def test_own_seed_and_group_seed_decide_what_is_sampled(agent: NumpyAgent, conversation: Conversation) -> None:
    def answers(seed: int, group: int) -> list[str]:
        asked = load_agent(f"student:{NAME}", AgentOptions(seed=seed))
        asked.start(group)
        return list(asked.act([Conversation(conversation.instruction, conversation.tools) for _ in range(12)]))

    assert answers(0, 0) == answers(0, 0)
    assert len({tuple(answers(*seeds)) for seeds in ((0, 0), (1, 0), (0, 1))}) == 3


def test_conversation_that_outgrew_the_context_gets_the_empty_action(
    agent: NumpyAgent, conversation: Conversation
) -> None:
    long = Conversation("word " * agent.context_tokens, conversation.tools)
    assert [bool(action) for action in agent.act([long, conversation])] == [False, True]


def test_description_tells_what_repeats_the_run(agent: NumpyAgent) -> None:
    described = agent.describe()
    assert described["model"] == agent.name == f"student:{NAME}"
    assert len(described["weights_sha256"]) == 64
    assert (described["agent"], described["native_tools"], described["temperature"]) == ("numpy", True, 1.0)
    assert {"group_size", "seed", "max_new_tokens", "numpy", "tokenizers"} <= described.keys()


def test_scoring_a_student_imports_nothing_heavy(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    code = (
        "import sys; from agentsafe_envs.cli.app import app\n"
        f"try: app(['score', 'student:{NAME}', '--env', 'DeleteBiasAPI-v0', '--split', 'ambiguous', "
        f"'--episodes', '3', '--out', {str(tmp_path / 'run')!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'pyarrow', 'jinja2', 'docker'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert len((tmp_path / "run/rows.jsonl").read_text().splitlines()) >= 3


def test_missing_package_is_an_agent_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        AgentError, match=rf"student:\S+ needs the package tokenizers: {re.escape(install_hint('students'))}"
    ):
        load_agent(f"student:{NAME}")


def test_every_student_of_the_checkout_is_played_without_torch() -> None:
    assert all(is_playable(FOLDER / name, read_settings(FOLDER / name)) for name in SHIPPED)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("chat_template.jinja", "<|end|>", "<|stop|>"),
        ("config.json", '"lfm2"', '"llama"'),
        ("config.json", '"num_key_value_heads": 4', '"num_key_value_heads": 2'),
        ("agent.json", '"auto"', '"required"'),
        ("agent.json", '"float32"', '"bfloat16"'),
    ],
)
def test_student_of_another_kind_goes_through_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(FOLDER / NAME, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert not is_playable(folder, read_settings(folder))
    monkeypatch.setenv("AGENTSAFE_STUDENTS", str(tmp_path))
    assert "mine" in students()
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "agentsafe_envs.agents.transformers.TransformersAgent", lambda rest, **options: seen.update(options, rest=rest)
    )
    load_agent("student:mine", AgentOptions(group_size=3))
    assert seen == {"rest": str(folder), "name": "student:mine", **json.loads((folder / "agent.json").read_text())} | {
        "group_size": 3
    }


def test_template_is_the_one_in_the_folders() -> None:
    assert {(FOLDER / name / "chat_template.jinja").read_text() for name in SHIPPED} == {NAMES_TEMPLATE}
