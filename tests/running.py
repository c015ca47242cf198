"""A server without a reactor that runs: what tests of its joints stand on."""

from __future__ import annotations

import gc
import queue
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site
from zope.interface import implementer

from moxsmtp.config.settings import HTTPSettings, Settings
from moxsmtp.directory import DomainSettings
from moxsmtp.dns.records import Answer, Question, RRType
from moxsmtp.interfaces import Account, IOwnResolver, IResolver
from moxsmtp.names import Domain, parse_domain
from moxsmtp.outbound.next_hop import FixedRoute
from moxsmtp.receive.checks import Checks
from moxsmtp.receive.policy import IPolicy, Welcome
from moxsmtp.receive.settings import DelaySettings, ListenerSettings, ServiceSettings
from moxsmtp.service import Server
from moxsmtp.store.folder import DataFolder
from moxsmtp.store.settings import StoreSettings
from moxsmtp.surroundings import Internet
from moxsmtp.testing import MemoryResolver
from tests.store.prepared import put_empty

__all__ = ["LOOPBACK", "STARTED", "Alone", "Port", "RunningCase", "StillReactor", "Visitor"]

T = TypeVar("T")

LOOPBACK = IPv4Address("127.0.0.1")

#: When the clock of L{StillReactor} begins.
STARTED = 1_700_000_000

#: Seconds of real time between two looks while no thread speaks.
_LOOK = 0.05

#: So many looks without a word from a thread, and none is to be expected any more.
_LOOKS = 400


class Port:
    """A socket that was handed to the reactor."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.is_open = True

    def stopListening(self) -> Deferred[None]:
        """See C{IListeningPort}."""
        self.is_open = False
        return succeed(None)


@implementer(IReactorFromThreads)
class StillReactor(MemoryReactorClock):
    """
    Time passes when a test says so, and threads are heard while it waits.

    @ivar ports: Sockets in the order in which they came.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = float(STARTED)
        self.ports: list[Port] = []
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def adoptStreamPort(self, fileno: int, addressFamily: int, factory: Any) -> Port:
        """See C{IReactorSocket}."""
        self.ports.append(Port(factory))
        return self.ports[-1]

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> Port:
        """See C{IReactorUNIX}."""
        super().listenUNIX(address, factory, backlog, mode, wantPID)
        return Port(factory)

    def callFromThread(
        self,
        callable: Callable[..., Any],  # noqa: A002  # the interface calls it so
        *args: object,
        **kwargs: object,
    ) -> None:
        """See C{IReactorFromThreads}."""
        self._queue.put(lambda: callable(*args, **kwargs))

    def until(self, done: Callable[[], object]) -> None:
        """
        Hear threads.

        Where asking C{done} hears them too, it may hear the very last of them and still
        answer what was so before: it is asked again although nobody speaks.

        @raise AssertionError: It does not come to pass.
        """
        self.advance(0)
        looks = 0
        while not done():
            try:
                self._queue.get(timeout=_LOOK)()
                looks = 0
            except queue.Empty:
                looks += 1
            if looks == _LOOKS:
                raise AssertionError("nothing happens any more")
            self.advance(0)

    def hear(self, seconds: float) -> bool:
        """
        Hear one thread, if one speaks within so many seconds of real time.

        @return: One did.
        """
        try:
            self._queue.get(timeout=seconds)()
        except queue.Empty:
            return False
        return True

    def patiently(self, is_over: Callable[[], object]) -> bool:
        """
        Let time pass, by seconds, and hear threads, later for longer at each step:
        what is under way may begin to wait only once a slow thread has answered.

        @return: It came to its end.
        """
        for step in range(300):
            if is_over():
                return True
            self.advance(1)
            _ = self.hear(0.02 if step < 100 else 0.2)
        return False

    def sleeps(self, seconds: float) -> bool:
        """Whether something waits just so long."""
        due = self.seconds() + seconds
        return any(abs(call.getTime() - due) < 0.01 for call in self.getDelayedCalls())


class Visitor:
    """Talks SMTP to what a socket serves."""

    def __init__(self, reactor: StillReactor, factory: Any) -> None:
        self._reactor = reactor
        self.transport = StringTransport(
            hostAddress=address.IPv4Address("TCP", "127.0.0.1", 25),
            peerAddress=address.IPv4Address("TCP", "127.0.0.1", 9),
        )
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    def reply(self) -> list[str]:
        """The lines of the next one."""

        def lines() -> list[str]:
            written: bytes = self.transport.value()
            return written.decode().split("\r\n")

        self._reactor.until(lambda: len(lines()) > 1 and lines()[-2][3:4] == " ")
        found = lines()[:-1]
        self.transport.clear()
        return found

    def say(self, line: str) -> list[str]:
        """A command and its reply."""
        self.protocol.dataReceived(line.encode() + b"\r\n")
        return self.reply()

    def code(self, line: str) -> str:
        """A command and the code of its reply."""
        return self.say(line)[-1][:3]

    def send(self, recipient: str, sender: str = "somebody@far.example") -> str:
        """Hand in a message; the code of the last reply, or of the first that refuses."""
        code = ""
        for line, wanted in (
            (f"MAIL FROM:<{sender}>", "250"),
            (f"RCPT TO:<{recipient}>", "250"),
            ("DATA", "354"),
            (f"From: <{sender}>\r\nSubject: a\r\n\r\nb\r\n.", "250"),
        ):
            code = self.code(line)
            if code != wanted:
                self.code("RSET")
                break
        return code


