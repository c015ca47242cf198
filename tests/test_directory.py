"""Whose address is it?"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.directory import (
    Directory,
    DomainSettings,
    InvalidAddress,
    canonical_local_part,
    parse_address,
)
from moxsmtp.interfaces import Account, Alias, IAccounts, RoleAddress
from moxsmtp.names import AddressLiteral, Domain, IPAddress, parse_domain
from moxsmtp.smtp.address import Path

PLUS = parse_domain("plus.example")
STRICT = parse_domain("strict.example")
ALL = parse_domain("all.example")
HOST = parse_domain("mx.host.example")
ELSEWHERE = parse_domain("elsewhere.example")

DOMAINS: Mapping[Domain, DomainSettings] = {
    PLUS: DomainSettings(separators=("+",)),
    STRICT: DomainSettings(case_sensitive=True),
    ALL: DomainSettings(separators=("--",)),
}

ACCOUNTS = (
    Account(name="alice", addresses=("alice@plus.example", "Alice@strict.example")),
    Account(name="bob", addresses=("bob@plus.example", "@all.example", "jos\u00e9@plus.example")),
    Account(name="root", addresses=()),
)


def directory(default: str = "") -> Directory:
    return Directory(
        ACCOUNTS, domains=DOMAINS, hosts={HOST}, postmaster="root", default_account=default
    )


def owners(accounts: Directory, *addresses: str) -> dict[str, str | None]:
    """Who gets mail for each address."""
    found: dict[str, str | None] = {}
    for address in addresses:
        local, at, domain = address.rpartition("@")
        path = Path(local, parse_domain(domain)) if at else Path(address, None)
        match accounts.recipient_of(path):
            case Account(name=name) | RoleAddress(account=Account(name=name)):
                found[address] = name
            case Alias():
                found[address] = "alias"
            case None:
                found[address] = None
    return found


class LookupTests(unittest.SynchronousTestCase):
    """Addresses to accounts."""

    def assertOwners(self, accounts: Directory, expected: dict[str, str | None]) -> None:
        self.assertEqual(owners(accounts, *expected), expected)

    def test_interface(self) -> None:
        """It is what the receiver asks."""
        verifyObject(IAccounts, directory())

    def test_exact(self) -> None:
        """I-28: case, what follows the separator, and the Unicode form make no difference."""
        self.assertOwners(
            directory(),
            {
                "alice@plus.example": "alice",
                "ALICE@plus.example": "alice",
                "alice+lists@plus.example": "alice",
                "alice++@PLUS.example": "alice",
                "jose\u0301@plus.example": "bob",
                "JOS\u00c9+x@plus.example": "bob",
                "carol@plus.example": None,
                "alice-lists@plus.example": None,
                "+alice@plus.example": None,
            },
        )

    def test_case_sensitive(self) -> None:
        """I-28: where a domain says so, Alice and alice are two people."""
        self.assertOwners(
            directory(),
            {
                "Alice@strict.example": "alice",
                "alice@strict.example": None,
                "Alice+x@strict.example": None,
            },
        )

    def test_catch_all(self) -> None:
        """I-28: @domain takes what no address takes, in its domain only, postmaster too."""
        self.assertOwners(
            directory(),
            {
                "anything@all.example": "bob",
                "--@all.example": "bob",
                "postmaster@all.example": "bob",
                "anything@strict.example": None,
            },
        )

    def test_exact_before_catch_all(self) -> None:
        """I-28: an address of its own wins over the catch-all of its domain."""
        accounts = Directory(
            (
                Account(name="all", addresses=("@all.example",)),
                Account(name="one", addresses=("one@all.example",)),
            ),
            domains=DOMAINS,
            hosts=(),
            postmaster="all",
        )
        self.assertOwners(accounts, {"one--x@all.example": "one", "two@all.example": "all"})

    def test_postmaster(self) -> None:
        """I-25: in any case, without domain and at host names, it is the postmaster's."""
        self.assertOwners(
            directory(),
            {
                "postmaster": "root",
                "PostMaster": "root",
                "POSTMASTER@mx.host.example": "root",
                "alice@mx.host.example": None,
                "alice": None,
                "postmaster@elsewhere.example": None,
            },
        )

    def test_postmaster_fallback(self) -> None:
        """I-28: postmaster of a domain where nobody has that address."""
        self.assertOwners(
            directory(),
            {
                "postmaster@plus.example": "root",
                "Postmaster+x@plus.example": "root",
                "POSTMASTER@strict.example": "root",
            },
        )

    def test_host_that_is_a_domain(self) -> None:
        """I-25: postmaster at a host name is the server's even if the domain has another."""
        accounts = Directory(
            (
                Account(name="a", addresses=("postmaster@plus.example", "x@plus.example")),
                Account(name="root"),
            ),
            domains=DOMAINS,
            hosts={PLUS},
            postmaster="root",
        )
        self.assertOwners(accounts, {"postmaster@plus.example": "root", "x@plus.example": "a"})

    def test_address_literal(self) -> None:
        """An IP address is no domain of ours, not even for localserve."""
        path = Path("alice", AddressLiteral(_ip("192.0.2.1")))
        for accounts in (directory(), directory("bob")):
            self.assertIsNone(accounts.recipient_of(path))
            self.assertFalse(accounts.is_local(path.domain))

    def test_is_local(self) -> None:
        """Local are our domains and the bare postmaster's; a mere host name is not (I-27)."""
        accounts = directory()
        local = {
            domain: accounts.is_local(domain) for domain in (PLUS, STRICT, None, HOST, ELSEWHERE)
        }
        self.assertEqual(
            local, {PLUS: True, STRICT: True, None: True, HOST: False, ELSEWHERE: False}
        )

    def test_default_account(self) -> None:
        """S-73, I-113: with a default account, every address at any domain has an owner."""
        accounts = directory("bob")
        self.assertOwners(
            accounts,
            {
                "anyone@elsewhere.example": "bob",
                "carol@plus.example": "bob",
                "alice@plus.example": "alice",
                "postmaster": "root",
                "x@mx.host.example": "bob",
            },
        )
        self.assertTrue(accounts.is_local(ELSEWHERE))

    def test_by_name(self) -> None:
        """Accounts are found by name, case and all; the postmaster by its office."""
        accounts = directory()
        self.assertEqual(accounts.account("alice"), ACCOUNTS[0])
        self.assertIsNone(accounts.account("Alice"))
        self.assertEqual(accounts.postmaster(), ACCOUNTS[2])

    def test_named(self) -> None:
        """An operator gives a name or an address; what is neither finds nobody."""
        accounts = directory("bob")
        texts = ("alice", "alice+x@plus.example", "x@elsewhere.example", "a b@", "\udc80@x.example")
        found = {text: accounts.named(text) for text in texts}
        self.assertEqual(
            found,
            {
                "alice": ACCOUNTS[0],
                "alice+x@plus.example": ACCOUNTS[0],
                "x@elsewhere.example": None,
                "a b@": None,
                "\udc80@x.example": None,
            },
        )


