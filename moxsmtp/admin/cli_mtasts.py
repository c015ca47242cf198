"""C{moxsmtp check mta-sts}: what a domain asks of who sends it mail.  Needs no server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import click
from OpenSSL import SSL

from moxsmtp import __version__
from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.cli_check import check
from moxsmtp.admin.offline import outbound_settings, run
from moxsmtp.admin.sts_check import Finding, examine
from moxsmtp.interfaces import IResolver
from moxsmtp.logs import printable
from moxsmtp.metrics import process_metrics
from moxsmtp.mtasts.fetch import Fetcher
from moxsmtp.mtasts.policy import Mode, Policy, policy_url, record_name
from moxsmtp.mtasts.storage import Failure
from moxsmtp.names import Domain, InvalidName, parse_domain
from moxsmtp.outbound.next_hop import NextHops
from moxsmtp.outbound.settings import OutboundSettings
from moxsmtp.sts import policy_client
from moxsmtp.tls.client import StrictTLS, client_context

__all__ = ["check_mta_sts"]

_TIME_LIMIT: Final = timedelta(seconds=60)


@command(check, "mta-sts", "moxsmtp check mta-sts example.org")
@click.argument("name", metavar="DOMAIN")
def check_mta_sts(server: Server, name: str) -> None:
    """
    Say what MTA-STS (RFC 8461) a domain has.

    Shows its record in the DNS, the policy that its policy host has now, and whether the
    policy names each host that takes the domain's mail.  Nothing is kept and nothing that the
    server keeps is looked at.  Exit status 1 if something is wrong; having no MTA-STS is not.
    """
    try:
        domain = parse_domain(name)
    except InvalidName as error:
        raise Trouble(f"{name} is no domain: {error}") from None
    config = server.configuration()
    outbound = outbound_settings(config)
    try:
        context = client_context(strict=True, certificates=outbound.certificates or None)
    except SSL.Error:
        raise Trouble(f"no certificates can be read from {outbound.certificates}") from None

    def main(reactor: Any, resolver: IResolver) -> Any:
        return _examine(reactor, resolver, domain, outbound, context)

    finding: Finding = run(config, main)
    if server.as_json:
        print_json(_entry(finding))
    else:
        for line in _lines(finding):
            click.echo(printable(line))
    if not finding.is_fine:
        raise SystemExit(1)


async def _examine(
    reactor: Any,
    resolver: IResolver,
    domain: Domain,
    outbound: OutboundSettings,
    context: SSL.Context,
) -> Finding:
    client = policy_client(
        reactor,
        resolver,
        lambda host: StrictTLS(context, parse_domain(host)),
        outbound,
        allow_loopback=False,
    )
    fetcher = Fetcher(client, process_metrics(), user_agent=f"moxsmtp/{__version__}")

    async def fetch(domain: Domain) -> Policy | Failure:
        return await fetcher.fetch(domain, _TIME_LIMIT)

    try:
        return await examine(
            domain,
            resolver=resolver,
            next_hops=NextHops(resolver=resolver, clock=reactor, randbelow=secrets.randbelow),
            fetch=fetch,
        )
    finally:
        await client.close()


def _entry(finding: Finding) -> dict[str, object]:
    policy, failure = finding.policy, finding.failure
    return {
        "domain": finding.domain.ascii,
        "record_id": finding.record_id,
        "record_problem": finding.record_problem,
        "policy": policy
        and {
            "mode": policy.mode.value,
            "max_age": int(policy.max_age.total_seconds()),
            "mx": policy.mx,
            "text": policy.text,
        },
        "failure": failure.type.value if failure else "",
        "reason": failure.reason if failure else "",
        "hosts": [{"host": host.ascii, "named": is_named} for host, is_named in finding.hosts],
        "hosts_problem": finding.hosts_problem,
        "fine": finding.is_fine,
    }


def _lines(finding: Finding) -> Iterator[str]:
    yield f"Record {record_name(finding.domain)}: {_record(finding)}"
    if finding.record_id:
        yield f"Policy {policy_url(finding.domain)}:"
        yield from _policy(finding)
    if finding.hosts_problem:
        yield f"No host takes mail for {finding.domain}: {finding.hosts_problem}"
    else:
        yield f"Hosts that take mail for {finding.domain}:"
    for host, is_named in finding.hosts:
        words = {True: "named by the policy", False: "not named by the policy", None: ""}
        yield f"  {host}  {words[is_named]}".rstrip()
    yield _conclusion(finding)


def _record(finding: Finding) -> str:
    if finding.record_problem:
        return f"of no use, {finding.record_problem}"
    return f"id {finding.record_id}" if finding.record_id else "none"


def _policy(finding: Finding) -> Iterator[str]:
    policy, failure = finding.policy, finding.failure
    if failure is not None:
        yield f"  cannot be had ({failure.type.value}): {failure.reason}"
    if policy is not None:
        seconds = int(policy.max_age.total_seconds())
        yield f"  mode {policy.mode.value}, for {seconds} s ({seconds / 86400:.1f} days)"
        yield from (f"  mx {pattern}" for pattern in policy.mx)


def _conclusion(finding: Finding) -> str:
    """What follows for a server that has no policy of the domain yet."""
    policy = finding.policy
    if finding.record_problem or finding.failure:
        return "MTA-STS is broken: mail goes as if there were none, or by a policy kept before."
    if policy is None:
        return "The domain has no MTA-STS."
    if policy.mode is Mode.NONE:
        return "The domain had MTA-STS, and says that it has no more."
    if policy.mode is Mode.TESTING:
        return "The policy is being tested: it keeps no mail back."
    unnamed = ", ".join(map(str, finding.unnamed))
    if unnamed:
        return f"The policy is enforced: no mail goes to {unnamed}."
    return "The policy is enforced: mail goes only to these hosts, with TLS and good certificates."
