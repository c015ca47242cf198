"""A worker process as its parent sees it."""

from __future__ import annotations

import errno
import os
import signal
import site
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IWriteDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import moxsmtp
from moxsmtp.worker.channel import Channel, open_channel
from moxsmtp.worker.frames import Message
from moxsmtp.worker.passing import Arrival, send_connection, socket_pair

__all__ = ["CONTROL", "PASSING", "ILink", "Spawner", "Watcher"]

#: Descriptors of a worker: messages, connections, the lock of the data folder.
CONTROL: Final = 3
PASSING: Final = 4
_LOCK: Final = 5

#: Connections that wait for a worker before no more are accepted.
_CLOGGED: Final = 64

#: Octets of a line that never ends.
_LINE: Final = 1024 * 1024

#: Too many descriptors are under way between processes, or the system is short of
#: memory.  unix(7).
_NOT_NOW: Final = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})

#: Signals that are for the parent alone.
_OURS: Final = frozenset({signal.SIGHUP, signal.SIGINT})

#: Seconds until that may have changed.
_REST: Final = 0.1

_log: Final = Logger()


class ILink(Protocol):
    """
    A worker process.

    @ivar is_clogged: It does not take connections as fast as they come.
    """

    @property
    def pid(self) -> int:
        """Its number with the system."""

    @property
    def is_clogged(self) -> bool:
        """See above."""

    def tell(self, message: Message) -> None:
        """Say something."""

    def pass_on(self, connection: socket.socket, arrival: Arrival) -> None:
        """Give it a connection, which is not ours any more."""

    def kill(self) -> None:
        """At once.  May be repeated."""


class Watcher(Protocol):
    """Who looks after a worker."""

    def heard(self, message: Message) -> None:
        """It says something."""

    def unclogged(self) -> None:
        """It takes connections again."""

    def ended(self, why: str) -> None:
        """It is gone."""


class Spawner:
    """Starts workers."""

    def __init__(
        self, reactor: Any, lock: int, log_format: str, write_line: Callable[[str], None]
    ) -> None:
        """
        @param reactor: IReactorProcess, IReactorSocket, IReactorFDSet.
        @param lock: Descriptor of the data folder's lock, which workers hold too.
        @param log_format: Of the lines that they log.
        @param write_line: Puts one of them where our log goes.
        """
        self._reactor = reactor
        self._lock = lock
        self._log_format = log_format
        self._write_line = write_line

    def __call__(self, number: int, watcher: Watcher) -> ILink:
        """
        Start one.

        @raise OSError: It cannot be started.
        """
        control = socket.socketpair()
        passing = socket_pair()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        link = _Link(self._reactor, passing[0], number, watcher, self._write_line)
        try:
            descriptors: dict[int, int | str] = {
                0: nothing, 1: "r", 2: "r",
                CONTROL: control[1].fileno(), PASSING: passing[1].fileno(), _LOCK: self._lock,
            }  # fmt: skip
            # First what may fail: there may be no room for more open files.
            open_channel(self._reactor, control[0], link.channel)
            with _deaf_children():
                link.process = self._reactor.spawnProcess(
                    link,
                    sys.executable,
                    [sys.executable, "-P", "-m", "moxsmtp.worker", str(number), self._log_format],
                    env=_environment(),
                    childFDs=descriptors,
                )
        except BaseException:
            link.channel.close()
            for end in (control[0], passing[0]):
                end.close()
            raise
        finally:
            os.close(nothing)
            for end in (control[1], passing[1]):
                end.close()
        return link


