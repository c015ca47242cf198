"""Programs: found, started, waited for, and ended by their process number."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from twisted.trial import unittest

__all__ = [
    "PATIENCE", "PeerTestCase", "Process", "ProgramTestCase", "children", "find", "free_port",
    "until",
]  # fmt: skip

#: Where Debian has what is not for everybody's path.
_FOLDERS: Final = (
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
    "/usr/lib/postfix/sbin",
    *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
)

#: Below what the kernel gives to clients, so that none of them takes a port
#: between our looking at it and the server's taking it.
_PORTS: Final = range(20_000, 32_000)

#: Loaded here: between fork and exec is no time for it.
_LIBC: Final = ctypes.CDLL(None)

#: So many in a row belong to one process as long as it runs.
_BLOCK: Final = 50

_PR_SET_PDEATHSIG: Final = 1

#: Seconds for what happens at once on a machine that has nothing else to do.  No test
#: is about this time: where one is, it says so in numbers of its own.
PATIENCE: Final = 120.0


def find(program: str) -> str | None:
    """The path of a program; L{None}: it is not installed."""
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], *_FOLDERS]))


def free_port(*addresses: str) -> int:
    """A TCP and UDP port that nobody uses on any of C{addresses} (127.0.0.1)."""
    for port in _ours:
        if all(_is_free(address, port) for address in addresses or ("127.0.0.1",)):
            return port
    raise AssertionError("no free port")


def _own_ports() -> Iterator[int]:
    """
    Ports that are given to nobody else, each once.

    Somebody who was told a port may not listen there yet, so that looking does
    not help; what tells other processes that a block of ports is taken is a name in
    the abstract namespace of Unix sockets, which ends with the process that has it.
    """
    with contextlib.ExitStack() as names:
        starts = list(_PORTS[::_BLOCK])
        secrets.SystemRandom().shuffle(starts)
        for start in starts:
            name = names.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                name.bind(f"\0moxsmtp-peers-{start}")
            except OSError:
                continue
            yield from range(start, start + _BLOCK)


_ours: Final = _own_ports()


def _is_free(address: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def until(
    holds: Callable[[], object],
    *,
    what: str,
    within: float = PATIENCE,
    log: Callable[[], str] | None = None,
) -> None:
    """
    Wait for something to become true.

    @param within: Seconds; others than usual where the test is about them.
    @param log: Read for the message of the failure.
    """
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            tail = f"\n{log()[-4000:]}" if log else ""
            raise AssertionError(f"not within {within} s: {what}{tail}")
        time.sleep(0.05)


def _die_with_parent() -> None:
    """The kernel ends the child if we are killed before we can end it."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The processes whose parent this is, those that only wait to be reaped left out."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return sorted(found)


class Process:
    """
    A program that runs until it is ended.

    @ivar log: What it prints, both streams.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call
            )

    @property
    def pid(self) -> int:
        """Its process number, which is that of its group too."""
        return self._child.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.is_running():
            self._child.send_signal(number)

    def wait(self, limit: float = PATIENCE) -> int:
        """Its exit status; negative: the signal that ended it."""
        return self._child.wait(limit)

    def end(self, limit: float = PATIENCE) -> int:
        """
        Ask it to end, insist after C{limit} seconds; its children go with it.

        @return: Its exit status; 0 too for what ended in order and then, as twistd
            does, by the signal itself.
        """
        self.signal(signal.SIGTERM)
        try:
            status = self.wait(limit)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            status = self.wait(limit)
        self._end_group()
        return 0 if status == -signal.SIGTERM else status

    def kill(self) -> None:
        """As a power cut would, for this program."""
        self._end_group()
        self.wait()

    def _end_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class ProgramTestCase(unittest.SynchronousTestCase):
    """
    A test that needs programs.

    @cvar programs: Those without which it cannot be done.
    """

    programs: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.require(*self.programs)
        super().setUp()

    def require(self, *programs: str) -> None:
        """Go on only if all of these are installed."""
        missing = [program for program in programs if find(program) is None]
        if missing:
            self.unavailable(f"not installed: {', '.join(missing)}")

    def unavailable(self, reason: str) -> None:
        """Something that the test needs is not to be had here."""
        if os.environ.get("MOXSMTP_REQUIRE_PEERS"):
            self.fail(reason)
        raise unittest.SkipTest(reason)


class PeerTestCase(ProgramTestCase):
    """
    A test with a folder for its programs.

    @ivar folder: Empty, its path short enough for a socket, gone afterwards.
    """

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="mox"))
        # Other users (Postfix, PostgreSQL) have folders of theirs in it.
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_program(
        self, *command: str | Path, text: str = "", limit: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        program = find(str(command[0])) or command[0]
        return subprocess.run(
            [program, *command[1:]],
            input=text,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
