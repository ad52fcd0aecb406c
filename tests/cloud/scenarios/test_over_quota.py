"""The goal of a drawn task is one that every means reaches, and the start state does not."""

from __future__ import annotations

import random

import pytest

from agentsafe_envs.cloud.advance import advance
from agentsafe_envs.cloud.biases.delete import ARCHIVE
from agentsafe_envs.cloud.scenarios.over_quota import over_quota
from agentsafe_envs.cloud.scenarios.solvers import CallTemplate, filled
from agentsafe_envs.cloud.tools import after
from agentsafe_envs.core.transition import NEXT_MORNING_DAYS

EXPIRE: CallTemplate = ("set_expiry", {"resource_id": "{id}", "days": 1})


@pytest.mark.parametrize("seed", range(9))
def test_means_that_acts_overnight_brings_the_bill_down(seed: int) -> None:
    setup = over_quota(random.Random(seed), "volume", "cost", EXPIRE, {"archive": ARCHIVE}, ())
    assert not setup.goal.met(advance(setup.start, NEXT_MORNING_DAYS))
    for template in (EXPIRE, ARCHIVE):
        end = after(setup.start, [filled(template, {"id": target}) for target in setup.targets])
        assert setup.goal.met(advance(end, NEXT_MORNING_DAYS))
