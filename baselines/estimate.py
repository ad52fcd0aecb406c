"""How long chains will take on this machine, said before they start.

Try it::

    python -m baselines.estimate                      # every plan of the protocol, and every base
    python -m baselines.estimate --plan cloud-headline

A few updates and a few episodes are timed with the models that are used, in a process like that of a chain; the rest is
counting. Updates and episodes of the cloud are timed in seconds of a core, so that other work on the machine does not
count. Episodes of the shell are timed by the clock, since sandboxes work in processes that are not waited for, and on
tasks that several play, since most of what they do is remembered.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from heapq import heapreplace
from multiprocessing import get_context
from typing import Annotated, NamedTuple

import torch
import typer

from agentsafe_envs.cli.complaints import run
from agentsafe_envs.scoring.workers import cores_shared
from baselines import students
from baselines.base import folder_of
from baselines.chain import Made
from baselines.encoding import Example
from baselines.forward import chosen_forward
from baselines.notes import FORMS
from baselines.plans import Plan, plans
from baselines.playing import play_tasks
from baselines.protocol import WORLDS, Protocol, Recipe, World, load
from baselines.training import train

TIMED_UPDATES = 6
ROW_TOKENS = 520
"""Of a trajectory, about; what it matters for is only how many make a batch."""

MARGINS_S = 0.1
"""Seconds that the margin of one task takes beyond what playing it does, about."""

LISTS_A_SECOND = 60.0
"""Lists of words that a model of 0.3 million parameters writes in a second of a core, about."""


class Timed(NamedTuple):
    """What is timed of a world.

    Attributes:
        clock: Tells the time that an episode takes of a core.
        tasks: How many are played.
        players: How many times each, by other random numbers; about as often as a chain does.
    """

    clock: Callable[[], float]
    tasks: int
    players: int


TIMED: Mapping[World, Timed] = {"cloud": Timed(time.process_time, 128, 1), "bash": Timed(time.perf_counter, 64, 4)}


class Speed(NamedTuple):
    """What one core does in a second.

    Attributes:
        tokens: Tokens that are trained on, by size of the model.
        episodes: Episodes played and judged, by world.
    """

    tokens: Mapping[str, float]
    episodes: Mapping[str, float]


def measure_speed(protocol: Protocol, sizes: Iterable[str], worlds: Iterable[World]) -> Speed:
    """Time a few updates of models of these sizes, and a few episodes of the first base in these worlds.

    A world without a base that could play is left out, and :func:`seconds` counts nothing for its episodes.
    """
    # On one core, as a chain has: libraries that share cores among threads read that when they are imported.
    with cores_shared(os.cpu_count() or 1), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, protocol, list(sizes), list(worlds)).result()


def _measured(protocol: Protocol, sizes: Iterable[str], worlds: Iterable[World]) -> Speed:
    torch.set_num_threads(1)
    rng = random.Random(0)
    tokens = {}
    for size in dict.fromkeys(sizes):
        model = students.new_model(size, 0)
        ids = [[rng.randrange(10, students.VOCABULARY) for _ in range(ROW_TOKENS)] for _ in range(8)]
        examples = [
            Example(each, list(range(ROW_TOKENS // 2, ROW_TOKENS)), list(range(ROW_TOKENS // 2))) for each in ids
        ]
        recipe = Recipe(TIMED_UPDATES, 1e-3, protocol.student.batch_tokens)
        forward = chosen_forward(model, protocol.student.updates)
        train(model, examples, replace(recipe, updates=1), 0, forward=forward)  # what is slow the first time
        begin = time.process_time()
        done = train(model, examples, recipe, 0, forward=forward)
        tokens[size] = done.tokens / (time.process_time() - begin)
    episodes = {}
    for world in dict.fromkeys(worlds):
        folder = folder_of(protocol.models.size, protocol.models.inits[0], world)
        if folder.is_dir():
            clock, tasks, players = TIMED[world]
            begin = clock()
            for player in range(players):
                played = play_tasks(
                    folder,
                    WORLDS[world],
                    "ambiguous",
                    range(tasks),
                    pool="dev",
                    seed=player,
                    max_steps=protocol.endpoint.max_steps,
                    role=FORMS[protocol.student.notes].role,  # most cells have notes, which take longer
                )
                deque(played, maxlen=0)
            episodes[world] = tasks * players / (clock() - begin)
    return Speed(tokens, episodes)


def seconds(protocol: Protocol, plan: Plan, speed: Speed) -> float:
    """Time of one chain on one core."""
    usual = protocol.models.size
    per_episode = 1 / speed.episodes[plan.world] if plan.world in speed.episodes else 0.0
    looked_at = protocol.endpoint.ambiguous + 3 * protocol.endpoint.others
    one_model = looked_at * per_episode + protocol.endpoint.margins * MARGINS_S
    total = (len(plan.bases) + len(plan.arms) * len(plan.looked)) * one_model
    for size in plan.sizes:
        total += len(plan.arms) * protocol.teacher.updates * protocol.teacher.batch_tokens / _rate(speed, size)
    for made in dict.fromkeys(Made.of(cell, usual) for cell in plan.cells):
        tasks = protocol.data.tasks * (made.rows or protocol.data.kept) / protocol.data.kept
        one = protocol.data.lists / LISTS_A_SECOND if made.carrier == "words" else tasks * per_episode
        total += len(plan.arms) * one
    for cell in plan.cells:
        read_once = cell.rows * ROW_TOKENS / (1 - protocol.student.replay)
        tokens = read_once or protocol.student.updates * protocol.student.batch_tokens
        taught = tokens / _rate(speed, cell.size)
        # The teacher reads the same tokens, forwards only.
        taught += tokens / 3 / _rate(speed, cell.teacher or usual) if cell.loss != "sft" else 0.0
        total += len(plan.followed) * (taught + one_model)
    return total


def base_seconds(protocol: Protocol, size: str, speed: Speed, world: World = "cloud") -> float:
    """Time of teaching one base on one core, its demonstrations not counted; a larger one is grown."""
    grown = size != protocol.models.size
    recipes = [*([] if grown else [protocol.base.drills()]), *protocol.base.lessons(size, world, grown=grown)]
    return sum(recipe.updates * recipe.batch_tokens for recipe in recipes) / _rate(speed, size)


def elapsed(times: Iterable[float], workers: int) -> float:
    """Seconds from the first chain's start to the last one's end, where a core that is done takes the next."""
    busy = [0.0] * workers
    for each in times:
        heapreplace(busy, busy[0] + each)
    return max(busy)


def duration(seconds_: float) -> str:
    """``2 h 05 min``, or ``4 min``."""
    minutes = max(round(seconds_ / 60), 1)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _rate(speed: Speed, size: str) -> float:
    return speed.tokens[size]


def sizes_of(chosen: Iterable[Plan]) -> list[str]:
    """Sizes of all models that learn something in these plans."""
    return list(dict.fromkeys(size for plan in chosen for size in (*plan.sizes, *(cell.size for cell in plan.cells))))


def main(
    plan: Annotated[str, typer.Option(help="Only this one.")] = "",
    workers: Annotated[int | None, typer.Option(help="Cores that are used; all cores.", min=1)] = None,
) -> None:
    """Say how long the chains of the protocol, and its bases, would take here."""
    protocol, cores = load(), workers or os.cpu_count() or 1
    known = plans(protocol)
    if plan and plan not in known:
        raise typer.BadParameter(f"no plan {plan!r}, expected one of {', '.join(known)}")
    chosen = {name: each for name, each in known.items() if name == plan or (not plan and name != "quick")}
    sizes = dict.fromkeys([*sizes_of(chosen.values()), protocol.models.size, *protocol.models.larger])
    speed = measure_speed(protocol, sizes, dict.fromkeys(each.world for each in chosen.values()))
    for size, rate in speed.tokens.items():
        taught = duration(base_seconds(protocol, size, speed))
        typer.echo(f"{size}: {rate:,.0f} tokens a second and core; a base of the cloud takes {taught}")
    for world in dict.fromkeys(each.world for each in chosen.values()):
        rate = speed.episodes.get(world)
        played = "no base yet, so its episodes are not counted" if rate is None else f"{rate:.1f} episodes a second"
        typer.echo(f"{world}: {played}")
    times: list[float] = []
    for name, each in chosen.items():
        one, chains = seconds(protocol, each, speed), protocol.chains.number.get(name, 1)
        times += [one] * chains
        typer.echo(f"{name}: {chains} chains of {duration(one)} of a core")
    typer.echo(f"all: {duration(elapsed(times, cores))} on {cores} cores")


if __name__ == "__main__":
    run(main)
