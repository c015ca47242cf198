"""SCRAM within a session.  RFC 5802, RFC 7677."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace

import scramp  # type: ignore[import-untyped]  # it has no annotations
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import ChannelBinding, Login, LoginSecrets, Role, TLSInfo
from moxsmtp.smtp.events import (
    Challenge,
    Exchange,
    LoginProven,
    LoginResult,
    Refusal,
    SecretsRequest,
)
from moxsmtp.smtp.login_secrets import ScramHash, SecretsWanted
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import State
from tests.smtp.driver import Driver, secrets_of, session
from tests.smtp.scram_client import Client

EXPORTER = ChannelBinding("tls-exporter", b"e" * 32)
UNIQUE = ChannelBinding("tls-unique", b"u" * 12)

TLS13 = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256", channel_binding=EXPORTER)
TLS12 = TLSInfo("TLS1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", channel_binding=UNIQUE)
UNBOUND = replace(TLS12, channel_binding=None)

NAMES = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1")


def algorithm(name: str) -> str:
    return "sha256" if "256" in name else "sha1"


class ScramCase(unittest.SynchronousTestCase):
    """Each test has a session; users whose names begin with C{a} have the password C{secret}."""

    def begin(self, tls: TLSInfo | None = None) -> None:
        self.session = session(Role.SUBMISSION)
        if tls is not None:
            self.session.secured(tls)
        self.driver = Driver(self.session)
        self.driver.speak(b"EHLO x.example\r\n")

    def say(self, octets: bytes) -> bytes:
        """A line with base64; what is answered."""
        return self.driver.speak(b64encode(octets) + b"\r\n")

    def auth(self, name: str, first: bytes) -> bytes:
        """AUTH with an initial response."""
        return self.driver.speak(f"AUTH {name} {b64encode(first).decode()}\r\n".encode())

    def challenge(self, said: bytes) -> bytes:
        """What a 334 carries."""
        self.assertEqual((said[:4], said[-2:]), (b"334 ", b"\r\n"), said)
        return b64decode(said[4:-2], validate=True)

    def code(self, said: bytes) -> str:
        return " ".join(said.decode().split()[:2])

    def client(self, name: str = NAMES[1], user: str = "a@x.example") -> Client:
        return Client(algorithm(name), user, b"secret")

    @property
    def exchange(self) -> Exchange | None:
        last = self.driver.events[-1]
        assert isinstance(last, Refusal), last
        return last.exchange

    def refused(self, said: bytes, code: str, result: LoginResult) -> None:
        self.assertEqual(self.code(said), code)
        assert self.exchange is not None
        self.assertEqual(self.exchange.result, result)
        self.assertEqual(self.session.ended, self.exchange)
        self.assertIs(self.session.state, State.GREETED)


class SuccessTests(ScramCase):
    """Who knows the password is let in, and is shown that we know it."""

    def test_each(self) -> None:
        """
        Each mechanism with the bindings it can have: server-first, server-final,
        an empty line, and 235 (S-49, S-51, S-54).
        """
        for name in NAMES:
            for tls in (TLS13, TLS12, UNBOUND, None):
                binding = tls.channel_binding if tls else None
                if binding is None and name.endswith("PLUS"):
                    continue
                self.begin(tls)
                client = self.client(name)
                if binding is not None:
                    # Also where the mechanism does not ask for it.
                    client.header, client.binding = f"p={binding.type},,", binding.data
                first = self.challenge(self.auth(name, client.first))
                final = self.challenge(self.say(client.final(first)))
                self.assertEqual(final, b"v=" + b64encode(client.signature))
                self.assertIsNone(self.session.client.login)
                self.assertEqual(self.driver.speak(b"\r\n"), b"235 2.7.0 logged in\r\n")
                self.assertEqual(self.session.client.login, Login("a", "a@x.example"))
                self.assertEqual(self.session.ended, Exchange(name.lower(), LoginResult.OK))

    def test_scramp(self) -> None:
        """Another's client logs in with every mechanism, and believes us (S-49, S-51)."""
        for name in NAMES:
            self.begin(TLS12)
            bound = (UNIQUE.type, UNIQUE.data)
            client = scramp.ScramClient(
                [name], "a@x.example", "secret",
                channel_binding=bound if name.endswith("PLUS") else None,
            )  # fmt: skip
            first = self.challenge(self.auth(name, client.get_client_first().encode()))
            client.set_server_first(first.decode())
            final = self.challenge(self.say(client.get_client_final().encode()))
            client.set_server_final(final.decode())
            self.assertEqual(self.code(self.driver.speak(b"\r\n")), "235 2.7.0", name)

    def test_without_initial_response(self) -> None:
        """An empty challenge asks for the first message (S-44)."""
        self.begin()
        self.assertEqual(self.driver.speak(b"AUTH SCRAM-SHA-1\r\n"), b"334 \r\n")
        client = self.client("SCRAM-SHA-1")
        first = self.challenge(self.say(client.first))
        self.challenge(self.say(client.final(first)))
        self.assertEqual(self.code(self.driver.speak(b"\r\n")), "235 2.7.0")

    def test_server_first(self) -> None:
        """
        The nonce is the client's with 16 characters of base64 behind it, then
        salt and iterations (S-51).
        """
        self.begin()
        client = self.client()
        first = self.challenge(self.auth("SCRAM-SHA-256", client.first))
        nonce = client.nonce + b64encode(b"r" * 12).decode()
        self.assertEqual(first, f"r={nonce},s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096".encode())

    def test_names(self) -> None:
        """Names in UTF-8, and with comma and equals sign, are taken (S-49)."""
        for user in ("a\u00f6@x.example", "a,b=c@x.example", "a b@x.example"):
            self.begin()
            client = self.client(user=user)
            first = self.challenge(self.auth("SCRAM-SHA-256", client.first))
            self.challenge(self.say(client.final(first)))
            self.driver.speak(b"\r\n")
            self.assertEqual(self.session.client.login, Login("a", user))

    def test_authorization_id(self) -> None:
        """To name oneself as whom to be is no harm; somebody else is refused (S-50)."""
        self.begin()
        client = self.client()
        client.header = "n,a=a@x.example,"
        first = self.challenge(self.auth("SCRAM-SHA-256", client.first))
        self.challenge(self.say(client.final(first)))
        self.assertEqual(self.code(self.driver.speak(b"\r\n")), "235 2.7.0")
        self.begin()
        client.header = "n,a=b@x.example,"
        said = self.auth("SCRAM-SHA-256", client.first)
        self.refused(said, "535 5.7.8", LoginResult.BAD_CREDENTIALS)

    def test_extensions(self) -> None:
        """Extensions that may be ignored are (S-49)."""
        self.begin()
        client = self.client()
        first = self.auth("SCRAM-SHA-256", client.first)
        final = client.final(self.challenge(first), more=",x=y,z=\u00f6")
        self.assertTrue(self.challenge(self.say(final)).startswith(b"v="))

    def test_last_line(self) -> None:
        """
        Behind the proof one more line is read: a star still aborts, what is no
        base64 is refused, and anything else does no harm (S-51, S-44).
        """
        for line, code in (
            (b"*", "501 5.5.0"), (b"!", "501 5.5.2"), (b"eA==", "235 2.7.0"), (b"", "235 2.7.0")
        ):  # fmt: skip
            self.begin()
            client = self.client()
            first = self.challenge(self.auth("SCRAM-SHA-256", client.first))
            self.challenge(self.say(client.final(first)))
            self.assertEqual(self.code(self.driver.speak(line + b"\r\n")), code)

    def test_disabled(self) -> None:
        """An account that may not log in is told so behind the proof only (S-55)."""
        refusal = Reply(525, "7.13", "you left us")
        for password, code in ((b"secret", "525 5.7.13"), (b"guess", "535 5.7.8")):
            self.begin()
            client = self.client()
            client.password = password
            self.session.receive(b"AUTH SCRAM-SHA-256 " + b64encode(client.first) + b"\r\n")
            request = self.session.next()
            assert isinstance(request, SecretsRequest)
            found = secrets_of(request.wanted)
            supplied = self.session.supply(LoginSecrets(found.login, found.keys, refusal))
            assert isinstance(supplied, Challenge)
            first = self.challenge(self.session.answer(supplied.reply))
            self.say(client.final(first))
            self.assertEqual(self.code(self.driver.speak(b"\r\n")), code)


