"""How sessions begin: TLS in all its ways, and logging in."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import ChannelBinding
from moxsmtp.smtp.exchange import Exchange
from moxsmtp.smtp.mailing import AwaitReply, BeginTLS, Idle, Over, Refusal, StartTLS, Step, Write
from moxsmtp.smtp.opening import ClientLogin
from moxsmtp.smtp.sasl_client import ClientMechanism, SASLFailed, choose
from tests.smtp.talk import LOST, brief, mailing

HELLO = b"EHLO client.example\r\n"
BINDING = ChannelBinding("tls-exporter", b"x" * 32)


class Opened:
    """
    An exchange that is opened.

    @ivar said: A command each; C{TLS} where it began.
    """

    def __init__(
        self, starttls: StartTLS, *, login: ClientLogin | None = None, verdict: str = ""
    ) -> None:
        self.exchange = Exchange(hostname="client.example", starttls=starttls, login=login)
        self.exchange.begin(mailing(), b"")
        self.said: list[bytes] = []
        self.step: Step = Idle()
        self._verdict = verdict
        self.pump()

    def pump(self) -> None:
        """Take steps until one has to be waited for."""
        while True:
            self.step = self.exchange.step()
            match self.step:
                case Write(octets):
                    self.said += octets.splitlines()
                case BeginTLS():
                    self.said.append(b"TLS")
                    self.exchange.secured(self._verdict, BINDING)
                case AwaitReply() | Over() | Idle():
                    return

    def hear(self, *replies: bytes) -> list[bytes]:
        """The server says these; what is answered to the last."""
        for reply in replies:
            self.said = []
            self.exchange.receive(reply + b"\r\n")
            self.pump()
        return self.said

    @property
    def fate(self) -> str:
        """In short."""
        return brief(self.exchange.fates)[0]


class TLSTests(SynchronousTestCase):
    """When TLS begins, and what becomes of a session where it does not."""

    def test_wishes(self) -> None:
        """STARTTLS is given never, where it is offered, or always, announced or not."""
        asked = {
            (starttls, offer): Opened(starttls).hear(b"220 mx", b"250-mx\r\n250 " + offer)[0]
            for starttls in (StartTLS.NEVER, StartTLS.IF_OFFERED, StartTLS.ALWAYS)
            for offer in (b"STARTTLS", b"HELP")
        }
        clear = b"MAIL FROM:<a@here.example>"
        self.assertEqual(
            asked,
            {
                (StartTLS.NEVER, b"STARTTLS"): clear,
                (StartTLS.NEVER, b"HELP"): clear,
                (StartTLS.IF_OFFERED, b"STARTTLS"): b"STARTTLS",
                (StartTLS.IF_OFFERED, b"HELP"): clear,
                (StartTLS.ALWAYS, b"STARTTLS"): b"STARTTLS",
                (StartTLS.ALWAYS, b"HELP"): b"STARTTLS",
            },
        )

    def test_always_after_helo(self) -> None:
        """A server that knows HELO alone gets nothing in clear that is to be encrypted."""
        talk = Opened(StartTLS.ALWAYS)
        self.assertEqual(talk.hear(b"220 mx", b"502 what", b"250 mx"), [b"STARTTLS"])
        self.assertEqual(talk.hear(b"502 what"), [b"QUIT"])
        self.assertEqual(talk.fate, "transient 0 7.0")
        self.assertEqual(talk.exchange.opening.starttls_refused, 502)
        self.assertFalse(talk.exchange.opening.starttls_offered)

    def test_immediate(self) -> None:
        """Immediate TLS comes before the greeting, and STARTTLS is not given under it."""
        talk = Opened(StartTLS.IMMEDIATE)
        self.assertEqual(talk.said, [b"TLS"])
        self.assertEqual(talk.hear(b"220 mx"), [HELLO[:-2]])
        self.assertFalse(talk.exchange.uses_tls)
        said = talk.hear(b"250-mx\r\n250-STARTTLS\r\n250 REQUIRETLS")
        self.assertEqual(said, [b"MAIL FROM:<a@here.example>"])
        self.assertTrue(talk.exchange.uses_tls)
        self.assertTrue(talk.exchange.capabilities.require_tls)

    def test_verdict(self) -> None:
        """
        What the certificate is worth is known before a word is said under TLS;
        where it is not enough, the session ends there, and the reason is told.
        """
        for starttls, replies in (
            (StartTLS.ALWAYS, [b"220 mx", b"250-mx\r\n250 STARTTLS", b"220 go"]),
            (StartTLS.IMMEDIATE, []),
        ):
            talk = Opened(starttls, verdict="no TLSA record matches")
            talk.hear(*replies)
            self.assertEqual(talk.said, [b"TLS"])
            self.assertEqual(talk.step, Over(clean=False))
            self.assertEqual(talk.exchange.tls_failed, "no TLSA record matches")
            self.assertEqual(talk.fate, "transient 0 7.5")
            self.assertFalse(talk.exchange.is_open)

    def test_forgotten(self) -> None:
        """
        What was announced in clear is forgotten under TLS (Q-63): REQUIRETLS,
        AUTH, SIZE.  REQUIRETLS in clear is not believed at all (Q-61).
        """
        clear = b"250-mx\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-REQUIRETLS\r\n250 SIZE 5"
        talk = Opened(StartTLS.ALWAYS)
        talk.hear(b"220 mx", clear)
        self.assertFalse(talk.exchange.capabilities.require_tls)
        self.assertEqual(talk.exchange.capabilities.auth, {"PLAIN"})
        self.assertEqual(talk.hear(b"220 go"), [b"TLS", HELLO[:-2]])
        self.assertEqual(talk.exchange.capabilities.auth, frozenset())
        self.assertEqual(talk.hear(b"250 mx"), [b"MAIL FROM:<a@here.example>"])
        self.assertIsNone(talk.exchange.capabilities.size)

    def test_refused(self) -> None:
        """
        A refused STARTTLS is a failure of TLS, transient whatever its code (Q-32),
        and its code is known for reports.
        """
        for reply in (b"454 4.7.0 no", b"554 5.7.0 never", b"250 what"):
            talk = Opened(StartTLS.IF_OFFERED)
            talk.hear(b"220 mx", b"250-mx\r\n250 STARTTLS")
            self.assertEqual(talk.hear(reply), [b"QUIT"])
            self.assertEqual(talk.fate, "transient 0 7.0")
            self.assertIn(reply.decode(), talk.exchange.tls_failed)
            self.assertEqual(talk.exchange.opening.starttls_refused, int(reply[:3]))

    def test_unwelcome(self) -> None:
        """A refused session is the host's word for itself, not for the message (Q-95)."""
        for replies in ([b"554 no"], [b"220 mx", b"550 no"], [b"220 mx", b"500 what", b"550 no"]):
            talk = Opened(StartTLS.NEVER)
            talk.hear(*replies)
            fate = talk.exchange.fates[0]
            assert isinstance(fate, Refusal)
            self.assertEqual((fate.permanent, fate.elsewhere), (True, True))
        talk = Opened(StartTLS.NEVER)
        talk.hear(b"220 mx", b"250 mx", b"550 no")
        fate = talk.exchange.fates[0]
        assert isinstance(fate, Refusal)
        self.assertEqual((fate.permanent, fate.elsewhere), (True, False))


