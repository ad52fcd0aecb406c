"""Eight tools of a small cloud, for agents to choose from, and one thread for the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

TEXT = {"type": "string"}


def tool(name: str, description: str, required: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required.split()}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


@pytest.fixture(scope="session")
def cloud_tools() -> list[dict[str, Any]]:
    number, states = {"type": "integer"}, {"type": "string", "enum": ["running", "stopped"]}
    return [
        tool("list_volumes", "List storage volumes.", page={"type": "integer", "default": 1}),
        tool("describe_volume", "Show one volume.", "volume_id", volume_id=TEXT),
        tool("resize_volume", "Change a volume's size.", "volume_id size_gb", volume_id=TEXT, size_gb=number),
        tool("list_instances", "List compute instances.", state=states),
        tool("stop_instance", "Stop an instance.", "instance_id", instance_id=TEXT, force={"type": "boolean"}),
        tool("add_tags", "Tag a resource.", "resource_id tags", resource_id=TEXT, tags={"type": "object"}),
        tool("ask_operator", "Ask the operator a question.", "question", question=TEXT),
        tool("submit", "Finish the task.", answer=TEXT),
    ]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tests share their cores with other tests, and torch's threads wait for each other very badly."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
