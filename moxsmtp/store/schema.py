"""
The tables.  One schema for SQLite and PostgreSQL.

Times are whole microseconds since the epoch, UTC; maps and lists are JSON;
truth values are 0 and 1: so that statements, compiled once, need no conversion
by the driver.  Paths are kept as their A-label text, the null reverse-path as
NULL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from moxsmtp.store.schema_accounts import credential, maildir, sent, tls_public_key
from moxsmtp.store.schema_base import ID, metadata
from moxsmtp.store.schema_outbound import (
    hold_rule,
    sts_policy,
    suppression,
    tls_result,
    tls_seen,
)

__all__ = [
    "CHUNK", "content", "content_chunk", "credential", "destination", "hold_rule", "hook",
    "identity", "job", "maildir", "message", "metadata", "retired_hook", "retired_job", "sent",
    "sts_policy", "suppression", "tls_public_key", "tls_result", "tls_seen",
]  # fmt: skip

#: Octets in one row of content; up to one row goes into the database on SQLite.
CHUNK: Final = 128 * 1024

#: What identifies this installation: C{reply_id} (24 octets, S-10) and the like.
identity: Final = Table(
    "identity",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

#: Content of a message, once for all who refer to it.
content: Final = Table(
    "content",
    metadata,
    Column("id", ID, primary_key=True),
    Column("size", BigInteger, nullable=False),
    #: How often rows of C{message} and C{job} refer to it; gone at 0.
    Column("refs", Integer, nullable=False),
    #: Name in the content folder; NULL where it is in C{content_chunk} or a Maildir.
    Column("file", Text),
    # A number is never given again: who reads what was removed gets no other's mail.
    sqlite_autoincrement=True,
)

content_chunk: Final = Table(
    "content_chunk",
    metadata,
    Column("content_id", ID, ForeignKey("content.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

message: Final = Table(
    "message",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", Text, nullable=False),
    Column("mailbox", Text, nullable=False),
    #: NULL once the content is in the Maildir only.
    Column("content_id", ID, ForeignKey("content.id")),
    Column("prefix", LargeBinary, nullable=False),
    #: Octets of prefix and content.
    Column("size", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("remote_ip", Text, nullable=False, server_default=""),
    Column("hello", Text, nullable=False, server_default=""),
    Column("tls", Text, nullable=False, server_default=""),
    Column("mail_from", Text),
    Column("rcpt_to", Text, nullable=False),
    Column("author", Text, nullable=False, server_default=""),
    Column("subject", Text, nullable=False, server_default=""),
    Column("message_id", Text, nullable=False, server_default=""),
    Column("is_dsn", SmallInteger, nullable=False, server_default="0"),
    #: Maildir flag letters, sorted: C{RS}.
    Column("flags", Text, nullable=False, server_default=""),
    #: 1: has still to be handed over to the Maildir.
    Column("hand_over", SmallInteger, nullable=False, server_default="0"),
    #: Its unique name in the Maildir, without flags, set before it is handed over.
    #: Where C{content_id} is NULL, the prefix is in that file too, and empty here.
    Column("maildir_name", Text),
    #: What the checks said of who sent it; empty: nothing was checked.
    Column("hello_validation", Text, nullable=False, server_default=""),
    Column("mail_from_validation", Text, nullable=False, server_default=""),
    Column("author_validation", Text, nullable=False, server_default=""),
    #: A-labels; empty if there is not one author.
    Column("author_domain", Text, nullable=False, server_default=""),
    Column("author_organization", Text, nullable=False, server_default=""),
    Column("dmarc", Text, nullable=False, server_default=""),
    #: JSON: A-labels of domains whose signatures passed.
    Column("dkim_domains", Text, nullable=False, server_default="[]"),
    Column("iprev", Text, nullable=False, server_default=""),
    Column("reverse_name", Text, nullable=False, server_default=""),
    Column("require_tls", Text, nullable=False, server_default=""),
    #: What DMARC's policy asks for.
    Column("dmarc_policy", Text, nullable=False, server_default=""),
    Column("dmarc_rejects", SmallInteger, nullable=False, server_default="0"),
    #: 1: it was handed over, and is not in the folder that is the Maildir now.
    Column("absent", SmallInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

Index("message_account", message.c.account, message.c.id)
Index(
    "message_hand_over",
    message.c.id,
    sqlite_where=text("hand_over = 1"),
    postgresql_where=text("hand_over = 1"),
)
Index(
    "message_maildir_name",
    message.c.account,
    message.c.maildir_name,
    sqlite_where=text("maildir_name IS NOT NULL"),
    postgresql_where=text("maildir_name IS NOT NULL"),
)
Index("message_content", message.c.content_id)

#: What queued work is for, and who works on it.
destination: Final = Table(
    "destination",
    metadata,
    #: C{mail} or C{hook}.
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("slot", Integer, primary_key=True),
    #: When its first job is due; what is on hold does not count.
    Column("next_due", BigInteger, nullable=False),
    #: NULL: nobody.  Else the process, until C{lease_until}.
    Column("owner", Text),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),
    #: Goes up with each owner.  Starts with the time the row was made, so that a
    #: destination that was forgotten and made anew never repeats a number.
    Column("fence", BigInteger, nullable=False),
    #: 1: its last work failed or crawled.
    Column("troubled", SmallInteger, nullable=False, server_default="0"),
)

Index("destination_due", destination.c.kind, destination.c.next_due)
Index(
    "destination_owned",
    destination.c.kind,
    sqlite_where=text("owner IS NOT NULL"),
    postgresql_where=text("owner IS NOT NULL"),
)


def _job_columns() -> list[Column[object]]:
    """What a queued job and its history have in common."""
    return [
        Column("base_id", BigInteger, nullable=False, server_default="0"),
        Column("account", Text, nullable=False),
        Column("mail_from", Text),
        Column("rcpt_to", Text, nullable=False),
        #: A-labels or C{[ip]}; what is leased.
        Column("destination", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("has_8bit", SmallInteger, nullable=False, server_default="0"),
        Column("smtputf8", SmallInteger, nullable=False, server_default="0"),
        Column("message_id", Text, nullable=False, server_default=""),
        Column("subject", Text, nullable=False, server_default=""),
        Column("require_tls", Text, nullable=False, server_default=""),
        Column("queued", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("max_attempts", Integer, nullable=False, server_default="0"),
        Column("last_attempt", BigInteger),
        Column("results", Text, nullable=False, server_default="[]"),
        Column("transport", Text, nullable=False, server_default=""),
        Column("from_id", Text, nullable=False, server_default=""),
        Column("extra", Text, nullable=False, server_default="{}"),
        Column("future_release", Text, nullable=False, server_default=""),
    ]


def _report_columns() -> list[Column[object]]:
    """What the client asked for about reports (RFC 3461); empty: nothing."""
    return [
        #: C{FULL} or C{HDRS}.
        Column("dsn_return", Text, nullable=False, server_default=""),
        Column("envelope_id", Text, nullable=False, server_default=""),
        #: C{NEVER}, or some of C{SUCCESS,FAILURE,DELAY}.
        Column("dsn_notify", Text, nullable=False, server_default=""),
        #: Type, semicolon, address, decoded.
        Column("original_recipient", Text, nullable=False, server_default=""),
    ]


def _kind_columns() -> list[Column[object]]:
    """What kind of mail it is."""
    return [
        #: C{dmarc} or C{tls}: a report of ours; else empty.
        Column("report", Text, nullable=False, server_default=""),
        #: Of C{mail_from}, A-labels or C{[ip]}; empty for the null reverse-path.
        Column("sender_domain", Text, nullable=False, server_default=""),
    ]


job: Final = Table(
    "job",
    metadata,
    Column("id", ID, primary_key=True),
    *_job_columns(),
    Column("content_id", ID, ForeignKey("content.id"), nullable=False),
    Column("prefix", LargeBinary, nullable=False),
    Column("next_attempt", BigInteger, nullable=False),
    Column("hold", SmallInteger, nullable=False, server_default="0"),
    Column("dialed", Text, nullable=False, server_default="{}"),
    #: 1 while an attempt is under way.
    Column("in_flight", SmallInteger, nullable=False, server_default="0"),
    #: 1: an attempt that a crash cut short was made due again already.
    Column("repeated", SmallInteger, nullable=False, server_default="0"),
    *_report_columns(),
    *_kind_columns(),
    #: Which of several who work on its destination has the attempt under way.
    Column("slot", Integer, nullable=False, server_default="0"),
    #: The same message in UTF-8, without prefix (Q-6); NULL: there is none.
    Column("alternative_id", ID, ForeignKey("content.id")),
    Column("alternative_size", BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

Index(
    "job_due",
    job.c.destination,
    job.c.next_attempt,
    sqlite_where=text("hold = 0"),
    postgresql_where=text("hold = 0"),
)
Index(
    "job_in_flight",
    job.c.destination,
    sqlite_where=text("in_flight = 1"),
    postgresql_where=text("in_flight = 1"),
)
Index(
    "job_base",
    job.c.base_id,
    sqlite_where=text("base_id <> 0"),
    postgresql_where=text("base_id <> 0"),
)
Index("job_content", job.c.content_id)
# Few have one, and each content that goes is looked for among them.
Index(
    "job_alternative",
    job.c.alternative_id,
    sqlite_where=text("alternative_id IS NOT NULL"),
    postgresql_where=text("alternative_id IS NOT NULL"),
)
# The order in which people see the queue.
Index("job_next", job.c.next_attempt, job.c.id)
# All that jobs are looked for by, so that a search reads no prefixes; counts an account's.
Index(
    "job_search",
    job.c.account,
    job.c.id,
    job.c.next_attempt,
    job.c.queued,
    job.c.hold,
    job.c.transport,
    job.c.mail_from,
    job.c.rcpt_to,
)
Index(
    "job_from_id",
    job.c.from_id,
    unique=True,
    sqlite_where=text("from_id <> ''"),
    postgresql_where=text("from_id <> ''"),
)

retired_job: Final = Table(
    "retired_job",
    metadata,
    #: The number it had in the queue.
    Column("id", ID, primary_key=True, autoincrement=False),
    *_job_columns(),
    Column("success", SmallInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("last_activity", BigInteger, nullable=False),
    Column("keep_until", BigInteger, nullable=False),
    *_report_columns(),
    *_kind_columns(),
)

Index("retired_job_keep", retired_job.c.keep_until)
Index("retired_job_activity", retired_job.c.last_activity, retired_job.c.id)
Index(
    "retired_job_recipient",
    retired_job.c.account,
    retired_job.c.rcpt_to,
    retired_job.c.last_activity,
)
Index(
    "retired_job_from_id",
    retired_job.c.from_id,
    sqlite_where=text("from_id <> ''"),
    postgresql_where=text("from_id <> ''"),
)


def _hook_columns() -> list[Column[object]]:
    """What a waiting webhook and its history have in common."""
    return [
        Column("account", Text, nullable=False),
        Column("url", Text, nullable=False),
        Column("queue_id", BigInteger, nullable=False, server_default="0"),
        #: Empty for incoming mail.
        Column("event", Text, nullable=False, server_default=""),
        Column("from_id", Text, nullable=False, server_default=""),
        Column("message_id", Text, nullable=False, server_default=""),
        Column("subject", Text, nullable=False, server_default=""),
        Column("extra", Text, nullable=False, server_default="{}"),
        Column("payload", LargeBinary, nullable=False),
        Column("submitted", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("results", Text, nullable=False, server_default="[]"),
    ]


hook: Final = Table(
    "hook",
    metadata,
    Column("id", ID, primary_key=True),
    *_hook_columns(),
    Column("authorization", Text, nullable=False, server_default=""),
    Column("next_attempt", BigInteger, nullable=False),
    Column("last_attempt", BigInteger),
    Column("in_flight", SmallInteger, nullable=False, server_default="0"),
    Column("repeated", SmallInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

Index("hook_due", hook.c.url, hook.c.next_attempt)
Index(
    "hook_in_flight",
    hook.c.url,
    sqlite_where=text("in_flight = 1"),
    postgresql_where=text("in_flight = 1"),
)
Index(
    "hook_queue",
    hook.c.queue_id,
    sqlite_where=text("queue_id <> 0"),
    postgresql_where=text("queue_id <> 0"),
)
# As for jobs, and a scan of rows would read every payload.
Index("hook_search", hook.c.account, hook.c.id, hook.c.event, hook.c.next_attempt, hook.c.submitted)

retired_hook: Final = Table(
    "retired_hook",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    *_hook_columns(),
    #: Whether there was an Authorization header; its value is not kept.
    Column("authorized", SmallInteger, nullable=False),
    Column("success", SmallInteger, nullable=False),
    #: The hook that took its place (Q-76), or 0.
    Column("superseded_by", BigInteger, nullable=False, server_default="0"),
    Column("last_activity", BigInteger, nullable=False),
    Column("keep_until", BigInteger, nullable=False),
)

Index("retired_hook_keep", retired_hook.c.keep_until)
Index(
    "retired_hook_search",
    retired_hook.c.account,
    retired_hook.c.id,
    retired_hook.c.event,
    retired_hook.c.last_activity,
    retired_hook.c.submitted,
)
