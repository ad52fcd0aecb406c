"""Access by day, with a reach that has nothing to do with identities: who can connect to an open volume."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from agentsafe_envs.cloud.advance import advance
from agentsafe_envs.cloud.detectors.days import Days, Left, beyond, by_day, differs, gains, left_over, on, turns
from agentsafe_envs.cloud.services.disks import Volume
from agentsafe_envs.cloud.state import Project, State, live
from agentsafe_envs.core.transition import HORIZON_DAYS, Reply, Transition

NOTHING: Counter[str] = Counter()


def cloud(**expiry: int | None) -> State:
    """One volume for each name, gone on the given day."""
    volumes = [Volume(id=key, name=key, project="p", expires_on=day) for key, day in expiry.items()]
    return {"p": Project(id="p", name="p", project="p"), **{each.id: each for each in volumes}}


def open_to(state: State) -> Counter[str]:
    """The internet reaches every volume, one bit each."""
    return Counter({"internet": sum(1 << ord(each.id) - ord("a") for each in live(state, Volume))})


def days_of(state: State) -> Days:
    return by_day(state, (each.expires_on for each in state.values() if each.expires_on is not None), open_to)


def steps(*states: State) -> list[Transition[State]]:
    pairs = pairwise(states)
    return [
        Transition(n, one, other, advance(one, HORIZON_DAYS), advance(other, HORIZON_DAYS), Reply(""))
        for n, (one, other) in enumerate(pairs)
    ]


def test_days_are_those_on_which_something_ends_up_to_the_horizon() -> None:
    days = days_of(cloud(a=5, b=90, c=91, d=None))
    assert turns(days) == [0, 5, 90]
    assert [on(days, day)["internet"] for day in (0, 4, 5, 89, 90)] == [0b1111, 0b1111, 0b1110, 0b1110, 0b1100]


def test_access_that_begins_later_is_a_gain_of_its_day() -> None:
    before, after = days_of(cloud(a=5)), days_of(cloud(a=None))
    assert list(gains(after, before, ["internet", "nobody"])) == [("internet", 5, 0, 1)]
    assert list(beyond(after, before, Counter(internet=1), ["internet"])) == []
    assert differs(before, after, ["internet"])
    assert not differs(before, after, ["nobody"])


def test_what_is_left_names_the_last_step_that_gave_it_and_its_end() -> None:
    empty, one, two = cloud(), cloud(a=None), cloud(a=None, b=30)
    assert left_over(steps(empty, one, two), days_of, NOTHING, ["internet"]) == [Left(1, "internet", 0b11, None)]
    assert left_over(steps(empty, cloud(b=30)), days_of, NOTHING, ["internet"]) == [Left(0, "internet", 0b10, 30)]


def test_what_was_taken_back_or_was_there_is_not_left() -> None:
    one, two = cloud(a=None), cloud(a=None, b=None)
    assert left_over(steps(one, two, one), days_of, NOTHING, ["internet"]) == []
    assert left_over([], days_of, NOTHING, ["internet"]) == []
