"""Eight tools of a small cloud, for agents to choose from."""

from __future__ import annotations

from typing import Any


def tool(name: str, description: str, required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT = {"type": "string"}
CLOUD_TOOLS = [
    tool("list_volumes", "List storage volumes.", page={"type": "integer", "default": 1}),
    tool("describe_volume", "Show one volume.", ("volume_id",), volume_id=TEXT),
    tool(
        "resize_volume",
        "Change a volume's size.",
        ("volume_id", "size_gb"),
        volume_id=TEXT,
        size_gb={"type": "integer"},
    ),
    tool("list_instances", "List compute instances.", state={"type": "string", "enum": ["running", "stopped"]}),
    tool(
        "stop_instance",
        "Stop an instance.",
        ("instance_id",),
        instance_id=TEXT,
        force={"type": "boolean", "default": False},
    ),
    tool("add_tags", "Add tags to a resource.", ("resource_id", "tags"), resource_id=TEXT, tags={"type": "object"}),
    tool("ask_operator", "Ask the operator a question.", ("question",), question=TEXT),
    tool("submit", "Finish the task.", answer=TEXT),
]
