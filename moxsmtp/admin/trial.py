"""What the checks would say of a message, and what they asked for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from twisted.internet.interfaces import IReactorTime

from moxsmtp.bridge.surroundings import Log, Uncounted
from moxsmtp.dns.recording import RecordingResolver
from moxsmtp.dns.records import Answer, LookupFailed, Question
from moxsmtp.interfaces import Client, Hello, IResolver, Role
from moxsmtp.message.authres import without_own
from moxsmtp.message.header import parse_header
from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.receive.checks import dns_checks
from moxsmtp.receive.prefix import result_fields
from moxsmtp.receive.running import Site
from moxsmtp.receive.verification import Authentication, Reverse, Verification
from moxsmtp.smtp.address import Path

__all__ = ["Envelope", "Trial", "try_message"]

_LINE_END: Final = re.compile(rb"\r?\n")
_END: Final = re.compile(rb"(?:\A|\r\n)\r\n")


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    How a message comes.

    @ivar hello: L{None} if nothing usable was given.
    @ivar hostname: Ours.
    @ivar smtputf8: It is internationalized.
    """

    address: IPAddress
    reverse_path: Path | None
    hello: Host | None
    hostname: Domain
    smtputf8: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """
    @ivar fields: Authentication-Results and Received-SPF as they would be
        written, lines ending with CRLF.
    @ivar is_forged: The message has Authentication-Results that claim to be
        ours; they would be removed.
    @ivar listed_organization: Of the author that DMARC judged, by the public
        suffix list; L{None}: there is none.
    @ivar looked_up: In the order of the answers; a repeated question once.
    """

    authentication: Authentication
    fields: bytes
    is_forged: bool
    listed_organization: Domain | None
    looked_up: tuple[tuple[Question, Answer | LookupFailed], ...]


async def try_message(
    clock: IReactorTime, resolver: IResolver, envelope: Envelope, message: bytes
) -> Trial:
    """
    Check a message as if it came in now.

    @param message: Its lines end with CRLF or LF.
    """
    recording = RecordingResolver(resolver)
    suffixes = PublicSuffixes()
    checks = dns_checks(
        recording,
        clock=clock,
        now=lambda: datetime.fromtimestamp(clock.seconds(), UTC),
        is_public_suffix=suffixes.is_public_suffix,
    )
    site = Site(clock, Uncounted(), Log())
    client = Client(
        session_id=0,
        role=Role.SMTP,
        address=envelope.address,
        local_address=envelope.address,
        hello=Hello(envelope.hello, extended=True),
    )
    verification = Verification(
        checks,
        site,
        client,
        envelope.reverse_path,
        hostname=envelope.hostname,
        reverse=Reverse(checks, site).begin(client),
    )
    message = _LINE_END.sub(b"\r\n", message)
    end = _END.search(message)
    section = message if end is None else message[: end.end()]
    verification.header_complete(section, parse_header(section))
    verification.body(message[len(section) :])
    await verification.identities()
    authentication = await verification.authentication()
    fields = result_fields(
        authentication,
        client=client,
        reverse_path=envelope.reverse_path,
        hostname=envelope.hostname,
        receiver=envelope.hostname,
        smtputf8=envelope.smtputf8,
    )
    author = authentication.dmarc.author
    return Trial(
        authentication,
        fields,
        without_own(section, envelope.hostname) != section,
        None if author is None else suffixes.organizational_domain(author),
        tuple({question: (question, found) for question, found in recording.looked_up}.values()),
    )
