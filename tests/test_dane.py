"""TLSA records and certificates."""

from __future__ import annotations

import datetime as dt
import hashlib
import warnings
from typing import Final

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dane import DANE_EE, DANE_TA, usable, verify
from moxsmtp.dns.records import TLSA
from tests.chains import CLIENTS_ONLY, NOW, Issued, issue

HOST: Final = "mx.example"

ROOT: Final = issue(is_authority=True)
MIDDLE: Final = issue(by=ROOT, is_authority=True, subject="middle")
LEAF: Final = issue(HOST, by=MIDDLE)
STRANGER: Final = issue(HOST)


def record(usage: int, selector: int, matching_type: int, of: Issued) -> TLSA:
    """The one for this certificate."""
    octets = of.der if selector == 0 else of.public
    digest = {0: lambda: octets, 1: hashlib.sha256(octets).digest, 2: hashlib.sha512(octets).digest}
    return TLSA(usage, selector, matching_type, digest[matching_type]())


#: All selectors with all matching types.
KINDS: Final = [(selector, type_) for selector in (0, 1) for type_ in (0, 1, 2)]


def chain(*shown: Issued) -> list[bytes]:
    """As a server shows it."""
    return [each.der for each in shown]


def matches(
    *records: TLSA,
    shown: list[bytes] | None = None,
    names: tuple[str, ...] = (HOST,),
    now: dt.datetime = NOW,
) -> TLSA | None:
    """Which record vouches for the usual chain of leaf and middle."""
    return verify(records, chain(LEAF, MIDDLE) if shown is None else shown, names, now)


class UsableTests(SynchronousTestCase):
    """Q-57."""

    def test_good(self) -> None:
        """DANE-TA and DANE-EE with all selectors and matching types can be used (Q-57)."""
        records = tuple(
            record(usage, *kind, of=LEAF) for usage in (DANE_TA, DANE_EE) for kind in KINDS
        )
        self.assertEqual(usable(records), records)

    def test_with_pkix(self) -> None:
        """The usages with PKIX, 0 and 1, and those that nobody knows, cannot (Q-57)."""
        for usage in (0, 1, 4, 255):
            self.assertEqual(usable([record(usage, 1, 1, LEAF)]), ())

    def test_unknown(self) -> None:
        """Unknown selectors and matching types cannot (Q-57)."""
        digest = hashlib.sha256(LEAF.public).digest()
        self.assertEqual(usable([TLSA(3, 2, 1, digest), TLSA(3, 1, 3, digest)]), ())

    def test_length(self) -> None:
        """A digest has its length, 32 or 64 octets, to the octet (Q-57)."""
        for type_, length in ((1, 32), (2, 64)):
            found = [
                n
                for n in (0, 1, 20, 31, 32, 33, 63, 64, 65)
                if usable([TLSA(3, 1, type_, n * b"x")])
            ]
            self.assertEqual(found, [length])

    def test_parsable(self) -> None:
        """What is whole in the record has to be a certificate, or a public key (Q-57)."""
        for selector, good in ((0, LEAF.der), (1, LEAF.public)):
            for usage in (DANE_TA, DANE_EE):
                self.assertEqual(len(usable([TLSA(usage, selector, 0, good)])), 1)
                for bad in (b"", b"\0", good[:-1], b"x" + good):
                    self.assertEqual(usable([TLSA(usage, selector, 0, bad)]), ())
        self.assertEqual(usable([TLSA(3, 0, 0, LEAF.public), TLSA(3, 1, 0, LEAF.der)]), ())

    def test_once(self) -> None:
        """A record that is there twice counts once, in the order of the DNS."""
        one, other = record(3, 1, 1, LEAF), record(2, 0, 1, ROOT)
        self.assertEqual(usable([other, one, other]), (other, one))

    @given(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.binary(max_size=80))
    @settings(max_examples=200, deadline=None)
    def test_anything(self, usage: int, selector: int, type_: int, octets: bytes) -> None:
        """Whatever the DNS says, reading it ends well, and what is found comes to a verdict."""
        found = usable([TLSA(usage, selector, type_, octets)])
        self.assertIs(matches(*found), None)


