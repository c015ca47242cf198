"""What the kernel knows of processes, and a load of SMTP."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import find

__all__ = [
    "Run",
    "allow_files",
    "cpu_seconds",
    "peak_rss",
    "pss",
    "reset_peak_rss",
    "smtp_source",
]

_TICK = os.sysconf("SC_CLK_TCK")

#: Behind the name of the program, which may hold spaces and brackets.
_SESSION, _UTIME, _CSTIME = 3, 11, 14


def _members(session: int) -> Iterator[tuple[Path, list[str]]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[_SESSION]) == session:
            yield folder, fields


def cpu_seconds(session: int) -> float:
    """What the processes of a session used, those that ended and were waited for included."""
    ticks = 0
    for _, fields in _members(session):
        ticks += sum(map(int, fields[_UTIME : _CSTIME + 1]))
    return ticks / _TICK


def pss(session: int) -> int:
    """KiB of memory that a session's processes hold, shared pages in proportion."""
    total = 0
    for folder, _ in _members(session):
        try:
            rollup = (folder / "smaps_rollup").read_text()
        except OSError:
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def peak_rss(pid: int) -> int:
    """KiB resident at most since L{reset_peak_rss}."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no memory")


def reset_peak_rss(pid: int) -> None:
    """Let the peak be what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def allow_files(count: int) -> None:
    """Let this process, and those that it starts, have that many files open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True, slots=True)
class Run:
    """
    @ivar seconds: Until every message was acknowledged.
    @ivar cpu: Seconds of a processor that sending took.
    """

    messages: int
    seconds: float
    cpu: float


def smtp_source(
    port: int,
    *,
    messages: int,
    size: int | Path,
    reuse: bool,
    sessions: int = 16,
    recipient: str,
    sender: str = "sender@there.test",
    hello: str = "client.test",
) -> Run:
    """
    Send C{messages} with Postfix's C{smtp-source}.

    @param size: Octets of each; or the file of the message, its lines ended by LF.
    @param reuse: Send all on C{sessions} connections; else each on one of its own.
    @raise RuntimeError: Not all were taken.
    """
    command = [
        find("smtp-source") or "smtp-source",
        *(["-d"] if reuse else []),
        *("-s", str(sessions), "-m", str(messages)),
        *(("-F", str(size)) if isinstance(size, Path) else ("-l", str(size))),
        *("-M", hello, "-f", sender, "-t", recipient, f"127.0.0.1:{port}"),
    ]
    begun, used = time.perf_counter(), _children()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"smtp-source: {done.stderr.strip()[-500:]}")
    return Run(messages, seconds, _children() - used)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
