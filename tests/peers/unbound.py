"""unbound, serving zones of the test's own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.peers.process import Process, find, free_port, until

__all__ = ["HINTS", "Unbound", "server_settings", "zone_settings", "zone_text"]

_SETTINGS: Final = """\
server:
  interface: {address}
  port: {port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-ip6: no
  num-threads: 1
  do-not-query-localhost: no
  qname-minimisation: no
  module-config: "{modules}"
  local-zone: "test." nodefault
  root-hints: "hints"
{more}\
remote-control:
  control-enable: no
"""

#: What a test changes is seen soon, and failures are told with their reasons.
_FOR_TESTS: Final = """\
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  ede: yes
"""

#: The file C{hints}: one server for the root, which nobody asks: the root zone is here as well.
HINTS: Final = ". 3600 IN NS a.root.\na.root. 3600 IN A 127.0.0.1\n"

_ZONE: Final = """\
auth-zone:
  name: "{name}"
  zonefile: "{file}"
  for-upstream: yes
  for-downstream: no
  fallback-enabled: no
"""

#: A zone that is to be fetched from where nothing listens.
_BROKEN: Final = """\
auth-zone:
  name: "broken.test"
  primary: 127.0.0.1@1
  for-upstream: yes
  for-downstream: no
  fallback-enabled: no
"""

_START_OF_AUTHORITY: Final = "@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS a.root.\n"

_ANCHORS: Final = """\
server:
  trust-anchor-file: "anchors"
"""


def server_settings(
    folder: Path, *, address: str, port: int, more: str, modules: str = "iterator"
) -> str:
    """
    The beginning of C{unbound.conf}.

    @param more: Lines for the server.
    """
    return _SETTINGS.format(folder=folder, address=address, port=port, more=more, modules=modules)


def zone_settings(name: str, file: Path) -> str:
    """What the server knows of a zone as if it had fetched it."""
    return _ZONE.format(name=name, file=file)


def zone_text(name: str, records: str) -> str:
    """The zone file of a zone with these records."""
    return f"$ORIGIN {name.rstrip('.')}.\n{_START_OF_AUTHORITY}{records}"


class Unbound:
    """
    A resolver that knows C{zones} and nothing else: other names do not exist,
    and for all in C{broken.test} it answers SERVFAIL.

    @param zones: Records of each zone as in a zone file, relative to its name.
    @param signed: Whole zone files of others.
    @param anchors: DS records of zones that it validates from there downwards;
        without any it validates nothing.
    """

    def __init__(
        self,
        folder: Path,
        zones: Mapping[str, str],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        signed: Mapping[str, str] | None = None,
        anchors: str = "",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.address = address
        self.port = port or free_port(address)
        (folder / "hints").write_text(HINTS)
        modules = "validator iterator" if anchors else "iterator"
        settings = server_settings(
            folder, address=address, port=self.port, more=_FOR_TESTS, modules=modules
        )
        if anchors:
            (folder / "anchors").write_text(anchors)
            settings += _ANCHORS
        texts = {name: zone_text(name, records) for name, records in {".": "", **zones}.items()}
        for name, text in {**texts, **(signed or {})}.items():
            file = folder / f"zone-{name}"
            file.write_text(text)
            settings += zone_settings(name, file)
        settings += _BROKEN
        (folder / "unbound.conf").write_text(settings)
        self._process = Process(
            [find("unbound") or "unbound", "-d", "-c", folder / "unbound.conf"],
            log=folder / "unbound.log",
        )
        until(self._answers, what="unbound answers", log=self._process.output)

    def _answers(self) -> bool:
        question = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + b"\x04test\0" + b"\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect((self.address, self.port))
                probe.send(question)
                return len(probe.recv(512)) > 0
            except OSError:
                return False

    def end(self) -> None:
        """Stop it."""
        self._process.end()
