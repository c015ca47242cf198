"""
Indexes by which people look for webhook calls.

@var revision: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0004 to 0005."""
    op.create_index(
        "hook_search", "hook", ["account", "id", "event", "next_attempt", "submitted"], unique=False
    )
    op.create_index(
        "retired_hook_search",
        "retired_hook",
        ["account", "id", "event", "last_activity", "submitted"],
        unique=False,
    )
