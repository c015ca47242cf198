"""Connects through a SOCKS5 proxy.  RFC 1928."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from moxsmtp.names import IPAddress
from moxsmtp.outbound.socks_reply import SocksRefused, SocksRequest

__all__ = ["SocksFailed", "socks_connect"]

#: Connects a protocol to an address and port within so many seconds.
_Connect = Callable[[Protocol, IPAddress, int, float], Deferred[None]]

#: However many addresses the proxy has, each gets this long.
_SHORTEST: Final = 1.0


class SocksFailed(ConnectError):
    """The proxy cannot be reached, or made no connection; the text says which and why."""

    def __init__(self, text: str) -> None:
        super().__init__(string=text)  # type: ignore[no-untyped-call]  # Twisted has no annotation

    def __str__(self) -> str:
        """Without the words of the base class."""
        return str(self.args[0])


def socks_connect(
    connect: _Connect, addresses: Sequence[IPAddress], port: int, clock: IReactorTime
) -> _Connect:
    """
    Connect as C{connect} does, but through a proxy.

    @param addresses: Of the proxy; tried one after the other until one can be
        connected to.
    @param clock: One that nobody sets.
    @return: Raises L{SocksFailed} or C{twisted.internet.error.TimeoutError}.
    """

    async def through(
        protocol: Protocol, address: IPAddress, remote_port: int, seconds: float
    ) -> None:
        deadline = clock.seconds() + seconds
        dial = await _reached(SocksRequest(address, remote_port), protocol, deadline)
        await dial.opened

    async def _reached(request: SocksRequest, protocol: Protocol, deadline: float) -> _Introduction:
        """Connected to the proxy, which has been greeted."""
        error = SocksFailed("the proxy has no address")
        for place, proxy in enumerate(addresses):
            left = deadline - clock.seconds()
            dial = _Introduction(request, protocol, clock, deadline)
            try:
                await connect(dial, proxy, port, max(left / (len(addresses) - place), _SHORTEST))
            except CancelledError:
                raise
            except (ConnectError, OSError) as failed:
                error = SocksFailed(f"the proxy ({proxy}) cannot be reached: {failed}")
            else:
                return dial
        raise error

    return lambda protocol, address, remote_port, seconds: Deferred.fromCoroutine(
        through(protocol, address, remote_port, seconds)
    )


class _Introduction(Protocol):
    """
    A connection to the proxy until that to the other end stands.  Then its
    protocol takes the place at the transport, so that nothing stands between.

    @ivar opened: Fires then; cancelling it ends the connection.
    """

    #: TCP or a double: what delivers to its attribute C{protocol}.
    transport: Any

    def __init__(
        self, request: SocksRequest, protocol: Protocol, clock: IReactorTime, deadline: float
    ) -> None:
        self.opened: Deferred[None] = Deferred(self._cancel)
        self._request = request
        self._protocol = protocol
        self._clock = clock
        self._deadline = deadline
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Greet."""
        left = max(self._deadline - self._clock.seconds(), 0.0)
        self._timer = self._clock.callLater(left, self._fail, ConnectTimeout())
        self.transport.write(self._request.greeting)

    def dataReceived(self, data: bytes) -> None:
        """What the proxy says, and perhaps the first of what the other end does."""
        if self.opened.called:
            return
        try:
            answer = self._request.receive(data)
        except SocksRefused as refused:
            self._fail(SocksFailed(str(refused)))
            return
        if answer:
            self.transport.write(answer)
        if not self._request.is_open:
            return
        self._stop_timer()
        transport = self.transport
        transport.protocol = self._protocol
        self._protocol.makeConnection(transport)
        self.opened.callback(None)
        if self._request.rest:
            self._protocol.dataReceived(self._request.rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It ended before there was a connection to the other end."""
        if not self.opened.called:
            text = f"the proxy closed the connection: {reason.getErrorMessage()}"
            self._fail(SocksFailed(text))

    def _fail(self, error: Exception) -> None:
        self._end()
        self.opened.errback(error)

    def _cancel(self, opened: Deferred[None]) -> None:
        del opened
        self._end()

    def _end(self) -> None:
        self._stop_timer()
        if self.transport is not None:
            self.transport.abortConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