@contextmanager
def _deaf_children() -> Iterator[None]:
    """
    What is started here never hears of SIGHUP and SIGINT, not even before it can
    say that it does not want to: all processes of a terminal or a unit may be told,
    and workers are to hear it from us.  A mask is inherited, what is ignored is not.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment() -> dict[str, str]:
    """Ours, and where we find our packages, should Python not find this one by itself."""
    root = str(Path(moxsmtp.__file__).resolve().parent.parent)
    known = [*site.getsitepackages(), site.getusersitepackages()]
    if root in known:
        return dict(os.environ)
    paths = dict.fromkeys([root, *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@implementer(IWriteDescriptor)
class _Link(ProcessProtocol):
    process: Any

    def __init__(
        self,
        reactor: Any,
        passing: socket.socket,
        number: int,
        watcher: Watcher,
        write_line: Callable[[str], None],
    ) -> None:
        self.channel = Channel(watcher.heard, self._silent)
        self._reactor = reactor
        self._passing = passing
        self._number = number
        self._watcher = watcher
        self._write_line = write_line
        self._waiting: deque[tuple[socket.socket, Arrival]] = deque()
        self._rest = {1: b"", 2: b""}
        self._resting: IDelayedCall | None = None

    # -- what it is given

    @property
    def pid(self) -> int:
        """Its number with the system."""
        pid: int = self.process.pid or 0
        return pid

    def tell(self, message: Message) -> None:
        """See L{ILink}."""
        self.channel.tell(message)

    @property
    def is_clogged(self) -> bool:
        """See L{ILink}."""
        return len(self._waiting) >= _CLOGGED

    def pass_on(self, connection: socket.socket, arrival: Arrival) -> None:
        """See L{ILink}."""
        self._waiting.append((connection, arrival))
        if len(self._waiting) == 1:
            self._pass()

    def _pass(self) -> None:
        while self._waiting:
            connection, arrival = self._waiting[0]
            try:
                send_connection(self._passing, connection.fileno(), arrival)
            except BlockingIOError:
                self._reactor.addWriter(self)
                return
            except OSError as error:
                if error.errno in _NOT_NOW:
                    # Whether there is room again, nothing tells.
                    self._reactor.removeWriter(self)
                    self._resting = self._reactor.callLater(_REST, self._go_on)
                    return
                _log.error("a connection was lost on its way to worker {number}: {error}",
                           number=self._number, error=error)  # fmt: skip
                self.kill()
            self._waiting.popleft()
            connection.close()

    def _go_on(self) -> None:
        self._resting = None
        self.doWrite()

    def doWrite(self) -> None:
        """There may be room again."""
        was_clogged = self.is_clogged
        self._pass()
        if not self._waiting:
            self._reactor.removeWriter(self)
        if was_clogged and not self.is_clogged:
            self._watcher.unclogged()

    def fileno(self) -> int:
        """See L{IWriteDescriptor}."""
        return self._passing.fileno()

    def logPrefix(self) -> str:
        """See L{IWriteDescriptor}."""
        return f"worker {self._number}"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or the other end of the pair is gone."""

    def kill(self) -> None:
        """See L{ILink}."""
        with suppress(ProcessExitedAlready):
            self.process.signalProcess("KILL")

    # -- what it says

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Lines of its log; on standard error what Python itself complains of."""
        *lines, rest = (self._rest[childFD] + data).split(b"\n")
        if len(rest) > _LINE:
            lines, rest = [*lines, rest], b""
        self._rest[childFD] = rest
        if lines and childFD == 1:
            self._write_line(b"\n".join(lines).decode("utf-8", "backslashreplace") + "\n")
        elif lines:
            for line in lines:
                text = line.decode("utf-8", "backslashreplace")
                _log.error("worker {number}: {line}", number=self._number, line=text)

    def _silent(self) -> None:
        """It ends, and if it does not by itself, it hears nothing any more."""

    def processEnded(self, reason: Failure) -> None:
        """All that it said has been read."""
        for output in self._rest:
            self.childDataReceived(output, b"\n" if self._rest[output] else b"")
        self._reactor.removeWriter(self)
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        self._passing.close()
        for connection, _ in self._waiting:
            connection.close()
        self._waiting.clear()
        self.channel.close()
        self._watcher.ended(_end(reason))


def _end(reason: Failure) -> str:
    status = getattr(reason.value, "status", None)
    if not isinstance(status, int):
        return str(reason.value)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
