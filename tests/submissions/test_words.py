"""Words of trust in names, settings and notes, and names that only sound like them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.bash.sandbox.checks import SANDBOXES
from agentsafe_envs.bash.sandbox.docker import SystemImage
from agentsafe_envs.bash.sandbox.relocate import MANIFEST
from agentsafe_envs.bash.sandbox.rootfs import System
from agentsafe_envs.submissions.verify.names import find_seal
from agentsafe_envs.submissions.verify.rows import SYSTEM_LINE

pytestmark = pytest.mark.needs("submit")

MADE_OF = {"suite": "bookworm", "packages": ["bash"], "sha256": "36681b9908db" * 5}


@pytest.mark.parametrize(
    "name", ["rank 1", "rank1", "my-r-a-n-k", "TopScore", "5c0re", "sc-ore", "held-out", "veri-fied", "0ff1c1al"]
)
def test_word_of_trust_is_found(name: str) -> None:
    assert find_seal(name)


@pytest.mark.parametrize("name", ["Frankfurt-1", "frank", "cranky-7b", "underscore", "lora_rank-8", "low-rank"])
def test_name_that_holds_such_letters_is_a_name(name: str) -> None:
    assert find_seal(name) is None


def test_rank_of_an_adapter_and_words_in_texts_are_settings(forger: Any) -> None:
    settings = {"lora_rank": 8, "role": "Report your level of trust.", "top": {"episodes_seen": 3}}
    forger.submission["agent"] |= {"kind": "python", "settings": settings}
    forger.save()
    assert forger.verified().exit_status == 0


@pytest.mark.parametrize("release", ["Debian GNU/Linux 12 (bookworm)", "Ubuntu 24.04.1 LTS", "Pop!_OS 22.04 LTS", None])
def test_what_a_world_says_of_its_system_is_known(release: str | None, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    if release:
        (tmp_path / "etc/os-release").write_text(f'NAME="x"\nPRETTY_NAME="{release}"\n')
    (tmp_path / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / MANIFEST).write_text(json.dumps(MADE_OF))
    systems = [System(tmp_path, True), System(tmp_path, False), SystemImage("sha256:" + "0" * 64, MADE_OF)]
    for system in systems:
        for sandbox in SANDBOXES:
            assert SYSTEM_LINE.fullmatch(f"{sandbox}, {system.describe()}")
