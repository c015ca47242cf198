"""
The content of one transaction and what the checks say of it, whatever the number
of its recipients.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.mail.interfaces import IMessageSMTP
from twisted.mail.smtp import SMTPServerError
from twisted.python.failure import Failure

from moxsmtp.interfaces import Client, Hello, Role
from moxsmtp.message.authres import authentication_results, without_own
from moxsmtp.message.header import MAXIMUM_LINES, MAXIMUM_SECTION, parse_header
from moxsmtp.names import Domain, Host, IPAddress
from moxsmtp.receive.checks import Checks
from moxsmtp.receive.prefix import result_fields
from moxsmtp.receive.running import Site
from moxsmtp.receive.verification import Authentication, Reverse, Verification
from moxsmtp.smtp.address import Path

__all__ = ["Checked", "Rules", "Transaction"]

_log: Final = Logger()

#: Octets that are handed on, or read back, at a time.
_PIECE: Final = 1 << 16

#: Octets of content that wait in memory for the checks; more wait in a file.
_IN_MEMORY: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Checked:
    """
    What is known of a message once it is whole.

    @ivar authentication: L{None} if the client has no IP address.
    @ivar fields: Authentication-Results and Received-SPF, as they stand in front
        of a message, lines ending with CRLF.
    """

    authentication: Authentication | None
    fields: bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """What all transactions of a delivery share."""

    checks: Checks
    site: Site
    hostname: Domain
    checked: Callable[[IMessageSMTP, Checked], Any] | None


class _Message(Protocol):
    """@ivar trace: A first line that the client has not sent; L{None}: none comes any more."""

    trace: bytes | None


class Transaction:
    """What the messages of one transaction share."""

    def __init__(
        self, rules: Rules, address: IPAddress | None, hello: Host | None, path: Path | None
    ) -> None:
        self._rules = rules
        self._path = path
        self._client: Client | None = None
        self._reverse: Reverse | None = None
        self._verification: Verification | None = None
        if address is not None:
            self._begin(address, hello)
        self._messages: list[_Message] = []
        self._leader: _Message | None = None
        self._released: tuple[bytes, ...] = ()
        self._header: list[bytes] | None = []
        self._size = 0
        self._pending = bytearray()
        self._content: IO[bytes] | None = None
        self._checking: Deferred[None] | None = None
        self._waiters: list[Deferred[Checked]] = []
        self._outcome: Checked | None = None

    def _begin(self, address: IPAddress, hello: Host | None) -> None:
        rules = self._rules
        client = self._client = Client(
            session_id=0,
            role=Role.SMTP,
            address=address,
            local_address=address,
            hello=Hello(hello, extended=True),
        )
        self._reverse = Reverse(rules.checks, rules.site)
        self._verification = Verification(
            rules.checks,
            rules.site,
            client,
            self._path,
            hostname=rules.hostname,
            reverse=self._reverse.begin(client),
        )

    # -- messages ------------------------------------------------------------------------

    def joined(self, message: _Message) -> None:
        """One recipient's."""
        self._messages.append(message)
        self._leader = self._leader or message

    def expect(self, field: bytes) -> None:
        """The last message's first line will be C{field}, which the client has not sent."""
        self._messages[-1].trace = field

    def left(self, message: _Message) -> None:
        """It has come to its end."""
        if message in self._messages:
            self._messages.remove(message)
        if not self._messages:
            self._cancel()

    # -- content -------------------------------------------------------------------------

    def released(self, message: _Message, line: bytes | None) -> tuple[bytes, ...]:
        """
        Another line has come to C{message}; L{None}: no more come.  All messages
        get the same lines, so those of one are looked at.

        @return: The lines that can go on now.
        @raise SMTPServerError: There is no room, or the header section is larger
            than the checks would look at, or readers may see others in it.
        """
        if message is self._leader:
            self._released = self._end() if line is None else self._take(line)
        return self._released

    def _take(self, line: bytes) -> tuple[bytes, ...]:
        header = self._header
        if header is None:
            self._pending += line + b"\r\n"
            if len(self._pending) >= _PIECE:
                self._flush()
            return (line,)
        if b"\r" in line:
            # A line end to some readers: what follows would be a field to them only.
            header.clear()
            raise SMTPServerError(554, b"bare CR in the header section")
        if b"\n" in line:
            # A line end to most readers, as it is to the checks (S-76); now to all.
            return tuple(chain.from_iterable(map(self._take, line.split(b"\n"))))
        header.append(line)
        self._size += len(line) + 2
        lines = len(header) - (not line)
        if self._size > MAXIMUM_SECTION or lines > MAXIMUM_LINES:
            header.clear()
            raise SMTPServerError(552, b"header section is too large")
        return () if line else self._header_complete(header)

    def _end(self) -> tuple[bytes, ...]:
        lines = () if self._header is None else self._header_complete(self._header)
        self._flush()
        return lines

    def _header_complete(self, lines: list[bytes]) -> tuple[bytes, ...]:
        self._header = None
        section = b"".join(line + b"\r\n" for line in lines)
        if self._verification is not None:
            self._verification.header_complete(section, parse_header(section))
        kept = without_own(section, self._rules.hostname)
        self._write(kept)
        return tuple(kept.split(b"\r\n")[:-1])

    def _flush(self) -> None:
        octets = bytes(self._pending)
        self._pending.clear()
        if self._verification is not None:
            self._verification.body(octets)
        self._write(octets)

    def _write(self, octets: bytes) -> None:
        if self._rules.checked is not None:
            return
        try:
            if self._content is None:
                self._content = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - left() closes it
            self._content.write(octets)
        except OSError:
            _log.failure("no room for a message that waits for its checks")
            raise SMTPServerError(452, b"insufficient storage") from None

    def lines_from(self, offset: int) -> tuple[list[bytes], int]:
        """The whole lines of a piece of the content, and where the next piece begins."""
        content = self._content
        if content is None:
            return [], offset
        content.seek(offset)
        piece = content.read(_PIECE)
        while piece and b"\r\n" not in piece:
            piece += content.read(_PIECE)
        end = piece.rfind(b"\r\n") + 2 if piece else 0
        return piece[:end].split(b"\r\n")[:-1], offset + end

    # -- results -------------------------------------------------------------------------

    def outcome(self) -> Deferred[Checked]:
        """What the checks say, once all of the content has come."""
        if isinstance(self._outcome, Checked):
            return succeed(self._outcome)
        waiter: Deferred[Checked] = Deferred()
        self._waiters.append(waiter)
        if self._checking is None:
            checking = Deferred.fromCoroutine(self._check())
            self._checking = checking.addCallbacks(self._settle, self._give_up)
        return waiter

    async def _check(self) -> Checked:
        authentication = None
        if self._verification is not None:
            await self._verification.identities()
            authentication = await self._verification.authentication()
        return Checked(authentication, self._fields(authentication))

    def _fields(self, authentication: Authentication | None) -> bytes:
        hostname = self._rules.hostname
        if authentication is not None and self._client is not None:
            try:
                return result_fields(
                    authentication,
                    client=self._client,
                    reverse_path=self._path,
                    hostname=hostname,
                    receiver=hostname,
                    smtputf8=False,
                )
            except Exception:  # noqa: BLE001 - nothing is awaited; it is no harm to the message
                _log.failure("results of checks cannot be written")
        return authentication_results(hostname, (), smtputf8=False)

    def _settle(self, outcome: Checked) -> None:
        self._outcome = outcome
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(outcome)

    def _give_up(self, failure: Failure) -> None:
        self._checking = None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(failure)

    def _cancel(self) -> None:
        """Nobody wants to know any more."""
        if self._verification is not None:
            self._verification.cancel()
        if self._reverse is not None:
            self._reverse.cancel()
        if self._content is not None:
            self._content.close()
