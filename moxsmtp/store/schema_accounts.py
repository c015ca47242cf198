"""
The tables of what accounts log in with, how much they have sent, and which folder
their Maildir is; a part of L{moxsmtp.store.schema}, which tells how values are kept.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Table, Text, text

from moxsmtp.store.schema_base import ID, metadata

__all__ = ["credential", "maildir", "sent", "tls_public_key"]

credential: Final = Table(
    "credential",
    metadata,
    Column("account", Text, primary_key=True),
    #: Argon2id with its parameters, in PHC string form.
    Column("password", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    #: What SCRAM verifies with (RFC 5803's form); empty: none was derived.
    Column("scram_sha256", Text, nullable=False, server_default=""),
    Column("scram_sha1", Text, nullable=False, server_default=""),
    #: The two states of HMAC-MD5, in hexadecimal; empty: none.
    Column("cram_md5", Text, nullable=False, server_default=""),
)

#: Keys of client certificates with which users log in.
tls_public_key: Final = Table(
    "tls_public_key",
    metadata,
    #: SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.
    Column("fingerprint", Text, primary_key=True),
    Column("account", Text, nullable=False),
    #: The address that it logs in with.
    Column("login", Text, nullable=False),
    #: What the user calls it.
    Column("name", Text, nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
)

Index("tls_public_key_account", tls_public_key.c.account)

#: Whom accounts have written to, for the limits on it and for what is known of
#: correspondents.
sent: Final = Table(
    "sent",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", Text, nullable=False),
    #: Canonical: local-part in lower case, A-labels.
    Column("recipient", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    #: 1: the account had never written to the recipient before.
    Column("is_first", SmallInteger, nullable=False),
)

# The limits are answered by the first alone, however much was sent.
Index("sent_account", sent.c.account, sent.c.at, sent.c.is_first)
Index("sent_recipient", sent.c.account, sent.c.recipient)
Index(
    "sent_at",
    sent.c.at,
    sqlite_where=text("is_first = 0"),
    postgresql_where=text("is_first = 0"),
)

#: Which folder an account's Maildir is, so that another one in its place is known.
maildir: Final = Table(
    "maildir",
    metadata,
    Column("account", Text, primary_key=True),
    Column("identity", Text, nullable=False),
)
