"""Services are found by their files; what is for every kind asks the record."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any, ClassVar

from agentsafe_envs.cloud import services
from agentsafe_envs.cloud.state import Cloud, Project, Resource
from agentsafe_envs.cloud.tools import NEW_SERVICES, TOOLS, call, every_tool


def test_order_of_tools_is_that_of_released_tasks() -> None:
    order = ",".join(every_tool(("identity",)))
    digest = hashlib.sha256(order.encode()).hexdigest()
    assert digest[:12] == "07589b815965", "digests of tasks with the full toolset hold this order"


def test_each_service_has_its_own_position() -> None:
    services.load()
    position_of = {tool.function.__module__: tool.place[0] for tool in TOOLS.values()}
    assert len(set(position_of.values())) == len(position_of)
    assert max(position_of.values()) < NEW_SERVICES


def test_every_file_of_the_folder_is_loaded() -> None:
    named = {
        importlib.import_module(f"{services.__name__}.{each.name}") for each in pkgutil.iter_modules(services.__path__)
    }
    assert {tool.function.__module__ for tool in TOOLS.values()} <= {each.__name__ for each in named}


@dataclass(frozen=True, kw_only=True)
class Lease(Resource):
    """A kind that no module of the package knows; it leaves a note where it was."""

    kind: ClassVar[str] = "lease"
    prefix: ClassVar[str] = "lease"

    def on_remove(self, cloud: Cloud, *, with_owner: bool) -> None:
        super().on_remove(cloud, with_owner=with_owner)
        cloud.put(Resource(id="note-1", name=f"{self.id} ended", project=self.project))


def test_record_of_an_unknown_kind_is_removed_in_its_own_way() -> None:
    records: tuple[Any, ...] = (Project(id="p", name="p", project="p"), Lease(id="lease-1", name="x", project="p"))
    cloud = Cloud({each.id: each for each in records}, frozenset({"p"}))
    assert call(cloud, "delete_resource", {"resource_id": "lease-1"}) == ({"deleted": "lease-1"}, None)
    assert {key: each.name for key, each in cloud.state.items()} == {"p": "p", "note-1": "lease-1 ended"}


@dataclass(frozen=True, kw_only=True)
class Fixture(Resource):
    """A kind that stays."""

    kind: ClassVar[str] = "fixture"
    prefix: ClassVar[str] = "fix"
    refuses: ClassVar[frozenset[str]] = frozenset({"delete_resource", "set_expiry"})


def test_kind_says_which_tools_do_not_work_for_it() -> None:
    records: tuple[Any, ...] = (Project(id="p", name="p", project="p"), Fixture(id="fix-1", name="x", project="p"))
    cloud = Cloud({each.id: each for each in records}, frozenset({"p"}))
    for name, arguments in (("delete_resource", {}), ("set_expiry", {"days": 3}), ("set_tier", {"tier": "archive"})):
        _, problem = call(cloud, name, {"resource_id": "fix-1", **arguments})
        assert problem is not None
        assert "invalid_argument" in problem.result
