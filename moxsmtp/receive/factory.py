"""Makes the connections of one socket."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from moxsmtp.receive.company import Company
from moxsmtp.receive.entrance import Entrance
from moxsmtp.receive.protocol import ESMTPServer
from moxsmtp.receive.proxy import Relayed

__all__ = ["ESMTPFactory"]


class ESMTPFactory(Factory[ESMTPServer]):
    """One L{ESMTPServer} for each connection."""

    noisy = False

    def __init__(self, entrance: Entrance) -> None:
        self._company = Company(entrance)

    def buildProtocol(self, addr: IAddress | Relayed | None) -> ESMTPServer:
        """One for each connection."""
        return ESMTPServer(self._company, addr if isinstance(addr, Relayed) else None)

    @property
    def entrance(self) -> Entrance:
        """What is obeyed from the next connection on."""
        return self._company.entrance

    def obey(self, entrance: Entrance) -> None:
        """See L{Company.obey}."""
        self._company.obey(entrance)

    def drain(self) -> Deferred[None]:
        """See L{Company.drain}."""
        return self._company.drain()
