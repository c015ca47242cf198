"""Replies made by dnspython, and a net without sockets that carries them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.rrset
from twisted.internet.error import ConnectionDone, UserError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.clock import CrowdedClock

#: Records in master-file form, C{"a.example. 300 IN A 192.0.2.1"}.
Records = tuple[str, ...]


def reply(
    packet: bytes,
    answer: Records = (),
    authority: Records = (),
    *,
    rcode: int = 0,
    flags: int = dns.flags.AD,
) -> bytes:
    """The packet that answers the query C{packet}."""
    message = dns.message.make_response(dns.message.from_wire(packet))
    message.flags |= flags | dns.flags.RA
    message.set_rcode(dns.rcode.Rcode(rcode))
    message.answer = [_rrset(line) for line in answer]
    message.authority = [_rrset(line) for line in authority]
    return message.to_wire()


def _rrset(line: str) -> dns.rrset.RRset:
    name, ttl, rdclass, rdtype, data = line.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), rdclass, rdtype, data)


class Port:
    """The transport of one UDP socket."""

    def __init__(self, net: Net, protocol: DatagramProtocol) -> None:
        self.net = net
        self.protocol = protocol
        self.address = ("", 0)
        self.maxThroughput = 1  # of Twisted's port, far more
        self.open = True

    def connect(self, host: str, port: int) -> None:
        """See C{IUDPTransport}."""
        self.address = (host, port)

    def write(self, packet: bytes) -> None:
        """See C{IUDPTransport}."""
        if self.net.error is not None:
            raise self.net.error
        self.net.sent.append((self, packet))

    def stopListening(self) -> None:
        """See C{IListeningPort}: at once."""
        if self.open:
            self.open = False
            self.protocol.doStop()

    def receive(self, packet: bytes) -> None:
        """A packet from the server."""
        self.protocol.datagramReceived(packet, self.address)

    def turn(self, packets: list[bytes]) -> None:
        """
        What Twisted's port reads in one turn of the reactor.

        @param packets: What has come; those that were read are taken away.
        """
        octets = 0
        while octets < self.maxThroughput and packets:
            octets += len(packets[0])
            self.receive(packets.pop(0))


class Stream:
    """One TCP connection that was asked for."""

    def __init__(self, host: str, port: int, factory: ClientFactory, timeout: float) -> None:
        self.address = (host, port)
        self.factory = factory
        self.timeout = timeout
        self.disconnected = False
        self.transport = StringTransport()
        self.protocol: IProtocol | None = None

    def disconnect(self) -> None:
        """See C{IConnector}: what is not connected yet fails at once."""
        self.disconnected = True
        if self.protocol is None:
            reason = Failure(UserError())
            self.factory.clientConnectionFailed(self, reason)  # type: ignore[arg-type]  # as much of it as is used
        else:
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def accept(self) -> IProtocol:
        """The connection is made."""
        self.protocol = self.factory.buildProtocol(None)
        assert self.protocol is not None
        self.protocol.makeConnection(self.transport)
        return self.protocol


class Net(CrowdedClock):
    """
    A reactor whose packets go nowhere but into lists.

    @ivar sent: Each UDP packet with the port it left from.
    @ivar error: Raised instead of sending.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []
        self.sent: list[tuple[Port, bytes]] = []
        self.streams: list[Stream] = []
        self.interfaces: list[str] = []
        self.error: Exception | None = None

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> Port:
        """See C{IReactorUDP}."""
        del maxPacketSize
        assert port == 0
        self.interfaces.append(interface)
        self.ports.append(Port(self, protocol))
        protocol.makeConnection(self.ports[-1])  # type: ignore[arg-type]  # as much of it as is used
        return self.ports[-1]

    def connectTCP(
        self, host: str, port: int, factory: ClientFactory, timeout: float = 30
    ) -> Stream:
        """See C{IReactorTCP}."""
        self.streams.append(Stream(host, port, factory, timeout))
        return self.streams[-1]

    def answer(self, made: Callable[[bytes], bytes]) -> None:
        """Answer the packet sent last."""
        port, packet = self.sent[-1]
        port.receive(made(packet))


def counter() -> Callable[[int], int]:
    """
    Numbers that are all but random: one after the other.  A large one is made of
    many, so that each 32 bits of it are another.
    """
    state: dict[str, Any] = {"next": 0}

    def below(bound: int) -> int:
        number = 0
        for _ in range(bound.bit_length() // 32 or 1):
            state["next"] += 1
            number = number << 32 | int(state["next"]) * 0x20001 % (1 << 32)
        return number % bound

    return below
