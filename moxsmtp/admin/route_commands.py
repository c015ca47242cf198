"""The operator's question where mail would go, as the server answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moxsmtp.admin.control import Command, CommandFailed, Send
from moxsmtp.admin.local_recipients import local_domain, local_recipient
from moxsmtp.dns.records import TLSA
from moxsmtp.interfaces import IAccounts, RequireTLS
from moxsmtp.names import Host, InvalidName, parse_host
from moxsmtp.outbound.forecast import Forecast, Forecaster, HostForecast
from moxsmtp.outbound.next_hop import NextHop
from moxsmtp.outbound.route import Consignment
from moxsmtp.outbound.tls_policy import Demand
from moxsmtp.outbound.transport import Direct, Fail, Families, Smarthost, Socks, Transport
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.smtp.address import InvalidPath, Path, parse_mailbox

__all__ = ["RouteCommands", "answer", "consignment"]

_REQUIRE_TLS = {
    "": RequireTLS.UNSET,
    "yes": RequireTLS.YES,
    "no": RequireTLS.NO,
}


class RouteCommands:
    """Part of the table that the control socket serves."""

    def __init__(self, forecaster: Forecaster, accounts: IAccounts) -> None:
        self._forecaster = forecaster
        self._accounts = accounts

    def table(self) -> Mapping[str, Command]:
        """The command by its name."""
        return {"route": self._tell}

    async def _tell(self, arguments: Mapping[str, Any], send: Send) -> None:
        """What would happen to a message, in one entry."""
        try:
            await send(await answer(self._forecaster, self._accounts, arguments))
        except ValueError as error:
            raise CommandFailed(str(error)) from None


async def answer(
    forecaster: Forecaster, accounts: IAccounts, arguments: Mapping[str, Any]
) -> dict[str, object]:
    """
    What would happen, as JSON has it.

    @param arguments: C{to}; and if wanted C{from}, C{failed} attempts,
        C{transport}, C{require_tls} (C{yes} or C{no}).
    @raise ValueError: They cannot be understood; says why.
    """
    wanted = consignment(accounts, arguments)
    word = arguments.get("require_tls") or ""
    if word not in _REQUIRE_TLS:
        raise ValueError('require_tls is neither "yes" nor "no"')
    found = await forecaster.forecast(wanted, _REQUIRE_TLS[word])
    return {
        "to": wanted.recipient.unicode,
        "from": wanted.sender.unicode if wanted.sender is not None else "",
        "account": wanted.account,
        "local": _local(accounts, str(arguments["to"])),
        **_entry(found),
    }


def consignment(accounts: IAccounts, arguments: Mapping[str, Any]) -> Consignment:
    """@raise ValueError: The arguments cannot be understood."""
    sender: Path | None = None
    if arguments.get("from"):
        try:
            sender = parse_mailbox(str(arguments["from"]))
        except InvalidPath as error:
            raise ValueError(f"the sender is not an address: {error}") from None
    owner = accounts.owner_of(sender) if sender is not None else None
    failed = arguments.get("failed") or 0
    if not isinstance(failed, int) or not 0 <= failed < 1000:
        raise ValueError("failed is no number of attempts")
    return Consignment(
        account=owner.name if owner is not None else "",
        sender=sender.domain if sender is not None else None,
        recipient=_recipient(arguments.get("to")),
        failed_attempts=failed,
        forced=str(arguments.get("transport") or ""),
    )


def _recipient(text: object) -> Host:
    """Of an address, or a domain alone."""
    if not isinstance(text, str) or not text:
        raise ValueError("to is missing")
    try:
        domain = parse_mailbox(text).domain if "@" in text else parse_host(text)
    except (InvalidPath, InvalidName) as error:
        raise ValueError(f"the recipient is neither an address nor a domain: {error}") from None
    if domain is None:
        raise ValueError("the recipient has no domain")
    return domain


def _local(accounts: IAccounts, to: str) -> dict[str, object] | None:
    """Who reads it here, if that is so: it leaves by SMTP all the same (Q-8)."""
    if "@" in to:
        return local_recipient(accounts, parse_mailbox(to))
    return local_domain(accounts, parse_host(to))


# -- as JSON has it ------------------------------------------------------------------


def _entry(found: Forecast) -> dict[str, object]:
    chosen, policy = found.chosen, found.policy
    return {
        "transport": chosen and {**_transport(chosen.transport), "why": chosen.why},
        "next_hop": found.next_hop and _next_hop(found.next_hop),
        "mta_sts": policy
        and {
            "mode": policy.mode.value,
            "mx": list(policy.mx),
            "max_age": int(policy.max_age.total_seconds()),
        },
        "hosts": [_host(host) for host in found.hosts],
        "failure": found.failure and _failure(found.failure),
        "steps": list(found.steps),
    }


def _transport(transport: Transport) -> dict[str, object]:
    match transport:
        case Direct(name, families):
            only = {} if families is Families.BOTH else {"families": families.value}
            return {"name": name, "kind": "direct", **only}
        case Socks():
            return {
                "name": transport.name,
                "kind": "socks",
                "host": transport.address.unicode,
                "port": transport.port,
                "remote_hostname": transport.remote_hostname.unicode,
                "remote_addresses": [str(each) for each in (*transport.ipv4, *transport.ipv6)],
            }
        case Smarthost():
            return {
                "name": transport.name,
                "kind": "smarthost",
                "host": transport.host.unicode,
                "port": transport.port,
                "tls": transport.tls.value,
                "login": transport.username,
                "mechanisms": list(transport.mechanisms) if transport.username else [],
            }
        case Fail():
            return {"name": transport.name, "kind": "fail"}


def _next_hop(next_hop: NextHop) -> dict[str, object]:
    return {
        "domain": next_hop.expanded,
        "mx": next_hop.has_mx,
        "hosts": [host.ascii for host in next_hop.hosts],
        "authentic": next_hop.authentic,
    }


def _host(found: HostForecast) -> dict[str, object]:
    located = found.located
    addresses = located.addresses if located is not None else ()
    return {
        "host": found.host.ascii,
        "port": found.port,
        "authentic": located is not None and located.authentic,
        "addresses": [
            {"address": str(address), "source": str(source) if source is not None else ""}
            for address, source in zip(addresses, found.sources, strict=True)
        ],
        "tls": found.demand and _tls(found.demand),
        "failure": found.failure and _failure(found.failure),
        "steps": list(found.steps),
    }


def _tls(demand: Demand) -> dict[str, object]:
    return {
        "starttls": demand.starttls.name.lower().replace("_", "-"),
        "mode": demand.mode,
        "why": demand.why,
        "pkix": demand.pkix,
        "tlsa": [_record(record) for record in demand.dane],
        "names": list(demand.names),
        "may_fall_back": demand.may_fall_back,
        "require_tls": demand.require_tls,
    }


def _record(record: TLSA) -> str:
    numbers = f"{record.usage} {record.selector} {record.matching_type}"
    return f"{numbers} {record.association.hex()}"


def _failure(found: Unreachable) -> dict[str, object]:
    return {
        "permanent": found.permanent,
        "code": found.code,
        "status": f"{5 if found.permanent else 4}.{found.status}",
        "error": found.error,
    }
