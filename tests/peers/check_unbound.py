"""Our resolver and unbound, which validates zones that the test signs."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.A
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.selectreactor import SelectReactor

from moxsmtp.admin.offline import run
from moxsmtp.dns.recording import RecordingResolver
from moxsmtp.dns.records import MX, TLSA, Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from tests.peers.process import PATIENCE, PeerTestCase
from tests.peers.server import commands, environment
from tests.peers.unbound import Unbound, zone_text

#: Larger than a UDP packet takes.
_LONG: Final = 14 * 250

_RECORDS: Final = (
    "mail 60 IN A 192.0.2.1\n"
    "changed 60 IN A 192.0.2.2\n"
    "@ 60 IN MX 10 mail\n"
    "alias 60 IN CNAME mail\n"
    "out 60 IN CNAME there.insecure.test.\n"
    "odd 60 IN CNAME a\\032\\000\\.b\n"
    "a\\032\\000\\.b 60 IN A 192.0.2.3\n"
    f"_25._tcp.mail 60 IN TLSA 3 1 1 {32 * 'ab'}\n"
    f"_25._tcp.mail 60 IN TLSA \\# 5 0301010102\n"
    f"long 60 IN TXT {' '.join([chr(34) + 250 * 'x' + chr(34)] * 14)}\n"
)

_MAIL: Final = Answer(("192.0.2.1",), authentic=True, canonical_name="mail.signed.test")


def signed(name: str, records: str, *, expired: bool = False) -> tuple[str, str]:
    """
    A zone file with signatures, and the DS record that vouches for its key.

    The address of C{changed} is another than the one that was signed.
    """
    zone = dns.zone.from_text(zone_text(name, ""), origin=name, relativize=False)
    for line in records.splitlines():
        owner, ttl, _, type_, data = line.split(" ", 4)
        rtype = dns.rdatatype.from_text(type_)
        record: dns.rdata.Rdata
        if data.startswith("\\#"):
            # Not by way of its own class, which refuses what makes no sense.
            content = bytes.fromhex(data.split()[-1])
            record = dns.rdata.GenericRdata(dns.rdataclass.IN, rtype, content)
        else:
            record = dns.rdata.from_text(
                dns.rdataclass.IN, rtype, data, origin=zone.origin, relativize=False
            )
        at = dns.name.from_text(owner, zone.origin)
        zone.find_rdataset(at, rtype, create=True).add(record, int(ttl))
    key = ed25519.Ed25519PrivateKey.generate()
    public = dns.dnssec.make_dnskey(key.public_key(), "ED25519")
    now = datetime.now(UTC)  # noqa: TID251 - unbound has a clock of its own
    dns.dnssec.sign_zone(
        zone,
        keys=[(key, public)],
        inception=now - timedelta(days=20),
        expiration=now + timedelta(days=-10 if expired else 10),
    )
    changed = zone.get_rdataset(dns.name.from_text("changed", zone.origin), "A")
    if changed is not None:
        changed.clear()
        changed.add(dns.rdtypes.IN.A.A(dns.rdataclass.IN, dns.rdatatype.A, "192.0.2.66"), 60)
    anchor = dns.dnssec.make_ds(f"{name}.", public, "SHA256")
    return zone.to_text(relativize=False), f"{name}. 60 IN DS {anchor.to_text()}\n"


class ResolverTests(PeerTestCase):
    """What unbound knows is what we say."""

    programs = ("unbound",)

    def setUp(self) -> None:
        """A signed zone, one whose signatures have expired, and one without any."""
        super().setUp()
        text, anchor = signed("signed.test", _RECORDS)
        expired, expired_anchor = signed("expired.test", "mail 60 IN A 192.0.2.1\n", expired=True)
        self.unbound = Unbound(
            self.folder / "unbound",
            {"insecure.test": "there 60 IN A 192.0.2.9\n"},
            signed={"signed.test": text, "expired.test": expired},
            anchors=anchor + expired_anchor,
        )
        self.addCleanup(self.unbound.end)
        self.config = self.write(f'[{{ address = "127.0.0.1", port = {self.unbound.port} }}]')

    def write(self, servers: str) -> str:
        """A configuration with these resolvers."""
        path = Path(self.folder, "x.toml")
        path.write_text(f"[resolver]\nservers = {servers}\n")
        return str(path)

    def looked_up(self, *asked: tuple[str, RRType]) -> list[Answer | str]:
        """What our resolver says, on a reactor of its own; times to live are not compared."""

        async def look_up(reactor: Any, resolver: IResolver) -> Sequence[Answer | LookupFailed]:
            del reactor
            recording = RecordingResolver(resolver)
            for name, type_ in asked:
                with contextlib.suppress(LookupFailed):
                    await recording.lookup(Question(name, type_))
            return [outcome for _, outcome in recording.looked_up]

        return [
            str(outcome)
            if isinstance(outcome, LookupFailed)
            else Answer(
                outcome.records,
                outcome.authentic,
                outcome.exists,
                outcome.canonical_name,
                extended_errors=outcome.extended_errors,
            )
            for outcome in run(self.config, look_up, reactor=SelectReactor())
        ]

    def test_secure(self) -> None:
        """Signed records are authentic, behind a CNAME too, and so is that there are none."""
        self.assertEqual(
            self.looked_up(
                ("mail.signed.test", RRType.A),
                ("Alias.Signed.test.", RRType.A),
                ("signed.test", RRType.MX),
                ("mail.signed.test", RRType.AAAA),
                ("nowhere.signed.test", RRType.A),
                ("odd.signed.test", RRType.A),
            ),
            [
                _MAIL,
                _MAIL,
                Answer((MX(10, "mail.signed.test"),), True, canonical_name="signed.test"),
                Answer((), True, canonical_name="mail.signed.test"),
                Answer((), True, exists=False, canonical_name="nowhere.signed.test"),
                Answer(("192.0.2.3",), True, canonical_name=r"a\032\000\.b.signed.test"),
            ],
        )

    def test_insecure(self) -> None:
        """Unsigned records are not, nor is a chain that ends with them."""
        there = Answer(("192.0.2.9",), canonical_name="there.insecure.test")
        self.assertEqual(
            self.looked_up(
                ("there.insecure.test", RRType.A),
                ("out.signed.test", RRType.A),
                ("nowhere.insecure.test", RRType.A),
            ),
            [there, there, Answer((), exists=False, canonical_name="nowhere.insecure.test")],
        )

    def test_bogus(self) -> None:
        """Records that were changed, or signed for a time gone by, are a failure that says why."""
        names = ("changed.signed.test", "mail.expired.test")
        told = self.looked_up(*((name, RRType.A) for name in names))
        for name, text in zip(names, told, strict=True):
            # Which of the codes is unbound's to say, and differs between versions.
            self.assertRegex(str(text), rf"^A of {name}: SERVFAIL, \d+ \((DNSSEC|Sig|DNSKEY)")

    def test_broken(self) -> None:
        """A server that cannot know is a failure, not a name that does not exist."""
        (told,) = self.looked_up(("a.broken.test", RRType.A))
        assert isinstance(told, str), told
        self.assertIn("SERVFAIL", told)

    def test_tlsa(self) -> None:
        """A record that cannot be used stands beside one that can."""
        (found,) = self.looked_up(("_25._tcp.mail.signed.test", RRType.TLSA))
        assert isinstance(found, Answer), found
        self.assertTrue(found.authentic)
        self.assertEqual(
            {record: record.is_usable for record in found.records if isinstance(record, TLSA)},
            {TLSA(3, 1, 1, 32 * b"\xab"): True, TLSA(3, 1, 1, b"\1\2"): False},
        )

    def test_stream(self) -> None:
        """What is too large for a UDP packet comes over TCP, as authentic."""
        self.assertEqual(
            self.looked_up(("long.signed.test", RRType.TXT)),
            [Answer((_LONG * b"x",), True, canonical_name="long.signed.test")],
        )

    def test_not_trusted(self) -> None:
        """The same server under an address of a forwarder is not believed."""
        elsewhere = Unbound(
            self.folder / "elsewhere",
            {},
            signed={"signed.test": (self.folder / "unbound" / "zone-signed.test").read_text()},
            anchors=(self.folder / "unbound" / "anchors").read_text(),
            address="127.0.0.53",
        )
        self.addCleanup(elsewhere.end)
        self.config = self.write(f'[{{ address = "127.0.0.53", port = {elsewhere.port} }}]')
        (found,) = self.looked_up(("mail.signed.test", RRType.A))
        self.assertEqual(found, Answer(_MAIL.records, canonical_name="mail.signed.test"))

    def check(self, *arguments: str, status: int = 0) -> str:
        """What C{moxsmtp check resolver} prints."""
        done = subprocess.run(
            [*commands(), "--config", self.config, "check", "resolver", *arguments],
            env=environment(self.folder),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def test_check_resolver(self) -> None:
        """C{moxsmtp check resolver} finds that it answers, validates and is believed."""
        self.write(f'[{{ address = "127.0.0.1", port = {self.unbound.port} }}, "127.0.0.77"]')
        told = self.check("--json", "--signed", "signed.test")
        good, dead = map(json.loads, told.splitlines())
        keys = ("answers", "ad", "believed", "problem")
        self.assertEqual([good[key] for key in keys], [True, True, True, ""])
        self.assertEqual([dead[key] for key in keys], [False, False, True, "connection refused"])
        self.assertIn("AD not set", self.check())
        self.unbound.end()
        self.assertIn("No resolver answers", self.check(status=1))
