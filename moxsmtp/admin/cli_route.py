"""C{moxsmtp route}: where mail would go, and under which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.client import CommandRefused, NoServer, call
from moxsmtp.admin.forecasting import offline_forecaster
from moxsmtp.admin.offline import run
from moxsmtp.admin.route_commands import answer
from moxsmtp.config import ConfigError
from moxsmtp.config.load import load
from moxsmtp.logs import printable

__all__ = ["route"]

_EXAMPLE: Final = "moxsmtp route bob@example.com --from alice@example.org"

#: Seconds for all look-ups, and a policy that is fetched.
_TIME_LIMIT: Final = 120.0


@command(None, "route", _EXAMPLE)
@click.argument("to", metavar="ADDRESS")
@click.option("--from", "sender", metavar="ADDRESS", default="", help="The sender; none: <>.")
@click.option("--failed", metavar="N", default=0, help="How often it has failed already.")
@click.option("--transport", metavar="NAME", default="", help="As if that was set for it.")
@click.option(
    "--require-tls",
    type=click.Choice(["yes", "no"]),
    help='With REQUIRETLS, or with "TLS-Required: No".',
)
@click.option("--offline", is_flag=True, help="By the file of the configuration as it stands.")
def route(server: Server, to: str, offline: bool, **given: Any) -> None:
    """
    Say where a message would go now, and why: transport, mail servers, TLS.

    ADDRESS may be a domain alone.  Everything is asked that an attempt to deliver asks;
    nothing is connected to but resolvers and the web server of an MTA-STS policy.  Mail for
    who reads it here goes the same way; who that is, is told, too.  The server that runs
    is asked; if none does, or with --offline, its configuration is read.
    """
    sender = given.pop("sender")
    arguments: dict[str, object] = {"to": to, "from": sender, **given}
    if offline:
        entry = _offline(server, arguments)
    else:
        try:
            (entry,) = call(server.folder(), "route", arguments, time_limit=_TIME_LIMIT)
        except NoServer as error:
            if server.configuration() is None:
                raise Trouble(str(error)) from None
            entry = _offline(server, arguments)
        except CommandRefused as error:
            raise Trouble(str(error)) from None
    if server.as_json:
        print_json(entry)
    else:
        for line in _report(entry):
            click.echo(printable(line).rstrip())
    if entry["failure"]:
        raise SystemExit(1)


def _offline(server: Server, arguments: Mapping[str, object]) -> dict[str, Any]:
    config = server.configuration()
    if config is None:
        raise Trouble("--offline needs a configuration: moxsmtp --config FILE route --offline ...")
    try:
        settings = load(config)
    except ConfigError as error:
        raise Trouble(str(error)) from None
    try:
        return run(
            config,
            lambda reactor, resolver: answer(
                offline_forecaster(settings, resolver, reactor), settings.directory(), arguments
            ),
        )
    except ValueError as error:
        raise Trouble(str(error)) from None


# -- for people ----------------------------------------------------------------------


def _report(entry: Mapping[str, Any]) -> Iterator[str]:
    yield _line("to", entry["to"])
    account = f" of account {entry['account']}" if entry["account"] else ""
    yield _line("from", (entry["from"] or "<>") + account)
    if entry.get("local") is not None:
        yield _line("local", _local(entry["local"]))
        yield _line("", "it goes by queue and SMTP all the same, like mail to others:")
    transport = entry["transport"]
    if transport is not None:
        yield _line("transport", _transport(transport))
        yield _line("", f"because {transport['why']}")
    next_hop = entry["next_hop"]
    if next_hop is not None:
        kind = f" (MX of {next_hop['domain']}" if next_hop["mx"] else " (no MX"
        kind = f"{kind}{_dnssec(next_hop)})" if next_hop["domain"] else ""
        yield _line("next hop", ", ".join(next_hop["hosts"]) + kind)
        if next_hop["domain"]:
            yield _line("MTA-STS", _policy(entry["mta_sts"]))
    chooser = "the proxy" if transport and transport["kind"] == "socks" else "the system"
    for host in entry["hosts"]:
        yield from _host(host, chooser)
    if entry["failure"]:
        yield _line("outcome", _failure(entry["failure"]))
    steps: Sequence[str] = [*entry["steps"], *(s for host in entry["hosts"] for s in host["steps"])]
    if steps:
        yield ""
        yield "What was asked:"
    for step in dict.fromkeys(steps):
        yield f"  {step}"


def _local(found: Mapping[str, Any]) -> str:
    """Who reads it."""
    kind, accounts = found["kind"], ", ".join(found["accounts"])
    words = {
        "account": f"account {accounts}",
        "catch-all": f"account {accounts}, which takes all that is for nobody else in the domain",
        "default": f"account {accounts}, which takes all that is for nobody else",
        "alias": f"an alias, whose members are of account {accounts}",
        "nobody": "nobody: the domain is served here, and RCPT for the address is refused",
        "domain": "the domain is served here",
    }
    return words.get(kind, f"account {accounts}, as {kind}")


def _line(word: str, text: str) -> str:
    return f"{word:<10} {text}"


def _dnssec(found: Mapping[str, Any]) -> str:
    if found.get("host", found.get("domain") or "[").startswith("["):
        return ""  # the DNS was not asked
    return ", with DNSSEC" if found["authentic"] else ", without DNSSEC"


def _transport(transport: Mapping[str, Any]) -> str:
    text = f"{transport['kind']} {transport['name']}".rstrip()
    if "families" in transport:
        text += f", {transport['families']} only"
    if "host" in transport:
        text += f", {transport['host']} port {transport['port']}"
    if transport.get("remote_addresses"):
        text += f", which connects from {', '.join(transport['remote_addresses'])}"
    if "tls" in transport:
        text += f", TLS {transport['tls']}"
    if transport.get("login"):
        text += f", login as {transport['login']} by {' '.join(transport['mechanisms'])}"
    return text


def _policy(policy: Mapping[str, Any] | None) -> str:
    return f"{policy['mode']}: {', '.join(policy['mx'])}" if policy is not None else "none"


def _host(host: Mapping[str, Any], chooser: str) -> Iterator[str]:
    yield _line("host", f"{host['host']} port {host['port']}{_dnssec(host)}")
    for reach in host["addresses"]:
        source = reach["source"] or f"whatever address {chooser} chooses"
        yield _line("", f"  {reach['address']}, from {source}")
    tls = host["tls"]
    if tls is not None:
        yield _line("", f"  TLS {_demand(tls)}")
        yield _line("", f"  because: {tls['why']}")
        for record in tls["tlsa"]:
            yield _line("", f"  TLSA {record}")
    if host["failure"]:
        yield _line("", f"  {_failure(host['failure'])}")


def _demand(tls: Mapping[str, Any]) -> str:
    """In words."""
    words = {
        "never": "is not used",
        "if-offered": "if it is offered",
        "always": "is required",
        "immediate": "from the start",
    }
    text = words[tls["starttls"]]
    if tls["pkix"]:
        text += ", trusted certificate"
    if tls["tlsa"]:
        text += ", certificate by DANE"
    if tls["names"] and (tls["pkix"] or tls["tlsa"]):
        text += f" for {tls['names'][0]}"
    if tls["require_tls"]:
        text += ", REQUIRETLS"
    if tls["may_fall_back"]:
        text += ", in the clear if it fails"
    return text


def _failure(failure: Mapping[str, Any]) -> str:
    kind = "fails for good" if failure["permanent"] else "fails for now"
    code = f"{failure['code']} " if failure["code"] else ""
    return f"{kind}: {code}{failure['status']} {failure['error']}"
