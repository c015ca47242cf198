"""
unbound, as a resolver that has to find out for itself what it is asked.

Its zone is one that it would have fetched from elsewhere: what it answers goes
through its iterator and its cache, as with names of the net; only the way to
other servers is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.measure import cpu_seconds
from tests.peers.process import Process, find, free_port, until
from tests.peers.unbound import HINTS, server_settings, zone_settings

__all__ = ["Resolver"]

#: Its cache is as of any server.
_MORE: Final = '  local-zone: "127.in-addr.arpa." nodefault\n'

_BEGINNING: Final = """\
$ORIGIN .
@ 3600 IN SOA a.root. hostmaster.root. 1 3600 600 86400 3600
@ 3600 IN NS a.root.
a.root. 3600 IN A 127.0.0.1
"""


class Resolver:
    """
    unbound on the loopback.

    @ivar port: Stays the same when it is started again.
    """

    def __init__(self, folder: Path, records: str) -> None:
        """@param records: All that there is in the DNS, with absolute names."""
        folder.mkdir()
        self.port = free_port()
        self._folder = folder
        (folder / "hints").write_text(HINTS)
        (folder / "zone").write_text(_BEGINNING + records)
        (folder / "unbound.conf").write_text(
            server_settings(folder, address="127.0.0.1", port=self.port, more=_MORE)
            + zone_settings(".", folder / "zone")
        )
        self._process = self._launch()

    def _launch(self) -> Process:
        program = find("unbound")
        if program is None:
            raise SystemExit("not installed: unbound")
        process = Process(
            [program, "-d", "-c", self._folder / "unbound.conf"], log=self._folder / "unbound.log"
        )
        until(self._listens, within=60, what="unbound listens", log=process.output)
        return process

    def _listens(self) -> bool:
        # It opens its sockets before it reads its zones; it answers no sooner.
        return b"start of service" in (self._folder / "unbound.log").read_bytes()

    @property
    def configuration(self) -> str:
        """Of our server: the lines of C{[resolver]}."""
        return f'servers = [{{ address = "127.0.0.1", port = {self.port} }}]'

    def forget(self) -> None:
        """Start it again: nothing is in its cache."""
        self._process.end()
        (self._folder / "unbound.log").unlink()
        self._process = self._launch()

    def cpu_seconds(self) -> float:
        """What it used since it was started."""
        return cpu_seconds(self._process.pid)

    def end(self) -> None:
        """Stop it."""
        self._process.end()
