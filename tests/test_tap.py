"""The plugin's options, and what a user sees when a server cannot start."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Application, IService, Service
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactor
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python import usage
from twisted.trial import unittest

from moxsmtp import plugin, tap
from moxsmtp.config import ConfigError, Mistake, Settings
from moxsmtp.localserve import Loopback
from moxsmtp.logs import printable
from moxsmtp.plain_errors import EXPECTED, plain_error
from moxsmtp.store.errors import FolderInUse
from moxsmtp.tap import Options, build
from moxsmtp.tls.server import CertificateError
from tests.config.test_load import LEAST


def options(*arguments: str, **twistd: Any) -> Options:
    made: Any = Options()
    made.parent = {"pidfile": "twistd.pid", "nodaemon": True, **twistd}
    made.parseOptions(list(arguments))
    assert isinstance(made, Options)
    return made


def twistd_of(made: Any) -> dict[str, Any]:
    """The options of twistd round ours."""
    parent = made.parent
    assert isinstance(parent, dict)
    return parent


class Server(Service):
    """A server that fails where it is told to."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors = errors
        self.reloaded: list[Settings] = []

    def _step(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]

    def privilegedStartService(self) -> None:
        self._step("bind")

    def startService(self) -> None:
        self._step("start")
        super().startService()

    def reload(self, settings: Settings) -> None:
        self._step("reload")
        self.reloaded.append(settings)


class Reactor(MemoryReactor):
    """Remembers that it was stopped."""

    stopped = 0

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: list[Any] = []

    def callFromThread(self, function: Any) -> None:
        self.from_threads.append(function)

    def stop(self) -> None:
        self.stopped += 1


class TapTestCase(unittest.SynchronousTestCase):
    """A terminal and an environment of our own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = {"HOME": str(self.folder)}
        self.patch(os, "environ", self.environment)
        self.terminal = io.StringIO()
        self.patch(sys, "__stderr__", self.terminal)
        self.left: list[int] = []
        self.patch(os, "_exit", self.left.append)
        self.patch(threading, "active_count", lambda: 1)
        self.reactor = Reactor()
        self.logged: list[str] = []
        hear = cast("ILogObserver", self._hear)
        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)

    def _hear(self, event: Any) -> None:
        if event.get("log_namespace") == "moxsmtp.tap":
            self.logged.append(event["log_format"].format(**event))

    def write(self, text: str) -> str:
        path = self.folder / "x.toml"
        path.write_text(text)
        return str(path)

    def service(self, given: Options, errors: dict[str, Exception] | None = None) -> Any:
        made: list[Any] = []

        def make(settings: Settings, *given: Any) -> Server:
            if errors and "make" in errors:
                raise errors["make"]
            made.extend([settings, *given])
            return Server(errors or {})

        service = build(given, self.reactor, make)
        self.settings, self.surroundings, _, self.give_up = made
        return service


class OptionTests(TapTestCase):
    """The command line."""

    def assertRefused(self, word: str, *arguments: str) -> None:
        error = self.assertRaises(usage.UsageError, options, *arguments)
        self.assertIn(word, str(error))

    def test_something_to_run(self) -> None:
        """A configuration or localserve is needed, not both."""
        self.assertRefused("--config FILE")
        self.assertRefused("leave --config out", "--config", "x", "localserve")
        self.assertRefused("Unknown command", "localserv")

    def test_log_format(self) -> None:
        """There are two."""
        self.assertRefused("json", "--log-format", "xml", "localserve")
        self.assertEqual(options("--log-format", "json", "localserve")["log-format"], "json")

    def test_pedantic_localserve(self) -> None:
        """localserve is pedantic when it is told to be (S-111)."""
        self.assertFalse(options("localserve").settings().pedantic)
        self.assertTrue(options("localserve", "--pedantic").settings().pedantic)

    def test_localserve_directory(self) -> None:
        """Behind localserve, before it, from the environment, or the user's."""
        self.assertEqual(
            options("localserve").settings().data_directory,
            str(self.folder / ".local/share/moxsmtp-localserve"),
        )
        self.environment["MOXSMTP_DIRECTORY"] = "/environment"
        self.assertEqual(options("localserve").settings().data_directory, "/environment")
        self.assertEqual(
            options("--directory", "/before", "localserve").settings().data_directory, "/before"
        )
        self.assertEqual(
            options("-d", "/before", "localserve", "-d", "/behind").settings().data_directory,
            "/behind",
        )

    def test_configuration(self) -> None:
        """From --config or the environment; --directory wins over what is in it."""
        path = self.write('data_directory = "/data"\n' + LEAST)
        self.assertEqual(options("--config", path).settings().data_directory, "/data")
        self.environment["MOXSMTP_CONFIG"] = path
        self.assertEqual(options().settings().data_directory, "/data")
        self.assertEqual(options("--directory", "/other").settings().data_directory, "/other")

    def test_relative_names(self) -> None:
        """A daemon may change its folder: names are made absolute."""
        self.assertTrue(Path(options("-c", "x.toml").config_path() or "").is_absolute())
        directory = options("localserve", "-d", "x").settings().data_directory
        self.assertTrue(Path(directory).is_absolute())

    def test_pid_file(self) -> None:
        """twistd's own pid file is not used, one that was asked for is."""
        made = options("localserve")
        self.assertEqual(twistd_of(made)["pidfile"], "")
        made = options("localserve", pidfile="/run/moxsmtp.pid")
        self.assertEqual(twistd_of(made)["pidfile"], "/run/moxsmtp.pid")

    def test_help(self) -> None:
        """The help shows whole commands, as they are typed."""
        text = Options().getUsage()
        self.assertIn("\n  twistd -n moxsmtp localserve ", text)
        self.assertIn("\n  twistd -n moxsmtp --config moxsmtp.toml ", text)

    def test_version(self) -> None:
        """The version is ours, not Twisted's."""
        self.patch(sys, "stdout", self.terminal)
        error = self.assertRaises(SystemExit, options, "--version")
        self.assertEqual(error.code, 0)
        self.assertTrue(self.terminal.getvalue().startswith("moxsmtp "))