class EndEntityTests(SynchronousTestCase):
    """DANE-EE, RFC 7671 section 5.1."""

    def test_kinds(self) -> None:
        """The server's own certificate or key, whole or as a digest, matches (Q-58)."""
        for kind in KINDS:
            own = record(DANE_EE, *kind, of=LEAF)
            self.assertEqual(matches(own), own)
            self.assertIs(matches(record(DANE_EE, *kind, of=STRANGER)), None)

    def test_leaf_only(self) -> None:
        """Others of the chain do not count (Q-58)."""
        self.assertIs(matches(record(DANE_EE, 1, 1, MIDDLE)), None)

    def test_nothing_else(self) -> None:
        """Names, dates and who signed are ignored (Q-58)."""
        old = issue("other.example", by=STRANGER, ends=dt.datetime(2021, 1, 1, tzinfo=dt.UTC))
        own = record(DANE_EE, 1, 1, old)
        self.assertEqual(matches(own, shown=chain(old), names=()), own)

    def test_one_suffices(self) -> None:
        """One match among several records is enough (Q-57)."""
        own = record(DANE_EE, 1, 2, LEAF)
        self.assertEqual(matches(record(DANE_EE, 1, 1, STRANGER), own), own)
        self.assertEqual(matches(record(DANE_TA, 0, 1, STRANGER), own), own)

    def test_no_certificate(self) -> None:
        """Who shows nothing matches nothing; nor does what is no certificate."""
        own = record(DANE_EE, 1, 1, LEAF)
        self.assertIs(matches(own, shown=[]), None)
        self.assertIs(matches(own, shown=[b"\x30\x00"]), None)


