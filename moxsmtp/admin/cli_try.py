"""C{moxsmtp try}: what the checks say of a message.  Needs no server."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import IPv6Address, ip_address
from pathlib import Path as FilePath
from typing import Any

import click

from moxsmtp import dkim, dmarc, iprev, spf
from moxsmtp.admin.cli_base import Server, Trouble, command, print_json
from moxsmtp.admin.offline import run
from moxsmtp.admin.trial import Envelope, Trial, try_message
from moxsmtp.config import ConfigError
from moxsmtp.config.load import load
from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, Record
from moxsmtp.logs import printable
from moxsmtp.names import Domain, Host, InvalidName, IPAddress, parse_domain, parse_host
from moxsmtp.receive.explaining import organization
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox

__all__ = ["try_file"]

_EXAMPLE = (
    "moxsmtp try --from-ip 192.0.2.1 --mail-from bob@example.org --helo mail.example.org mail.eml"
)


@command(None, "try", _EXAMPLE)
@click.argument("file", metavar="FILE")
@click.option("--from-ip", "address", metavar="IP", required=True, help="Who connects.")
@click.option(
    "--mail-from", "sender", metavar="ADDRESS", required=True, help='The envelope\'s sender, or "".'
)
@click.option("--helo", "hello", metavar="NAME", required=True, help="What the client says it is.")
def try_file(server: Server, file: str, address: str, sender: str, hello: str) -> None:
    """
    Check a message as if it came in now: iprev, SPF, DKIM and DMARC.

    FILE holds the message as it was sent; - is standard input.  The resolver is that of the
    configuration given with "moxsmtp --config FILE try", else the system's.  Nothing is stored
    or sent.
    """
    config = server.configuration()
    envelope = Envelope(
        _address(address), _sender(sender), _hello(hello), _hostname(config), not sender.isascii()
    )
    message = _content(file)
    trial = run(config, lambda reactor, resolver: try_message(reactor, resolver, envelope, message))
    if server.as_json:
        print_json(_entry(trial))
        return
    for line in _report(trial):
        click.echo(printable(line))


# -- what was given ------------------------------------------------------------------


def _address(text: str) -> IPAddress:
    try:
        address = ip_address(text)
    except ValueError:
        raise Trouble(f'--from-ip: "{text}" is not an IP address') from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _sender(text: str) -> Path | None:
    if text in {"", "<>"}:
        return None
    try:
        return parse_mailbox(text.removeprefix("<").removesuffix(">"))
    except InvalidPath as error:
        raise Trouble(f'--mail-from: "{text}" is not an address: {error}') from None


def _hello(text: str) -> Host:
    try:
        return parse_host(text)
    except InvalidName as error:
        raise Trouble(f'--helo: "{text}" is not a host name: {error}') from None


def _hostname(config: str | None) -> Domain:
    """Ours, for Authentication-Results: the configured one, else this machine's."""
    try:
        return load(config).hostname if config is not None else parse_domain(platform.node())
    except InvalidName:
        return Domain("localhost")
    except ConfigError as error:
        raise Trouble(str(error)) from None


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else FilePath(file).read_bytes()
    except OSError as error:
        raise Trouble(f"{file}: {error.strerror}") from None


# -- for people ----------------------------------------------------------------------


def _report(trial: Trial) -> Iterator[str]:
    found = trial.authentication
    yield from _iprev(found.iprev)
    yield from _spf(found.spf)
    yield from _dkim(found.dkim)
    yield from _dmarc(found.dmarc, trial.listed_organization)
    yield ""
    yield "Header fields that a server would put in front:"
    for line in trial.fields.decode().split("\r\n")[:-1]:
        yield "  " + line.replace("\t", "    ")
    if trial.is_forged:
        yield "The message has Authentication-Results that claim to be ours; they would be removed."
    yield ""
    yield "DNS answers that were used:" if trial.looked_up else "The DNS was not asked."
    for question, answer in trial.looked_up:
        yield f"  {question.name} {question.type}"
        for line in _answer(question, answer):
            yield f"    {line}"


def _line(method: str, status: str, *words: str, authentic: bool) -> str:
    dnssec = "with DNSSEC" if authentic else ""
    return f"{method:<6} {status:<10}" + ", ".join(word for word in (*words, dnssec) if word)


