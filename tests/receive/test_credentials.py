"""Tests for L{moxsmtp.receive.credentials}."""

from __future__ import annotations

from collections.abc import Awaitable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.interfaces import (
    Account,
    ICredentials,
    IPasswordHashes,
    Login,
    PasswordAttempt,
)
from moxsmtp.names import parse_domain
from moxsmtp.receive.credentials import Credentials, InvalidPassword, hash_password
from moxsmtp.smtp.reply import Refused
from tests.doubles import HeldPool, InlinePool, InlineReactor

EXAMPLE = parse_domain("example.org")


@implementer(IPasswordHashes)
class Hashes:
    """Keeps hashes in a dictionary, and notes what was asked for."""

    def __init__(self, hashes: dict[str, str]) -> None:
        self.hashes = hashes
        self.asked: list[str] = []

    def password_hash(self, account: str) -> Awaitable[str | None]:
        self.asked.append(account)
        return succeed(self.hashes.get(account))

    def set_password_hash(self, account: str, phc: str) -> Awaitable[None]:
        self.hashes[account] = phc
        return succeed(None)


class CredentialsTests(SynchronousTestCase):
    """Who gets in."""

    #: One hash for all tests; making it takes its time on purpose.
    hash = hash_password("caf\u00e9 au lait")
    nobody = hash_password("unknown to anybody")

    def setUp(self) -> None:
        accounts = (
            Account("alice", addresses=("alice@example.org",)),
            Account("bob", addresses=("b\u00f6b@example.org",)),
        )
        directory = Directory(
            accounts,
            domains={EXAMPLE: DomainSettings(separator="+")},
            hosts=set(),
            postmaster="alice",
        )
        self.hashes = Hashes({"alice": self.hash})
        self.pool = InlinePool()
        self.directory = directory
        self.credentials = self.made(self.pool)

    def made(self, pool: InlinePool) -> Credentials:
        return Credentials(
            self.directory, self.hashes, nobody=self.nobody, reactor=InlineReactor(), pool=pool
        )

    def verify(self, login: str, password: str, authorization: str = "") -> Login | None:
        attempt = PasswordAttempt(authorization, login, password)
        return self.successResultOf(Deferred.fromCoroutine(self.credentials.verify(attempt)))

    def test_port(self) -> None:
        """It is what the receiver asks for."""
        verifyObject(ICredentials, self.credentials)

    def test_spellings(self) -> None:
        """
        NFC and NFD of address and password, other spaces in the password, and
        what follows the separator all log in alike (S-46).
        """
        alice = Login("alice", "alice@example.org")
        self.assertEqual(
            [alice, alice, alice, Login("alice", "alice+x@example.org")],
            [
                self.verify("alice@example.org", "caf\u00e9 au lait"),
                self.verify("alice@example.org", "cafe\u0301 au lait"),
                self.verify("alice@example.org", "caf\u00e9\u2003au\u00a0lait"),
                self.verify("alice+x@example.org", "caf\u00e9 au lait"),
            ],
        )

    def test_wrong(self) -> None:
        """A wrong, empty or forbidden password, an unknown user, no address: all alike (S-46)."""
        attempts = {
            "wrong": ("alice@example.org", "cafe au lait"),
            "empty": ("alice@example.org", ""),
            "control": ("alice@example.org", "caf\u00e9 au lait\0"),
            "unknown": ("eve@example.org", "caf\u00e9 au lait"),
            "no address": ("alice", "caf\u00e9 au lait"),
            "no password set": ("b\u00f6b@example.org", "caf\u00e9 au lait"),
        }
        outcomes = {name: self.verify(*attempt) for name, attempt in attempts.items()}
        self.assertEqual(dict.fromkeys(attempts), outcomes)

    def test_default_account(self) -> None:
        """Who takes mail for everybody logs in with addresses of his own only."""
        self.directory = Directory(
            [Account("alice", addresses=("alice@example.org",))],
            domains={EXAMPLE: DomainSettings()},
            hosts=set(),
            postmaster="alice",
            default_account="alice",
        )
        self.credentials = self.made(self.pool)
        password = "caf\u00e9 au lait"
        self.assertIsNotNone(self.verify("alice@example.org", password))
        self.assertIsNone(self.verify("bob@example.org", password))
        self.assertIsNone(self.verify("alice@away.example", password))

    def test_authorization_identity(self) -> None:
        """It may be left out or be the login; another is refused (S-46)."""
        password = "caf\u00e9 au lait"
        login = "alice@example.org"
        self.assertIsNotNone(self.verify(login, password, "alice@example.org"))
        self.assertIsNone(self.verify(login, password, "b\u00f6b@example.org"))
        self.assertIsNone(self.verify(login, password, "nonsense"))

    def test_same_work(self) -> None:
        """For an unknown user a hash is looked up and computed as for a known one."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        work = {}
        for login in ("alice@example.org", "eve@example.org", "nonsense"):
            self.hashes.asked.clear()
            attempt = PasswordAttempt("", login, "wrong")
            verifying = Deferred.fromCoroutine(self.credentials.verify(attempt))
            work[login] = len(self.hashes.asked), len(pool.held)
            pool.release()
            self.assertIsNone(self.successResultOf(verifying))
        self.assertEqual({(1, 1)}, set(work.values()))

    def test_one_at_a_time(self) -> None:
        """Hashing takes memory: the second attempt waits for the first."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        attempt = PasswordAttempt("", "alice@example.org", "wrong")
        both = [Deferred.fromCoroutine(self.credentials.verify(attempt)) for _ in range(2)]
        self.assertEqual(1, len(pool.held))
        pool.release()
        self.successResultOf(both[0])
        self.assertNoResult(both[1])
        pool.release()
        self.successResultOf(both[1])

    def test_too_many(self) -> None:
        """The line is bounded: who comes after that is told to try again."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        attempt = PasswordAttempt("", "alice@example.org", "wrong")
        waiting = [Deferred.fromCoroutine(self.credentials.verify(attempt)) for _ in range(101)]
        refused = self.failureResultOf(
            Deferred.fromCoroutine(self.credentials.verify(attempt)), Refused
        )
        self.assertEqual(454, refused.value.reply.code)
        while pool.held:
            pool.release()
        self.assertEqual([None] * 101, [self.successResultOf(each) for each in waiting])


class HashTests(SynchronousTestCase):
    """New hashes."""

    def test_parameters(self) -> None:
        """19 MiB, two passes, a salt of its own each time."""
        first, second = hash_password("secret"), hash_password("secret")
        self.assertNotEqual(first, second)
        self.assertTrue(first.startswith("$argon2id$v=19$m=19456,t=2,p=1$"), first)

    def test_forbidden(self) -> None:
        """Nothing and control characters are no password."""
        for password in ("", "a\0b", "a\nb"):
            error = self.assertRaises(InvalidPassword, hash_password, password)
            self.assertIn("control characters", str(error))
