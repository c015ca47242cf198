"""Whose address is it?"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest
from zope.interface.verify import verifyObject

from moxsmtp.directory import (
    AliasSettings,
    Directory,
    DomainSettings,
    InvalidAddress,
    ReportSettings,
    canonical_local_part,
    parse_address,
    split_local_part,
)
from moxsmtp.interfaces import Account, AddressRole, Alias, IAccounts, RoleAddress
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


TEAM = AliasSettings(
    address="Team@plus.example",
    addresses=("ALICE@plus.example", "bob@plus.example"),
    allow_message_from=True,
)
PRIVATE = AliasSettings(address="board@plus.example", addresses=("bob@plus.example",))
REPORTS = (
    ReportSettings(
        role=AddressRole.DMARC_REPORTS,
        address="dmarc@plus.example",
        account="bob",
        mailbox="Reports",
    ),
    ReportSettings(role=AddressRole.TLS_REPORTS, address="tls@all.example", account="alice"),
    ReportSettings(
        role=AddressRole.HOST_TLS_REPORTS, address="hosttls@mx.host.example", account="alice"
    ),
)


class SpecialTests(unittest.SynchronousTestCase):
    """Addresses that are nobody's own."""

    def setUp(self) -> None:
        self.accounts = Directory(
            ACCOUNTS,
            domains=DOMAINS,
            hosts={HOST},
            postmaster="root",
            postmaster_mailbox="Complaints",
            aliases=(TEAM, PRIVATE),
            reports=REPORTS,
        )

    def alias(self, text: str) -> Alias:
        """What C{text} is."""
        found = self.accounts.recipient_of(parse_address(text))
        assert isinstance(found, Alias)
        return found

    def role(self, text: str) -> RoleAddress | None:
        """What C{text} is, if it has a purpose."""
        path = parse_address(text) if "@" in text else Path(text, None)
        found = self.accounts.recipient_of(path)
        return found if isinstance(found, RoleAddress) else None

    def test_alias(self) -> None:
        """I-33: an alias has members, each an address of an account, in any spelling."""
        alias = self.alias("TEAM+x@plus.example")
        self.assertEqual(
            [("alice@plus.example", "alice"), ("bob@plus.example", "bob")],
            [(member.path.ascii, member.account.name) for member in alias.members],
        )
        self.assertEqual(Path("team", PLUS), alias.path)
        self.assertIsNone(self.accounts.owner_of(parse_address("team@plus.example")))
        self.assertIsNone(self.accounts.named("team@plus.example"))

    def test_right_to_post(self) -> None:
        """I-34: members may post, the alias itself and others if it is so configured."""
        authors = ("alice@plus.example", "team@plus.example", "eve@elsewhere.example")
        rights = {
            (public, own): [
                Alias(
                    self.alias("team@plus.example").path,
                    self.alias("team@plus.example").members,
                    post_public=public,
                    allow_message_from=own,
                ).admits(parse_address(author))
                for author in authors
            ]
            for public in (False, True)
            for own in (False, True)
        }
        self.assertEqual(
            {
                (False, False): [True, False, False],
                (False, True): [True, True, False],
                (True, False): [True, False, True],
                (True, True): [True, True, True],
            },
            rights,
        )
        self.assertFalse(self.alias("team@plus.example").admits(None))

    def test_sending_as_alias(self) -> None:
        """S-66, S-90: members may send as an alias that lets them, nobody else may."""
        asked = {
            ("alice", "team@plus.example"): True,
            ("bob", "Team+x@plus.example"): True,
            ("root", "team@plus.example"): False,
            ("bob", "board@plus.example"): False,
        }
        self.assertEqual(
            asked, {key: self.accounts.may_send_as(key[0], parse_address(key[1])) for key in asked}
        )

    def test_before_catch_all(self) -> None:
        """I-28: an alias or report address wins over the catch-all of its domain."""
        found = self.role("tls--x@all.example")
        assert found is not None
        self.assertEqual((AddressRole.TLS_REPORTS, "alice"), (found.role, found.account.name))

    def test_domain_reports(self) -> None:
        """Report addresses of a domain read local-parts as it does, and have a mailbox."""
        found = self.role("DMARC+x@plus.example")
        self.assertEqual(RoleAddress(AddressRole.DMARC_REPORTS, ACCOUNTS[1], "Reports"), found)
        assert found is not None
        self.assertFalse(found.takes_tls_reports)
        self.assertEqual(ACCOUNTS[1], self.accounts.owner_of(parse_address("dmarc@plus.example")))

    def test_host_reports(self) -> None:
        """I-26: the host's own TLS reports come to one exact local-part at its name."""
        texts = ("hosttls@mx.host.example", "HostTLS@mx.host.example", "hosttls@plus.example")
        found = self.role(texts[0])
        assert found is not None
        self.assertTrue(found.takes_tls_reports)
        self.assertEqual([None, None], [self.role(text) for text in texts[1:]])

    def test_postmaster_mailbox(self) -> None:
        """I-25: the host's postmaster has a mailbox of its own; a domain's fallback has not."""
        expected = RoleAddress(AddressRole.POSTMASTER, ACCOUNTS[2], "Complaints")
        for text in ("postmaster", "POSTMASTER@mx.host.example"):
            self.assertEqual(expected, self.role(text))
        self.assertEqual(
            ACCOUNTS[2], self.accounts.recipient_of(parse_address("postmaster@plus.example"))
        )

    def test_reports_only(self) -> None:
        """I-27: a domain that is here for its reports alone is not local."""
        accounts = Directory(
            ACCOUNTS,
            domains={**DOMAINS, ELSEWHERE: DomainSettings(reports_only=True)},
            hosts=(),
            postmaster="root",
        )
        self.assertFalse(accounts.is_local(ELSEWHERE))
        for name in ("alice", "postmaster"):
            self.assertIsNone(accounts.recipient_of(Path(name, ELSEWHERE)))


