"""What Alembic runs: migrations on the connection that it was given."""

from __future__ import annotations

from alembic import context

from leaderboard.server.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
