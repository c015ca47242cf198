"""
Where requests may connect to: the addresses of a name are checked, and what
was checked is connected to, so that no second answer of the DNS leads
elsewhere.  What comes back is bounded, whichever part of an answer it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from moxsmtp.dns.records import Answer, Question, RRType
from moxsmtp.https.addresses import AddressPolicy
from moxsmtp.interfaces import IResolver
from moxsmtp.names import IPAddress

__all__ = ["AddressRefused", "CheckedEndpoints", "IReactorTCPTime", "TLSFor"]

#: TLS towards a host that has to prove its name.
TLSFor = Callable[[str], IOpenSSLClientConnectionCreator]

#: Seconds for one TCP connection.
_CONNECT: Final = 10

#: Seconds for the other side to agree to an end.
_GOODBYE: Final = 5

#: Addresses of one name that are tried.
_ADDRESSES: Final = 4

#: Octets that may come in answer to one request, its header and the marks between
#: chunks included: there is no other bound on how many fields a header has.
_LARGEST_ANSWER: Final = 1024 * 1024


class IReactorTCPTime(IReactorTCP, IReactorTime):
    """What calling takes of a reactor."""


class AddressRefused(Exception):
    """A host has no address that may be called."""


@implementer(IAgentEndpointFactory)
class CheckedEndpoints:
    """Gives an HTTP agent endpoints that connect only where the policy allows."""

    def __init__(
        self, reactor: IReactorTCPTime, resolver: IResolver, tls_for: TLSFor, policy: AddressPolicy
    ) -> None:
        self.reactor = reactor
        self.tls_for = tls_for
        self.policy = policy
        self._resolver = resolver

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """An endpoint for the host, port and scheme of C{uri}."""
        return _CheckedEndpoint(self, uri)

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        """
        Where C{host} may be connected to.

        @raise AddressRefused: It has addresses, or none, but not one allowed.
        @raise LookupFailed: The DNS does not answer.
        """
        found = await self._resolve(host)
        allowed = [address for address in found if self.policy.allows(address)]
        if not allowed:
            reason = "address not allowed" if found else "no address"
            raise AddressRefused(f"{host}: {reason}")
        return allowed[:_ADDRESSES]

    async def _resolve(self, host: str) -> Sequence[IPAddress]:
        if host == "localhost":  # RFC 6761 section 6.3
            return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        asked = [self._resolver.lookup(Question(host, kind)) for kind in (RRType.A, RRType.AAAA)]
        found: list[IPAddress] = []
        failures: list[Failure] = []
        # Its type forgets that an answer may be a failure.
        answers = cast(
            "list[tuple[bool, Answer | Failure]]", await DeferredList(asked, consumeErrors=True)
        )
        for _, answer in answers:
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                found += [ip_address(str(record)) for record in answer.records]
        if failures and not found:
            failures[0].raiseException()
        return found


class _Closing(ProtocolWrapper):
    """
    A connection that ends for sure: over TLS, C{loseConnection} alone waits for
    the other side, and goes on reading, without limit.
    """

    _limit: IDelayedCall | None = None
    _seen = 0

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """The header of a request, whose answer is measured anew."""
        self._seen = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]  # Twisted gives it no types

    def dataReceived(self, data: bytes) -> None:
        """Part of an answer; one without end is hung up on."""
        self._seen += len(data)
        if self._seen > _LARGEST_ANSWER:
            self.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted gives it no types

    def loseConnection(self) -> None:
        """Say goodbye, and hang up if there is no answer."""
        super().loseConnection()  # type: ignore[no-untyped-call]  # Twisted gives it no types
        factory = self.factory
        if self._limit is None and isinstance(factory, _Bounded):
            self._limit = factory.clock.callLater(_GOODBYE, self.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted gives it no types


class _Bounded(WrappingFactory):
    """Wraps what an HTTP agent connects."""

    protocol = _Closing
    noisy = False

    def __init__(self, clock: IReactorTime, factory: IProtocolFactory) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted gives it no types
        self.clock = clock
        if isinstance(factory, Factory):
            # An agent makes one for each connection; each start and stop would be a line.
            factory.noisy = False


@implementer(IStreamClientEndpoint)
class _CheckedEndpoint:
    """One host and port."""

    def __init__(self, parent: CheckedEndpoints, uri: URI) -> None:
        self._parent = parent
        self._host = uri.host.decode("ascii").rstrip(".").lower()
        self._port = uri.port
        self._secure = uri.scheme == b"https"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the first address that answers."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        last: ConnectError | None = None
        for address in await self._parent.addresses(self._host):
            try:
                connected = await self._endpoint(address).connect(
                    _Bounded(self._parent.reactor, factory)
                )
            except ConnectError as error:
                last = error
                continue
            if not isinstance(connected, _Closing):
                raise TypeError("an endpoint gave another protocol than its factory")
            return connected.wrappedProtocol
        raise last or AddressRefused(self._host)

    def _endpoint(self, address: IPAddress) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if address.version == 6 else TCP4ClientEndpoint
        endpoint = kind(self._parent.reactor, str(address), self._port, timeout=_CONNECT)
        if self._secure:
            return wrapClientTLS(self._parent.tls_for(self._host), endpoint)
        return endpoint
