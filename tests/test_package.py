from __future__ import annotations

import pytest

import agentsafe_envs


def test_public_names_are_there_and_no_others() -> None:
    assert {name for name in agentsafe_envs.__all__ if not hasattr(agentsafe_envs, name)} == set()
    assert set(agentsafe_envs.__all__) <= set(dir(agentsafe_envs))
    with pytest.raises(AttributeError, match="no attribute 'scroe'"):
        _ = agentsafe_envs.scroe  # type: ignore[attr-defined]
