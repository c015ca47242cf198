"""
C{python -m tests.peers [-j N] [NAME ...]}: run all peer tests, or those named.

Their modules are called C{check_*}, so that C{trial tests} does not find them.
A name is one of a module, a class or a test, C{tests.peers} in front or not.

They wait more than they work, so some modules run at a time, each in a C{trial} of its
own.  What that says is printed when it ends, and what failed once more when all have.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from tests.peers.process import children

#: They have the machine for themselves, at the end: they count seconds, or load all of it.
_ALONE: Final = ("check_durability", "check_hanging", "check_workers")

#: What begins first, so that it is not waited for when all else is done.
_LONG: Final = (
    "check_webhooks",
    "check_next_hop",
    "check_mta_sts",
    "check_admin",
    "check_shared_queue",
    "check_queue_commands",
    "check_statements",
)

#: Seconds for one that is interrupted to end what it started.
_GRACE: Final = 30

_PR_SET_CHILD_SUBREAPER: Final = 36

_SUMMARY: Final = re.compile(r"^(PASSED|FAILED)( \(.*\))?$")


class Run:
    """
    A C{trial} for some names of one module.

    @ivar module: C{check_*}.
    @ivar seconds: How long it took; at the end.
    """

    def __init__(self, module: str, names: Sequence[str], folder: Path) -> None:
        self.module = module
        self._log = folder / f"{module}.log"
        self._begun = time.monotonic()
        self.seconds = 0.0
        with self._log.open("wb") as output:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "twisted.trial"),
                    f"--temp-directory={folder / module}",
                    *(f"{__package__}.{name}" for name in names),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # An interrupt at the terminal comes by us, once.
                start_new_session=True,
            )

    def is_over(self) -> bool:
        """Whether it has ended."""
        if self._child.poll() is None:
            return False
        self.seconds = time.monotonic() - self._begun
        return True

    @property
    def status(self) -> int:
        """How it ended."""
        return self._child.returncode

    def interrupt(self) -> None:
        """Have it stop after it has ended what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGINT)

    def text(self) -> str:
        """What it said."""
        return self._log.read_text("utf-8", "replace")

    def failures(self) -> str:
        """What it said of failures, without the line that is counted."""
        _, bar, text = self.text().partition("\n" + "=" * 79 + "\n")
        lines = (bar + text if bar else self.text()[-4000:]).splitlines()
        return "\n".join(line for line in lines if not _SUMMARY.match(line))


def chosen(arguments: Sequence[str]) -> dict[str, list[str]]:
    """The names to run, by module."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("check_*.py"))
    names: dict[str, list[str]] = {}
    for argument in arguments or modules:
        name = argument.removeprefix(f"{__package__}.")
        module = name.partition(".")[0]
        if module not in modules:
            raise SystemExit(f"no peer tests are called {argument}")
        names.setdefault(module, []).append(name)
    return names


def run_some(modules: Sequence[str], names: dict[str, list[str]], jobs: int) -> Iterator[Run]:
    """Run these, C{jobs} of them at a time.  @return: Each when it ends."""
    waiting, running = list(modules), list[Run]()
    with tempfile.TemporaryDirectory(prefix="moxpeers") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    module = waiting.pop(0)
                    running.append(Run(module, names[module], Path(folder)))
                for run in [each for each in running if each.is_over()]:
                    running.remove(run)
                    yield run
                time.sleep(0.1)
        finally:
            end(running)


def end(running: Sequence[Run]) -> None:
    """End these, and after a while all that they started."""
    if not running:
        return
    for run in running:
        run.interrupt()
    limit = time.monotonic() + _GRACE
    while not all(run.is_over() for run in running) and time.monotonic() < limit:
        time.sleep(0.1)
    # Who has lost its parent is a child of ours.
    while left := children(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def stop(*_: object) -> NoReturn:
    """SIGTERM is as good as an interrupt; timeout(1) sends it twice."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """@return: The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description="Run peer tests.")
    cores = os.cpu_count() or 1
    parser.add_argument("-j", "--jobs", type=int, default=cores + 1, help="modules at a time")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    names = chosen(options.names)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, stop)
    order = sorted(names, key=lambda name: _LONG.index(name) if name in _LONG else len(_LONG))
    failed = []
    for modules, jobs in (
        ([name for name in order if name not in _ALONE], options.jobs),
        ([name for name in order if name in _ALONE], 1),
    ):
        for run in run_some(modules, names, jobs):
            print(f"{run.text()}{run.module}: {run.seconds:.0f} s\n", flush=True)
            if run.status:
                failed.append((run.module, run.status, run.failures()))
    for module, status, text in failed:
        print(f"{text}\n{module} failed, exit status {status}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
