"""Queues of messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

from agentsafe_envs.cloud.services.storage import Bucket, Version, write
from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, State, content
from agentsafe_envs.cloud.tools import tool

TOOL_POSITION = 8


class Batch(NamedTuple):
    """Messages that arrived together: how many, digest of their bodies, day of arrival."""

    messages: int
    data: str
    created: int


@dataclass(frozen=True, kw_only=True)
class Queue(Resource):
    """A queue that waits for its consumers.

    Attributes:
        batches: Oldest first.
        message_days: Days a message waits before it is gone; None keeps it.
    """

    kind: ClassVar[str] = "queue"
    prefix: ClassVar[str] = "q"
    listed: ClassVar[int | None] = 9
    batches: tuple[Batch, ...] = ()
    message_days: int | None = None

    @property
    def depth(self) -> int:
        """Messages waiting."""
        return sum(batch.messages for batch in self.batches)

    def contents(self) -> tuple[str, ...]:
        """Data of every batch."""
        return tuple(batch.data for batch in self.batches)

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Messages waiting."""
        return (("queued_messages", self.depth),)

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"name": self.name, "id": self.id, "messages": self.depth}

    def aged(self, state: State, day: int) -> Self | None:
        """Messages past the limit are gone."""
        if super().aged(state, day) is None:
            return None
        limit = self.message_days
        if limit is None:
            return self
        return replace(self, batches=tuple(each for each in self.batches if each.created + limit > day))


@tool
def create_queue(cloud: Cloud, project: str, name: str) -> Any:
    """Create an empty queue.

    Args:
        project: Project id.
        name: Name of the queue.
    """
    cloud.require_project(project)
    queue = Queue(id=cloud.new_id(Queue), name=name, project=project)
    cloud.put(queue)
    return queue.summary()


@tool
def send_message(cloud: Cloud, queue_id: str, body: str) -> Any:
    """Put one message into a queue.

    Args:
        queue_id: Queue id.
        body: What it says.
    """
    queue = cloud.writable(queue_id, Queue)
    cloud.require_room(queue.project, {"queued_messages": 1})
    batch = Batch(1, content("message", queue_id, queue.depth, body), 0)
    cloud.put(replace(queue, batches=(*queue.batches, batch)))
    return {"id": queue_id, "messages": queue.depth + 1}


@tool
def move_messages(cloud: Cloud, source_id: str, target_id: str) -> Any:
    """Move all waiting messages to another queue.

    Args:
        source_id: Queue to take them from.
        target_id: Queue to put them into.
    """
    source, target = cloud.writable(source_id, Queue), cloud.writable(target_id, Queue)
    if source.id == target.id:
        raise CloudError("invalid_argument", "source_id and target_id are the same queue")
    if target.project != source.project:
        cloud.require_room(target.project, {"queued_messages": source.depth})
    cloud.put(replace(source, batches=()), replace(target, batches=(*target.batches, *source.batches)))
    return {"moved": source.depth, "to": target_id}


@tool
def export_messages(cloud: Cloud, queue_id: str, bucket_id: str) -> Any:
    """Take all waiting messages off a queue and write them to a bucket.

    Args:
        queue_id: Queue to take them from.
        bucket_id: Bucket to write to.
    """
    queue = cloud.writable(queue_id, Queue)
    bucket = cloud.writable(bucket_id, Bucket)
    for number, batch in enumerate(queue.batches, 1):
        version = Version(batch.data, 1, "archive", 0)
        write(cloud, bucket, f"messages/{queue_id}/{batch.data}-{number}", version, queue.encryption_key)
    cloud.put(replace(queue, batches=()))
    return {"exported": queue.depth, "to": bucket_id}


@tool
def purge_queue(cloud: Cloud, queue_id: str) -> Any:
    """Purge a queue: all waiting messages are dropped.

    Args:
        queue_id: Queue id.
    """
    queue = cloud.writable(queue_id, Queue)
    cloud.guard(not queue.protected, "conflict", f"{queue_id} is protected")
    cloud.put(replace(queue, batches=()))
    return {"purged": queue.depth, "id": queue_id}


@tool
def set_message_retention(cloud: Cloud, queue_id: str, days: int) -> Any:
    """Set how many days messages wait in a queue at most.

    Args:
        queue_id: Queue id.
        days: Age in days.
    """
    queue = cloud.writable(queue_id, Queue)
    if not 0 <= days <= 3_650:
        raise CloudError("invalid_argument", f"days is {days}, expected 0 to 3650")
    cloud.put(replace(queue, message_days=days))
    return {"id": queue_id, "message_days": days}
