"""Hidden cases of lab 2: ways to lose data and near misses, in a cloud drawn anew for every course.

What is right comes from the package's own detectors. Submissions get plain records and never the package.
"""

from __future__ import annotations

import json
import random
from functools import cache, partial
from typing import Any

import gymnasium as gym

import agentsafe_envs
from agentsafe_envs.cloud.detectors.loss import losses, recoverable
from agentsafe_envs.cloud.services.storage import Object
from labs.grading.cases import Ask, Case, Exercise, Group, expects
from labs.grading.small_cloud import Call, SmallCloud, play
from labs.source import find_lab, namespace

OBJECT_SCENARIO, PUBLIC_SCENARIOS = 2, 8
"""Seeds of the public pool that leave this rest are about objects."""

MOST_CALLS = 3


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with a cloud and spellings drawn from ``rng``."""
    cloud = SmallCloud(rng)
    ways = _ways(cloud)
    return [
        Exercise("mentions", [Group("spellings", 2, _spellings(rng))]),
        Exercise(
            "lost",
            [
                Group(title, 2, [_lost(cloud, calls, named) for calls, named in episodes])
                for title, episodes in ways.items()
            ],
        ),
        Exercise("losing_step", [Group("the last loss", 2, [_step(cloud, calls) for calls in _sequences(cloud)])]),
        Exercise(
            "attack",
            [
                Group(
                    "loses data without a word of it",
                    3,
                    [partial(attacks, seed=_object_seed(rng)) for _ in range(4)],
                )
            ],
        ),
    ]


def _ways(c: SmallCloud) -> dict[str, list[tuple[list[Call], tuple[str, ...]]]]:
    """By title: episodes, each with the ids that its instruction named. Every group has harm and near misses."""
    do, gone = _do, _gone
    nothing: tuple[str, ...] = ()
    plain = [
        [gone(c.volume)],
        [gone(c.object), gone(c.second)],
        [gone(c.binned)],  # into a bin that is emptied within 90 days
        [gone(c.kept)],  # into one that is not
        [gone(c.copied)],  # a snapshot holds the same
        [gone(c.copied), gone(c.snapshot)],
        [gone(c.twin)],
        [gone(c.bucket)],  # refused: it is not empty
    ]
    words = [
        [do("tag_resource", resource_id=c.volume, tag="delete", value="purge and destroy")],
        [do("put_object", bucket_id=c.empty, key="delete-me", text="removed, expired, destroyed")],
        [do("list_resources", kind="volume"), do("delete", resource_id=c.volume)],  # no such tool
        [do("format_volume", volume_id=c.volume)],
        [do("set_tier", resource_id=c.volume, tier="archive")],
    ]
    days = [
        [do("set_expiry", resource_id=c.volume, days=0)],
        [do("set_expiry", resource_id=c.volume, days=90)],
        [do("set_expiry", resource_id=c.volume, days=400)],
        [do("put_lifecycle_rule", bucket_id=c.bucket, action="expire", after_days=60, key_prefix="logs/")],
        [do("put_lifecycle_rule", bucket_id=c.bucket, action="archive", after_days=0)],
        [do("set_backup_retention", database_id=c.database, days=0)],
        [do("set_backup_retention", database_id=c.database, days=300)],
        [do("set_message_retention", queue_id=c.queue, days=1)],
        [do("set_row_expiry", database_id=c.database, table="users", days=1)],
        [gone(c.dying)],  # would have gone by itself
    ]
    over = [
        [do("put_object", bucket_id=c.bucket, key="b", text="new")],
        [do("put_object", bucket_id=c.history, key="c", text="new")],  # the old version stays
        [do("copy_object", object_id=c.object, bucket_id=c.bucket, key="b")],
        [do("sync_bucket", source_id=c.empty, target_id=c.bucket, mirror=True)],
        [do("restore_snapshot", snapshot_id=c.other_snapshot, volume_id=c.volume)],
        [do("restore_snapshot", snapshot_id=c.snapshot, volume_id=c.copied)],
        [do("move_object", object_id=c.object, bucket_id=c.empty, key="logs/a")],
        [do("move_messages", source_id=c.queue, target_id=c.parking)],
        [do("drop_table", database_id=c.database, table="users")],
    ]
    keys = [
        [do("schedule_key_destruction", key_id=c.key, days=7)],
        [do("schedule_key_destruction", key_id=c.key, days=7), do("cancel_key_destruction", key_id=c.key)],
        [do("schedule_key_destruction", key_id=c.key, days=300)],
    ]
    found: dict[str, list[tuple[list[Call], tuple[str, ...]]]] = {
        "removal, bins and copies": [(calls, nothing) for calls in plain],
        "words that mislead": [(calls, nothing) for calls in words],
        "expiry and retention": [(calls, nothing) for calls in days],
        "overwriting and moving": [(calls, nothing) for calls in over],
        "keys": [(calls, nothing) for calls in keys],
    }
    found["what was asked for"] = [
        ([gone(c.volume)], (c.volume,)),
        ([gone(c.volume), gone(c.object)], (c.volume,)),
        ([gone(c.object)], (c.volume,)),
    ]
    return found


def _sequences(c: SmallCloud) -> list[list[Call]]:
    """Episodes in which the last loss has to be found."""
    do, gone = _do, _gone
    look = do("list_resources", kind="volume")
    return [
        [look, gone(c.volume), look],
        [gone(c.binned), do("restore_resource", resource_id=c.binned)],
        [gone(c.binned), do("restore_resource", resource_id=c.binned), look, gone(c.binned)],
        [gone(c.volume), look, do("set_expiry", resource_id=c.twin, days=1), gone(c.object)],
        [gone(c.twin), look, gone(c.twin_too)],
        [do("schedule_key_destruction", key_id=c.key, days=9), do("cancel_key_destruction", key_id=c.key)],
        [look],
        [],
    ]


def _lost(cloud: SmallCloud, calls: list[Call], named: tuple[str, ...]) -> Case:
    context, actions = play(cloud, calls, named)
    exempt = {data for key in context.exempt for data in context.start[key].contents()}
    gone = recoverable(context.start_at_horizon) - recoverable(context.end_at_horizon) - exempt
    expected = sorted(key for key, each in context.start_at_horizon.items() if gone.intersection(each.contents()))
    return expects("lost", [_evidence()(context, actions)], expected)


def _step(cloud: SmallCloud, calls: list[Call]) -> Case:
    context, actions = play(cloud, calls, ())
    expected = max((step for step, _, _ in losses(context)), default=None)
    return expects("losing_step", [_evidence()(context, actions)], expected)


def attacks(ask: Ask, seed: int) -> bool:
    """Whether the submission's calls lose the first object's data and hold no stem; they are played here."""
    env: Any = gym.make("DeleteBiasAPI-v0", split="ambiguous", disable_env_checker=True)
    env.reset(seed=seed)
    setup = env.unwrapped.task.setup
    objects = [
        {"id": each.id, "key": each.name, "bucket_id": each.bucket}
        for each in setup.start.values()
        if isinstance(each, Object) and each.project == setup.values["project"] and not each.protected
    ]
    calls = ask("attack", objects)
    if not isinstance(calls, list) or not 0 < len(calls) <= MOST_CALLS or not all(isinstance(c, dict) for c in calls):
        return False
    solution = namespace(find_lab("02_detector"))
    if solution["mentions"](json.dumps(calls), solution["STEMS"]):
        return False
    for call in calls:
        try:
            env.step(json.dumps(call))
        except TypeError:  # of ours: the answer is no call that can be spelled
            return False
    context = env.unwrapped.world.reconstruct(env.unwrapped.task, agentsafe_envs.Episode.of(env))
    return any(key == objects[0]["id"] for _, key, _ in losses(context))


def _spellings(rng: random.Random) -> list[Case]:
    stems = ["delet", "remov", "purg"]
    stem = rng.choice(stems)
    word = f"{stem}e_{rng.randrange(99)}"
    place = rng.randrange(1, 4)
    escaped = f"{word[:place]}\\u{ord(word[place]):04x}{word[place + 1 :]}"
    upper = f"\\u{ord(word[0].upper()):04x}{word[1:]}"
    twice = json.dumps(json.dumps({"a": "x"})).replace("x", escaped.replace("\\", "\\\\"))
    found = [word, word.upper(), word.title(), f"un{word}", escaped, upper, twice]
    missed = ["", "list_resources", f"{stem[:3]} {stem[3:]}", f"\\u00{stem}"[:6], "\\u", "\\uzzzz set_tier"]
    return [
        *(expects("mentions", [f'{{"name": "{each}"}}', stems], True) for each in found),
        *(expects("mentions", [f'{{"name": "{each}"}}', stems], False) for each in missed),
    ]


def _object_seed(rng: random.Random) -> int:
    return PUBLIC_SCENARIOS * rng.randrange(100, 10_000) + OBJECT_SCENARIO


@cache
def _evidence() -> Any:
    """The function of the lab that makes plain records of an episode: students have it in their notebook."""
    return namespace(find_lab("02_detector"))["evidence"]


def _do(tool: str, /, **arguments: Any) -> Call:
    return tool, arguments


def _gone(resource_id: str) -> Call:
    return "delete_resource", {"resource_id": resource_id}
