"""
A queue that is full: memory, and the time to see its first page.

C{python -m bench.full [MESSAGES]}: so many messages are handed in that are not to
leave before tomorrow; the server is looked at then, and once more after a restart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bench.kill import fill
from bench.measure import allow_files, peak_rss, reset_peak_rss
from tests.peers.server import Layout, Server

#: Seconds for whatever a server does by itself in its first minute.
_QUIET = 20


def main() -> None:
    """Fill, and say what it takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int, nargs="?", default=100_000)
    options = parser.parse_args()
    allow_files(65536)
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        server = Server(Path(name), Layout(tables={"log": 'level = "warn"'}))
        try:
            server.wait_until_up()
            server.set_password()
            begun = time.perf_counter()
            fill(server, options.messages)
            rate = options.messages / (time.perf_counter() - begun)
            print(f"{options.messages} handed in, {rate:.0f} a second", flush=True)
            look(server, "while they came")
            server.end()
            begun = time.perf_counter()
            server.restart()
            server.wait_until_up()
            print(f"started in {time.perf_counter() - begun:.2f} s", flush=True)
            reset_peak_rss(server.process.pid)
            time.sleep(_QUIET)
            look(server, "after a restart")
        finally:
            server.end()


def look(server: Server, when: str) -> None:
    """Print what is to be known."""
    begun = time.perf_counter()
    page = server.objects("queue", "list")
    seconds = time.perf_counter() - begun
    memory = peak_rss(server.process.pid) / 1024
    print(
        f"{when}: {memory:.0f} MiB at most; {len(page)} messages listed in {seconds:.2f} s,"
        " the start of the command included",
        flush=True,
    )


if __name__ == "__main__":
    main()