class ErrorTextTests(unittest.SynchronousTestCase):
    """What is wrong, in one line."""

    def test_lines(self) -> None:
        """Each kind of error names what an operator has to look at."""
        cases: dict[BaseException, str] = {
            CannotListenError("127.0.0.1", 25, OSError(98, "Address already in use")):
                "cannot listen on 127.0.0.1:25: Address already in use",
            CannotListenError("::1", 25, OSError(13, "Permission denied")):
                "cannot listen on [::1]:25: Permission denied",
            CannotListenError(None, b"/x/control.sock", OSError(13, "Permission denied")):
                "cannot listen on /x/control.sock: Permission denied",
            OSError(13, "Permission denied", "/data"): "/data: Permission denied",
            OSError(13, "Permission denied", b"/da\xff"): "/da\\udcff: Permission denied",
            OSError("odd"): "odd",
            FolderInUse("/data is in use\nby another"): "/data is in use\\nby another",
            CertificateError("no certificate"): "no certificate",
            ConfigError([Mistake("f", 2, "b", "bad"), Mistake("f", 1, "a", "bad")]):
                "f:1: a: bad\nf:2: b: bad",
        }  # fmt: skip
        self.assertEqual({error: plain_error(error) for error in cases}, cases)
        self.assertTrue(all(isinstance(error, EXPECTED) for error in cases))
        for text in cases.values():
            self.assertEqual(printable(text.replace("\n", "")), text.replace("\n", ""))


