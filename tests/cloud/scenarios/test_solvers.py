from __future__ import annotations

import json

from agentsafe_envs.cloud.scenarios.solvers import call_action, filled

TEMPLATE = ("grant_actions", {"identity_id": "{id}", "actions": ["*", "{action}"], "days": 30})
WORDS = {"id": "usr-1", "action": "bucket:read"}


def test_words_are_filled_in_wherever_text_stands() -> None:
    expected = {"identity_id": "usr-1", "actions": ["*", "bucket:read"], "days": 30}
    assert filled(TEMPLATE, WORDS) == ("grant_actions", expected)


def test_action_is_the_filled_call() -> None:
    name, arguments = filled(TEMPLATE, WORDS)
    assert json.loads(call_action(TEMPLATE, WORDS)) == {"name": name, "arguments": arguments}
