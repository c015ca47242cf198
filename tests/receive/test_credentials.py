"""Tests for L{moxsmtp.receive.credentials}."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moxsmtp.directory import Directory, DomainSettings
from moxsmtp.interfaces import (
    Account,
    CertificateAttempt,
    IClientKeys,
    ICredentials,
    IPasswordHashes,
    Login,
    LoginSecrets,
    PasswordAttempt,
    PasswordSecrets,
    StorageUnavailable,
)
from moxsmtp.names import parse_domain
from moxsmtp.receive.credentials import Credentials, Disguise, KeyCheck
from moxsmtp.receive.passwords import Pretence, derive, hash_password
from moxsmtp.smtp.login_secrets import CramKeys, ScramHash, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused
from tests.doubles import HeldPool, InlinePool, InlineReactor

EXAMPLE = parse_domain("example.org")


ALICE = "alice@example.org"
PASSWORD = "caf\u00e9 au lait"


@implementer(IPasswordHashes)
class Hashes:
    """Keeps secrets in a dictionary, and notes what was asked for."""

    def __init__(self, kept: dict[str, PasswordSecrets]) -> None:
        self.kept = kept
        self.asked: list[str] = []
        self.is_broken = False

    def password_secrets(self, account: str) -> Awaitable[PasswordSecrets | None]:
        self.asked.append(account)
        return succeed(self.kept.get(account))

    def set_password_secrets(self, account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        self.kept[account] = secrets
        return succeed(None)

    def complete_password_secrets(self, account: str, secrets: PasswordSecrets) -> Awaitable[None]:
        if self.is_broken:
            return fail(StorageUnavailable("gone"))
        self.kept[account] = secrets
        return succeed(None)


@implementer(IClientKeys)
class Keys:
    """Keeps keys in a dictionary."""

    def __init__(self, kept: dict[str, Login]) -> None:
        self.kept = kept
        self.is_fresh = True

    def login_of(self, fingerprint: str) -> Awaitable[Login | None]:
        return succeed(self.kept.get(fingerprint))

    def remembered(self) -> Mapping[str, Login] | None:
        return self.kept if self.is_fresh else None


class CredentialsCase(SynchronousTestCase):
    """Alice has a password; bob has none; carol has one and may not log in."""

    #: Once for all tests; making them takes its time on purpose.
    secrets = derive(PASSWORD, cram_md5=True)
    disguise = Disguise(hash_password("unknown to anybody"), Pretence(b"of this installation"))

    def setUp(self) -> None:
        accounts = (
            Account("alice", addresses=(ALICE, "b@example.org")),
            Account("bob", addresses=("b\u00f6b@example.org",)),
            Account("carol", addresses=("carol@example.org",), login_disabled="you left us"),
        )
        self.directory = Directory(
            accounts,
            domains={EXAMPLE: DomainSettings(separators=("+",))},
            hosts=set(),
            postmaster="alice",
        )
        self.hashes = Hashes({"alice": self.secrets, "carol": self.secrets})
        self.keys = Keys({"k": Login("alice", ALICE), "c": Login("carol", "carol@example.org")})
        self.cram_md5 = True
        self.pool = InlinePool()
        self.credentials = self.made(self.pool)

    def made(self, pool: InlinePool) -> Credentials:
        return Credentials(
            self.directory,
            self.hashes,
            self.keys,
            disguise=self.disguise,
            cram_md5=lambda: self.cram_md5,
            reactor=InlineReactor(),
            pool=pool,
        )

    def verify(self, login: str, password: str, authorization: str = "") -> Login | None:
        attempt = PasswordAttempt(authorization, login, password)
        return self.successResultOf(Deferred.fromCoroutine(self.credentials.verify(attempt)))

    def wanted(self, login: str, kind: ScramHash | None) -> LoginSecrets:
        asked = self.credentials.secrets(SecretsWanted(login, kind))
        return self.successResultOf(Deferred.fromCoroutine(asked))


class CredentialsTests(CredentialsCase):
    """Who gets in with a password."""

    def test_port(self) -> None:
        """It is what the receiver asks for."""
        verifyObject(ICredentials, self.credentials)
        verifyObject(IPasswordHashes, self.hashes)
        verifyObject(IClientKeys, self.keys)

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

    def test_disabled(self) -> None:
        """
        An account that may not log in is told so with the right password only
        (S-55).
        """
        attempt = PasswordAttempt("", "carol@example.org", PASSWORD)
        asked = Deferred.fromCoroutine(self.credentials.verify(attempt))
        reply = self.failureResultOf(asked, Refused).value.reply
        self.assertEqual(
            (525, "5.7.13", "you left us"), (reply.code, reply.enhanced_status, reply.text)
        )
        self.assertIsNone(self.verify("carol@example.org", "wrong"))

    def test_completed(self) -> None:
        """
        A password that was set when less was kept of it logs in, and what the
        other mechanisms need is kept from then on; a wrong one changes nothing.
        """
        old = PasswordSecrets(self.secrets.password)
        self.hashes.kept["alice"] = old
        self.assertIsNone(self.verify(ALICE, "wrong"))
        self.assertEqual(old, self.hashes.kept["alice"])
        self.assertIsNotNone(self.verify(ALICE, PASSWORD))
        kept = self.hashes.kept["alice"]
        self.assertEqual((old.password, self.secrets.cram_md5), (kept.password, kept.cram_md5))
        for kind in ScramHash:
            keys = self.wanted(ALICE, kind).keys
            assert isinstance(keys, ScramKeys)
            again = ScramKeys.derived(kind, PASSWORD.encode(), keys.salt, keys.iterations)
            self.assertEqual(again, keys)

    def test_not_completed(self) -> None:
        """Complete secrets are left alone, and where CRAM-MD5 is off nothing is kept for it."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        attempt = PasswordAttempt("", ALICE, PASSWORD)
        asked = Deferred.fromCoroutine(self.credentials.verify(attempt))
        pool.release()
        self.assertIsNotNone(self.successResultOf(asked))
        self.cram_md5 = False
        self.hashes.kept["alice"] = PasswordSecrets(self.secrets.password)
        self.credentials = self.made(self.pool)
        self.assertIsNotNone(self.verify(ALICE, PASSWORD))
        kept = self.hashes.kept["alice"]
        self.assertEqual(("", True), (kept.cram_md5, bool(kept.scram_sha1 and kept.scram_sha256)))

    def test_cannot_be_completed(self) -> None:
        """Who gives the right password is let in, even if no more can be kept of it."""
        self.hashes.kept["alice"] = PasswordSecrets(self.secrets.password)
        self.hashes.is_broken = True
        self.assertIsNotNone(self.verify(ALICE, PASSWORD))

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

    def test_gone(self) -> None:
        """Who goes away frees no place while its thread is at work, nor holds up the next then."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        attempt = PasswordAttempt("", "alice@example.org", PASSWORD)
        first, second, third = (
            Deferred.fromCoroutine(self.credentials.verify(attempt)) for _ in range(3)
        )
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(1, len(pool.held))
        pool.release()
        self.assertEqual(1, len(pool.held))
        pool.release()
        self.assertIsNotNone(self.successResultOf(third))

    def test_too_many(self) -> None:
        """The line is bounded: who comes after that is told to try again."""
        pool = HeldPool()
        self.credentials = self.made(pool)
        # What a comparison costs is no matter here, and there are a hundred.
        cheap = f"$argon2id$v=19$m=8,t=1,p=1${'A' * 22}${'A' * 43}"
        self.hashes.kept["alice"] = replace(self.secrets, password=cheap)
        attempt = PasswordAttempt("", "alice@example.org", "wrong")
        waiting = [Deferred.fromCoroutine(self.credentials.verify(attempt)) for _ in range(101)]
        refused = self.failureResultOf(
            Deferred.fromCoroutine(self.credentials.verify(attempt)), Refused
        )
        self.assertEqual(454, refused.value.reply.code)
        while pool.held:
            pool.release()
        self.assertEqual([None] * 101, [self.successResultOf(each) for each in waiting])


class SecretsTests(CredentialsCase):
    """What SCRAM and CRAM-MD5 verify claims with."""

    def test_known(self) -> None:
        """A user with a password has its secrets, in any spelling of the address (S-46)."""
        for login in (ALICE, "ALICE@EXAMPLE.ORG", "alice+x@example.org"):
            for kind, text in (
                (ScramHash.SHA256, self.secrets.scram_sha256),
                (ScramHash.SHA1, self.secrets.scram_sha1),
                (None, self.secrets.cram_md5),
            ):
                found = self.wanted(login, kind)
                assert found.login is not None
                self.assertEqual(("alice", text), (found.login.account, found.keys.text))
                self.assertIsNone(found.refusal)

    def test_disabled(self) -> None:
        """Who may not log in is told so behind the proof (S-55)."""
        found = self.wanted("carol@example.org", ScramHash.SHA256)
        assert found.refusal is not None
        self.assertEqual((525, "7.13"), (found.refusal.code, found.refusal.status))
        self.assertRaises(Refused, found.admitted)

    def test_unknown(self) -> None:
        """
        Unknown users, users without a password, and passwords that such secrets
        were not derived from: all have secrets, always the same and of the same
        form, that nobody can prove (S-50, S-48).
        """
        self.hashes.kept["alice"] = PasswordSecrets(self.secrets.password)
        for login in (ALICE, "b\u00f6b@example.org", "eve@example.org", "e@away.example", "x y"):
            for kind in (ScramHash.SHA256, ScramHash.SHA1, None):
                found = self.wanted(login, kind)
                self.assertIsNone(found.login)
                self.assertEqual(found, self.wanted(login, kind))
                if isinstance(found.keys, ScramKeys):
                    true = ScramKeys.from_text(self.secrets.scram_sha256)
                    self.assertEqual(
                        (kind, true.iterations, len(true.salt)),
                        (found.keys.hash, found.keys.iterations, len(found.keys.salt)),
                    )
                else:
                    self.assertIsInstance(found.keys, CramKeys)

    def test_spellings_of_unknown(self) -> None:
        """
        An unknown user has one salt in all spellings of the address, as a known
        one has (S-50).
        """
        spellings = ("eve@example.org", "EVE@example.org", "eve+x@EXAMPLE.org")
        found = {self.wanted(login, ScramHash.SHA256).keys.text for login in spellings}
        self.assertEqual(1, len(found))
        self.assertNotIn(self.wanted("eva@example.org", ScramHash.SHA256).keys.text, found)

    def test_same_work(self) -> None:
        """
        Known and unknown users cost one look-up, one pretence and one reading
        of secrets (S-50).
        """
        made: list[str] = []

        class Counting(Pretence):
            def text(self, login: str, kind: ScramHash | None) -> str:
                made.append(login)
                return super().text(login, kind)

        self.disguise = Disguise(self.disguise.nobody, Counting(b"secret"))
        self.credentials = self.made(HeldPool())
        work = {}
        for login in (ALICE, "b\u00f6b@example.org", "eve@example.org", "nonsense"):
            for kind in (ScramHash.SHA256, ScramHash.SHA1, None):
                self.hashes.asked.clear()
                made.clear()
                self.wanted(login, kind)
                work[login, kind] = len(self.hashes.asked), len(made)
        self.assertEqual({(1, 1)}, set(work.values()))


class KeyCheckTests(CredentialsCase):
    """What is known at once of a client's key."""

    def objection(self, fingerprint: str) -> str:
        return KeyCheck(self.directory, self.keys).objection(fingerprint)

    def test_registered(self) -> None:
        """Nothing is known against a key that is registered, everything against others (S-37)."""
        self.assertEqual("", self.objection("k"))
        for other in ("K", ""):
            self.assertEqual("it is not registered", self.objection(other))

    def test_address_moved(self) -> None:
        """The address must still be the account's; whose it is now does not matter (S-37)."""
        for login in (Login("bob", ALICE), Login("alice", "gone@away.example")):
            self.keys.kept["k"] = login
            self.assertIn(f"not of account {login.account} any more", self.objection("k"))

    def test_disabled(self) -> None:
        """An account that may not log in does not with a certificate either (S-55)."""
        self.assertEqual("carol may not log in", self.objection("c"))

    def test_unknown(self) -> None:
        """Where it is not known what is registered, nothing is known against any key."""
        self.keys.is_fresh = False
        self.assertEqual("", self.objection("K"))


