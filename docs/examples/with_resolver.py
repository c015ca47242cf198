"""Run a coroutine with the resolver of this machine."""

import secrets

from twisted.internet import defer, task

from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.dns.system import upstreams


async def with_resolver(reactor, main):
    settings = ResolverSettings()
    resolver = StubResolver(
        reactor=reactor,
        servers=upstreams(settings),
        settings=settings,
        randbelow=secrets.randbelow,
    )
    try:
        await main(reactor, resolver)
    finally:
        await resolver.close()


def run(main):
    task.react(lambda reactor: defer.Deferred.fromCoroutine(with_resolver(reactor, main)))
