"""
The control socket: an operator's commands, carried out in the running server.

Whoever may open the socket may do everything; the socket has mode 0600 and lies
in the data folder.
"""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IPushProducer,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moxsmtp.admin.wire import MAXIMUM_REQUEST, decoded, encoded, short_path
from moxsmtp.interfaces import InsufficientStorage, StorageUnavailable
from moxsmtp.mailbox.maildir import Vanished
from moxsmtp.store.errors import StoreError

__all__ = ["Command", "CommandFailed", "ControlFactory", "ControlService", "Send"]

#: Hands one object to the client; awaited, so that a slow client slows the command.
Send = Callable[[Mapping[str, object]], Awaitable[None]]

#: Carries out one command.
Command = Callable[[Mapping[str, Any], Send], Awaitable[None]]

#: Connections at once.
_CONNECTIONS: Final = 20

#: Seconds for a client to say what it wants, and to take what it asked for.
_REQUEST_TIME: Final = 30.0
_WRITE_TIME: Final = 120.0


class CommandFailed(Exception):
    """A command cannot be carried out; the text tells the operator why."""


@implementer(IPushProducer)
class _Control(Protocol):
    """One connection, one command."""

    factory: ControlFactory

    def __init__(self) -> None:
        self._received = bytearray()
        self._is_asked = False
        self._running: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    # -- bytes --

    def connectionMade(self) -> None:
        """Wait for the request, not for ever."""
        self.factory.open.add(self)
        self._expect(_REQUEST_TIME)
        cast("Any", self.transport).registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Collect the request; what stands behind it is nothing."""
        if self._is_asked:
            return
        # Only what is new is searched: a request in single octets stays cheap.
        start = len(self._received)
        self._received += data
        end = self._received.find(b"\n", start)
        if end < 0 and len(self._received) < MAXIMUM_REQUEST:
            return
        self._is_asked = True
        if self._drained is None:
            self._expect(None)
        if not 0 <= end < MAXIMUM_REQUEST:
            self._finish({"error": f"a request has at most {MAXIMUM_REQUEST} octets"})
            return
        request = bytes(self._received[:end])
        self._received.clear()
        running = Deferred.fromCoroutine(self._run(request))
        self._running = running.addErrback(self._broken)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - Twisted's
        """Nobody is there to hear more: the command is cancelled."""
        self.factory.open.discard(self)
        self._expect(None)
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.cancel()
        if self._running is not None:
            self._running.cancel()

    def abort(self) -> None:
        """End at once."""
        cast("Any", self.transport).abortConnection()

    def _expect(self, seconds: float | None) -> None:
        """Something has to happen within C{seconds}; L{None}: no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = self.factory.clock.callLater(seconds, self.abort)

    # -- producing --

    def pauseProducing(self) -> None:
        """The client is slower than we are."""
        if self._drained is None:
            self._drained = Deferred()
            self._expect(_WRITE_TIME)

    def resumeProducing(self) -> None:
        """Go on."""
        if self._drained is not None:
            drained, self._drained = self._drained, None
            self._expect(None if self._is_asked else _REQUEST_TIME)
            drained.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} does the rest."""

    async def _send(self, entry: Mapping[str, object]) -> None:
        cast("ITransport", self.transport).write(encoded(entry))
        if self._drained is not None:
            await self._drained

    # -- commands --

    async def _run(self, line: bytes) -> None:
        try:
            await self._obey(line)
        except CommandFailed as error:
            self._finish({"error": str(error)})
        except (StoreError, InsufficientStorage, StorageUnavailable, Vanished, OSError) as error:
            self._finish({"error": _plain(error)})
        else:
            self._finish({"done": True})

    async def _obey(self, line: bytes) -> None:
        try:
            request = decoded(line)
        except ValueError as error:
            raise CommandFailed(f"the request is {error}") from None
        command = self.factory.commands.get(str(request.get("command")))
        if command is None:
            raise CommandFailed("the server does not know this command; is it an older version?")
        arguments = request.get("arguments")
        await command(arguments if isinstance(arguments, dict) else {}, self._send)

    def _broken(self, failure: Failure) -> None:
        """The end of the coroutine: cancelled with the connection, or a bug."""
        if failure.check(CancelledError):
            return
        self.factory.log.failure("a command of the operator failed", failure)
        self._finish({"error": "internal error; the server's log has more"})

    def _finish(self, entry: Mapping[str, object]) -> None:
        transport = cast("Any", self.transport)
        transport.write(encoded(entry))
        transport.unregisterProducer()
        transport.loseConnection()
        self._expect(_WRITE_TIME)


def _plain(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


class ControlFactory(Factory):
    """
    Makes a connection's protocol.

    @ivar open: Connections.
    """

    noisy = False
    log = Logger()

    def __init__(self, commands: Mapping[str, Command], clock: IReactorTime) -> None:
        self.commands = commands
        self.clock = clock
        self.open: set[_Control] = set()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # noqa: ARG002 - Twisted's
        """@return: L{None}: there are too many, the connection is closed."""
        if len(self.open) >= _CONNECTIONS:
            return None
        protocol = _Control()
        protocol.factory = self
        return protocol


class ControlService(Service):
    """
    Listens in the data folder, whose lock the caller holds: a socket that is
    there already belongs to a dead server.

    @param reactor: C{IReactorUNIX} and C{IReactorTime}.
    """

    def __init__(self, folder: str, commands: Mapping[str, Command], reactor: Any) -> None:
        self._folder = folder
        self._reactor = reactor
        self._factory = ControlFactory(commands, cast("IReactorTime", reactor))
        self._port: IListeningPort | None = None
        self._path = ExitStack()

    def startService(self) -> None:
        """
        Listen.

        @raise OSError: The socket cannot be made.
        @raise CannotListenError: The same, from Twisted.
        """
        path = self._path.enter_context(short_path(self._folder))
        try:
            _remove_stale(path)
            reactor = cast("IReactorUNIX", self._reactor)
            self._port = reactor.listenUNIX(path, self._factory, mode=0o600, wantPID=False)
        except BaseException:
            self._path.close()
            raise
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's has no annotations

    async def _stop(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            stopped = port.stopListening()
            if isinstance(stopped, Deferred):
                await stopped
        self._path.close()

    def stopService(self) -> Deferred[None]:
        """Stop listening, and cut commands short."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        for connection in list(self._factory.open):
            connection.abort()
        return Deferred.fromCoroutine(self._stop())


def _remove_stale(path: str) -> None:
    """@raise OSError: Something that is no socket has its name."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(0, "is in the way of the control socket; move it", path)
    Path(path).unlink()
