"""A SOCKS5 proxy, written from RFC 1928 for tests; it notes who is asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
from ipaddress import IPv4Address, IPv6Address

__all__ = ["SocksProxy"]


class SocksProxy:
    """
    Connects whom it serves from C{source}.

    @ivar asked: Address and port of each request.
    @ivar code: What it replies; other than 0 it connects nobody.
    """

    def __init__(self, source: str) -> None:
        self.asked: list[tuple[str, int]] = []
        self.code = 0
        self._source = source
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        """Close everything."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            version, count = _read(client, 2)
            methods = _read(client, count)
            if version != 5 or 0 not in methods:
                client.close()
                return
            client.sendall(b"\x05\x00")
            _, command, _, kind = _read(client, 4)
            if kind == 1:
                host = str(IPv4Address(_read(client, 4)))
            elif kind == 4:
                host = str(IPv6Address(_read(client, 16)))
            else:
                host = _read(client, _read(client, 1)[0]).decode()
            port = int.from_bytes(_read(client, 2), "big")
            self.asked.append((host, port))
            code = self.code if command == 1 else 7
            if code:
                client.sendall(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
                client.close()
                return
            other = socket.create_connection((host, port), 20, source_address=(self._source, 0))
            other.settimeout(None)
            self._open.append(other)
            # The name as bound address, which a client has to be able to skip.
            reply = b"\x05\x00\x00\x03\x05proxy\x00\x01"
            client.sendall(reply)
            threading.Thread(target=_pump, args=(client, other), daemon=True).start()
            _pump(other, client)


def _read(client: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        more = client.recv(count - len(octets))
        if not more:
            raise EOFError
        octets += more
    return octets


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(65536):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
