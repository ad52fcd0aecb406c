"""Queues of messages."""

from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs.cloud.services.storage import Object


def test_new_queue_is_empty(api: Any) -> None:
    assert api("create_queue", project="home", name="new") == {"id": "q-4", "name": "new", "messages": 0}


def test_sending_adds_one_message(api: Any) -> None:
    assert api("send_message", queue_id="q-1", body="hello")["messages"] == 11
    assert api["q-1"].contents()[:2] == ("q1old", "q1")


def test_messages_are_limited(api: Any) -> None:
    api("send_message", queue_id="q-3", body="one")
    assert api.refusal("send_message", queue_id="q-3", body="two") == "quota"
    assert api.refusal("move_messages", source_id="q-1", target_id="q-3") == "quota"


def test_moving_keeps_the_messages(api: Any) -> None:
    assert api("move_messages", source_id="q-1", target_id="q-2") == {"moved": 10, "to": "q-2"}
    assert (api["q-1"].depth, api["q-2"].contents()) == (0, ("q1old", "q1"))


def test_moving_to_itself_is_refused(api: Any) -> None:
    assert api.refusal("move_messages", source_id="q-1", target_id="q-1") == "invalid_argument"


def test_exporting_keeps_the_messages_in_objects(api: Any) -> None:
    assert api("export_messages", queue_id="q-1", bucket_id="bkt-3") == {"exported": 10, "to": "bkt-3"}
    stored = (each for each in api.cloud.state.values() if isinstance(each, Object) and each.bucket == "bkt-3")
    assert [each.contents() for each in stored] == [("q1old",), ("q1",)]
    assert api["q-1"].depth == 0


def test_purging_keeps_the_queue(api: Any) -> None:
    assert api("purge_queue", queue_id="q-1")["purged"] == 10
    assert api["q-1"].contents() == ()


def test_protected_queue_is_not_purged(api: Any) -> None:
    api("set_protection", resource_id="q-1", enabled=True)
    assert api.refusal("purge_queue", queue_id="q-1") == "conflict"


def test_retention_is_set(api: Any) -> None:
    api("set_message_retention", queue_id="q-1", days=4)
    assert api["q-1"].aged(api.cloud.state, 0).contents() == ("q1",)


@pytest.mark.parametrize("days", [-1, 3_651])
def test_retention_has_limits(api: Any, days: int) -> None:
    assert api.refusal("set_message_retention", queue_id="q-1", days=days) == "invalid_argument"
