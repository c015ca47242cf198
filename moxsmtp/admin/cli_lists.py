"""C{moxsmtp check dnsbl}: lists of addresses.  Needs no server."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import click

from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.cli_check import check
from moxsmtp.admin.offline import run
from moxsmtp.config import ConfigError
from moxsmtp.config.load import load
from moxsmtp.dnsbl import Condition, Health, Listing, Lists
from moxsmtp.interfaces import IResolver
from moxsmtp.list_watch import configured_lists
from moxsmtp.logs import printable
from moxsmtp.names import Domain, InvalidName, IPAddress, parse_domain

__all__ = ["check_dnsbl"]


@command(check, "dnsbl", "moxsmtp check dnsbl --ip 192.0.2.1 zen.example.org")
@click.argument("zones", metavar="[ZONE]...", nargs=-1)
@click.option("--ip", "address", metavar="IP", help="Also say who lists this address.")
def check_dnsbl(server: Server, zones: tuple[str, ...], address: str | None) -> None:
    """
    Say of each list of addresses (DNSBL) whether it can be believed.

    The lists are the ZONEs, else those of the configuration (dnsbls).  A list has to hold its
    test entry 127.0.0.2, and must not hold 127.0.0.1; one that does otherwise is not asked by
    the server.  Exit status 1 if one is not to be believed.
    """
    config = server.configuration()
    lists = tuple(map(_zone, zones)) if zones else _configured(config)
    asked = None if address is None else _address(address)
    found = run(config, lambda reactor, resolver: _look(reactor, resolver, lists, asked))
    for zone, condition, listing in found:
        if server.as_json:
            print_json(_entry(zone, condition, listing))
        else:
            click.echo(printable(f"{zone}: {_health(condition)}{_listed(listing)}"))
    if not all(condition.healthy for _, condition, _ in found):
        raise SystemExit(1)


_Found = tuple[Domain, Condition, Listing | None]


async def _look(
    reactor: Any, resolver: IResolver, zones: tuple[Domain, ...], address: IPAddress | None
) -> list[_Found]:
    health = Health(resolver, reactor)
    found: list[_Found] = []
    for zone in zones:
        condition = await health.condition(zone)
        listing = None
        if address is not None and condition.healthy:
            (listing,) = await Lists(resolver, reactor, (zone,), health).search(address)
        found.append((zone, condition, listing))
    return found


def _configured(config: str | None) -> tuple[Domain, ...]:
    if config is None:
        raise Trouble("no list to look at: name one, or a configuration with --config")
    try:
        zones = configured_lists(load(config))
    except ConfigError as error:
        raise Trouble(str(error)) from None
    if not zones:
        raise Trouble(f"{config} has no dnsbls")
    return zones


def _zone(text: str) -> Domain:
    try:
        return parse_domain(text)
    except InvalidName as error:
        raise Trouble(f'"{text}" is not a domain: {error}') from None


def _address(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise Trouble(f'--ip: "{text}" is not an IP address') from None


def _health(condition: Condition) -> str:
    if not condition.healthy:
        return f"not to be believed: {condition.problem}"
    return f"cannot be asked: {condition.problem}" if condition.problem else "in order"


def _listed(listing: Listing | None) -> str:
    if listing is None:
        return ""
    if listing.problem:
        return f"; {listing.problem}"
    words = f': it says "{listing.explanation}"' if listing.explanation else ""
    return f"; lists the address{words}" if listing.listed else "; does not list the address"


def _entry(zone: Domain, condition: Condition, listing: Listing | None) -> dict[str, object]:
    entry: dict[str, object] = {
        "zone": zone.ascii,
        "healthy": condition.healthy,
        "problem": condition.problem,
    }
    if listing is not None:
        entry |= {
            "listed": listing.listed,
            "explanation": listing.explanation,
            "listing_problem": listing.problem,
        }
    return entry
