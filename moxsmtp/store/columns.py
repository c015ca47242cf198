"""
Values into columns and back: times, paths, text, and what is kept as JSON.

What is read was written here, so reading checks nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from moxsmtp.interfaces import TLSInfo
from moxsmtp.names import AddressLiteral, Domain, Host, IPAddress
from moxsmtp.queue.job import HookResult, Result
from moxsmtp.smtp.address import Path

__all__ = [
    "duration_microseconds", "read_addresses", "read_domain", "read_domains", "read_hook_results",
    "read_map", "read_path", "read_results", "read_time", "read_tls", "write_addresses",
    "write_domain", "write_domains", "write_hook_results", "write_map", "write_path",
    "write_results", "write_text", "write_time", "write_tls",
]  # fmt: skip

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)

# What cannot be encoded as UTF-8; and NUL, which PostgreSQL does not keep in text.
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")


def duration_microseconds(duration: timedelta) -> int:
    """Whole microseconds."""
    return duration // _MICROSECOND


def write_time(time: datetime) -> int:
    """Whole microseconds since the epoch.  The time is aware."""
    return (time - _EPOCH) // _MICROSECOND


def read_time(microseconds: int) -> datetime:
    """The opposite of L{write_time}, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def write_text(text: str) -> str:
    """
    Text from a stranger as the database can keep it: what no column can hold
    becomes U+FFFD.
    """
    if text.isascii() and "\0" not in text:
        return text
    return _NOT_TEXT.sub("\ufffd", text)


def write_path(path: Path | None) -> str | None:
    """With A-labels; the null reverse-path is NULL."""
    return None if path is None else path.ascii


def read_path(text: str) -> Path:
    """The opposite of L{write_path}, but for NULL."""
    # A quoted local-part alone is a path without domain; no domain ends with a quote.
    local_part, _, domain = ("", "", "") if text.endswith('"') else text.rpartition("@")
    if not domain or not local_part:
        return Path(_unquoted(text), None)
    return Path(_unquoted(local_part), _host(domain))


def _unquoted(local_part: str) -> str:
    if not local_part.startswith('"'):
        return local_part
    return _QUOTED_PAIR.sub(r"\1", local_part[1:-1])


def _host(text: str) -> Host:
    if not text.startswith("["):
        return Domain(text)
    literal = text[1:-1]
    if literal.startswith("IPv6:"):
        return AddressLiteral(IPv6Address(literal[5:]))
    return AddressLiteral(ip_address(literal))


def write_domain(domain: Domain | None) -> str:
    """A-labels; empty for none."""
    return "" if domain is None else domain.ascii


def read_domain(text: str) -> Domain | None:
    """The opposite of L{write_domain}."""
    return Domain(text) if text else None


def write_tls(tls: TLSInfo | None) -> str:
    """Version and cipher, a space between; empty without TLS."""
    return "" if tls is None else f"{tls.version} {tls.cipher}"


def read_tls(text: str) -> TLSInfo | None:
    """The opposite of L{write_tls}."""
    if not text:
        return None
    version, _, cipher = text.partition(" ")
    return TLSInfo(version, cipher)


# -- JSON ------------------------------------------------------------------------


def write_map(values: Mapping[str, str]) -> str:
    """A map of text, its order kept.  ASCII, so any text passes."""
    return json.dumps(dict(values), separators=(",", ":")) if values else "{}"


def read_map(text: str) -> Mapping[str, str]:
    """The opposite of L{write_map}."""
    if text == "{}":
        return {}
    values: dict[str, str] = json.loads(text)
    return values


def write_domains(domains: Sequence[Domain]) -> str:
    """A list of A-labels."""
    return _written_names(tuple([domain.ascii for domain in domains])) if domains else "[]"


@lru_cache(maxsize=512)
def _written_names(names: tuple[str, ...]) -> str:
    """The same in all mail of a sender."""
    return _dump(names)


def read_domains(text: str) -> tuple[Domain, ...]:
    """The opposite of L{write_domains}."""
    return () if text == "[]" else tuple(Domain(name) for name in json.loads(text))


def write_addresses(dialed: Mapping[str, Sequence[IPAddress]]) -> str:
    """Addresses by host."""
    if not dialed:
        return "{}"
    return _dump({host: [str(address) for address in dialed[host]] for host in dialed})


def read_addresses(text: str) -> Mapping[str, tuple[IPAddress, ...]]:
    """The opposite of L{write_addresses}."""
    if text == "{}":
        return {}
    dialed: dict[str, list[str]] = json.loads(text)
    return {host: tuple(map(ip_address, dialed[host])) for host in dialed}


def write_results(results: Sequence[Result]) -> str:
    """What attempts to deliver came to (Q-7)."""
    if not results:
        return "[]"
    return _dump(
        [
            {
                "start": write_time(result.start),
                "duration": duration_microseconds(result.duration),
                "success": result.success,
                "code": result.code,
                "status": result.status,
                "error": result.error,
                "trace": result.trace,
            }
            for result in results
        ]
    )


def read_results(text: str) -> tuple[Result, ...]:
    """The opposite of L{write_results}."""
    if text == "[]":
        return ()
    return tuple(
        Result(
            start=read_time(each["start"]),
            duration=timedelta(microseconds=each["duration"]),
            success=each["success"],
            code=each["code"],
            status=each["status"],
            error=each["error"],
            # An older version wrote none.
            trace=tuple(each.get("trace", ())),
        )
        for each in json.loads(text)
    )


def write_hook_results(results: Sequence[HookResult]) -> str:
    """What calls of a webhook came to (Q-75)."""
    if not results:
        return "[]"
    return _dump(
        [
            {
                "start": write_time(result.start),
                "duration": duration_microseconds(result.duration),
                "url": result.url,
                "success": result.success,
                "code": result.code,
                "error": result.error,
                "response": result.response,
            }
            for result in results
        ]
    )


def read_hook_results(text: str) -> tuple[HookResult, ...]:
    """The opposite of L{write_hook_results}."""
    if text == "[]":
        return ()
    return tuple(
        HookResult(
            start=read_time(each["start"]),
            duration=timedelta(microseconds=each["duration"]),
            url=each["url"],
            success=each["success"],
            code=each["code"],
            error=each["error"],
            response=each["response"],
        )
        for each in json.loads(text)
    )


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
