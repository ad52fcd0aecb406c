from __future__ import annotations

from pathlib import Path

import pytest

from baselines.protocol import FILE, load

pytestmark = pytest.mark.needs("baselines")


def test_committed_protocol_is_read() -> None:
    protocol = load()
    assert len(protocol.models.inits) >= 3, "two others, so that the other one is no odd base"


def test_quick_protocol_is_smaller_in_everything_that_takes_time() -> None:
    whole, quick = load(), load().quick()
    assert quick.student.updates < whole.student.updates
    assert quick.teacher.updates < whole.teacher.updates
    assert quick.data.tasks < whole.data.tasks


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kept = ", "kept = 9", "at most data.tasks"),
        ("[chains]", "[chains]\nwrong = 1", "wrong"),
        ('pool = "public"', 'pool = "train"', "pool"),
    ],
)
def test_mistake_in_the_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "protocol.toml"
    file.write_text(FILE.read_text().replace(old, new))
    with pytest.raises(ValueError, match=said):
        load(file)