class SenderTests(unittest.SynchronousTestCase):
    """Who may send as whom."""

    def test_own(self) -> None:
        """S-90: one's own addresses, with suffixes and through a catch-all, and no others."""
        accounts = directory()
        asked = {
            ("alice", "alice@plus.example"): True,
            ("alice", "ALICE+shop@plus.example"): True,
            ("bob", "whoever@all.example"): True,
            ("alice", "bob@plus.example"): False,
            ("alice", "alice@elsewhere.example"): False,
            ("alice", "nobody@plus.example"): False,
            ("root", "postmaster@plus.example"): True,
        }
        answers = {
            (account, text): accounts.may_send_as(account, parse_address(text))
            for account, text in asked
        }
        self.assertEqual(answers, asked)

    def test_default_account(self) -> None:
        """S-90: receiving everybody's mail in localserve is no right to send as everybody."""
        path = parse_address("x@elsewhere.example")
        self.assertFalse(directory("bob").may_send_as("bob", path))


class CanonicalTests(unittest.SynchronousTestCase):
    """One spelling of one mailbox."""

    def test_spellings(self) -> None:
        """I-28: NFC, cut at the separator, lower case; foreign local-parts are left alone."""
        accounts = directory()
        expected = {
            Path("Alice+x", PLUS): Path("alice", PLUS),
            Path("JOSE\u0301", PLUS): Path("jos\u00e9", PLUS),
            Path("Alice+x", STRICT): Path("Alice+x", STRICT),
            Path("a--b--c", ALL): Path("a", ALL),
            Path("Alice+x", ELSEWHERE): Path("Alice+x", ELSEWHERE),
            Path("PostMaster", None): Path("postmaster", None),
            Path("PostMaster", HOST): Path("postmaster", HOST),
        }
        self.assertEqual({path: accounts.canonical(path) for path in expected}, expected)

    @settings(deadline=None, max_examples=150)
    @given(st.text(max_size=20), st.sampled_from([(), ("+",), ("--", "+")]), st.booleans())
    def test_idempotent(self, text: str, separators: tuple[str, ...], case_sensitive: bool) -> None:
        """I-28: the canonical spelling of a canonical spelling is itself, and NFC."""
        domain = DomainSettings(separators=separators, case_sensitive=case_sensitive)
        once = canonical_local_part(text, domain)
        self.assertEqual(canonical_local_part(once, domain), once)
        self.assertEqual(unicodedata.normalize("NFC", once), once)

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=12), st.sampled_from([PLUS, STRICT, ALL, ELSEWHERE, HOST, None]))
    def test_same_owner(self, text: str, domain: Domain | None) -> None:
        """A mailbox and its canonical spelling belong to the same account."""
        accounts = directory()
        path = Path(text, domain)
        self.assertEqual(
            accounts.recipient_of(path), accounts.recipient_of(accounts.canonical(path))
        )


class AddressTests(unittest.SynchronousTestCase):
    """Addresses as people write them."""

    def test_valid(self) -> None:
        """Atoms, quoted strings, U-labels, and the catch-all without local-part."""
        expected = {
            "alice@plus.example": Path("alice", PLUS),
            '"a b\\"c"@plus.example': Path('a b"c', PLUS),
            "@plus.example": Path("", PLUS),
            "x@B\u00fccher.example": Path("x", parse_domain("xn--bcher-kva.example")),
        }
        self.assertEqual({text: parse_address(text) for text in expected}, expected)

    def test_invalid(self) -> None:
        """What is no address is refused with a reason, literals too."""
        texts = (
            "", "alice", "alice@", "@", "a b@plus.example", "a..b@plus.example",
            '""@plus.example', "a@[192.0.2.1]", "a@192.0.2.1", "a@b@plus.example",
            "a\n@plus.example", "x" * 200 + "@plus.example", "\ud800@plus.example",
        )  # fmt: skip
        for text in texts:
            error = self.assertRaises(InvalidAddress, parse_address, text)
            self.assertTrue(str(error), repr(text))


def _ip(text: str) -> IPAddress:
    from ipaddress import ip_address

    return ip_address(text)
