"""Which transport mail takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import AddressLiteral, Domain, Host, parse_domain
from moxsmtp.outbound.route import (
    NO_ROUTING,
    Chosen,
    Consignment,
    Router,
    Routing,
    failure_of,
    matches,
)
from moxsmtp.outbound.transport import DIRECT, Direct, Fail, Families, Route, Transport
from moxsmtp.outbound.unreachable import Unreachable
from moxsmtp.queue.job import Job
from moxsmtp.smtp.address import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)

HERE, THERE = parse_domain("here.example"), parse_domain("there.example")

ONE, TWO, THREE = (Fail(name) for name in ("one", "two", "three"))

TRANSPORTS: Mapping[str, Transport] = {"one": ONE, "two": TWO, "three": THREE}

JOB = Job(
    id=1,
    base_id=0,
    account="alice",
    reverse_path=Path("a", HERE),
    forward_path=Path("b", THERE),
    queued=NOW,
    next_attempt=NOW,
    content=1,
    size=7,
    attempts=1,
)


def route(transport: str, *, sender: str = "", recipient: str = "", attempts: int = 0) -> Route:
    """Conditions as words."""
    return Route(tuple(sender.split()), tuple(recipient.split()), attempts, transport)


def transport_for(router: Router, job: Job) -> Transport | Unreachable:
    """What a job takes."""
    found = router.chosen(Consignment.of(job))
    return found if isinstance(found, Unreachable) else found.transport


class RouterTestCase(SynchronousTestCase):
    """@ivar routing: In force; all transports are in it."""

    def setUp(self) -> None:
        self.routing = Routing(transports=TRANSPORTS)
        self.router = Router(lambda: self.routing)

    def found(self, job: Job = JOB) -> str:
        """The name of the transport, or why there is none."""
        found = transport_for(self.router, job)
        return found.error if isinstance(found, Unreachable) else found.name


class OrderTests(RouterTestCase):
    """The first that matches of the account's, the domain's and the server's (Q-43)."""

    def test_none(self) -> None:
        """Without any, mail goes directly (Q-43)."""
        self.assertEqual(DIRECT, transport_for(self.router, JOB))
        self.assertEqual(DIRECT, transport_for(Router(lambda: NO_ROUTING), JOB))

    def test_levels(self) -> None:
        """Account before sender domain before everybody, each only for its own mail (Q-43)."""
        self.routing = replace(
            self.routing,
            routes=(route("three"),),
            of_domains={HERE: (route("two"),)},
            of_accounts={"alice": (route("one"),)},
        )
        other = parse_domain("other.example")
        self.assertEqual("one", self.found())
        self.assertEqual("two", self.found(replace(JOB, account="bob")))
        self.assertEqual("three", self.found(replace(JOB, account="", reverse_path=None)))
        self.assertEqual(
            "three", self.found(replace(JOB, account="bob", reverse_path=Path("a", other)))
        )

    def test_falls_through(self) -> None:
        """A level none of whose routes match leaves it to the next; within one, order counts."""
        self.routing = replace(
            self.routing,
            routes=(route("two", recipient="elsewhere.example"), route("three"), route("two")),
            of_accounts={"alice": (route("one", recipient="elsewhere.example"),)},
        )
        self.assertEqual("three", self.found())

    def test_all_conditions(self) -> None:
        """Sender, recipient and attempts have all to match (Q-43)."""
        self.routing = replace(
            self.routing,
            routes=(
                route("one", sender="here.example x.example", recipient=".example", attempts=2),
            ),
        )
        third = replace(JOB, attempts=3)
        self.assertEqual("one", self.found(third))
        self.assertEqual("", self.found(replace(third, attempts=2)))
        self.assertEqual("", self.found(replace(third, reverse_path=Path("a", THERE))))
        self.assertEqual(
            "", self.found(replace(third, forward_path=Path("b", parse_domain("x.test"))))
        )

    def test_each_attempt(self) -> None:
        """
        Another way from the second attempt on: those that failed count, the one
        under way does not (Q-43).
        """
        self.routing = replace(self.routing, routes=(route("one", attempts=1),))
        names = [self.found(replace(JOB, attempts=count)) for count in (0, 1, 2, 3)]
        self.assertEqual(["", "", "one", "one"], names)

    def test_reload(self) -> None:
        """What is in force now counts, also for mail that waits (Q-43)."""
        self.assertEqual("", self.found())
        self.routing = replace(self.routing, routes=(route("two"),))
        self.assertEqual("two", self.found())


