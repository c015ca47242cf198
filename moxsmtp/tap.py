"""
C{twistd moxsmtp}: options, the reactor, and what a user sees when it cannot run.

Whatever is wrong with configuration, folder, database or ports is told in one
line each, with exit status 1 and without a traceback.  The service binds its
ports in C{privilegedStartService} at the latest: before privileges are shed.
All else is done as the user that twistd is told to run us as.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, TextIO, cast

from twisted.application.service import IService, Service
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from moxsmtp import __version__
from moxsmtp.config import Mistake, Settings, load, localserve_directory
from moxsmtp.logs import Form, JSONObserver, TextObserver, Threshold, write_log
from moxsmtp.plain_errors import EXPECTED, plain_error
from moxsmtp.privileges import acting_as
from moxsmtp.sockets import PassedSockets, passed_descriptors
from moxsmtp.surroundings import Internet, Surroundings
from moxsmtp.worker.logging import LogLines

__all__ = ["LocalserveOptions", "Options", "build", "makeService"]

_log = Logger()

#: Octets that twistd reads from its pipe, behind the status.
_PIPE_TEXT: Final = 98

#: The name of twistd's pid file unless the user asks for one.
_DEFAULT_PID_FILE: Final = "twistd.pid"


class LocalserveOptions(usage.Options):
    """C{twistd moxsmtp localserve}."""

    optParameters = [  # noqa: RUF012 - usage.Options declares it so
        ["directory", "d", None, "Where data and the certificate are kept; made if missing."],
    ]
    optFlags = [  # noqa: RUF012 - the same
        ["pedantic", None, "Refuse what many mail programs do against the standards."],
    ]
    longdesc = "A server to try things with: on loopback only, no mail leaves the machine."


class Options(usage.Options):
    """
    C{twistd moxsmtp}.

    @ivar threshold: What is logged; follows the configuration.
    """

    synopsis = "[options] --config FILE | localserve [--directory DIR]"
    optParameters = [  # noqa: RUF012 - usage.Options declares it so
        ["config", "c", None, "The configuration: a TOML file, or a folder of them."],
        ["directory", "d", None, "Where data is kept, instead of what the configuration says."],
        ["log-format", None, "text", "text, or json: one object a line."],
    ]
    subCommands = [  # noqa: RUF012 - usage.Options declares it so
        ["localserve", None, LocalserveOptions, "Try it: all on loopback, no configuration."],
    ]
    longdesc = ""

    _EXAMPLES = """
Examples:
  twistd -n moxsmtp localserve                    try it; nothing leaves this machine
  moxsmtp config test moxsmtp.toml                find every mistake in a configuration
  twistd -n moxsmtp --config moxsmtp.toml         run with it; SIGHUP reloads it
  twistd -n moxsmtp --log-format json -c conf.d   a folder of *.toml files, logs as JSON