class AuthorityTests(SynchronousTestCase):
    """DANE-TA, RFC 7671 section 5.2."""

    def test_kinds(self) -> None:
        """An authority of the chain, named in any way, vouches for what is below it (Q-58)."""
        for kind in KINDS:
            above = record(DANE_TA, *kind, of=MIDDLE)
            self.assertEqual(matches(above), above)
            self.assertIs(matches(record(DANE_TA, *kind, of=STRANGER)), None)

    def test_root_shown(self) -> None:
        """Any authority of the chain will do, the root if it is shown (Q-58)."""
        root = record(DANE_TA, 1, 1, ROOT)
        self.assertEqual(matches(root, shown=chain(LEAF, MIDDLE, ROOT)), root)
        self.assertEqual(matches(root, shown=chain(LEAF, ROOT, MIDDLE)), root)

    def test_not_shown(self) -> None:
        """An authority that is not shown is found if it is whole in the record (Q-58)."""
        whole = record(DANE_TA, 0, 0, ROOT)
        self.assertEqual(matches(whole), whole)
        for kind in KINDS[1:]:
            self.assertIs(matches(record(DANE_TA, *kind, of=ROOT)), None)

    def test_whole_of_another(self) -> None:
        """One whole in the record that signed nothing of the chain vouches for nothing (Q-58)."""
        self.assertIs(matches(record(DANE_TA, 0, 0, issue(is_authority=True))), None)

    def test_not_below(self) -> None:
        """It is not enough that the authority is shown: it has to have signed (Q-58)."""
        middle = record(DANE_TA, 0, 1, MIDDLE)
        forged = issue(HOST, subject="forged")
        same_name = issue(is_authority=True, subject="middle")
        below = issue(HOST, by=same_name)
        self.assertIs(matches(middle, shown=chain(forged, MIDDLE)), None)
        self.assertIs(matches(middle, shown=chain(below, MIDDLE)), None)

    def test_chain_broken(self) -> None:
        """Without what lies between, the chain is broken (Q-58)."""
        root = record(DANE_TA, 0, 0, ROOT)
        self.assertIs(matches(root, shown=chain(LEAF)), None)

    def test_server_as_authority(self) -> None:
        """A certificate that is no authority's has not signed for anybody (Q-58)."""
        below = issue(HOST, by=LEAF)
        middle = record(DANE_TA, 0, 1, MIDDLE)
        self.assertIs(matches(middle, shown=chain(below, LEAF, MIDDLE)), None)

    def test_expired(self) -> None:
        """Dates count, of the server's certificate and of authorities (Q-58)."""
        ended = dt.datetime(2026, 5, 31, tzinfo=dt.UTC)
        old_leaf = issue(HOST, by=MIDDLE, ends=ended)
        old_root = issue(is_authority=True, ends=ended)
        for leaf, anchor in ((old_leaf, MIDDLE), (issue(HOST, by=old_root), old_root)):
            above = record(DANE_TA, 0, 1, anchor)
            shown = chain(leaf, anchor)
            self.assertIs(matches(above, shown=shown), None)
            self.assertEqual(
                matches(above, shown=shown, now=ended - dt.timedelta(seconds=1)), above
            )

    def test_name(self) -> None:
        """The certificate has to be for one of the names (Q-58)."""
        above = record(DANE_TA, 1, 1, MIDDLE)
        self.assertIs(matches(above, names=("other.example",)), None)
        self.assertIs(matches(above, names=()), None)
        self.assertIs(matches(above, names=("", "a_b..example")), None)
        self.assertEqual(matches(above, names=("other.example", "MX.Example")), above)
        nameless = issue(by=MIDDLE, subject=HOST)
        self.assertIs(matches(above, shown=chain(nameless, MIDDLE)), None)

    def test_usage(self) -> None:
        """A certificate that is for clients only is no server's (RFC 7671 section 5.2)."""
        above = record(DANE_TA, 1, 1, MIDDLE)
        shown = chain(issue(HOST, by=MIDDLE, usages=CLIENTS_ONLY), MIDDLE)
        self.assertIs(matches(above, shown=shown), None)

    def test_long_chain(self) -> None:
        """What is beyond a few certificates is not looked at, however much is shown."""
        root = record(DANE_TA, 1, 1, ROOT)
        padding = [STRANGER.der] * 10_000
        self.assertIs(matches(root, shown=[LEAF.der, *padding, MIDDLE.der, ROOT.der]), None)
        middle = record(DANE_TA, 1, 1, MIDDLE)
        self.assertEqual(matches(middle, shown=[LEAF.der, MIDDLE.der, *padding]), middle)

    @given(
        st.lists(
            st.tuples(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255)),
            min_size=1,
            max_size=3,
        )
    )
    @example([(LEAF.der.index(b"\xa0\x03\x02\x01\x02") + 4, 34)])
    @example([(LEAF.der.index(b"\x06\x03\x55\x1d\x13") + 4, 0x11)])
    @settings(max_examples=150, deadline=None)
    def test_spoilt(self, changes: list[tuple[int, int]]) -> None:
        """
        A certificate in which octets were changed is found not to match, whatever
        it looks like then.
        """
        octets = bytearray(LEAF.der)
        for place, octet in changes:
            octets[place] = octet
        assume(bytes(octets) != LEAF.der)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = matches(record(DANE_TA, 0, 1, MIDDLE), shown=[bytes(octets), MIDDLE.der])
            usable([TLSA(DANE_TA, 0, 0, bytes(octets)), TLSA(DANE_EE, 1, 0, bytes(octets))])
        self.assertIs(found, None)

    def test_many_records(self) -> None:
        """Thousands of records are compared, and only few authorities tried."""
        middle = record(DANE_TA, 1, 1, MIDDLE)
        strangers = [TLSA(2, 1, 1, n.to_bytes(32, "big")) for n in range(2000)]
        self.assertEqual(matches(*strangers, middle), middle)