class RefusedTests(ScramCase):
    """Who does not know it, or says it wrong, is not."""

    def test_bad_first(self) -> None:
        """455 4.7.0 for each first message that cannot be obeyed (S-49)."""
        good = "n=a@x.example,r=12345678"
        bad: list[tuple[str, TLSInfo | None, str]] = [
            # Malformed.
            ("SCRAM-SHA-256", None, ""),
            ("SCRAM-SHA-256", None, "x"),
            ("SCRAM-SHA-256", None, good),
            ("SCRAM-SHA-256", None, "n," + good),
            ("SCRAM-SHA-256", None, "n,,"),
            ("SCRAM-SHA-256", None, "n,,n=,r=12345678"),
            ("SCRAM-SHA-256", None, "n,,n=a=2X,r=12345678"),
            ("SCRAM-SHA-256", None, "n,,n=a\0,r=12345678"),
            ("SCRAM-SHA-256", None, "n,,r=12345678,n=a"),
            ("SCRAM-SHA-256", None, "n,," + good + ","),
            ("SCRAM-SHA-256", None, "n,," + good + ",x="),
            ("SCRAM-SHA-256", None, "n,," + good + "\n"),
            ("SCRAM-SHA-256", None, "n,b=x," + good),
            ("SCRAM-SHA-256", None, "N,," + good),
            # y always; n with PLUS.
            ("SCRAM-SHA-256", None, "y,," + good),
            ("SCRAM-SHA-256", TLS13, "y,," + good),
            ("SCRAM-SHA-256-PLUS", TLS13, "y,," + good),
            ("SCRAM-SHA-256-PLUS", TLS13, "n,," + good),
            # Bindings that there are none of, or none of here.
            ("SCRAM-SHA-256-PLUS", TLS13, "p=tls-server-end-point,," + good),
            ("SCRAM-SHA-256-PLUS", TLS13, "p=tls-unique,," + good),
            ("SCRAM-SHA-256-PLUS", TLS12, "p=tls-exporter,," + good),
            ("SCRAM-SHA-1-PLUS", UNBOUND, "p=tls-unique,," + good),
            ("SCRAM-SHA-1", None, "p=tls-unique,," + good),
            ("SCRAM-SHA-1", None, "p=tls-exporter,," + good),
            # An extension that has to be understood.
            ("SCRAM-SHA-256", None, "n,,m=x," + good),
            # Names that are not NFC.
            ("SCRAM-SHA-256", None, "n,,n=ao\u0308,r=12345678"),
            ("SCRAM-SHA-256", None, "n,a=ao\u0308,n=a\u00f6,r=12345678"),
            # A nonce of 7 characters.
            ("SCRAM-SHA-256", None, "n,,n=a@x.example,r=1234567"),
        ]
        for name, tls, first in bad:
            self.begin(tls)
            self.driver.speak(f"AUTH {name}\r\n".encode())
            said = self.say(first.encode())
            self.assertEqual(self.code(said), "455 4.7.0", (name, first))
            self.assertEqual(self.exchange, Exchange(name.lower(), LoginResult.ERROR))
        self.begin()
        self.refused(self.auth("SCRAM-SHA-256", b"n,,n=\xff,r=12345678"), "455 4.7.0",
                     LoginResult.ERROR)  # fmt: skip

    def test_plus_in_clear(self) -> None:
        """Without TLS there is nothing to bind to: 538, before any challenge (S-49)."""
        for name in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
            for rest in ("", " !"):
                self.begin()
                said = self.driver.speak(f"AUTH {name}{rest}\r\n".encode())
                self.refused(said, "538 5.7.11", LoginResult.ERROR)

    def rejected(self, client: Client, name: str, code: str, error: bytes, **changes: str) -> None:
        """The final message is answered with an error, and the line behind it with C{code}."""
        for line in (b"", b"*", b"!not base64", b"eA=="):
            self.begin(TLS13)
            first = self.challenge(self.auth(name, client.first))
            final = client.final(first, **changes)
            self.assertEqual(self.challenge(self.say(final)), b"e=" + error)
            said = self.driver.speak(line + b"\r\n")
            self.assertEqual(self.code(said), code)

    def test_wrong_proof(self) -> None:
        """
        C{e=}, one more line that counts for nothing, then 535 5.7.8: for a wrong
        password, an unknown user, a proof of another length, a wrong nonce (S-51,
        S-50).
        """
        for name in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
            wrong = self.client(name)
            wrong.password = b"guess"
            self.rejected(wrong, name, "535 5.7.8", b"invalid-proof")
            unknown = Client(algorithm(name), "eve@x.example", b"nobody knows")
            self.rejected(unknown, name, "535 5.7.8", b"invalid-proof")
            self.rejected(self.client(name), name, "535 5.7.8", b"invalid-proof", p="")
            self.rejected(self.client(name), name, "535 5.7.8", b"invalid-proof", p="AAAA")
            nonce = self.client(name).nonce
            self.rejected(self.client(name), name, "535 5.7.8", b"other-error", r=nonce)
            assert self.exchange is not None
            self.assertEqual(self.exchange.result, LoginResult.BAD_CREDENTIALS)

    def test_other_channel(self) -> None:
        """
        A client that sees another TLS connection, or says another thing of
        channel bindings in the end: 535 5.7.7 and C{badchanbind} (S-51).
        """
        error = b"channel-bindings-dont-match"
        client = self.client("SCRAM-SHA-256-PLUS")
        client.header, client.binding = "p=tls-exporter,,", b"x" * 32
        self.rejected(client, "SCRAM-SHA-256-PLUS", "535 5.7.7", error)
        self.assertEqual(
            self.exchange, Exchange("scram-sha-256-plus", LoginResult.BAD_CHANNEL_BINDING)
        )
        plain = self.client("SCRAM-SHA-1")
        for header in (b"y,,", b"n,a=x,", b"", b"n,,x"):
            claimed = b64encode(header).decode()
            self.rejected(plain, "SCRAM-SHA-1", "535 5.7.7", error, c=claimed)

    def test_bad_final(self) -> None:
        """A final message that is none is refused at once, 535 5.7.0 (S-51)."""
        for final in (
            b"", b"x", b"c=biws", b"c=biws,r=x", b"c=biws,p=AAAA", b"c=!,r=x,p=AAAA",
            b"c=biws,r=x,p=AAA", b"c=biws,r=x,p=AAAA,x=y", b"r=x,c=biws,p=AAAA", b"\xff",
            b"c=biws,r=x,p=AAAA\n", b"c=biws,r=\0,p=AAAA", b"c=biws,r=x,p=AAAA,p=AAAA",
        ):  # fmt: skip
            self.begin()
            self.auth("SCRAM-SHA-256", self.client().first)
            self.refused(self.say(final), "535 5.7.0", LoginResult.ERROR)

    def test_abort(self) -> None:
        """A star ends it behind each challenge but the last of a failure (S-44)."""
        client = self.client()
        for steps in range(3):
            self.begin()
            said = self.driver.speak(b"AUTH SCRAM-SHA-256\r\n")
            if steps > 0:
                said = self.say(client.first)
            if steps > 1:
                said = self.say(client.final(self.challenge(said)))
            self.assertEqual(said[:4], b"334 ")
            self.refused(self.driver.speak(b"*\r\n"), "501 5.5.0", LoginResult.ABORTED)

    def test_wanted(self) -> None:
        """What is asked for names the user in NFC and the hash, and has not been answered."""
        self.begin()
        self.session.receive(
            b"AUTH SCRAM-SHA-1 " + b64encode("n,,n=a\u00f6=2C,r=12345678".encode()) + b"\r\n"
        )
        event = self.session.next()
        self.assertEqual(
            event, SecretsRequest("scram-sha-1", SecretsWanted("a\u00f6,", ScramHash.SHA1))
        )
        self.assertIsNone(self.session.next())

    def test_store_fails(self) -> None:
        """Where secrets cannot be looked up, the exchange is over (S-50)."""
        self.begin()
        self.session.receive(
            b"AUTH SCRAM-SHA-1 " + b64encode(self.client().first) + b"\r\nNOOP\r\n"
        )
        self.session.next()
        said = self.session.answer(Reply(454, "3.0", "later"))
        self.assertEqual(self.code(said), "454 4.3.0")
        self.assertEqual(self.session.ended, Exchange("scram-sha-1", LoginResult.ERROR))
        self.assertEqual(self.driver.speak(b""), b"250 NOOP\r\n")
        self.assertIsNone(self.session.ended)