class _Mechanism:
    """Says C{one}, C{two} and so on, and is done when it is told so."""

    name = "X-TEST"

    def __init__(self, answers: Sequence[bytes], *, initial: bytes | None = None) -> None:
        self._answers = list(answers)
        self._initial = initial
        self.challenges: list[bytes] = []

    @property
    def is_done(self) -> bool:
        return not self._answers

    def first(self) -> bytes | None:
        return self._initial

    def respond(self, challenge: bytes) -> bytes:
        self.challenges.append(challenge)
        if not self._answers or challenge == b"wrong":
            raise SASLFailed("the server's signature is wrong")
        return self._answers.pop(0)


def _login(mechanism: ClientMechanism | None) -> ClientLogin:
    return lambda _offered, _binding: mechanism


class LoginTests(SynchronousTestCase):
    """AUTH.  RFC 4954."""

    OPENING = (b"220 mx", b"250-mx\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN CRAM-MD5 X-TEST")

    def opened(self, login: ClientLogin) -> Opened:
        """Up to AUTH, in clear."""
        talk = Opened(StartTLS.NEVER, login=login)
        talk.hear(*self.OPENING)
        return talk

    def test_plain(self) -> None:
        """PLAIN is said with the command, and MAIL follows (Q-44)."""

        def login(
            offered: frozenset[str], binding: ChannelBinding | None
        ) -> ClientMechanism | None:
            self.assertIsNone(binding)
            return choose(
                ["SCRAM-SHA-256", "PLAIN"],
                offered,
                username="user",
                password="secret",
                binding=binding,
                random_bytes=bytes,
            )

        talk = self.opened(login)
        self.assertEqual(talk.said, [b"AUTH PLAIN " + b64encode(b"\0user\0secret")])
        self.assertEqual(talk.hear(b"235 2.7.0 ok"), [b"MAIL FROM:<a@here.example>"])
        self.assertTrue(talk.exchange.is_open)

    def test_no_binding(self) -> None:
        """A login that cannot be begun is transient, and no word of it is said (Q-44)."""

        def login(_offered: frozenset[str], _binding: ChannelBinding | None) -> ClientMechanism:
            raise SASLFailed("nothing to bind it to")

        talk = self.opened(login)
        self.assertEqual(talk.said, [b"QUIT"])
        self.assertEqual(brief(talk.exchange.fates), ["transient 0 7.0"])

    def test_under_tls(self) -> None:
        """
        The mechanisms announced under TLS are those to choose from, and what
        binds the login to the connection is there (Q-44).
        """
        asked = []

        def login(offered: frozenset[str], binding: ChannelBinding | None) -> None:
            asked.append((offered, binding))

        talk = Opened(StartTLS.ALWAYS, login=login)
        talk.hear(b"220 mx", b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS", b"220 go")
        talk.hear(b"250-mx\r\n250 AUTH scram-sha-256-plus")
        self.assertEqual(asked, [(frozenset({"SCRAM-SHA-256-PLUS"}), BINDING)])

    def test_challenges(self) -> None:
        """Challenges are decoded and answered, an empty one too."""
        mechanism = _Mechanism([b"one", b""])
        talk = self.opened(_login(mechanism))
        self.assertEqual(talk.said, [b"AUTH X-TEST"])
        self.assertEqual(talk.hear(b"334 " + b64encode(b"who?")), [b64encode(b"one")])
        self.assertEqual(talk.hear(b"334 "), [b""])
        self.assertEqual(talk.hear(b"235 ok"), [b"MAIL FROM:<a@here.example>"])
        self.assertEqual(mechanism.challenges, [b"who?", b""])

    def test_initial(self) -> None:
        """
        An empty initial response is C{=}; one too long for a command line waits
        for the server's leave.  RFC 4954 section 4.
        """
        self.assertEqual(self.opened(_login(_Mechanism([], initial=b""))).said, [b"AUTH X-TEST ="])
        long = b"n,," + b"u" * 500
        talk = self.opened(_login(_Mechanism([], initial=long)))
        self.assertEqual(talk.said, [b"AUTH X-TEST"])
        self.assertEqual(talk.hear(b"334 "), [b64encode(long)])
        self.assertEqual(talk.hear(b"235 ok"), [b"MAIL FROM:<a@here.example>"])

    def test_failure(self) -> None:
        """
        A refused login is transient, without the server's code: no message is
        bounced and no recipient suppressed for a wrong password (Q-44).  What
        the server said may repeat the secret, and is not passed on.
        """
        for reply in (b"535 5.7.8 no: AGEAYg==", b"550 5.1.1 AGEAYg==", b"454 4.7.0 AGEAYg=="):
            talk = self.opened(_login(_Mechanism([], initial=b"\0a\0b")))
            self.assertEqual(talk.hear(reply), [b"QUIT"])
            self.assertEqual(talk.fate, "transient 0 7.0")
            self.assertNotIn("AGEAYg", str(talk.exchange.fates) + str(talk.exchange.heard))
            fate = talk.exchange.fates[0]
            assert isinstance(fate, Refusal)
            self.assertIn(reply[:9].decode(), fate.error)

    def test_no_mechanism(self) -> None:
        """Without a common mechanism nothing is sent, and it may be mended (Q-44)."""
        talk = self.opened(_login(None))
        self.assertEqual((talk.said, talk.fate), ([b"QUIT"], "transient 0 7.0"))

    def test_unproven(self) -> None:
        """A server that says 235 before it has proven itself gets no message (Q-44)."""
        talk = self.opened(_login(_Mechanism([b"one"])))
        self.assertEqual(talk.hear(b"235 ok"), [b"QUIT"])
        self.assertEqual(talk.fate, "transient 0 7.0")

    def test_bad_challenges(self) -> None:
        """What is not to be answered is cancelled.  RFC 4954 section 4."""
        for challenge in (b64encode(b"wrong"), b"no base64!", b"\xff\xfe", b"abc"):
            talk = self.opened(_login(_Mechanism([b"one"])))
            self.assertEqual(talk.hear(b"334 " + challenge), [b"*"])
            self.assertEqual(talk.hear(b"501 cancelled"), [b"QUIT"])
            self.assertEqual(talk.fate, "transient 0 7.0")

    def test_endless(self) -> None:
        """A server that asks for ever is left."""
        talk = self.opened(_login(_Mechanism([b"again"] * 1000)))
        for _ in range(20):
            talk.hear(b"334 ")
        self.assertTrue(talk.exchange.is_over)
        self.assertEqual(talk.fate, "transient 0")

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from([
                b"334 ", b"334 " + b64encode(b"who?"), b"334 !", b"235 ok", b"535 no", b"421 bye",
                b"250 ok", b"354 go", b"junk", b"334-a\r\n334 b",
            ]),
            max_size=12,
        )
    )  # fmt: skip
    def test_any_server(self, replies: list[bytes]) -> None:
        """No MAIL is said before 235 to a mechanism that is done."""
        mechanism = _Mechanism([b"one", b"two"])
        talk = self.opened(_login(mechanism))
        said = []
        for reply in replies:
            said += talk.hear(reply)
            if said and said[-1].startswith(b"MAIL"):
                self.assertTrue(mechanism.is_done)
                self.assertIn(b"235 ok", replies)
                return
        talk.exchange.abandon(LOST)
        self.assertNotIn("ok", talk.fate)


class NameTests(SynchronousTestCase):
    """What servers call themselves (Q-85)."""

    def test_latest(self) -> None:
        """The name is that of the greeting until EHLO, or HELO, is answered.  RFC 8460 4.4."""
        opened = Opened(StartTLS.NEVER)
        self.assertEqual(opened.exchange.opening.announced, "")
        opened.hear(b"220 greets.example ESMTP ready")
        self.assertEqual(opened.exchange.opening.announced, "greets.example")
        opened.hear(b"502 what")
        self.assertEqual(opened.exchange.opening.announced, "greets.example")
        opened.hear(b"250 knows.example nothing")
        self.assertEqual(opened.exchange.opening.announced, "knows.example")

    def test_hostile(self) -> None:
        """No name is none, and a long one is cut."""
        for reply, expected in ((b"220", ""), (b"220  ", ""), (b"220 " + b"x" * 500, "x" * 255)):
            opened = Opened(StartTLS.NEVER)
            opened.hear(reply)
            self.assertEqual(opened.exchange.opening.announced, expected)
