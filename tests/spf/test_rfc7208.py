"""
The RFC 7208 test suite, release 2014.04, as JSON: every case with its result
and its explanation.  Its authors and its licence: C{spf-rfc7208.LICENCE.txt}
beside it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import MX, LookupFailed, Question, Record, RRType
from moxsmtp.names import Domain, Host, InvalidName, parse_domain, parse_host
from moxsmtp.smtp.address import Path
from moxsmtp.spf import Identity, Result, verify
from moxsmtp.testing import MemoryResolver

SUITE: Final = json.loads(
    (File(__file__).parent.parent / "data" / "spf-rfc7208-2014.04.json").read_text("utf-8")
)

#: The types that SPF asks for; a C{TIMEOUT} among a name's entries is the
#: answer to all that the name does not list.
ASKED: Final = (RRType.A, RRType.AAAA, RRType.MX, RRType.PTR, RRType.TXT)

#: What the suite calls C{DEFAULT}: the domain has no explanation to give.
DEFAULT: Final = "DEFAULT"


def record(rrtype: RRType, value: Any) -> Record:
    """One entry of the suite as a resolver gives it."""
    if rrtype is RRType.TXT:
        return "".join(value).encode("latin-1")
    if rrtype is RRType.MX:
        return MX(value[0], value[1].rstrip("."))
    return str(value).rstrip(".")


def resolver(zone: Mapping[str, Sequence[Any]]) -> MemoryResolver:
    """A section's zone."""
    known: dict[Question, list[Record] | LookupFailed] = {}
    for name, entries in zone.items():
        for entry in entries:
            if entry != "TIMEOUT":
                rrtype = RRType(entry[0])
                records = known.setdefault(Question(name, rrtype), [])
                assert isinstance(records, list)
                records.append(record(rrtype, entry[1]))
        if "TIMEOUT" in entries:
            for rrtype in ASKED:
                known.setdefault(Question(name, rrtype), LookupFailed("timeout"))
    return MemoryResolver(known)


def host(text: str) -> Host:
    """As the grammar reads it; what that refuses goes in as it is."""
    try:
        return parse_host(text)
    except InvalidName:
        return Domain(text)


def identity(case: Mapping[str, Any]) -> Identity:
    """The envelope of a case."""
    local_part, at, domain = case["sender"].rpartition("@")
    return Identity(
        address=ipaddress.ip_address(case["ip"]),
        reverse_path=Path(local_part, host(domain)) if at else None,
        hello=host(case["helo"]) if case["helo"] else None,
        hostname=parse_domain("mx.receiver.example"),
    )


class SuiteTests(unittest.SynchronousTestCase):
    """All cases."""

    def outcomes(self) -> dict[str, tuple[Mapping[str, Any], Result]]:
        """The result of each case, by its section and name."""
        zones = {section: resolver(zone) for section, zone in SUITE["zones"].items()}
        return {
            f"{case['section']}: {case['name']}": (
                case,
                self.successResultOf(
                    Deferred.fromCoroutine(
                        verify(zones[case["section"]], identity(case), clock=Clock())
                    )
                ),
            )
            for case in SUITE["cases"]
        }

    def test_results(self) -> None:
        """Every one of the 203 cases has one of the results that the suite allows."""
        outcomes = self.outcomes()
        self.assertEqual(len(outcomes), 203)
        wrong = {
            name: (result, case["results"])
            for name, (case, result) in outcomes.items()
            if result.status not in case["results"]
        }
        self.assertEqual(wrong, {})

    def test_explanations(self) -> None:
        """Every explanation that the suite names is given, and none where it names none (I-16)."""
        named = {
            name: ("" if case["explanation"] == DEFAULT else case["explanation"], result)
            for name, (case, result) in self.outcomes().items()
            if case["explanation"] is not None
        }
        self.assertEqual(len(named), 22)
        told = {name: result.explanation for name, (_, result) in named.items()}
        self.assertEqual(told, {name: text for name, (text, _) in named.items()})

    def test_remembered(self) -> None:
        """
        Every case has the same result, explanation and all, whatever the
        memory holds of the others of its section.
        """
        outcomes = self.outcomes()
        memories = {section: Memory[Result]() for section in SUITE["zones"]}
        for name, (case, result) in [*outcomes.items(), *reversed(outcomes.items())]:
            section = case["section"]
            checking = verify(
                resolver(SUITE["zones"][section]),
                identity(case),
                clock=Clock(),
                memory=memories[section],
            )
            again = self.successResultOf(Deferred.fromCoroutine(checking))
            self.assertEqual(again, result, name)
        kept = sum(len(memory) for memory in memories.values())
        self.assertGreater(kept, 100)
