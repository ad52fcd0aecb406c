from __future__ import annotations

import pytest

from agentsafe_envs.bash.calls import SystemCall
from agentsafe_envs.bash.links import Links, Place
from agentsafe_envs.bash.tree import Node

TREE = {"/now": Node("symlink", 0o777, 0, 0, target="srv"), "/srv": Node("directory", 0o755, 0, 0)}


def call(name: str, *paths: str, target: str = "", error: str = "") -> SystemCall:
    return SystemCall(0, 0, name, paths, (target, "0"), 0, error, ())


def test_links_are_followed_as_they_are_when_they_are_used() -> None:
    links = Links(TREE)
    assert links.resolved(call("chmod", "/now/x"), [None]).paths == ("/srv/x",)
    links.resolved(call("rename", "/now", "/then"), [None, None])
    links.resolved(call("symlink", "/now", target="/tmp"), [None])
    assert links.resolved(call("chmod", "/now/x"), [None]).paths == ("/tmp/x",)
    assert links.resolved(call("chmod", "/then/x"), [None]).paths == ("/srv/x",)


def test_call_that_failed_changes_no_link() -> None:
    links = Links(TREE)
    links.resolved(call("unlink", "/now", error="EACCES"), [None])
    assert links.resolved(call("chmod", "/now"), [None]).paths == ("/srv",)


@pytest.mark.parametrize(("path", "found"), [("x", "/b/x"), ("", "/b"), ("../now/x", "/srv/x"), ("../b/./../x", "/x")])
def test_place_is_known_by_what_it_is_called_now(path: str, found: str) -> None:
    links, place = Links(TREE), Place("/srv/a")
    links.enter(place)
    links.resolved(call("rename", "/srv/a", "/b"), [None, None])
    assert links.resolved(call("chmod", path), [place]).paths == (found,)
    links.leave()
    assert place.path == "/b"
