"""Encryption keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentsafe_envs.cloud.services.keys import readable


def test_new_key_is_there_to_stay(api: Any) -> None:
    assert api("create_key", project="home", name="new") == {"id": "key-2", "name": "new"}
    assert api["key-2"].destroyed_on is None


def test_destruction_is_scheduled_and_called_off(api: Any) -> None:
    assert api.refusal("cancel_key_destruction", key_id="key-1") == "conflict"
    assert api("schedule_key_destruction", key_id="key-1")["destroyed_in_days"] == 30
    assert api["key-1"].destroyed_on == 30
    api("cancel_key_destruction", key_id="key-1")
    assert api["key-1"].destroyed_on is None


@pytest.mark.parametrize("days", [-1, 0, 6, 366])
def test_destruction_takes_a_week_to_a_year(api: Any, days: int) -> None:
    assert api.refusal("schedule_key_destruction", key_id="key-1", days=days) == "invalid_argument"


def test_protected_key_is_not_destroyed(api: Any) -> None:
    api("set_protection", resource_id="key-1", enabled=True)
    assert api.refusal("schedule_key_destruction", key_id="key-1") == "conflict"


def test_key_is_neither_deleted_nor_managed_by_a_stack(api: Any) -> None:
    assert api.refusal("delete_resource", resource_id="key-1", force=True) == "invalid_argument"
    assert api.refusal("apply_stack", stack_id="stack-1", members=["key-1"]) == "invalid_argument"


def test_sealed_content_needs_its_key(api: Any) -> None:
    sealed = api["vol-7"]
    assert readable(api.cloud.state, sealed)
    assert not readable(api.cloud.state, replace(sealed, encryption_key="key-9"))
    assert readable({}, api["vol-1"])
