"""A mail server on port 2525 that says of each message who sent it, and keeps none."""

from twisted.internet import defer, endpoints, protocol
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from twisted.mail.smtp import ESMTP
from with_resolver import run
from zope.interface import implementer

from moxsmtp.bridge import CheckedDelivery
from moxsmtp.names import parse_domain
from moxsmtp.public_suffix import PublicSuffixes


@implementer(IMessageSMTP)
class Message:
    def lineReceived(self, line):
        print(line.decode("utf-8", "replace"))

    def eomReceived(self):
        return defer.succeed(None)

    def connectionLost(self):
        print("the client left before its message was whole")


@implementer(IMessageDelivery)
class Delivery:
    def receivedHeader(self, helo, origin, recipients):
        return None

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return Message


class Server(protocol.ServerFactory):
    def __init__(self, reactor, resolver):
        self.delivery = CheckedDelivery(
            Delivery(),
            resolver=resolver,
            hostname=parse_domain("mx.example.org"),
            clock=reactor,
            public_suffixes=PublicSuffixes(),
        )

    def buildProtocol(self, address):
        session = ESMTP()
        session.delivery = self.delivery
        return session


async def main(reactor, resolver):
    endpoint = endpoints.TCP4ServerEndpoint(reactor, 2525, interface="127.0.0.1")
    await endpoint.listen(Server(reactor, resolver))
    await defer.Deferred()


if __name__ == "__main__":
    run(main)