def _iprev(result: iprev.Result) -> Iterator[str]:
    yield _line(
        "iprev", result.status.value, result.name or "no name", authentic=result.authentic
    ).rstrip()


def _spf(result: spf.Result) -> Iterator[str]:
    scope = {spf.Scope.MAIL_FROM: "MAIL FROM", spf.Scope.HELO: "HELO"}
    identity = f"{result.domain} of {scope[result.scope]}" if result.domain and result.scope else ""
    yield _line(
        "spf",
        result.status.value,
        identity or "no domain to check",
        f"by {result.mechanism}" if result.mechanism else "",
        result.problem,
        authentic=result.authentic,
    )
    if result.explanation:
        yield f"       the domain says: {result.explanation}"


def _dkim(results: dkim.Results) -> Iterator[str]:
    if not results.signatures:
        yield _line("dkim", "none", "no signatures", authentic=False)
    for one in results.signatures:
        yield _line(
            "dkim",
            one.status.value,
            f"{one.domain or 'no domain'} with selector {one.selector or 'none'}",
            one.algorithm + (f" of {one.key_bits} bits" if one.key_bits else ""),
            f"for {one.identity}" if one.identity else "",
            one.reason,
            "key is for tests" if one.testing else "",
            authentic=one.authentic,
        )
    if results.omitted:
        yield f"       {results.omitted} more signatures are not evaluated"


def _dmarc(result: dmarc.Result, listed: Domain | None) -> Iterator[str]:
    if result.author is None or listed is None:
        yield _line("dmarc", result.status.value, "no author's domain", authentic=False)
        return
    policy = f"policy {result.policy} of {result.policy_domain}" if result.policy else "no policy"
    yield _line(
        "dmarc",
        result.status.value,
        str(result.author),
        f"alignment {result.alignment}",
        policy,
        "asks for refusal" if result.rejects else "",
        result.problem,
        authentic=result.authentic,
    )
    yield f"       {organization(result, listed)}"
    for step in result.walk:
        yield f"       {step.name}: {step.outcome}"


def _answer(question: Question, answer: Answer | LookupFailed) -> Iterator[str]:
    if isinstance(answer, LookupFailed):
        yield f"failed: {answer}"
        return
    dnssec = " (with DNSSEC)" if answer.authentic else ""
    if answer.canonical_name not in {"", question.name}:
        yield f"is an alias that ends at {answer.canonical_name}"
    if not answer.records:
        yield ("no such records" if answer.exists else "no such name") + dnssec
    for record in answer.records:
        text = _record(record)
        yield (f'"{text}"' if isinstance(record, bytes) else text) + dnssec
    for error in answer.extended_errors:
        yield f"the server says: {error}"


def _record(record: Record) -> str:
    match record:
        case bytes():
            return record.decode("utf-8", "backslashreplace")
        case MX():
            return f"{record.preference} {record.host or '.'}"
        case TLSA():
            numbers = f"{record.usage} {record.selector} {record.matching_type}"
            return f"{numbers} {record.association.hex()}"
        case str():
            return record


# -- for programs --------------------------------------------------------------------


def _entry(trial: Trial) -> dict[str, object]:
    found = trial.authentication
    return {
        "iprev": _plain(asdict(found.iprev)),
        "spf": _plain(asdict(found.spf)),
        "dkim": _plain(asdict(found.dkim)),
        "dmarc": _plain(asdict(found.dmarc)),
        "authors": [author.ascii for author in found.authors],
        "fields": trial.fields.decode(),
        "listed_organization": (
            trial.listed_organization.ascii if trial.listed_organization else None
        ),
        "forged": trial.is_forged,
        "dns": [
            {"name": question.name, "type": question.type.value, **_answered(answer)}
            for question, answer in trial.looked_up
        ],
    }


def _answered(answer: Answer | LookupFailed) -> dict[str, object]:
    if isinstance(answer, LookupFailed):
        return {"failed": str(answer)}
    return {
        "records": [_record(record) for record in answer.records],
        "exists": answer.exists,
        "authentic": answer.authentic,
        "canonical_name": answer.canonical_name,
        "extended_errors": answer.extended_errors,
    }


def _plain(value: Any) -> Any:
    """Values as JSON has them; a domain is its A-labels."""
    match value:
        case {"ascii": str() as name, **rest} if not rest:
            return name
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return value