@implementer(IOwnResolver)
class _Resolver(MemoryResolver):
    """One that can be closed."""

    def __init__(self) -> None:
        super().__init__({Question("far.example", RRType.A): ("192.0.2.25",)})
        self.is_closed = False

    def lookup(self, question: Question) -> Deferred[Answer]:
        """See L{IResolver}."""
        return super().lookup(question)

    def close(self) -> Deferred[None]:
        """See L{IOwnResolver}."""
        self.is_closed = True
        return succeed(None)


class Alone:
    """
    Surroundings with nothing in them; mail leaves for port 2525 of this machine.

    @ivar trouble: Of the resolver.
    @ivar is_public_suffix: What the resolver was given.
    """

    allow_loopback = True
    passwords: Mapping[str, str] = {}
    strict_mime = False

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.own = _Resolver()
        self.is_public_suffix: Callable[[Domain], bool] = lambda _: False

    def prepare(self, settings: Settings, now: datetime) -> Settings:
        """Nothing."""
        return settings

    def resolver(
        self, settings: Settings, reactor: Any, is_public_suffix: Callable[[Domain], bool]
    ) -> IOwnResolver:
        """One that knows where somebody@far.example can be answered."""
        self.is_public_suffix = is_public_suffix
        return self.own

    def checks(
        self,
        settings: Settings,
        resolver: IResolver,
        reactor: Any,
        is_public_suffix: Callable[[Domain], bool],
    ) -> Checks:
        """As on the internet."""
        return Internet().checks(settings, resolver, reactor, is_public_suffix)

    def route(self, settings: Settings, resolver: IResolver, reactor: Any) -> FixedRoute:
        """Away."""
        return FixedRoute(LOOPBACK, 2525)

    def policy(self, reactor: Any) -> IPolicy:
        """Everybody is welcome."""
        return Welcome()

    async def resolver_trouble(self, resolver: IResolver) -> str | None:
        """As the test says."""
        return self.trouble

    def announcement(self, settings: Settings) -> str:
        """Nothing."""
        return ""


class RunningCase(SynchronousTestCase):
    """
    @ivar folder: Vanishes with the test.
    """

    def setUp(self) -> None:
        """A folder and a reactor."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.reactor = StillReactor()

    def settings(self, **others: Any) -> Settings:
        """
        Of a server with one account, alice, and port 25 on a port of the system's choice,
        to which nothing has happened.
        """
        data = DataFolder(self.folder / "data")
        if not data.path.exists():
            data.path.mkdir(mode=0o700)
            put_empty(data.database)
        chosen: dict[str, Any] = {
            "hostname": parse_domain("mx.ours.example"),
            "postmaster": "alice",
            "data_directory": str(data.path),
            "listeners": (
                ListenerSettings(
                    name="public",
                    addresses=(LOOPBACK,),
                    smtp=ServiceSettings(enabled=True, port=0),
                ),
            ),
            "domains": {parse_domain("ours.example"): DomainSettings()},
            "accounts": (Account("alice", addresses=("alice@ours.example",)),),
            "http": HTTPSettings(port=0),
            "store": StoreSettings(minimum_free=0),
            "delays": DelaySettings(
                slow_client=timedelta(), authentication=timedelta(), unknown_recipient=timedelta()
            ),
        }
        return Settings(**{**chosen, **others})

    def result(self, asked: Awaitable[T]) -> T:
        """What it comes to."""

        async def answered() -> T:
            return await asked

        answer = Deferred.fromCoroutine(answered())
        self.reactor.until(lambda: answer.called)
        return self.successResultOf(answer)

    def running(self, server: Server) -> Server:
        """Start it and wait until all is served; it is stopped with the test."""
        server.privilegedStartService()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(self.stop, server)
        server.startService()
        self.reactor.until(lambda: any(isinstance(port.factory, Site) for port in self.ports))
        return server

    @property
    def ports(self) -> list[Port]:
        """Sockets that the server has, those for mail first."""
        return self.reactor.ports

    def stop(self, server: Server) -> None:
        """
        Wait for its end.  Where that does not come, the test fails, but no
        thread is left that would keep the whole run from ending.
        """
        if server.running:
            pools = (server._parts.engine.pool, server._parts.engine.hashing)
            try:
                stopped = server.stopService()
                _ = self.reactor.patiently(lambda: stopped.called)
                self.successResultOf(stopped)
            finally:
                for pool in pools:
                    if pool.started:
                        pool.stop()

    def get(self, path: str) -> bytes:
        """What monitors are answered, with its status line."""
        (site,) = (port.factory for port in self.ports if isinstance(port.factory, Site))
        protocol: Any = site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        self.reactor.until(transport.value)
        protocol.connectionLost(Failure(ConnectionDone()))
        answer: bytes = transport.value()
        return answer
