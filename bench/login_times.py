"""
Whether the time of a refused log-in tells who has an account here (S-50).

C{python -m bench.login_times [TRIES]}: for each mechanism, a wrong password of a user
that there is, of one that there is not in a domain of ours, and of one elsewhere, in
turn, each on a connection of its own.  What counts is the time that the client waits
for answers, its own work left out.
"""

from __future__ import annotations

import argparse
import hmac
import random  # noqa: TID251 - only the order hangs on it
import socket
import ssl
import statistics
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.peers.server import ADDRESS, Server
from tests.smtp.scram_client import Client as Scram

#: How far medians may lie apart.
TOLERANCE: Final = 0.1

#: What lies apart is measured again: noise of the machine goes, a difference stays.
_ROUNDS: Final = 5

#: The first is known.
USERS: Final = (ADDRESS, "nobody@here.test", "nobody@elsewhere.test")

_PASSWORD: Final = b"a wrong password"


class Connection:
    """One under TLS 1.2, whose channel Python's client can bind to."""

    def __init__(self, server: Server) -> None:
        context = server.tls()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        plain = socket.create_connection(("localhost", server.ports["submissions"]), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname="localhost")
        self._lines = self._socket.makefile("rb")
        self.waited = 0.0
        self._reply()
        self.say(b"EHLO client.test")

    @property
    def binding(self) -> bytes:
        """For C{tls-unique}."""
        return self._socket.get_channel_binding() or b""

    def _reply(self) -> bytes:
        while True:
            line = self._lines.readline()
            if line[3:4] != b"-":
                return line

    def say(self, line: bytes) -> bytes:
        """@return: The last line of what is answered."""
        begun = time.perf_counter()
        self._socket.sendall(line + b"\r\n")
        reply = self._reply()
        self.waited += time.perf_counter() - begun
        return reply

    def close(self) -> None:
        """Hang up."""
        self.say(b"QUIT")
        self._lines.close()
        self._socket.close()


def plain(connection: Connection, user: str) -> bytes:
    """RFC 4616."""
    octets = b64encode(b"\0%s\0%s" % (user.encode(), _PASSWORD))
    return connection.say(b"AUTH PLAIN " + octets)


def login(connection: Connection, user: str) -> bytes:
    """What is left of a draft."""
    connection.say(b"AUTH LOGIN")
    connection.say(b64encode(user.encode()))
    return connection.say(b64encode(_PASSWORD))


def cram_md5(connection: Connection, user: str) -> bytes:
    """RFC 2195."""
    challenge = b64decode(connection.say(b"AUTH CRAM-MD5").split()[1])
    digest = hmac.new(_PASSWORD, challenge, "md5").hexdigest()
    return connection.say(b64encode(f"{user} {digest}".encode()))


def scram(algorithm: str, *, plus: bool) -> Callable[[Connection, str], bytes]:
    """RFC 5802; the channel is bound by C{tls-unique}."""
    name = "SCRAM-" + algorithm.upper().replace("SHA", "SHA-") + ("-PLUS" if plus else "")

    def converse(connection: Connection, user: str) -> bytes:
        client = Scram(algorithm, user, _PASSWORD)
        if plus:
            client.header, client.binding = "p=tls-unique,,", connection.binding
        reply = connection.say(f"AUTH {name} ".encode() + b64encode(client.first))
        reply = connection.say(b64encode(client.final(b64decode(reply.split()[1]))))
        # What is wrong is told within the exchange, and then by a code.
        return connection.say(b"") if reply.startswith(b"334 ") else reply

    return converse


MECHANISMS: Final = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "SCRAM-SHA-1": scram("sha1", plus=False),
    "SCRAM-SHA-1-PLUS": scram("sha1", plus=True),
    "SCRAM-SHA-256": scram("sha256", plus=False),
    "SCRAM-SHA-256-PLUS": scram("sha256", plus=True),
}


def measured(
    server: Server, converse: Callable[[Connection, str], bytes], tries: int
) -> dict[str, float]:
    """Medians in seconds, by user."""
    times: dict[str, list[float]] = {user: [] for user in USERS}
    replies = set()
    for _ in range(tries):
        for user in random.sample(USERS, len(USERS)):
            connection = Connection(server)
            connection.waited = 0.0
            reply = converse(connection, user)
            times[user].append(connection.waited)
            connection.close()
            replies.add(reply.rpartition(b" (")[0])
    if len(replies) > 1 or not next(iter(replies)).startswith(b"535 5.7.8"):
        raise SystemExit(f"not the same is answered: {replies}")
    return {user: statistics.median(those) for user, those in times.items()}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tries", type=int, nargs="?", default=50)
    tries = parser.parse_args().tries
    bad = []
    with tempfile.TemporaryDirectory(prefix="mox", ignore_cleanup_errors=True) as name:
        server = Server(Path(name))
        try:
            server.wait_until_up()
            server.set_password()
            print(f"{'median ms':20}{'known':>10}{'unknown':>10}{'elsewhere':>10}{'apart':>9}")
            for mechanism, converse in MECHANISMS.items():
                measured(server, converse, 2)
                for _ in range(_ROUNDS):
                    known, *others = measured(server, converse, tries).values()
                    apart = max(abs(other - known) / known for other in others)
                    columns = "".join(f"{each * 1000:10.2f}" for each in (known, *others))
                    print(f"{mechanism:20}{columns}{apart:9.1%}", flush=True)
                    if apart <= TOLERANCE:
                        break
                else:
                    bad.append(mechanism)
        finally:
            server.end()
    if bad:
        raise SystemExit(f"time tells who is known: {', '.join(bad)}")


if __name__ == "__main__":
    main()
