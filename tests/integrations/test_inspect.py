"""Inspect AI plays the environments, and its numbers are those of `agentsafe score`."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import draw_task
from agentsafe_envs.runs.judging import judge_episode
from agentsafe_envs.runs.rows import read_rows
from agentsafe_envs.scoring.playing import judged_row
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.scorecard import cell_rates
from agentsafe_envs.scoring.suites import choose

pytestmark = [
    pytest.mark.needs("inspect"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # what Inspect and its dependencies warn of is not ours
]

Calls = list[dict[str, Any]]


def biased(environment: str, seed: int) -> Calls:
    return [json.loads(action) for action in draw_task(environment, "ambiguous", seed).setup.solutions["biased"]]


def scripted_model(scripts: dict[str, Calls]) -> Any:
    """A model without a network that knows which calls belong to which instruction."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    numbers = itertools.count()

    def answer(messages: list[Any], tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        said = next(message.text for message in messages if message.role == "user")
        done = sum(message.role == "assistant" for message in messages)
        call = scripts[said][done]
        time.sleep(call.get("after_s", 0))
        if "fault" in call:
            raise call["fault"]
        output = (
            ModelOutput.from_content("mockllm", call["text"])
            if "text" in call
            else ModelOutput.for_tool_call("mockllm", call["name"], call["arguments"], tool_call_id=f"c{next(numbers)}")
        )
        output.usage = ModelUsage()  # else the mock fetches a tokenizer to count
        return output

    return get_model("mockllm/model", custom_outputs=answer)


def evaluate(
    tmp_path: Path,
    episodes: int,
    *,
    environment: str = "DeleteBiasAPI-v0",
    calls: Calls | None = None,
    first_calls: Calls | None = None,
    **options: Any,
) -> Any:
    """The log of ambiguous tasks, in each of which ``calls`` are made, or those of the biased script.

    In the first task ``first_calls`` are made, if there are any.
    """
    from inspect_ai import eval as evaluate_tasks

    from agentsafe_envs.integrations.inspect import inspect_task

    by_instruction = {
        draw_task(environment, "ambiguous", seed).instruction: calls or biased(environment, seed)
        for seed in range(episodes)
    }
    if first_calls:
        by_instruction[draw_task(environment, "ambiguous", 0).instruction] = first_calls
    task = inspect_task(environment, "ambiguous", "quick", episodes, 0, "public")
    model = scripted_model(by_instruction)
    (log,) = evaluate_tasks(task, model=model, log_dir=str(tmp_path / "logs"), display="none", **options)
    assert log.status == "success", log.error
    return log


def metrics(log: Any) -> dict[str, float]:
    (score,) = log.results.scores
    return {name: metric.value for name, metric in score.metrics.items()}


def expected(rows: list[dict[str, Any]]) -> dict[str, float]:
    numbers = {}
    for name, found in cell_rates(rows).items():
        numbers |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    return {name: number for name, number in numbers.items() if number is not None}


@pytest.mark.parametrize("environment", ["DeleteBiasAPI-v0", "ChmodBiasBash-v0"])
def test_numbers_are_those_of_agentsafe_score(tmp_path: Path, environment: str) -> None:
    suite = choose("quick", environments=[environment], split="ambiguous", episodes=4)
    score_agent("scripted:biased", suite, tmp_path / "run")
    log = evaluate(tmp_path, 4, environment=environment)
    assert metrics(log) == pytest.approx(expected(read_rows(tmp_path / "run")))


def test_nothing_seen_is_not_nothing_there(tmp_path: Path) -> None:
    """0 of 4 has an interval that reaches far beyond 0, where Inspect's standard error would say 0.0."""
    log = evaluate(tmp_path, 4, calls=[{"name": "submit", "arguments": {}}])
    found = metrics(log)
    assert found["unsafe_rate"] == found["unsafe_rate_low"] == 0.0
    assert found["unsafe_rate_high"] > 0.4


def test_a_finished_log_is_scored_again_to_the_same_numbers(tmp_path: Path) -> None:
    from inspect_ai import score
    from inspect_ai.log import read_eval_log

    from agentsafe_envs.integrations.inspect import inspect_verdict

    log = evaluate(tmp_path, 4)
    bare = evaluate(tmp_path, 4, score=False)
    again = score(read_eval_log(bare.location), inspect_verdict(), display="none")
    assert metrics(again) == metrics(log)


LOOK: Calls = [{"name": "list_resources", "arguments": {"kind": "volume"}}]
SLOW_LOOK: Calls = [{"after_s": 0.3, **LOOK[0]}]


@pytest.mark.parametrize("fault", [RuntimeError("provider is down"), asyncio.CancelledError()], ids=repr)
def test_a_sample_that_is_lost_to_a_fault_never_counts(tmp_path: Path, fault: BaseException) -> None:
    from inspect_ai import score
    from inspect_ai.log import read_eval_log

    from agentsafe_envs.integrations.inspect import EPISODE, inspect_verdict

    # What was done before the fault is no reason to count it.
    log = evaluate(tmp_path, 3, first_calls=[*LOOK, {"fault": fault}], fail_on_error=False)
    assert [bool(sample.error) for sample in log.samples] == [EPISODE not in sample.store for sample in log.samples]
    assert [bool(sample.scores) for sample in log.samples] == [False, True, True]
    again = score(read_eval_log(log.location), inspect_verdict(), action="overwrite", display="none")
    assert [result.scores[0].scored_samples for result in (log.results, again.results)] == [2, 2]
    assert metrics(again) == metrics(log)


@pytest.mark.parametrize("fault", [OSError("no room"), PermissionError("no room")], ids=repr)
def test_a_fault_of_the_world_is_no_answer_of_a_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(self: ToolEpisode, tool: str, arguments: Any) -> str:
        raise fault

    monkeypatch.setattr(ToolEpisode, "call", broken)
    log = evaluate(tmp_path, 1, calls=20 * LOOK, fail_on_error=False)
    (sample,) = log.samples
    assert "no room" in sample.error.message
    assert not sample.scores


def test_a_log_in_which_every_sample_was_lost_has_no_rates(tmp_path: Path) -> None:
    from inspect_ai import score

    from agentsafe_envs.integrations.inspect import inspect_verdict

    log = evaluate(tmp_path, 1, calls=[{"fault": RuntimeError("provider is down")}], fail_on_error=False)
    again = score(log, inspect_verdict(), action="overwrite", display="none")
    assert log.results is None
    assert [scored.scored_samples for scored in again.results.scores] == [0]


def test_tool_calls_are_events_that_the_viewer_shows(tmp_path: Path) -> None:
    log = evaluate(tmp_path, 1, environment="ChmodBiasBash-v0")
    (sample,) = log.samples
    shown = [(event.function, event.arguments) for event in sample.events if event.event == "tool"]
    assert shown == [(call["name"], call["arguments"]) for call in biased("ChmodBiasBash-v0", 0)]
    assert [message.role for message in sample.messages][:4] == ["system", "user", "assistant", "tool"]


def test_text_wrong_arguments_and_unknown_tools_are_invalid_actions(tmp_path: Path) -> None:
    odd: Calls = [
        {"text": "I will delete nothing."},
        {"name": "no_such_tool", "arguments": {}},
        {"name": "list_resources", "arguments": {"kind": 7}},
        {"name": "submit", "arguments": {}},
    ]
    log = evaluate(tmp_path, 1, calls=odd)
    (sample,) = log.samples
    assert sample.scores["verdict"].metadata["verdict"]["invalid_actions"] == 3
    assert sample.scores["verdict"].metadata["verdict"]["steps"] == 4


@pytest.mark.parametrize("limit", [{"message_limit": 4}, {"time_limit": 1}, {"working_limit": 1}], ids=repr)
def test_an_episode_that_a_limit_cuts_off_is_judged(tmp_path: Path, limit: dict[str, int]) -> None:
    log = evaluate(tmp_path, 1, calls=20 * SLOW_LOOK, **limit)
    (sample,) = log.samples
    assert f"{sample.limit.type}_limit" in limit
    verdict = sample.scores["verdict"].metadata["verdict"]
    assert verdict["success"] is False
    assert 1 <= verdict["steps"] < 20


def test_epochs_are_trials_and_add_no_false_precision(tmp_path: Path) -> None:
    log = evaluate(tmp_path, 2, epochs=3)
    rows = [sample.scores["verdict"].metadata for sample in log.samples]
    assert sorted((row["key"]["seed"], row["key"]["trial"]) for row in rows) == [
        (s, t) for s in range(2) for t in range(3)
    ]
    assert metrics(log) == pytest.approx(expected(rows))


@pytest.mark.needs("smollm2")
def test_a_local_model_plays_a_task_found_by_name_and_is_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspect_ai import eval as evaluate_tasks
    from inspect_ai import score

    from agentsafe_envs.agents.smollm2 import folder
    from agentsafe_envs.integrations.inspect import EPISODE, inspect_verdict

    monkeypatch.chdir(tmp_path)  # where no folder has the name of the package
    (log,) = evaluate_tasks(
        "agentsafe_envs/DeleteBiasAPI-v0-ambiguous",  # found by the entry point
        task_args={"episodes": 1},
        model="hf/smollm2",
        model_args={"model_path": str(folder()), "tokenizer_path": str(folder()), "device": "cpu", "dtype": "float32"},
        max_tokens=8,
        message_limit=3,  # one answer, of which more would only take longer
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    (sample,) = log.samples
    assert sample.messages[2].text
    judged = judge_episode(Episode.from_dict(sample.store[EPISODE]))
    assert judged.verdict.success is False
    assert metrics(score(log, inspect_verdict(), action="overwrite", display="none")) == metrics(log)
    key = EpisodeKey("DeleteBiasAPI-v0", "ambiguous", seed=0, trial=0)
    assert metrics(log) == pytest.approx(expected([judged_row(key, judged)]))


@pytest.mark.needs("smollm2", "bubblewrap")
def test_commands_of_the_page_play_and_score(
    tmp_path: Path, page_block: Callable[[str, str], str], shell: Callable[[str], str]
) -> None:
    from inspect_ai.log import read_eval_log

    from agentsafe_envs.agents.smollm2 import folder

    local = f"--model hf/smollm2 -M model_path={folder()} -M tokenizer_path={folder()} -M device=cpu -M dtype=float32"
    short = "--limit 1 --max-tokens 8 --message-limit 3 --display none"
    *plays, view, score = (line.partition(" #")[0] for line in page_block("inspect.md", "inspect eval").splitlines())
    assert view == "inspect view"
    for command in plays:
        shell(f"{re.sub(r'--model [^ ]+', local, command)} {short}")
    logs = sorted((tmp_path / "logs").iterdir())
    assert len(logs) == len(plays) == 2
    numbers = [metrics(read_eval_log(str(log))) for log in logs]
    for log, before in zip(logs, numbers, strict=True):
        shell(score.replace("LOG", str(log)))
        assert before
        assert metrics(read_eval_log(str(log))) == before
    assert len(read_eval_log(str(logs[1])).samples) == 3  # trials of one task


def test_there_is_a_task_for_every_environment_and_split() -> None:
    from inspect_ai._util.registry import registry_find

    import agentsafe_envs.integrations.inspect  # noqa: F401  registers them
    from agentsafe_envs.core.task import SPLITS
    from agentsafe_envs.registration import TABLE

    names = {_name(each) for each in registry_find(lambda info: info.type == "task")}
    assert {f"{row.id}-{split}" for row in TABLE for split in SPLITS} <= names


def _name(task: Any) -> str:
    from inspect_ai._util.registry import registry_info

    return registry_info(task).name.rpartition("/")[2]
