"""
Commands that ask the DNS themselves, with no server running.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from moxsmtp.admin.cli_base import Trouble
from moxsmtp.config import ConfigError
from moxsmtp.config.schema import file_table
from moxsmtp.config.sources import read
from moxsmtp.config.tables import FileTable
from moxsmtp.dns.resolver import StubResolver
from moxsmtp.dns.settings import ResolverSettings
from moxsmtp.dns.system import upstreams
from moxsmtp.interfaces import IOwnResolver, IResolver
from moxsmtp.outbound.settings import OutboundSettings

__all__ = ["outbound_settings", "resolver_settings", "run", "run_reactor"]

T = TypeVar("T")


def resolver_settings(config: str | None) -> ResolverSettings:
    """
    Those of a configuration, whatever is wrong with the rest of it: who asks
    may not read keys and secrets.  Without one, those of a server that says nothing.

    @raise Trouble: They cannot be read.
    """
    return ResolverSettings() if config is None else _with_section(config, "resolver").resolver


def outbound_settings(config: str | None) -> OutboundSettings:
    """
    Those of a configuration, likewise.

    @raise Trouble: They cannot be read.
    """
    if config is None:
        return OutboundSettings()
    settings = _with_section(config, "outbound").outbound
    if not settings.certificates:
        return settings
    given = Path(config).absolute()
    folder = given if given.is_dir() else given.parent
    return replace(settings, certificates=str(folder / settings.certificates))


def _with_section(config: str, name: str) -> FileTable:
    """What one section of a file says; of others nothing is read."""
    try:
        source = read(config)
        table, problems = file_table({name: source.tree.get(name, {})})
    except ConfigError as error:
        raise Trouble(str(error)) from None
    mine = [problem for problem in problems if problem[0][:1] == (name,)]
    if mine:
        raise Trouble(str(ConfigError(map(source.mistake, mine))))
    return table


def run(
    config: str | None,
    main: Callable[[Any, IResolver], Awaitable[T]],
    *,
    reactor: Any = None,
) -> T:
    """
    Run C{main(reactor, resolver)} to its end: once in a process, since a
    reactor runs once.

    @param config: The resolver's settings are in it; L{None}: the system's.
    @param reactor: For tests; L{None}: Twisted's.
    @raise Trouble: The configuration cannot be used.
    @raise KeyboardInterrupt: The user gave up.
    """
    settings = resolver_settings(config)

    async def with_resolver(reactor: Any) -> T:
        resolver: IOwnResolver = StubResolver(
            reactor=reactor,
            servers=upstreams(settings),
            settings=settings,
            randbelow=secrets.randbelow,
        )
        try:
            return await main(reactor, resolver)
        finally:
            await resolver.close()

    return run_reactor(with_resolver, reactor=reactor)


def run_reactor(main: Callable[[Any], Awaitable[T]], *, reactor: Any = None) -> T:
    """
    Run the reactor until C{main(reactor)} is done, and give or raise what it did.

    @raise KeyboardInterrupt: The user gave up.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    async def kept(reactor: Any) -> None:
        # Kept, not raised: react() would print a traceback and end the process.
        try:
            results.append(await main(reactor))
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    running: list[Deferred[None]] = []

    def start(reactor: Any) -> Deferred[None]:
        running.append(Deferred.fromCoroutine(kept(reactor)))
        return running[0]

    try:
        react(start, _reactor=reactor)
    except SystemExit:
        # How react() ends in every case.
        if errors:
            raise errors[0] from None
    if not results:
        running[0].cancel()
        raise KeyboardInterrupt
    return results[0]
