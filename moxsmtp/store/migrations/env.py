"""How Alembic runs our migrations: in the transaction of the connection it is given."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from moxsmtp.store.schema import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