class StartTests(TapTestCase):
    """Starts that fail, and one that does not."""

    def test_good_start(self) -> None:
        """The server is built from the settings and started."""
        service = self.service(options("localserve"))
        service.privilegedStartService()
        service.startService()
        self.assertTrue(service.server.running)
        self.assertEqual(self.settings.default_account, "mox")
        self.assertIsInstance(self.surroundings, Loopback)
        self.assertEqual(self.terminal.getvalue(), "")

    def test_bad_configuration(self) -> None:
        """Every mistake is a line, and the exit status is 1: twistd is given the text."""
        path = self.write(LEAST + "[queue]\na = 1\nb = 1\n")
        error = self.assertRaises(SystemExit, self.service, options("-c", path))
        lines = str(error.code).split("\n")
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].startswith(f"moxsmtp: {path}:12: queue.a: unknown key"))

    def test_cannot_be_built(self) -> None:
        """A folder in use, and the like, is one line."""
        error = self.assertRaises(
            SystemExit, self.service, options("localserve"), {"make": FolderInUse("in use")}
        )
        self.assertEqual(error.code, "moxsmtp: in use")

    def test_cannot_start(self) -> None:
        """A port in use is one line on the terminal, and status 1."""
        for step in ("bind", "start"):
            self.terminal.truncate(0)
            self.terminal.seek(0)
            error = CannotListenError("127.0.0.1", 25, OSError(98, "Address already in use"))
            service = self.service(options("localserve"), {step: error})
            start = service.privilegedStartService if step == "bind" else service.startService
            raised = self.assertRaises(SystemExit, start)
            self.assertEqual(raised.code, 1)
            self.assertEqual(
                self.terminal.getvalue(),
                "moxsmtp: cannot listen on 127.0.0.1:25: Address already in use\n",
            )
        self.assertEqual(self.left, [])

    def test_threads_left(self) -> None:
        """Threads of the store do not keep a process alive that cannot start."""
        self.patch(threading, "active_count", lambda: 2)
        service = self.service(options("localserve"), {"start": OSError(13, "Permission denied")})
        self.assertRaises(SystemExit, service.startService)
        self.assertEqual(self.left, [1])

    def test_bug(self) -> None:
        """What is no operator's fault keeps its traceback."""
        service = self.service(options("localserve"), {"start": ZeroDivisionError()})
        self.assertRaises(ZeroDivisionError, service.startService)

    def test_daemon(self) -> None:
        """A daemon tells through twistd's pipe, which has room for 100 octets, and its log."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        given = options("localserve", nodaemon=False)
        service = self.service(given, {"bind": OSError(13, "Permission \u00e4" + "x" * 200, "/d")})
        twistd_of(given)["statusPipe"] = write
        self.assertRaises(SystemExit, service.privilegedStartService)
        os.close(write)
        octets = os.read(read, 1000)
        self.assertTrue(octets.startswith(b"1 /d: Permission \\xe4"), octets)
        self.assertEqual(len(octets), 100)
        self.assertEqual(self.terminal.getvalue(), "")
        self.assertEqual(len(self.logged), 1)

    def test_late_failure(self) -> None:
        """A start that fails under the running reactor ends it, with one line and status 1."""
        service = self.service(options("localserve"))
        service.startService()
        self.give_up(FolderInUse("too late"))
        self.give_up(FolderInUse("again"))
        self.assertEqual(self.terminal.getvalue(), "moxsmtp: too late\n")
        for hook, args, kwargs in self.reactor.whenRunningHooks:
            if hook == self.reactor.stop:
                hook(*args, **kwargs)
        self.assertEqual(self.reactor.stopped, 1)
        ((function, args, kwargs),) = self.reactor.triggers["after"]["shutdown"]
        function(*args, **kwargs)
        self.assertEqual(self.left, [1])

    def test_stop(self) -> None:
        """Stopping is the server's."""
        service = self.service(options("localserve"))
        service.startService()
        service.stopService()
        self.assertFalse(service.server.running)


class LogTests(TapTestCase):
    """Where the log goes."""

    def observer(self, given: Options) -> Any:
        application = Application("moxsmtp")
        IService(self.service(given)).setServiceParent(application)
        return application.getComponent(ILogObserver, None)

    def test_text(self) -> None:
        """On a terminal it is text on standard output, without control characters."""
        self.patch(sys, "stdout", self.terminal)
        observer = self.observer(options("localserve"))
        observer(_event("a\x1bb"))
        observer(_event("debugged", level="debug"))
        self.assertTrue(self.terminal.getvalue().endswith(" info  a\\x1bb\n"))

    def test_json(self) -> None:
        """With --log-format json it is JSON."""
        self.patch(sys, "stdout", self.terminal)
        self.observer(options("--log-format", "json", "localserve"))(_event("a"))
        self.assertIn('"text": "a"', self.terminal.getvalue())

    def test_file(self) -> None:
        """--logfile is obeyed."""
        path = self.folder / "log"
        self.observer(options("localserve", logfile=str(path)))(_event("a"))
        self.assertIn(" a\n", path.read_text())

    def test_file_that_cannot_be(self) -> None:
        """A log file that cannot be written is one line."""
        path = str(self.folder / "none" / "log")
        error = self.assertRaises(SystemExit, self.observer, options("localserve", logfile=path))
        self.assertEqual(error.code, f"moxsmtp: {path}: No such file or directory")

    def test_daemon(self) -> None:
        """A daemon logs beside its data, whatever folder it was started in."""
        given = options("localserve", "-d", str(self.folder / "data"), nodaemon=False)
        self.observer(given)(_event("a"))
        self.assertIn(" a\n", (self.folder / "data" / "moxsmtp.log").read_text())

    def test_other_loggers(self) -> None:
        """Who asked twistd for a logger of his own or for syslog gets that."""
        self.assertIsNone(self.observer(options("localserve", syslog=True)))
        self.assertIsNone(self.observer(options("localserve", logger=object())))