class HostileTests(ScramCase):
    """Whatever a client says, there is an answer."""

    @settings(deadline=None, max_examples=120)
    @given(
        st.sampled_from(NAMES),
        st.sampled_from([None, TLS12, TLS13, UNBOUND]),
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.text(alphabet="ny,p=arcbmtls-unique\u00f6\u0308 0123456789", max_size=40).map(
                    str.encode
                ),
                st.just(b"n,,n=a,r=12345678"),
                st.just(b"p=tls-exporter,,n=a,r=12345678"),
            ),
            max_size=4,
        ),
    )
    def test_any(self, name: str, tls: TLSInfo | None, responses: list[bytes]) -> None:
        """
        Arbitrary messages are challenged or refused, whole and byte by byte
        alike, log nobody in, and leave a session that goes on (T-10).
        """
        lines = [f"AUTH {name}".encode(), *map(b64encode, responses), b"*", b"NOOP"]
        said = []
        for piece in (1, 1 << 20):
            self.begin(tls)
            octets = b"\r\n".join(lines) + b"\r\n"
            said.append(
                b"".join(
                    self.driver.speak(octets[start : start + piece])
                    for start in range(0, len(octets), piece)
                )
            )
        self.assertEqual(*said)
        self.assertIsNone(self.session.client.login)
        self.assertFalse([each for each in self.driver.events if isinstance(each, LoginProven)])
        self.assertTrue(said[0].endswith(b"250 NOOP\r\n"))

    def test_long(self) -> None:
        """Long messages, as long as lines may be, are read in linear time."""
        for first in (
            "n,," + "a" * 9000,
            "n,,n=" + "=2C" * 3000,
            "p=" + "a" * 9000,
            "n,,n=a,r=12345678" + ",x=y" * 2200,
            "n,,n=a,r=" + "1" * 9000 + "\0",
        ):
            self.begin()
            self.session.receive(b"AUTH SCRAM-SHA-1\r\n")
            event = self.session.next()
            assert isinstance(event, Challenge)
            self.session.answer(event.reply)
            self.session._authentication.respond(b64encode(first.encode()))