class SeparatorTests(unittest.SynchronousTestCase):
    """Several separators in a domain."""

    def test_split(self) -> None:
        """The first in the text counts, of two at one place the longer."""
        expected = {
            ("a-b+c", ("+", "-")): ("a", "-", "b+c"),
            ("a+b-c", ("+", "-")): ("a", "+", "b-c"),
            ("a++b", ("+", "++")): ("a", "++", "b"),
            ("+a", ("+",)): ("", "+", "a"),
            ("abc", ("+", "-")): ("abc", "", ""),
            ("a+b", ()): ("a+b", "", ""),
        }
        self.assertEqual(expected, {key: split_local_part(*key) for key in expected})

    @settings(deadline=None, max_examples=100)
    @given(st.text("ab+-", max_size=12), st.lists(st.sampled_from(["+", "-", "+-"]), unique=True))
    def test_nothing_lost(self, text: str, separators: list[str]) -> None:
        """What is parted is the whole, and before the separator there is none."""
        base, separator, rest = split_local_part(text, separators)
        self.assertEqual(text, base + separator + rest)
        self.assertFalse(any(each in base for each in separators))
        self.assertTrue(separator in separators or not (separator or rest))

    def test_lookup(self) -> None:
        """I-28: what follows any of a domain's separators is ignored."""
        accounts = Directory(
            ACCOUNTS,
            domains={**DOMAINS, PLUS: DomainSettings(separators=("+", "-"))},
            hosts=(),
            postmaster="root",
        )
        found = owners(
            accounts, "alice-x@plus.example", "alice+x-y@plus.example", "x-alice@plus.example"
        )
        self.assertEqual(["alice", "alice", None], list(found.values()))
        self.assertEqual(("+", "-"), accounts.separators_of(PLUS))
        self.assertEqual((), accounts.separators_of(ELSEWHERE))


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