class ForcedTests(RouterTestCase):
    """A transport that was set for a message."""

    def test_forced(self) -> None:
        """It wins over all routes (Q-43)."""
        self.routing = replace(self.routing, routes=(route("one"),))
        self.assertEqual("two", self.found(replace(JOB, transport="two")))

    def test_unknown(self) -> None:
        """One that does not exist is a transient failure; it may be there again later (Q-14)."""
        lost = replace(JOB, transport="four")
        found = transport_for(self.router, lost)
        self.assertEqual(
            Unreachable(permanent=False, status="3.5", error='there is no transport "four"'), found
        )
        four = Direct("four", Families.IPV4)
        self.routing = replace(self.routing, transports={**TRANSPORTS, "four": four})
        self.assertEqual(four, transport_for(self.router, lost))


class FailTests(SynchronousTestCase):
    """A transport that sends nothing."""

    def test_failures(self) -> None:
        """4xx is transient and 5xx permanent, with x.7.0 and the text that is configured (Q-43)."""
        self.assertEqual(
            [
                Unreachable(True, "7.0", 'transport "stop" sends nothing', 554),
                Unreachable(False, "7.0", "not today", 450),
            ],
            [failure_of(Fail("stop")), failure_of(Fail("stop", 450, "not today"))],
        )


class DisabledTests(RouterTestCase):
    """Domains whose mail stays here."""

    def test_disabled(self) -> None:
        """Mail from a disabled domain fails transiently, whatever its transport (Q-14)."""
        self.routing = replace(self.routing, disabled=frozenset({HERE}), routes=(route("one"),))
        for job in (JOB, replace(JOB, transport="two")):
            found = transport_for(self.router, job)
            assert isinstance(found, Unreachable)
            self.assertFalse(found.permanent)
            self.assertIn("here.example is disabled", found.error)
            self.assertEqual(found, self.router.detained(job))

    def test_others(self) -> None:
        """Mail to the domain, of other domains and without a sender leaves."""
        self.routing = replace(self.routing, disabled=frozenset({THERE}))
        for job in (JOB, replace(JOB, reverse_path=None)):
            self.assertEqual("", self.found(job))
            self.assertIsNone(self.router.detained(job))


class WhyTests(RouterTestCase):
    """What people are told."""

    def test_why(self) -> None:
        """Each choice says whose route it was."""
        consignment = Consignment(account="alice", sender=HERE, recipient=THERE)
        words = []
        for routing, forced in (
            (replace(self.routing, of_accounts={"alice": (route("one"),)}), ""),
            (replace(self.routing, of_domains={HERE: (route("one"),)}), ""),
            (replace(self.routing, routes=(route("one"),)), ""),
            (self.routing, "one"),
            (self.routing, ""),
        ):
            self.routing = routing
            found = self.router.chosen(replace(consignment, forced=forced))
            assert isinstance(found, Chosen)
            words.append(found.why)
        self.assertEqual(
            words,
            [
                "a route of account alice matches",
                "a route of domain here.example matches",
                "a route of the server matches",
                "it was set for this message",
                "no route matches",
            ],
        )


class PatternTests(SynchronousTestCase):
    """Which domains a pattern is for."""

    def test_table(self) -> None:
        """Itself, itself and all below, or none (Q-43)."""
        domain, below = parse_domain("example.com"), parse_domain("a.b.example.com")
        near, literal = parse_domain("anexample.com"), AddressLiteral(ip_address("192.0.2.1"))
        hosts: tuple[Host | None, ...] = (domain, below, near, literal, None)
        expected = {
            "example.com": [True, False, False, False, False],
            ".example.com": [True, True, False, False, False],
            ".com": [True, True, True, False, False],
            ".": [False, False, False, False, True],
            "[192.0.2.1]": [False, False, False, True, False],
        }
        self.assertEqual(
            {pattern: [matches(pattern, host) for host in hosts] for pattern in expected}, expected
        )

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    )
    def test_by_labels(self, pattern: list[str], name: list[str]) -> None:
        """With a dot before it, a pattern is for what ends in its labels, not in its letters."""
        self.assertEqual(
            matches("." + ".".join(pattern), Domain(".".join(name))),
            name[-len(pattern) :] == pattern,
        )
