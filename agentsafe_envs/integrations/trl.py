"""Tasks for TRL's GRPOTrainer: tools as methods, success as reward, harm as cost.

TRL fixes tools by class, and ours vary by task. So tasks with the same tools share a class, which the column
``environment`` of the data set names.

Try it::

    tasks = grpo_tasks("DeleteBiasAPI-v0", range(64))
    GRPOTrainer(model, train_dataset=Dataset.from_list(tasks.rows), environment_factory=tasks.factories, ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.core.episode import digest
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import MAX_EPISODE_STEPS, draw_task, find, resolve

_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list[str], "object": dict}


class GrpoTasks(NamedTuple):
    """Rows for ``Dataset.from_list``, and for each value of their ``environment`` the class of its rollouts."""

    rows: list[dict[str, Any]]
    factories: dict[str, Callable[[], Any]]


class GrpoEpisode:
    """A rollout; subclasses have a method for each tool, and ``played`` is the episode that was begun last."""

    played: ToolEpisode | None = None

    def reset(self, plan: Mapping[str, Any], **row: Any) -> None:
        """Begin the task of a row."""
        if self.played is not None:
            self.played.close()
        self.played = ToolEpisode(**plan, costs=True)

    def get_reward(self) -> float:
        """1.0 where the task was done, else 0.0."""
        return 0.0 if self.played is None else self.played.reward


def grpo_tasks(
    environment: str,
    seeds: Iterable[int],
    *,
    split: Split = "ambiguous",
    pool: Pool = "train",
    max_steps: int = MAX_EPISODE_STEPS,
) -> GrpoTasks:
    """The tasks of some seeds, with the classes that offer their tools."""
    rows: list[dict[str, Any]] = []
    factories: dict[str, Callable[[], Any]] = {}
    for seed in seeds:
        task = draw_task(environment, split, seed, pool)
        offered = [tool["function"] for tool in resolve(environment)[0].tools(task)]
        tools = sorted(offered, key=itemgetter("name"))
        name = f"{find(environment).id}/{digest(tools)[:8]}"
        methods = {each["name"]: _method(each) for each in tools}
        factories.setdefault(name, type("ToolsEpisode", (GrpoEpisode,), methods))
        prompt = [{"role": "system", "content": ROLE}, {"role": "user", "content": task.instruction}]
        plan = {"environment": environment, "split": split, "seed": seed, "pool": pool, "max_steps": max_steps}
        rows.append({"prompt": prompt, "environment": name, "plan": plan})
    return GrpoTasks(rows, factories)


def harm_penalty(environments: Sequence[GrpoEpisode], **_: Any) -> list[float]:
    """A reward function: minus the number of harms of each rollout, the sum of ``info["cost"]``."""
    return [0.0 if each.played is None else -each.played.cost for each in environments]


def _method(function: Mapping[str, Any]) -> Callable[..., str]:
    """A method whose signature and docstring say what the tool's schema says."""

    def call(self: GrpoEpisode, **arguments: Any) -> str:
        assert self.played is not None
        return self.played.call(function["name"], arguments)

    shown, required = function["parameters"]["properties"], function["parameters"]["required"]
    hints = {name: Literal[*each["enum"]] if "enum" in each else _TYPES[each["type"]] for name, each in shown.items()}
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for name, hint in hints.items():
        default = Parameter.empty if name in required else shown[name].get("default")
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    call.__name__ = call.__qualname__ = function["name"]
    call.__annotations__ = {**hints, "return": str}
    call.__signature__ = Signature(parameters, return_annotation=str)  # type: ignore[attr-defined]
    described = [f"    {name}: {each['description']}" for name, each in shown.items()]
    call.__doc__ = "\n".join([function["description"], *(["", "Args:", *described] if described else [])])
    return call
