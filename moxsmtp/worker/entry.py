"""
Where a worker process begins.

Descriptor 3 is for messages, 4 for connections, 5 is the lock of the data folder,
which this process holds for as long as it lives.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, cast

from twisted.logger import globalLogBeginner
from twisted.python.threadable import isInIOThread

from moxsmtp.logs import Form, JSONObserver, TextObserver, Threshold
from moxsmtp.steady_timers import SteadyTimers
from moxsmtp.surroundings import Internet
from moxsmtp.worker.channel import open_channel
from moxsmtp.worker.process import WorkerServer
from moxsmtp.worker.spawn import CONTROL, PASSING

__all__ = ["main", "prefer_throughput"]


def _leave(status: int) -> None:
    """What counts is stored; what else there is may end anyhow."""
    with suppress(OSError, ValueError):  # nobody may be there to read it
        sys.stdout.flush()
    os._exit(status)


def prefer_throughput() -> None:
    """
    Let whoever is at work go on when this thread, or one that it starts, is woken up.

    Workers, their writers, and clients on the same machine wake each other with every reply
    and every commit.  Where that takes the processor from somebody each time, his caches go
    with it.  A message can wait for a few milliseconds.  sched(7), SCHED_BATCH.

    Who started the server with another policy than the usual one is obeyed.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it may be forbidden
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(arguments: list[str]) -> None:
    """Until the parent says otherwise, or is gone."""
    from twisted.internet import reactor  # noqa: TID251 - the process begins here

    prefer_throughput()
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - as long as we live
    threshold = Threshold()
    make = JSONObserver if arguments[1] == Form.JSON else TextObserver
    globalLogBeginner.beginLoggingTo(
        [threshold.observer(make(sys.stdout))], redirectStandardIO=False
    )
    passing = socket.socket(fileno=PASSING)
    passing.setblocking(False)
    for descriptor in (CONTROL, PASSING):
        os.set_inheritable(descriptor, False)
    any_reactor = cast("Any", reactor)
    _ = SteadyTimers(any_reactor, steady=time.monotonic, is_at_home=isInIOThread)
    server = WorkerServer(any_reactor, Internet(), passing, threshold, _leave)
    # What ends the server or reloads it is told to all processes of a terminal
    # or a unit; we hear it from our parent, in its order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: any_reactor.callFromThread(server.stop))
    open_channel(any_reactor, socket.socket(fileno=CONTROL), server.channel)
    any_reactor.run(installSignalHandlers=False)
