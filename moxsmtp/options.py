"""What C{twistd moxsmtp} can be told, and what follows from it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, TextIO, cast

from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.logfile import LogFile

from moxsmtp import __version__
from moxsmtp.config import Mistake, Settings, localserve_directory
from moxsmtp.config.load import load
from moxsmtp.logs import Form, JSONObserver, TextObserver, Threshold, write_log
from moxsmtp.plain_errors import prefixed_error
from moxsmtp.privileges import acting_as
from moxsmtp.surroundings import Internet, Surroundings
from moxsmtp.worker.logging import LogLines

__all__ = ["LocalserveOptions", "Options"]

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

    def observer(self, reactor: Any) -> ILogObserver | None:
        """
        Where the log goes; L{None}: where twistd was told to put it.

        @param reactor: Where a file of ours is rotated when twistd's would be.

        @raise SystemExit: The file cannot be written; says why.
        """
        twistd = self._twistd()
        if twistd is None or twistd.get("logger") or twistd.get("syslog"):
            return None
        try:
            with self.acting_as_user():
                file = self._log_file(twistd, reactor)
        except OSError as error:
            raise SystemExit(prefixed_error(error)) from None
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

    def _log_file(self, twistd: Mapping[str, Any], reactor: Any) -> TextIO:
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
            _rotate_on_signal(file, reactor)
        return cast("TextIO", file)


def _rotate_on_signal(file: LogFile, reactor: Any) -> None:
    """As twistd does for its own log file."""

    def rotate(_number: int, _frame: FrameType | None) -> None:
        reactor.callFromThread(file.rotate)

    signal.signal(signal.SIGUSR1, rotate)