class CertificateTests(CredentialsCase):
    """Who gets in with a TLS client certificate."""

    def certificate(self, fingerprint: str, authorization: str = "") -> Login | None:
        attempt = CertificateAttempt(fingerprint, authorization)
        return self.successResultOf(Deferred.fromCoroutine(self.credentials.verify(attempt)))

    def test_registered(self) -> None:
        """A key that is registered is its address's, and no other is anybody's (S-37)."""
        self.assertEqual(Login("alice", ALICE), self.certificate("k"))
        self.assertIsNone(self.certificate("K"))
        self.assertIsNone(self.certificate(""))

    def test_address_moved(self) -> None:
        """The address must still be the account's; whose it is now does not matter (S-37)."""
        self.keys.kept["k"] = Login("bob", ALICE)
        self.assertIsNone(self.certificate("k"))
        self.keys.kept["k"] = Login("alice", "gone@away.example")
        self.assertIsNone(self.certificate("k"))
        self.assertIsNone(self.certificate("k", ALICE))

    def test_another_address(self) -> None:
        """
        EXTERNAL may name another address of the account, in any spelling, and
        no address of anybody else (S-52).
        """
        self.assertEqual(Login("alice", "b@example.org"), self.certificate("k", "b@example.org"))
        for other in ("b\u00f6b@example.org", "eve@example.org", "nonsense"):
            self.assertIsNone(self.certificate("k", other))
        self.keys.kept["k"] = Login("bob", "bo\u0308b@example.org")
        self.assertEqual(Login("bob", "b\u00f6b@example.org"), self.certificate("k"))
        self.assertIsNotNone(self.certificate("k", "bo\u0308b@example.org"))

    def test_disabled(self) -> None:
        """An account that may not log in does not with a certificate either (S-55)."""
        asked = Deferred.fromCoroutine(self.credentials.verify(CertificateAttempt("c")))
        self.assertEqual(525, self.failureResultOf(asked, Refused).value.reply.code)
