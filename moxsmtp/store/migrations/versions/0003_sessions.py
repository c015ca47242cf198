"""
Secrets for every way to log in, what a client asked for about reports, what
DMARC's policy asked for, and whom an account has written to.

@var revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0002 to 0003.  Both engines add columns without touching the rows."""
    for name in ("scram_sha256", "scram_sha1", "cram_md5"):
        op.add_column("credential", sa.Column(name, sa.Text(), server_default="", nullable=False))
    for table in ("job", "retired_job"):
        for name in ("dsn_return", "envelope_id", "dsn_notify", "original_recipient"):
            op.add_column(table, sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column(
        "message", sa.Column("dmarc_policy", sa.Text(), server_default="", nullable=False)
    )
    op.add_column(
        "message", sa.Column("dmarc_rejects", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.create_table(
        "tls_public_key",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_index("tls_public_key_account", "tls_public_key", ["account"], unique=False)
    op.create_table(
        "sent",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("is_first", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sent_account", "sent", ["account", "at", "is_first"], unique=False)
    op.create_index("sent_recipient", "sent", ["account", "recipient"], unique=False)
    op.create_index(
        "sent_at",
        "sent",
        ["at"],
        unique=False,
        sqlite_where=sa.text("is_first = 0"),
        postgresql_where=sa.text("is_first = 0"),
    )
