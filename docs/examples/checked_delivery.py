"""A mail server on port 2525 that says of each message who sent it, and keeps none."""

from twisted.internet import defer, protocol
from twisted.mail import interfaces, smtp
from with_resolver import run
from zope.interface import implementer

from moxsmtp.bridge import CheckedDelivery
from moxsmtp.names import parse_domain
from moxsmtp.public_suffix import PublicSuffixes


@implementer(interfaces.IMessageDelivery, interfaces.IMessageSMTP)
class Printer:
    def receivedHeader(self, helo, origin, recipients):
        return None

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return Printer

    def lineReceived(self, line):
        print(line.decode("utf-8", "replace"))

    def eomReceived(self):
        return defer.succeed(None)

    def connectionLost(self):
        print("given up")


async def main(reactor, resolver):
    checked = CheckedDelivery(
        Printer(),
        resolver=resolver,
        hostname=parse_domain("mx.example.org"),
        clock=reactor,
        public_suffixes=PublicSuffixes(),
    )

    def session():
        server = smtp.ESMTP()
        server.delivery = checked
        return server

    reactor.listenTCP(2525, protocol.Factory.forProtocol(session), interface="127.0.0.1")
    await defer.Deferred()


if __name__ == "__main__":
    run(main)
