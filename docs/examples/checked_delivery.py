"""A mail server on port 2525 that says of each message who sent it, and keeps none."""

import secrets

from twisted.internet import defer, endpoints, protocol, task
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import ESMTP
from zope.interface import implementer

from moxsmtp.bridge import CheckedDelivery
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.dns.system import upstreams
from moxsmtp.names import parse_domain
from moxsmtp.public_suffix import PublicSuffixes


@implementer(IMessageSMTP)
class Message:
    def lineReceived(self, line):
        print(line.decode("utf-8", "replace"))

    def eomReceived(self):
        return defer.succeed(None)

    def connectionLost(self):
        print("the client has left in the middle of its message")


@implementer(IMessageDelivery)
class Delivery:
    def receivedHeader(self, helo, origin, recipients):
        return None

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return Message


class Server(protocol.ServerFactory):
    """Every connection is served by the same delivery."""

    def __init__(self, resolver, clock):
        self.delivery = CheckedDelivery(
            Delivery(),
            resolver=resolver,
            hostname=parse_domain("mx.example.org"),
            clock=clock,
            public_suffixes=PublicSuffixes(),
        )

    def buildProtocol(self, address):
        session = ESMTP()
        session.delivery = self.delivery
        return session


async def main(reactor):
    settings = ResolverSettings()
    resolver = StubResolver(
        reactor=reactor,
        servers=upstreams(settings),
        settings=settings,
        randbelow=secrets.randbelow,
    )
    endpoint = endpoints.TCP4ServerEndpoint(reactor, 2525, interface="127.0.0.1")
    await endpoint.listen(Server(resolver, reactor))
    await defer.Deferred()


if __name__ == "__main__":
    task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
