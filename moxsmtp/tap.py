"""
C{twistd moxsmtp}: the reactor, and what a user sees when it cannot run.

Whatever is wrong with configuration, folder, database or ports is told in one
line each, with exit status 1 and without a traceback.  The service binds its
ports in C{privilegedStartService} at the latest: before privileges are shed.
All else is done as the user that twistd is told to run us as.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, cast

from twisted.application.service import IService, Service
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.threadable import isInIOThread

from moxsmtp.config import Mistake
from moxsmtp.early_reload import was_asked_for
from moxsmtp.options import Options
from moxsmtp.plain_errors import EXPECTED, plain_error, prefixed_error
from moxsmtp.sockets import PassedSockets, passed_descriptors
from moxsmtp.steady_timers import SteadyTimers

__all__ = ["Options", "build", "makeService"]

_log = Logger()


def makeService(options: Options) -> Service:
    """
    Build the server; what C{twistd} calls.

    @raise SystemExit: It cannot run; says why.
    """
    from twisted.internet import reactor  # noqa: TID251 - this module owns it

    # Code stays for good: to look for garbage again and again while it is read
    # takes a tenth of a second.
    gc.disable()
    from moxsmtp.service import make_service

    gc.freeze()
    gc.enable()
    try:
        passed = PassedSockets(passed_descriptors(reactor))
    except CannotListenError as error:
        raise SystemExit(prefixed_error(error)) from None
    _ = SteadyTimers(reactor, steady=time.monotonic, is_at_home=isInIOThread)
    make = partial(make_service, passed=passed, log=options.log_lines())
    return build(options, cast("Any", reactor), make)


def build(options: Options, reactor: Any, make_service: Callable[..., Any]) -> Service:
    """
    Join options, reactor and server.

    @param make_service: From settings, the reactor, and what to call with an
        error that shows up only while the reactor runs; gives an C{IService}
        that has C{reload(settings)}.
    @raise SystemExit: It cannot run; says why.
    """
    try:
        with options.acting_as_user():
            settings = options.settings(_warn)
            options.threshold.set(settings.log.level)
            process = _Process(options, reactor)
            process.server = make_service(
                settings, options.surroundings(), cast("Any", reactor), process.give_up
            )
    except EXPECTED as error:
        raise SystemExit(prefixed_error(error)) from None
    return process


def _warn(mistake: Mistake) -> None:
    _log.warn("{mistake}", mistake=mistake)


class _Process(Service):
    """
    Between twistd and the server: turns what goes wrong at the start into
    one line, and SIGHUP into a reload.

    @ivar server: The server, which has C{reload(settings)}.
    """

    server: Any

    def __init__(self, options: Options, reactor: Any) -> None:
        self._options = options
        self._reactor = reactor
        self._is_failing = False
        self._is_reloading = False
        self._is_stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """
        Join twistd's application, which logs to the observer that it carries.
        """
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        observer = self._options.observer(self._reactor)
        if observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, observer)

    def privilegedStartService(self) -> None:
        """Bind ports."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        self._started(IService(self.server).privilegedStartService)

    def startService(self) -> None:
        """Begin to work."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        self._started(IService(self.server).startService)
        self._reactor.callWhenRunning(self._listen_for_signals)

    def stopService(self) -> Any:
        """@return: What the server's end waits for."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        return IService(self.server).stopService()

    def _started(self, step: Callable[[], object]) -> None:
        try:
            step()
        except EXPECTED as error:
            self._say(error)
            self._options.report_to_terminal(plain_error(error))
            if threading.active_count() > 1:
                # A thread of the store would keep an interpreter alive that
                # has no reactor any more to stop it.
                _leave()
            raise SystemExit(1) from None

    def _say(self, error: BaseException) -> None:
        """Once: on the terminal, and in the log if that is elsewhere."""
        text = prefixed_error(error)
        if self._options.has_log_file:
            _log.critical("{text}", text=text)
        if not self._options.is_daemon:
            _tell(text)

    def give_up(self, error: BaseException) -> None:
        """
        Stop the reactor and exit with status 1: for a start that fails while
        the reactor runs already.  May be repeated.
        """
        if self._is_failing:
            return
        self._is_failing = True
        self._say(error)
        self._reactor.addSystemEventTrigger("after", "shutdown", _leave)
        self._reactor.callWhenRunning(self._reactor.stop)

    # -- SIGHUP ---------------------------------------------------------------------

    def _listen_for_signals(self) -> None:
        """Only once the reactor runs: before, it would install its own over ours."""

        def hear(_number: int, _frame: FrameType | None) -> None:
            # One for all that come before it is obeyed.
            if not self._is_reloading:
                self._is_reloading = True
                self._reactor.callFromThread(self._obey)

        before = signal.signal(signal.SIGHUP, hear)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._end_on(number)
        if was_asked_for(before):
            # Which configuration was read before it, nobody knows any more.
            self.reload()

    def _end_on(self, number: int) -> None:
        """The first signal stops the reactor, as Twisted has it; a second ends the process."""
        stop = signal.getsignal(number)

        def end(number: int, frame: FrameType | None) -> None:
            if self._is_stopping:
                _leave()
            self._is_stopping = True
            if callable(stop):
                stop(number, frame)

        signal.signal(number, end)

    def _obey(self) -> None:
        self._is_reloading = False
        self.reload()

    def reload(self) -> None:
        """Obey the configuration as it is now; if it is wrong, go on with the old one."""
        if self._options.subCommand is not None:
            _log.info("localserve has no configuration to reload")
            return
        try:
            settings = self._options.settings(_warn)
            self.server.reload(settings)
        except EXPECTED as error:
            for line in plain_error(error).splitlines():
                _log.error("{mistake}", mistake=line)
            _log.error("the configuration was not reloaded; the one before stays in force")
            return
        self._options.threshold.set(settings.log.level)
        _log.info("the configuration was reloaded")


def _tell(text: str) -> None:
    """To the terminal itself: twistd has redirected C{sys.stderr} into the log."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{text}\n")
        sys.__stderr__.flush()


def _leave() -> None:
    for file in (sys.__stdout__, sys.__stderr__):
        if file is not None:
            file.flush()
    os._exit(1)  # the end of the process, and the only way to its status from here
