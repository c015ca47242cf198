"""
The first tables.

@var revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From nothing to 0001."""
    op.create_table(
        "content",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.Integer(), nullable=False),
        sa.Column("file", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "credential",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "destination",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("next_due", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("troubled", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "slot"),
    )
    op.create_index("destination_due", "destination", ["kind", "next_due"], unique=False)
    op.create_index(
        "destination_owned",
        "destination",
        ["kind"],
        unique=False,
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_table(
        "hook",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event", sa.Text(), server_default="", nullable=False),
        sa.Column("from_id", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("extra", sa.Text(), server_default="{}", nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("submitted", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("results", sa.Text(), server_default="[]", nullable=False),
        sa.Column("authorization", sa.Text(), server_default="", nullable=False),
        sa.Column("next_attempt", sa.BigInteger(), nullable=False),
        sa.Column("last_attempt", sa.BigInteger(), nullable=True),
        sa.Column("in_flight", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("repeated", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("hook_due", "hook", ["url", "next_attempt"], unique=False)
    op.create_index(
        "hook_in_flight",
        "hook",
        ["url"],
        unique=False,
        sqlite_where=sa.text("in_flight = 1"),
        postgresql_where=sa.text("in_flight = 1"),
    )
    op.create_index(
        "hook_queue",
        "hook",
        ["queue_id"],
        unique=False,
        sqlite_where=sa.text("queue_id <> 0"),
        postgresql_where=sa.text("queue_id <> 0"),
    )
    op.create_table(
        "identity",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "retired_hook",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("queue_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event", sa.Text(), server_default="", nullable=False),
        sa.Column("from_id", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("extra", sa.Text(), server_default="{}", nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("submitted", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("results", sa.Text(), server_default="[]", nullable=False),
        sa.Column("authorized", sa.SmallInteger(), nullable=False),
        sa.Column("success", sa.SmallInteger(), nullable=False),
        sa.Column("superseded_by", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_activity", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("retired_hook_keep", "retired_hook", ["keep_until"], unique=False)
    op.create_table(
        "retired_job",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("base_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("mail_from", sa.Text(), nullable=True),
        sa.Column("rcpt_to", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("has_8bit", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("smtputf8", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("require_tls", sa.Text(), server_default="", nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_attempt", sa.BigInteger(), nullable=True),
        sa.Column("results", sa.Text(), server_default="[]", nullable=False),
        sa.Column("transport", sa.Text(), server_default="", nullable=False),
        sa.Column("from_id", sa.Text(), server_default="", nullable=False),
        sa.Column("extra", sa.Text(), server_default="{}", nullable=False),
        sa.Column("future_release", sa.Text(), server_default="", nullable=False),
        sa.Column("success", sa.SmallInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("last_activity", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "retired_job_from_id",
        "retired_job",
        ["from_id"],
        unique=False,
        sqlite_where=sa.text("from_id <> ''"),
        postgresql_where=sa.text("from_id <> ''"),
    )
    op.create_index("retired_job_keep", "retired_job", ["keep_until"], unique=False)
    op.create_table(
        "content_chunk",
        sa.Column(
            "content_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.id"],
        ),
        sa.PrimaryKeyConstraint("content_id", "number"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("base_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("mail_from", sa.Text(), nullable=True),
        sa.Column("rcpt_to", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("has_8bit", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("smtputf8", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("require_tls", sa.Text(), server_default="", nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_attempt", sa.BigInteger(), nullable=True),
        sa.Column("results", sa.Text(), server_default="[]", nullable=False),
        sa.Column("transport", sa.Text(), server_default="", nullable=False),
        sa.Column("from_id", sa.Text(), server_default="", nullable=False),
        sa.Column("extra", sa.Text(), server_default="{}", nullable=False),
        sa.Column("future_release", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "content_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("prefix", sa.LargeBinary(), nullable=False),
        sa.Column("next_attempt", sa.BigInteger(), nullable=False),
        sa.Column("hold", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("dialed", sa.Text(), server_default="{}", nullable=False),
        sa.Column("in_flight", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("repeated", sa.SmallInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "job_base",
        "job",
        ["base_id"],
        unique=False,
        sqlite_where=sa.text("base_id <> 0"),
        postgresql_where=sa.text("base_id <> 0"),
    )
    op.create_index("job_content", "job", ["content_id"], unique=False)
    op.create_index(
        "job_due",
        "job",
        ["destination", "next_attempt"],
        unique=False,
        sqlite_where=sa.text("hold = 0"),
        postgresql_where=sa.text("hold = 0"),
    )
    op.create_index(
        "job_from_id",
        "job",
        ["from_id"],
        unique=True,
        sqlite_where=sa.text("from_id <> ''"),
        postgresql_where=sa.text("from_id <> ''"),
    )
    op.create_index(
        "job_in_flight",
        "job",
        ["destination"],
        unique=False,
        sqlite_where=sa.text("in_flight = 1"),
        postgresql_where=sa.text("in_flight = 1"),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column(
            "content_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("prefix", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("remote_ip", sa.Text(), server_default="", nullable=False),
        sa.Column("hello", sa.Text(), server_default="", nullable=False),
        sa.Column("tls", sa.Text(), server_default="", nullable=False),
        sa.Column("mail_from", sa.Text(), nullable=True),
        sa.Column("rcpt_to", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("is_dsn", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("flags", sa.Text(), server_default="", nullable=False),
        sa.Column("hand_over", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("maildir_name", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("message_account", "message", ["account", "id"], unique=False)
    op.create_index("message_content", "message", ["content_id"], unique=False)
    op.create_index(
        "message_hand_over",
        "message",
        ["id"],
        unique=False,
        sqlite_where=sa.text("hand_over = 1"),
        postgresql_where=sa.text("hand_over = 1"),
    )
    op.create_index(
        "message_maildir_name",
        "message",
        ["account", "maildir_name"],
        unique=False,
        sqlite_where=sa.text("maildir_name IS NOT NULL"),
        postgresql_where=sa.text("maildir_name IS NOT NULL"),
    )
