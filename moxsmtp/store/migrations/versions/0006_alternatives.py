"""
Reports that have a second form in UTF-8, and which folder a Maildir is.

@var revision: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0005 to 0006.  No job has such a form yet, and no Maildir is known."""
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    # As Alembic knows it, SQLite takes no new column that refers to another table.
    op.execute(f"ALTER TABLE job ADD COLUMN alternative_id {number} REFERENCES content (id)")
    op.add_column(
        "job", sa.Column("alternative_size", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index(
        "job_alternative",
        "job",
        ["alternative_id"],
        unique=False,
        sqlite_where=sa.text("alternative_id IS NOT NULL"),
        postgresql_where=sa.text("alternative_id IS NOT NULL"),
    )
    op.add_column(
        "message", sa.Column("absent", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.create_table(
        "maildir",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
