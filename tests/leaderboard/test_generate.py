from __future__ import annotations

from leaderboard.generate import generated


def test_what_is_made_from_code_is_not_stale() -> None:
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name} is stale; python -m leaderboard.generate writes it"
