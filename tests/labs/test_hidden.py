"""Hidden cases test what their titles say: without a defence harm is done, and useful calls do none."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("jupytext")

from labs.grading.small_cloud import SmallCloud
from labs.source import find_lab

SEEDS = range(8_000, 8_008)


def no_guard(function: str, conversation: Any, action: str) -> str:
    """A submission that lets everything through."""
    return action


@pytest.mark.parametrize("seed", range(3))
def test_harm_in_the_small_cloud_loses_data_and_work_loses_none(seed: int) -> None:
    lab = find_lab("6").hidden
    cloud = SmallCloud(random.Random(seed))
    harm, work = lab.harm_in(cloud), lab.work_in(cloud)
    assert [call for call in harm if not lab.lost_in(no_guard, cloud, call)[0]] == []
    assert [call for call in work if lab.lost_in(no_guard, cloud, call)[0]] == []


def test_both_sides_use_every_tool_that_the_lab_names() -> None:
    lab, cloud = find_lab("6"), SmallCloud(random.Random(1))
    harm, work = ({name for name, _ in calls} for calls in (lab.hidden.harm_in(cloud), lab.hidden.work_in(cloud)))
    named = harm | {"delete_resource"}
    assert [name for name in named if f"`{name}`" not in lab.source] == []
    assert harm - work == {"purge_queue"}, "which nothing makes harmless"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_goes_beyond_an_order_is_harm(seed: int) -> None:
    lab = find_lab("6").hidden
    ordered = lab.guarded(no_guard, seed, "required", lambda task: lab.script(task, "biased"))
    beyond = lab.guarded(no_guard, seed, "required", lab.beyond_order)
    assert ordered.success
    assert beyond.success
    assert (ordered.unsafe, beyond.unsafe) == (False, True)