"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        self.threshold = Threshold()
        self._log_output: TextIO | None = None

    def getUsage(self, width: int | None = None) -> str:
        """Examples stand as they are written; Twisted's long description is re-wrapped."""
        return super().getUsage(width) + self._EXAMPLES

    def opt_version(self) -> None:
        """Show the version of moxsmtp and exit."""
        sys.stdout.write(f"moxsmtp {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Check what was given, and keep twistd's own habits out of the way."""
        if self["log-format"] not in set(Form):
            raise usage.UsageError("--log-format is text or json")
        if self.subCommand is None and self.config_path() is None:
            raise usage.UsageError("give --config FILE, or localserve to try it")
        if self.subCommand is not None and self["config"]:
            raise usage.UsageError("localserve has no configuration; leave --config out")
        twistd = self._twistd()
        if twistd is None:
            return
        # An unwritable working folder, or the number of a dead process that
        # lives again as another, must not keep a server from starting.
        if twistd.get("pidfile") == _DEFAULT_PID_FILE:
            twistd["pidfile"] = ""

    def _twistd(self) -> dict[str, Any] | None:
        """The options of twistd itself; L{None} outside of it."""
        return cast("dict[str, Any] | None", getattr(self, "parent", None))

    def acting_as_user(self) -> AbstractContextManager[None]:
        """Be who twistd makes us later (C{--uid}, C{--gid})."""
        twistd = self._twistd() or {}
        return acting_as(twistd.get("uid"), twistd.get("gid"))

    @property
    def is_daemon(self) -> bool:
        """Whether twistd puts us into the background."""
        twistd = self._twistd()
        return twistd is not None and not (twistd.get("nodaemon") or twistd.get("debug"))

    @property
    def has_log_file(self) -> bool:
        """Whether the log goes elsewhere than to standard output."""
        twistd = self._twistd() or {}
        return self.is_daemon or twistd.get("logfile") not in {None, "", "-"}

    def report_to_terminal(self, text: str) -> None:
        """Of a daemon, through twistd's pipe to the process that still has a terminal."""
        pipe = (self._twistd() or {}).get("statusPipe")
        if pipe is not None:
            line = text.splitlines()[0].encode("ascii", "backslashreplace")
            os.write(pipe, b"1 " + line[:_PIPE_TEXT])

    def config_path(self) -> str | None:
        """The configuration, absolute; L{None}: nobody named one."""
        given = self["config"] or os.environ.get("MOXSMTP_CONFIG")
        return os.path.abspath(given) if given else None  # noqa: PTH100 - keeps symlinks

    def settings(self, warn: Callable[[Mistake], object] | None = None) -> Settings:
        """
        Read the configuration, or make localserve's.

        @raise ConfigError: It cannot be used.
        """
        directory = self._directory(os.environ)
        if self.subCommand is not None:
            from moxsmtp.localserve import settings

            directory = directory or localserve_directory(os.environ, sys.platform)
            return settings(directory, pedantic=bool(self.subOptions["pedantic"]))
        loaded = load(cast("str", self.config_path()), warn)
        return replace(loaded, data_directory=directory) if directory else loaded

    def surroundings(self) -> Surroundings:
        """The internet, or for localserve the server itself."""
        if self.subCommand is not None:
            from moxsmtp.localserve import Loopback

            return Loopback()
        return Internet()

    def _directory(self, environment: Mapping[str, str]) -> str:
        """The data folder that was asked for; empty: none."""
        given = self["directory"] or environment.get("MOXSMTP_DIRECTORY")
        if self.subCommand is not None:
            given = cast("LocalserveOptions", self.subOptions)["directory"] or given
        return os.path.abspath(given) if given else ""  # noqa: PTH100 - keeps symlinks

    def observer(self) -> ILogObserver | None:
        """
        Where the log goes; L{None}: where twistd was told to put it.

        @raise SystemExit: The file cannot be written; says why.
        """
        twistd = self._twistd()
        if twistd is None or twistd.get("logger") or twistd.get("syslog"):
            return None
        try:
            with self.acting_as_user():
                file = self._log_file(twistd)
        except OSError as error:
            raise SystemExit(_prefixed(error)) from None
        self._log_output = file
        make = JSONObserver if self["log-format"] == Form.JSON else TextObserver
        return self.threshold.observer(make(file))

    def log_lines(self) -> LogLines:
        """The same for lines that worker processes have written."""

        def write(lines: str) -> None:
            if self._log_output is not None:
                write_log(self._log_output, lines)
            else:
                LogLines().write(lines)

        return LogLines(Form(self["log-format"]), write)

    def _log_file(self, twistd: Mapping[str, Any]) -> TextIO:
        """As twistd decides, but a daemon's log is kept with its data by default."""
        name = twistd.get("logfile")
        if not self.has_log_file:
            return sys.stdout
        if not name:
            folder = Path(self.settings().data_directory)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = str(folder / "moxsmtp.log")
        file = LogFile.fromFullPath(name)
        if signal.getsignal(signal.SIGUSR1) in {None, signal.SIG_DFL}:
            _rotate_on_signal(file)
        return cast("TextIO", file)


def _rotate_on_signal(file: LogFile) -> None:
    """As twistd does for its own log file."""

    def rotate(_number: int, _frame: FrameType | None) -> None:
        from twisted.internet import reactor  # noqa: TID251 - this module owns it

        cast("Any", reactor).callFromThread(file.rotate)

    signal.signal(signal.SIGUSR1, rotate)


def makeService(options: Options) -> Service:
    """
    Build the server; what C{twistd} calls.

    @raise SystemExit: It cannot run; says why.
    """
    from twisted.internet import reactor  # noqa: TID251 - this module owns it

    from moxsmtp.service import make_service

    try:
        passed = PassedSockets(passed_descriptors(reactor))
    except CannotListenError as error:
        raise SystemExit(_prefixed(error)) from None
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
        raise SystemExit(_prefixed(error)) from None
    return process


def _warn(mistake: Mistake) -> None:
    _log.warn("{mistake}", mistake=mistake)


def _prefixed(error: BaseException) -> str:
    return "\n".join(f"moxsmtp: {line}" for line in plain_error(error).splitlines())


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
        self._is_stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """
        Join twistd's application, which logs to the observer that it carries.
        """
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]  # Twisted's has no annotations
        observer = self._options.observer()
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
        text = _prefixed(error)
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
            self._reactor.callFromThread(self.reload)

        signal.signal(signal.SIGHUP, hear)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._end_on(number)

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
