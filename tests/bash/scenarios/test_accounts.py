from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.scenarios.accounts import Accounts


@given(st.integers(0))
def test_accounts_are_drawn_once_with_groups_and_numbers_of_their_own(seed: int) -> None:
    accounts = Accounts(random.Random(seed))
    people = [accounts.person(), accounts.service(), accounts.person(), accounts.service()]
    teams = [accounts.team(people[:2]), accounts.team(people[2:])]
    assert len({user.name for user in people}) == len({user.uid for user in people}) == 4
    assert all(user.uid == user.gid for user in people)
    assert tuple(accounts.users) == tuple(people)
    groups = {group.name: group for group in accounts.groups}
    assert len({group.gid for group in accounts.groups}) == len(groups) == 6
    assert [groups[team.name] for team in teams] == teams
    assert teams[0].members == (people[0].name, people[1].name)


def test_people_can_log_in_and_services_cannot() -> None:
    accounts = Accounts(random.Random(0))
    assert (accounts.person().shell, accounts.service().shell) == ("/bin/bash", "/usr/sbin/nologin")