class ReloadTests(TapTestCase):
    """SIGHUP."""

    def test_end(self) -> None:
        """The first SIGTERM is Twisted's to stop the reactor, the second ends at once (S-15)."""
        heard: list[str] = []
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGTERM, lambda *_: heard.append("stop"))
        self.patch(tap, "_leave", lambda: heard.append("leave"))
        self.service(options("-c", self.write(LEAST))).startService()
        for hook, _, _ in self.reactor.whenRunningHooks:
            hook()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(["stop"], heard)
        signal.raise_signal(signal.SIGTERM)
        self.assertIn("leave", heard)

    def test_signal(self) -> None:
        """Once the reactor runs, SIGHUP reloads in its thread, once for all that come together."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        service = self.service(options("-c", self.write(LEAST)))
        service.startService()
        ours = [hook for hook, _, _ in self.reactor.whenRunningHooks]
        for hook in ours:
            hook()
        for reloads in (1, 2):
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            (call,) = self.reactor.from_threads
            self.reactor.from_threads.clear()
            call()
            self.assertEqual([s.postmaster for s in service.server.reloaded], ["alice"] * reloads)

    def test_early(self) -> None:
        """
        What comes from the moment on that twistd asks for our options is obeyed once the
        reactor runs, and once only; without it nothing is reloaded.
        """
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        for signals, reloads in ((0, 0), (1, 1), (3, 1)):
            given: Any = plugin.Options()
            given.parent = {"pidfile": "", "nodaemon": True}
            given.parseOptions(["-c", self.write(LEAST)])
            for _ in range(signals):
                signal.raise_signal(signal.SIGHUP)
            service = self.service(given)
            service.startService()
            self.assertEqual([], service.server.reloaded)
            self.reactor.whenRunningHooks[-1][0]()
            self.assertEqual(reloads, len(service.server.reloaded))

    def test_reload(self) -> None:
        """The server gets the new settings, and says so."""
        service = self.service(options("-c", self.write(LEAST)))
        self.write(LEAST + "[log]\nlevel = 'debug'\n[queue]\nmax_attempts = 3\n")
        service.reload()
        self.assertEqual(service.server.reloaded[0].queue.max_attempts, 3)
        self.assertEqual(self.logged, ["the configuration was reloaded"])

    def test_bad_file(self) -> None:
        """A bad file leaves the old configuration in force; every mistake is logged."""
        path = self.write(LEAST)
        service = self.service(options("-c", path))
        self.write(LEAST + "[queue]\na = 1\nb = 1\n")
        service.reload()
        self.assertEqual(service.server.reloaded, [])
        self.assertEqual(len(self.logged), 3)
        self.assertIn(f"{path}:12: queue.a", self.logged[0])
        self.assertIn(f"{path}:13: queue.b", self.logged[1])
        self.assertIn("stays in force", self.logged[2])

    def test_server_refuses(self) -> None:
        """What the server cannot take over is logged in one line as well."""
        service = self.service(
            options("-c", self.write(LEAST)), {"reload": CertificateError("no key")}
        )
        service.reload()
        self.assertEqual(self.logged[0], "no key")
        self.assertIn("stays in force", self.logged[1])

    def test_localserve(self) -> None:
        """localserve has nothing to reload and goes on."""
        service = self.service(options("localserve"))
        service.reload()
        self.assertEqual(service.server.reloaded, [])


def _event(text: str, level: str = "info") -> dict[str, Any]:
    from twisted.logger import LogLevel

    return {
        "log_format": "{x}",
        "x": text,
        "log_level": LogLevel.levelWithName(level),
        "log_namespace": "test",
        "log_time": 0.0,
    }
