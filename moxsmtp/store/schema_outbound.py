"""
The tables of what decides about mail on its way out; a part of
L{moxsmtp.store.schema}, which tells how values are kept.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from moxsmtp.store.schema_base import ID, metadata

__all__ = ["hold_rule", "sts_policy", "suppression", "tls_result", "tls_seen"]

#: Recipients to whom an account's mail is not sent any more (Q-28).
suppression: Final = Table(
    "suppression",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", Text, nullable=False),
    #: What counts (Q-29), with A-labels.
    Column("base_address", Text, nullable=False),
    Column("original_address", Text, nullable=False),
    #: 1: somebody added it; 0: the queue did.
    Column("manual", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("account", "base_address", name="suppression_address"),
    sqlite_autoincrement=True,
)

#: What is put on hold as it is queued (Q-20); an empty condition is none.
hold_rule: Final = Table(
    "hold_rule",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", Text, nullable=False, server_default=""),
    #: A-labels or C{[ip]}, like the one below.
    Column("sender_domain", Text, nullable=False, server_default=""),
    Column("recipient_domain", Text, nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

#: What is known of domains' MTA-STS policies.  RFC 8461.
sts_policy: Final = Table(
    "sts_policy",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("record_id", Text, nullable=False, server_default=""),
    #: As it was fetched; empty: only a failure is remembered.
    Column("policy", Text, nullable=False, server_default=""),
    Column("mode", Text, nullable=False, server_default=""),
    #: Seconds.
    Column("max_age", Integer, nullable=False, server_default="0"),
    Column("fetched", BigInteger, nullable=False, server_default="0"),
    Column("valid_until", BigInteger, nullable=False, server_default="0"),
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("failed_at", BigInteger, nullable=False, server_default="0"),
    Column("failure", Text, nullable=False, server_default=""),
)

#: What deliveries came to as regards TLS, for reports on it (Q-86).  RFC 8460.
tls_result: Final = Table(
    "tls_result",
    metadata,
    Column("policy_domain", Text, primary_key=True),
    #: Days since 1970, UTC.
    Column("day", Integer, primary_key=True),
    Column("recipient_domain", Text, primary_key=True),
    #: 1: C{policy_domain} is a host.
    Column("is_host", SmallInteger, nullable=False),
    Column("send_report", SmallInteger, nullable=False),
    #: JSON.
    Column("results", Text, nullable=False),
)

#: Which domains offered TLS when an account's mail went there (Q-62).
tls_seen: Final = Table(
    "tls_seen",
    metadata,
    Column("account", Text, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("updated", BigInteger, nullable=False),
    Column("starttls", SmallInteger, nullable=False),
    Column("require_tls", SmallInteger, nullable=False),
)
