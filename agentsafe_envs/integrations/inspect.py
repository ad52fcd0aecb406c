"""The environments as tasks of Inspect AI: our tools, our sandbox, our verdicts, our intervals.

Inspect finds this module by its entry point. There is a task for each environment and split. Inspect's own standard
error says 0.0 for 0 of 4. The metrics here have the intervals of ``agentsafe score``.

Try it::

    inspect eval agentsafe_envs/DeleteBiasAPI-v0-ambiguous --model openai/gpt-5 -T suite=quick
"""

from __future__ import annotations

from typing import Any

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.core.task import SPLITS, Pool
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import TABLE, draw_task
from agentsafe_envs.runs.judging import judge_episode
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.playing import judged_row
from agentsafe_envs.scoring.scorecard import cell_rates
from agentsafe_envs.scoring.suites import Suite, choose
from agentsafe_envs.scoring.walkthrough import verdict_text

inspect_ai, model, scorer, solver, tool, util = (
    import_extra(f"inspect_ai{part}", "inspect") for part in ("", ".model", ".scorer", ".solver", ".tool", ".util")
)

EPISODE = "agentsafe_episode"
"""Key of the episode in a sample's store, from which a finished log is scored again."""


def inspect_task(environment: str, split: str, suite: str, episodes: int | None, seed: int, pool: Pool) -> Any:
    """One environment and split as a task; the arguments are those of ``agentsafe score``."""
    chosen = choose(suite, environments=[environment], split=split, episodes=episodes, first_seed=seed, pool=pool)
    samples = []
    for key in dict.fromkeys(key._replace(trial=0) for key in Suite.keys(chosen)):
        plan = {**key._asdict(), "pool": pool, "max_steps": chosen.max_steps}
        instruction = draw_task(environment, split, key.seed, pool).instruction
        samples.append(inspect_ai.dataset.Sample(id=key.seed, input=instruction, metadata=plan))
    return inspect_ai.Task(
        dataset=inspect_ai.dataset.MemoryDataset(samples, name=f"{environment}-{split}"),
        solver=[solver.system_message(ROLE), play_sample()],
        scorer=inspect_verdict(),
        epochs=chosen.trials,
        config=model.GenerateConfig(parallel_tool_calls=False),
    )


@solver.solver(name="play")
def play_sample() -> Any:
    """Let the model act until the episode is over; text without a call is an action too, and an invalid one."""

    async def solve(state: Any, generate: Any) -> Any:
        episode = ToolEpisode(**state.metadata | {"trial": state.epoch - 1})
        state.tools = [_tool(episode, each["function"]) for each in episode.tools]
        try:
            while not episode.over and not state.completed:
                state = await generate(state, tool_calls="none")
                state.messages += await _answers(episode, state)
        except BaseException as error:
            if _is_limit(error):  # the episode was cut off there, and that is judged
                state.store.set(EPISODE, episode.end().row["episode"])
            episode.close()
            raise
        state.store.set(EPISODE, episode.end().row["episode"])
        return state

    return solve


def _is_limit(error: BaseException) -> bool:
    """Whether Inspect ends a sample at a limit of it; limits of time come as the cancellation of what runs."""
    limits = util.sample_limits()
    late = any(each.limit is not None and each.usage >= each.limit for each in (limits.time, limits.working))
    return isinstance(error, util.LimitExceededError) or (late and not isinstance(error, Exception))


def _tool(episode: ToolEpisode, function: dict[str, Any]) -> Any:
    async def execute(**kwargs: Any) -> str:  # under this name and type Inspect leaves arguments as they are
        return episode.call(function["name"], kwargs)  # without waiting, so that no action is left half done

    parameters = tool.ToolParams(**function["parameters"])
    return tool.ToolDef(execute, function["name"], function["description"], parameters, max_output=0)


async def _answers(episode: ToolEpisode, state: Any) -> list[Any]:
    """What comes of the model's last message; of several calls the first is the action."""
    said = state.messages[-1]
    if not said.tool_calls:
        return [model.ChatMessageUser(content=episode.take(said.text))]
    said.tool_calls = said.tool_calls[:1]
    (call,), answers = said.tool_calls, (await model.execute_tools(state.messages, state.tools)).messages
    refused = answers[0].error and answers[0].error.type
    if refused not in (None, "parsing", "approval"):
        raise RuntimeError(f"the world failed: {answers[0].error.message}")  # Inspect told the model, and went on
    if refused == "parsing":
        # Inspect refused it before it came to the world, which answers it like any action and counts it.
        unread = f"{call.function}: {call.parse_error}" if call.parse_error else None
        answers[0].content = episode.take(unread) if unread else episode.call(call.function, call.arguments)
        answers[0].error = None
    return answers


@scorer.metric(name="rates", scores="unreduced")
def inspect_rates() -> Any:
    """Every number of the scorecard, with ``_low`` and ``_high``: the ends of its 95% interval."""

    def compute(scores: list[Any]) -> dict[str, float]:
        numbers: dict[str, float | None] = {}
        for name, found in cell_rates(each.score.metadata for each in scores).items():
            numbers |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        return {name: number for name, number in numbers.items() if number is not None}

    return compute


@scorer.scorer(metrics=[inspect_rates()], name="verdict")
def inspect_verdict() -> Any:
    """The verdict of the hidden detectors, made anew from the episode in the sample's store; none without one."""

    async def judge(state: Any, target: Any) -> Any:
        if (stored := state.store.get(EPISODE)) is None:
            return None  # the sample was lost to a fault, which is not the agent's conduct
        judged = judge_episode(Episode.from_dict(stored))
        key = EpisodeKey(**{name: state.metadata[name] for name in EpisodeKey._fields})
        row = judged_row(key._replace(trial=state.epoch - 1), judged)
        scored = ScoredEpisode.of(row)
        shown = [each for each in MEASURES if each.kind == "rate" and each.shows_in(key.split)]
        value = {each.field.removesuffix("_rate"): int(each.value(scored)) for each in shown}
        return scorer.Score(value=value, explanation=verdict_text(judged.verdict, judged.steps), metadata=row)

    return judge


def _register(environment: str, split: str) -> None:
    @inspect_ai.task(name=f"{environment}-{split}")
    def bias_task(suite: str = "standard", episodes: int | None = None, seed: int = 0, pool: Pool = "public") -> Any:
        return inspect_task(environment, split, suite, episodes, seed, pool)


for _row in TABLE:
    for _split in SPLITS:
        _register(_row.id, _split)
