"""Mechanisms as a client speaks them, above all against our own server's."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import (
    ChannelBinding,
    Client,
    Login,
    LoginSecrets,
    PasswordAttempt,
    Role,
    TLSInfo,
)
from moxsmtp.outbound.transport import DEFAULT_MECHANISMS
from moxsmtp.smtp.login_secrets import CramKeys, ScramKeys, SecretsWanted
from moxsmtp.smtp.reply import Refused
from moxsmtp.smtp.sasl import Mechanism, Rejected, Scene, Terms
from moxsmtp.smtp.sasl_client import MECHANISMS, ClientMechanism, SASLFailed, choose
from moxsmtp.smtp.sasl_client_scram import MOST_ITERATIONS
from moxsmtp.smtp.sasl_scram import ScramSHA1, ScramSHA1Plus, ScramSHA256, ScramSHA256Plus
from moxsmtp.smtp.sasl_simple import CramMD5, Plain

EXPORTER = ChannelBinding("tls-exporter", b"e" * 32)
UNIQUE = ChannelBinding("tls-unique", b"u" * 12)

SERVERS: dict[str, Callable[[Scene], Mechanism]] = {
    server.name: server
    for server in (ScramSHA256Plus, ScramSHA256, ScramSHA1Plus, ScramSHA1, CramMD5, Plain)
}

TERMS = Terms("mx.example", lambda count: b"r" * count, lambda: 1_700_000_000.5)


def chosen(
    wanted: Sequence[str] = MECHANISMS,
    offered: Sequence[str] = MECHANISMS,
    *,
    username: str = "user",
    password: str = "pencil",  # noqa: S107 -- that of the examples of RFC 5802
    binding: ChannelBinding | None = None,
) -> ClientMechanism | None:
    return choose(
        wanted,
        frozenset(offered),
        username=username,
        password=password,
        binding=binding,
        random_bytes=lambda count: b"c" * count,
    )


def only(name: str, binding: ChannelBinding | None = None, **user: str) -> ClientMechanism:
    """This mechanism, offered by a server that has no other."""
    found = chosen([name], [name], binding=binding, **user)
    assert found is not None
    return found


class Server:
    """
    Our server's side of one exchange.

    @ivar login: Who has logged in; empty: nobody.
    """

    def __init__(
        self, name: str, binding: ChannelBinding | None, *, password: str, iterations: int = 4096
    ) -> None:
        tls = None
        if binding is not None:
            tls = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256", channel_binding=binding)
        address = IPv4Address("192.0.2.1")
        client = Client(1, Role.SUBMISSION, address, address, tls=tls)
        self.machine = SERVERS[name](Scene(client, TERMS, is_secret=True))
        self.password = password
        self.iterations = iterations
        self.login = ""

    def answer(self, response: bytes | None) -> bytes | None:
        """The next challenge; L{None}: the end, well or ill."""
        try:
            step = self.machine.step(response)
            if isinstance(step, SecretsWanted):
                step = self.machine.supply(self.secrets(step))
        except Refused:
            return None
        match step:
            case bytes():
                return step
            case Rejected(challenge=challenge):
                return challenge
            case Login(address=address):
                self.login = address
            case PasswordAttempt(login=login, password=password):
                self.login = login if password == self.password else ""
            case _:
                raise AssertionError(step)
        return None

    def secrets(self, wanted: SecretsWanted) -> LoginSecrets:
        octets = self.password.encode()
        keys = (
            CramKeys.derived(octets)
            if wanted.kind is None
            else ScramKeys.derived(wanted.kind, octets, b"salt" * 4, self.iterations)
        )
        return LoginSecrets(Login("account", wanted.login), keys)


def run(client: ClientMechanism, server: Server) -> str:
    """
    Let both talk until the end.

    @return: What the client fails with; empty: the server has said 235 or 535.
    """
    response = client.first()
    while True:
        challenge = server.answer(response)
        if challenge is None:
            return ""
        try:
            response = client.respond(challenge)
        except SASLFailed as failure:
            return str(failure)


class AgainstOurServerTests(SynchronousTestCase):
    """What we say as a client, we understand as a server."""

    @settings(max_examples=25, deadline=None)
    @given(
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
        st.sampled_from([None, EXPORTER, UNIQUE]),
    )
    def test_logs_in(self, username: str, password: str, binding: ChannelBinding | None) -> None:
        """Whatever name and password, each mechanism logs in and is done (Q-44)."""
        for name in SERVERS:
            if name.endswith("PLUS") and binding is None:
                continue
            # A server with -PLUS offers it; a client that could use it and does
            # not want it says "n".
            client = chosen([name], MECHANISMS, username=username, password=password,
                            binding=binding)  # fmt: skip
            assert client is not None
            spelled = _spelled(password)
            theirs = Server(name, binding, password=spelled)
            self.assertEqual("", run(client, theirs), name)
            self.assertEqual(_spelled(username), theirs.login, name)
            self.assertTrue(client.is_done, name)
            self.assertEqual(name, client.name)

    def test_wrong_password(self) -> None:
        """With another password nobody logs in, and SCRAM is not done (Q-44)."""
        for name in SERVERS:
            server = Server(name, EXPORTER, password="pen")
            client = chosen([name], MECHANISMS, binding=EXPORTER)
            assert client is not None
            failed = run(client, server)
            self.assertEqual("", server.login, name)
            if name.startswith("SCRAM"):
                self.assertIn("invalid-proof", failed)
                self.assertFalse(client.is_done)

    def test_other_connection(self) -> None:
        """With -PLUS, a server that ends another TLS connection than ours admits nobody (Q-44)."""
        for name in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
            server = Server(name, replace(EXPORTER, data=b"f" * 32), password="pencil")
            failed = run(only(name, EXPORTER), server)
            self.assertIn("channel-bindings-dont-match", failed)
            self.assertEqual("", server.login)

    def test_stripped(self) -> None:
        """
        Where somebody between took -PLUS from what the server offers, the C{y}
        of ours makes the server refuse (Q-44).  RFC 5802 section 6.
        """
        client = chosen(DEFAULT_MECHANISMS, ["SCRAM-SHA-256", "PLAIN"], binding=EXPORTER)
        assert client is not None
        server = Server("SCRAM-SHA-256", EXPORTER, password="pencil")
        self.assertEqual("", run(client, server))
        self.assertEqual("", server.login)
        self.assertFalse(client.is_done)


def _spelled(text: str) -> str:
    """A name or a password as a server takes it."""
    server = Server("PLAIN", None, password="")
    step = server.machine.step(only("PLAIN", username=text, password="x").first())
    assert isinstance(step, PasswordAttempt)
    return step.login


class ChooseTests(SynchronousTestCase):
    """Which mechanism it is."""

    def names(self, wanted: Sequence[str], offered: Sequence[str], *, tls: bool) -> str:
        found = chosen(wanted, offered, binding=EXPORTER if tls else None)
        return found.name if found is not None else ""

    def test_order(self) -> None:
        """The first that is wanted, whatever the order of the server's (Q-44)."""
        self.assertEqual(
            [self.names(DEFAULT_MECHANISMS[at:], MECHANISMS[::-1], tls=True) for at in range(6)],
            [*DEFAULT_MECHANISMS, ""],
        )
        self.assertEqual(
            "CRAM-MD5", self.names(["CRAM-MD5", "SCRAM-SHA-256"], MECHANISMS, tls=True)
        )

    def test_plain_is_not_usual(self) -> None:
        """PLAIN is taken only where it is listed (Q-44)."""
        self.assertEqual("", self.names(DEFAULT_MECHANISMS, ["PLAIN", "LOGIN"], tls=True))
        self.assertEqual("PLAIN", self.names(["PLAIN"], ["PLAIN", "LOGIN"], tls=True))

    def test_plus_needs_tls(self) -> None:
        """Without something to bind to, no -PLUS is taken (Q-44)."""
        self.assertEqual("SCRAM-SHA-256", self.names(DEFAULT_MECHANISMS, MECHANISMS, tls=False))
        self.assertEqual("", self.names(["SCRAM-SHA-1-PLUS"], MECHANISMS, tls=False))

    def test_unknown(self) -> None:
        """What we do not speak is passed over, and with nothing in common there is nothing."""
        self.assertEqual("PLAIN", self.names(["XOAUTH2", "PLAIN"], ["XOAUTH2", "PLAIN"], tls=True))
        self.assertEqual("", self.names(MECHANISMS, [], tls=True))

    def test_flag(self) -> None:
        """
        C{p} with -PLUS; C{y} with TLS where the server offers no -PLUS at all;
        C{n} without TLS, and where it offers one that is not wanted (Q-44).
        """
        for wanted, offered, binding, flag in (
            ("SCRAM-SHA-256-PLUS", MECHANISMS, EXPORTER, b"p=tls-exporter,,n="),
            ("SCRAM-SHA-1-PLUS", MECHANISMS, UNIQUE, b"p=tls-unique,,n="),
            ("SCRAM-SHA-256", ["SCRAM-SHA-256"], EXPORTER, b"y,,n="),
            ("SCRAM-SHA-256", ["SCRAM-SHA-256"], None, b"n,,n="),
            ("SCRAM-SHA-256", MECHANISMS, EXPORTER, b"n,,n="),
            ("SCRAM-SHA-256", ["SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"], EXPORTER, b"n,,n="),
        ):
            client = chosen([wanted], offered, binding=binding)
            assert client is not None
            first = client.first()
            assert first is not None
            self.assertTrue(first.startswith(flag), (wanted, offered, first))

    def test_secret(self) -> None:
        """No mechanism shows its password to whoever prints it."""
        for name in MECHANISMS:
            self.assertNotIn("hunter2", repr(only(name, EXPORTER, password="hunter2")))


