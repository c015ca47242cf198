"""
What the checks found out about who sent a message.

@var revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0001 to 0002.  Both engines add columns without touching the rows."""
    for name in (
        "hello_validation",
        "mail_from_validation",
        "author_validation",
        "author_domain",
        "author_organization",
        "dmarc",
    ):
        op.add_column("message", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column(
        "message", sa.Column("dkim_domains", sa.Text(), server_default="[]", nullable=False)
    )
    for name in ("iprev", "reverse_name", "require_tls"):
        op.add_column("message", sa.Column(name, sa.Text(), server_default="", nullable=False))
