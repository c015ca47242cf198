"""
A delivery of C{twisted.mail} with our checks before it.

C{twisted.mail} gives the message of each recipient the lines of the content,
without their ends, and before them its own Received field as one line.  It does
not tell a delivery that a transaction was given up before DATA: what was begun
by then ends by its time limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import Address, User
from zope.interface import implementer

from moxsmtp.bridge.surroundings import Log, Uncounted, client_of, path_of
from moxsmtp.bridge.transaction import Checked, Rules, Transaction
from moxsmtp.interfaces import IMetrics, IResolver
from moxsmtp.names import Domain
from moxsmtp.public_suffix import PublicSuffixes
from moxsmtp.receive.checks import dns_checks
from moxsmtp.receive.running import Site

__all__ = ["CheckedDelivery"]


@implementer(IMessageDelivery)
class CheckedDelivery:
    """
    A delivery whose messages have been through SPF, DKIM, DMARC and iprev.

    Fields that claim to be Authentication-Results of ours are taken out of the
    messages.  Every check has a time limit, and none can harm a message.  A header
    section of more than 1 MiB or 20000 lines is refused with 552, one with a bare CR
    with 554, and a bare LF in it becomes a line end: whoever reads the message shall
    see the fields that were checked.

    Without C{checked}, a message waits until all is known and is then given to
    the delivery, our fields in front: up to 256 KiB of it wait in memory, the
    rest in a temporary file.  With C{checked} its lines go on as they come, but
    for the header section, which goes on when it is complete.

    One may serve many connections at a time.
    """

    def __init__(
        self,
        delivery: IMessageDelivery,
        *,
        resolver: IResolver,
        hostname: Domain,
        clock: IReactorTime,
        public_suffixes: PublicSuffixes,
        checked: Callable[[IMessageSMTP, Checked], Any] | None = None,
        metrics: IMetrics | None = None,
    ) -> None:
        """
        @param hostname: Ours: the authserv-id, and the receiver that SPF knows.
        @param clock: The reactor; its seconds are those since 1970.
        @param checked: Called with each recipient's message, as the delivery
            made it, before its C{eomReceived}; may answer later.  What it
            raises is the message's end: the client is told 550.
        """
        self.delivery = delivery
        self._rules = Rules(
            dns_checks(
                resolver,
                clock=clock,
                now=lambda: datetime.fromtimestamp(clock.seconds(), UTC),
                is_public_suffix=public_suffixes.is_public_suffix,
            ),
            Site(clock, metrics or Uncounted(), Log()),
            hostname,
            checked,
        )

    def receivedHeader(
        self, helo: tuple[bytes, bytes], origin: Address, recipients: list[User]
    ) -> bytes:
        """See L{IMessageDelivery.receivedHeader}."""
        field: bytes = self.delivery.receivedHeader(helo, origin, recipients)
        if isinstance(origin, _Sender):
            origin.transaction.expect(field)
        return field

    def validateFrom(
        self, helo: tuple[bytes | None, bytes | str], origin: Address
    ) -> Deferred[Address | None]:
        """See L{IMessageDelivery.validateFrom}.  Checks begin if the delivery agrees."""
        rules = self._rules

        def begin(accepted: Any) -> Address | None:
            if accepted is None:
                return None
            return _Sender(accepted, Transaction(rules, *client_of(helo), path_of(origin)))

        validated = maybeDeferred(self.delivery.validateFrom, helo, origin)
        return validated.addCallback(begin)

    def validateTo(self, user: User) -> Any:
        """See L{IMessageDelivery.validateTo}."""
        to = self.delivery.validateTo(user)
        if not isinstance(user.orig, _Sender):
            return to
        transaction = user.orig.transaction

        def wrapped(make: Callable[[], IMessageSMTP]) -> Callable[[], IMessageSMTP]:
            return lambda: _Message(transaction, make(), self._rules)

        return to.addCallback(wrapped) if isinstance(to, Deferred) else wrapped(to)


class _Sender(Address):
    """The sender of a transaction; C{twisted.mail} carries it to its recipients."""

    def __init__(self, address: Address, transaction: Transaction) -> None:
        super().__init__(address)  # type: ignore[no-untyped-call]  # twisted.mail has no types
        self.transaction = transaction


@implementer(IMessageSMTP)
class _Message:
    """
    One recipient's.

    @ivar trace: The Received field of C{twisted.mail}, until it has come.
    """

    def __init__(self, transaction: Transaction, message: IMessageSMTP, rules: Rules) -> None:
        self._transaction = transaction
        self._message = message
        self._rules = rules
        self.trace: bytes | None = None
        self._added: tuple[bytes, ...] = ()
        transaction.joined(self)

    def lineReceived(self, line: bytes) -> None:
        """See L{IMessageSMTP.lineReceived}."""
        trace, self.trace = self.trace, None
        if not trace or line is not trace:
            self._go_on(self._transaction.released(self, line))
        elif self._rules.checked is None:
            self._added = (line,)
        else:
            self._go_on((line,))

    def eomReceived(self) -> Deferred[Any]:
        """See L{IMessageSMTP.eomReceived}."""
        return Deferred.fromCoroutine(self._end())

    def connectionLost(self) -> None:
        """See L{IMessageSMTP.connectionLost}."""
        self._transaction.left(self)
        self._message.connectionLost()

    def _go_on(self, lines: Iterable[bytes]) -> None:
        """Nothing goes on yet to a message that is to have fields in front."""
        if self._rules.checked is not None:
            for line in lines:
                self._message.lineReceived(line)

    async def _end(self) -> Any:
        try:
            self._go_on(self._transaction.released(self, None))
            outcome = await self._transaction.outcome()
            if self._rules.checked is None:
                await self._replay(outcome.fields)
            else:
                await maybeDeferred(self._rules.checked, self._message, outcome)
        except BaseException:
            self._message.connectionLost()
            raise
        finally:
            self._transaction.left(self)
        return await maybeDeferred(self._message.eomReceived)

    async def _replay(self, fields: bytes) -> None:
        """Give the message all of it, a piece at a time, so that others get their turn."""
        lines = [*fields.split(b"\r\n")[:-1], *self._added]
        offset = 0
        while lines:
            for line in lines:
                self._message.lineReceived(line)
            begun = offset
            lines, offset = self._transaction.lines_from(begun)
            if lines and begun:
                await deferLater(self._rules.site.clock, 0)
