"""C{moxsmtp check}: what a server needs from its surroundings.  Needs no server."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import click
from twisted.internet.defer import Deferred

from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.offline import resolver_settings, run_reactor
from moxsmtp.dns.probe import Probe, probe
from moxsmtp.dns.records import Question, RRType
from moxsmtp.dns.settings import Upstream
from moxsmtp.dns.system import RESOLV_CONF, believes_ad, system_servers, trust, upstreams
from moxsmtp.dns.wire import question_section
from moxsmtp.logs import printable

__all__ = ["check"]


@click.group()
def check() -> None:
    """Look at what a server needs; works without one."""


@command(check, "resolver", "moxsmtp check resolver --signed example.org")
@click.option(
    "--signed",
    metavar="NAME",
    default=".",
    show_default=True,
    help="A domain known to be signed.  By default the root, which every validating resolver "
    "can tell; in a closed network give one of its own.",
)
def check_resolver(server: Server, signed: str) -> None:
    """
    Ask each DNS resolver and say whether its answers are believed.

    The resolvers are those of the configuration, else those of the system.
    Each is asked for the name servers (NS) of a signed domain.  "AD set" means that it
    says to have validated the answer with DNSSEC.  The server believes that of resolvers
    on this machine and of those with trust_ad in the configuration; without it, DNSSEC
    counts as absent.  Exit status 1 if no resolver answers.
    """
    config = server.configuration()
    settings = resolver_settings(config)
    servers = upstreams(settings, RESOLV_CONF)
    source = "the default, since nothing names others"
    if config is not None and settings.servers:
        source = config
    elif system_servers(RESOLV_CONF):
        source = RESOLV_CONF
    question = Question(signed, RRType.NS)
    try:
        question_section(question)
    except ValueError as error:
        raise Trouble(f"{signed} cannot be asked for: {error}") from None

    async def ask_all(reactor: Any) -> list[Probe]:
        asking = [
            Deferred.fromCoroutine(
                probe(
                    upstream,
                    question,
                    reactor=reactor,
                    settings=settings,
                    randbelow=secrets.randbelow,
                )
            )
            for upstream in servers
        ]
        return [await one for one in asking]

    probes = run_reactor(ask_all)
    if server.as_json:
        for upstream, found in zip(servers, probes, strict=True):
            print_json(_entry(upstream, found, source, question))
    else:
        _tell(servers, probes, source, question)
    if not any(found.answers for found in probes):
        raise SystemExit(1)


def _entry(upstream: Upstream, found: Probe, source: str, question: Question) -> dict[str, object]:
    return {
        "address": str(upstream.address),
        "port": upstream.port,
        "source": source,
        "asked": f"{question.type} of {question.name or '.'}",
        "answers": found.answers,
        "milliseconds": round(found.seconds * 1000, 1),
        "problem": found.problem,
        "ad": found.has_ad,
        "believed": believes_ad(upstream),
        "because": trust(upstream).value,
    }


def _tell(
    servers: Sequence[Upstream], probes: Sequence[Probe], source: str, question: Question
) -> None:
    asked = f"{question.type} of {question.name or '.'}"
    click.echo(f"Resolvers ({printable(source)}), asked for {printable(asked)}:")
    for upstream, found in zip(servers, probes, strict=True):
        click.echo("")
        click.echo(f"{upstream.address} port {upstream.port}")
        click.echo(f"  {printable(_answer(found))}")
        if not found.problem:
            click.echo(f"  {_validation(found)}")
        believed = "believed" if believes_ad(upstream) else "not believed"
        click.echo(f"  what it says about DNSSEC is {believed}: {trust(upstream).value}")
    click.echo("")
    click.echo(_conclusion(servers, probes))


def _answer(found: Probe) -> str:
    if not found.answers:
        return f"does not answer: {found.problem}"
    within = f"answers in {found.seconds * 1000:.1f} ms"
    return f"{within}, but with an error: {found.problem}" if found.problem else within


def _validation(found: Probe) -> str:
    if found.has_ad:
        return "AD set: it validates"
    return "AD not set: it does not validate, or the domain is not signed for it"


def _conclusion(servers: Sequence[Upstream], probes: Sequence[Probe]) -> str:
    """What follows for the server, which asks them in this order."""
    pairs = list(zip(servers, probes, strict=True))
    if not any(found.answers for found in probes):
        return "No resolver answers: mail can be neither checked nor sent."
    answering = [upstream for upstream, found in pairs if found.answers and not found.problem]
    if not answering:
        return "No resolver knows that domain; see the errors."
    validated = [u for u, found in pairs if found.has_ad and believes_ad(u)]
    if not validated:
        return "DNSSEC counts as absent: no resolver both validates and is believed."
    if len(validated) < len(answering):
        return "DNSSEC is used, but not with every resolver that answers."
    return "DNSSEC is used."
