"""
The suppression list, hold rules, what is known of other domains' policies and
TLS, and by whom queued mail was sent.

@var revision: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Rows whose sender's domain is found at once.
_STEP = 1000


def upgrade() -> None:
    """From 0003 to 0004."""
    for table in ("job", "retired_job"):
        for name in ("report", "sender_domain"):
            op.add_column(table, sa.Column(name, sa.Text(), server_default="", nullable=False))
        _find_sender_domains(table)
    op.add_column("job", sa.Column("slot", sa.Integer(), server_default="0", nullable=False))
    op.create_index("job_next", "job", ["next_attempt", "id"], unique=False)
    op.create_index(
        "job_search",
        "job",
        ["account", "id", "next_attempt", "queued", "hold", "transport", "mail_from", "rcpt_to"],
        unique=False,
    )
    op.create_index("retired_job_activity", "retired_job", ["last_activity", "id"], unique=False)
    op.create_index(
        "retired_job_recipient",
        "retired_job",
        ["account", "rcpt_to", "last_activity"],
        unique=False,
    )
    _add_lists()
    _add_policies()


def _add_lists() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "suppression",
        sa.Column("id", number, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("base_address", sa.Text(), nullable=False),
        sa.Column("original_address", sa.Text(), nullable=False),
        sa.Column("manual", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "base_address", name="suppression_address"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "hold_rule",
        sa.Column("id", number, nullable=False),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column("sender_domain", sa.Text(), server_default="", nullable=False),
        sa.Column("recipient_domain", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )


def _add_policies() -> None:
    op.create_table(
        "sts_policy",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), server_default="", nullable=False),
        sa.Column("policy", sa.Text(), server_default="", nullable=False),
        sa.Column("mode", sa.Text(), server_default="", nullable=False),
        sa.Column("max_age", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fetched", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("valid_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failure", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("domain"),
    )
    op.create_table(
        "tls_result",
        sa.Column("policy_domain", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("recipient_domain", sa.Text(), nullable=False),
        sa.Column("is_host", sa.SmallInteger(), nullable=False),
        sa.Column("send_report", sa.SmallInteger(), nullable=False),
        sa.Column("results", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("policy_domain", "day", "recipient_domain"),
    )
    op.create_table(
        "tls_seen",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("starttls", sa.SmallInteger(), nullable=False),
        sa.Column("require_tls", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "domain"),
    )


def _find_sender_domains(name: str) -> None:
    """Of the rows that there are, so many at once."""
    table = sa.table(name, sa.column("id"), sa.column("mail_from"), sa.column("sender_domain"))
    page = (
        sa.select(table.c.id, table.c.mail_from)
        .where(table.c.id > sa.bindparam("after"))
        .order_by(table.c.id)
        .limit(_STEP)
    )
    change = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("number"))
        .values(sender_domain=sa.bindparam("domain"))
    )
    connection = op.get_bind()
    after = 0
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].id
        found = [
            {"number": number, "domain": _domain(path)}
            for number, path in rows
            if path is not None and _domain(path)
        ]
        if found:
            connection.execute(change, found)


def _domain(path: str) -> str:
    """Behind the last at sign, unless that is in a quoted local-part."""
    return "" if path.endswith('"') else path.rpartition("@")[2] if "@" in path else ""