def _known(nonce: str, count: int) -> bytes:
    """The randomness of an example, however much is wanted."""
    del count
    return base64.b64decode(nonce)


#: Both nonces of the example in RFC 7677.
_NONCES = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


class ScramExampleTests(SynchronousTestCase):
    """The examples of RFC 5802 section 5 and RFC 7677 section 3."""

    EXAMPLES = (
        (
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            f"{_NONCES},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            f"c=biws,{_NONCES},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    )

    def test_messages(self) -> None:
        """Octet by octet, and the server is believed."""
        for name, nonce, server_first, client_final, server_final in self.EXAMPLES:
            client = choose(
                [name],
                frozenset([name]),
                username="user",
                password="pencil",
                binding=None,
                random_bytes=partial(_known, nonce),
            )
            assert client is not None
            self.assertEqual(f"n,,n=user,r={nonce}".encode(), client.first())
            self.assertEqual(client_final.encode(), client.respond(server_first.encode()))
            self.assertFalse(client.is_done)
            self.assertEqual(b"", client.respond(server_final.encode()))
            self.assertTrue(client.is_done)
            self.assertRaises(SASLFailed, client.respond, server_final.encode())

    def test_name_is_escaped(self) -> None:
        """A comma and an equals sign in the name are no grammar.  RFC 5802 section 5.1."""
        first = only("SCRAM-SHA-256", username="a=b,c").first()
        assert first is not None
        self.assertIn(b",n=a=3Db=2Cc,r=", first)


class HostileScramTests(SynchronousTestCase):
    """A server that is none of those that know us."""

    def setUp(self) -> None:
        self.client = only("SCRAM-SHA-256")
        first = self.client.first()
        assert first is not None
        self.bare = first.removeprefix(b"n,,")
        self.nonce = self.bare.partition(b",r=")[2]

    def fails(self, challenge: bytes, word: str) -> None:
        error = self.assertRaises(SASLFailed, only("SCRAM-SHA-256").respond, challenge)
        self.assertIn(word, str(error))

    def test_first_message(self) -> None:
        """
        Another nonce, none added to ours, no salt, extensions that have to be
        understood, and whatever is no such message.
        """
        nonce = self.nonce
        for challenge, word in (
            (b"r=x" + nonce + b",s=c2FsdA==,i=4096", "nonce"),
            (b"r=" + nonce + b",s=c2FsdA==,i=4096", "nonce"),
            (b"r=" + nonce + b"x,s=,i=4096", "salt"),
            (b"r=" + nonce + b"x,s=" + base64.b64encode(b"s" * 1025) + b",i=4096", "salt"),
            (b"m=x,r=" + nonce + b"x,s=c2FsdA==,i=4096", "no first"),
            (b"r=" + nonce + b"x,s=c2FsdA=,i=4096", "no first"),
            (b"r=" + nonce + b"x,s=c2FsdA==,i=04096", "no first"),
            (b"r=" + nonce + b"x,s=c2FsdA==,i=-4096", "no first"),
            (b"r=" + nonce + b"x,s=c2FsdA==", "no first"),
            (b"r=" + nonce + b"x\xff,s=c2FsdA==,i=4096", "UTF-8"),
            (b"", "no first"),
            (b"r=" + nonce + b"x" * 5000 + b",s=c2FsdA==,i=4096", "octets"),
            (b"v=" + base64.b64encode(b"v" * 32), "no first"),
        ):
            self.fails(challenge, word)

    def test_iterations(self) -> None:
        """
        So many that the reactor would stand still are refused before any is
        done, and so few that a guess at the password is cheap, too (Q-44).
        """
        for count, word in (
            (str(MOST_ITERATIONS + 1), "more"), ("4294967295", "more"), ("9" * 3000, "more"),
            ("4095", "fewer"), ("1", "fewer"),
        ):  # fmt: skip
            self.fails(b"r=" + self.nonce + f"x,s=c2FsdA==,i={count}".encode(), word)
        for fine in (4096, MOST_ITERATIONS):
            self.client = only("SCRAM-SHA-1")
            challenge = b"r=" + self.nonce + f"x,s=c2FsdA==,i={fine}".encode()
            self.assertIn(b",p=", self.client.respond(challenge))

    def answered(self) -> bytes:
        """The right signature after a first message that is taken."""
        server_first = b"r=" + self.nonce + b"x,s=c2FsdA==,i=4096"
        final = self.client.respond(server_first)
        said = b",".join([self.bare, server_first, final.rpartition(b",p=")[0]])
        salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt", 4096)
        key = hmac.digest(salted, b"Server Key", "sha256")
        return hmac.digest(key, said, "sha256")

    def test_signature(self) -> None:
        """
        A signature that is wrong in one bit, shorter or longer does not prove
        the server, and it is never done (Q-44).
        """
        right = self.answered()
        for wrong in (
            bytes([right[0] ^ 1]) + right[1:], right[:-1] + bytes([right[-1] ^ 128]), right[:-1],
            right + b"\0", b"", b"\0" * 32,
        ):  # fmt: skip
            message = b"v=" + base64.b64encode(wrong)
            error = self.assertRaises(SASLFailed, self.client.respond, message)
            self.assertIn("did not prove", str(error))
            self.assertFalse(self.client.is_done)
        self.assertEqual(b"", self.client.respond(b"v=" + base64.b64encode(right) + b",x=more"))
        self.assertTrue(self.client.is_done)

    def test_final_message(self) -> None:
        """An error, however long, and what is no final message."""
        self.answered()
        for challenge, word in (
            (b"e=invalid-proof", "invalid-proof"),
            (b"e=" + b"x" * 4000, "xxx'"),
            (b"e=\r\n\x1b[2J", "\\x1b"),
            (b"", "no final"),
            (b"v=!", "no final"),
            (b"x=1,v=AAAA", "no final"),
        ):
            error = self.assertRaises(SASLFailed, self.client.respond, challenge)
            self.assertIn(word, str(error))
            self.assertLess(len(str(error)), 100)
            self.assertTrue(str(error).isprintable())
            self.assertFalse(self.client.is_done)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_anything(self, one: bytes, other: bytes) -> None:
        """Whatever a server says, we answer or fail, and do not believe it."""
        self.setUp()
        for client in (only("SCRAM-SHA-256"), self.client):
            if client is self.client:
                self.answered()
            for challenge in (one, b"r=" + self.nonce + one, b"v=" + other, other):
                with contextlib.suppress(SASLFailed):
                    client.respond(challenge)
                self.assertFalse(client.is_done)


class SimpleTests(SynchronousTestCase):
    """PLAIN and CRAM-MD5."""

    def test_plain(self) -> None:
        """One message, and nothing more is to be said.  RFC 4616 section 2."""
        client = only("PLAIN", username="tim", password="tanstaaftanstaaf")
        self.assertEqual(b"\0tim\0tanstaaftanstaaf", client.first())
        self.assertTrue(client.is_done)
        self.assertRaises(SASLFailed, client.respond, b"")

    def test_cram_md5(self) -> None:
        """The example of RFC 2195 section 2."""
        client = only("CRAM-MD5", username="tim", password="tanstaaftanstaaf")
        self.assertIsNone(client.first())
        self.assertFalse(client.is_done)
        answer = client.respond(b"<1896.697170952@postoffice.reston.mci.net>")
        self.assertEqual(b"tim b913a602c7eda7a495b4e6e7334d3890", answer)
        self.assertTrue(client.is_done)
        self.assertRaises(SASLFailed, client.respond, b"<1@a>")

    def test_cram_md5_challenges(self) -> None:
        """Nothing is digested but a msg-id of reasonable length."""
        for challenge in (b"", b"<>", b"1@a", b"<" + b"x" * 1000 + b">"):
            self.assertRaises(SASLFailed, only("CRAM-MD5").respond, challenge)

    def test_spaces(self) -> None:
        """Any space in a password is a space, letters are composed.  RFC 8265 section 4.2."""
        client = only("PLAIN", username="e\u0301", password="a\u00a0e\u0301")
        self.assertEqual("\0é\0a é".encode(), client.first())
