"""Parameters and forms of addresses as a session meets them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.interfaces import Client, Role, TLSInfo
from moxsmtp.smtp.session import Session, Station
from tests.smtp.driver import Driver, session
from tests.smtp.test_grammar import LINES

TLS = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256")

STATION = Station(
    hostname="mx.example",
    maximum_size=1000,
    offers_tls=True,
    clear_passwords=True,
    reply_id=lambda _: "id",
)


def greeted(station: Station = STATION, *, tls: TLSInfo | None = None) -> Driver:
    """A session of another server that has said EHLO."""
    client: Client = session().client
    driver = Driver(Session(station, replace(client, role=Role.SMTP, tls=tls)))
    driver.speak(b"EHLO client.example\r\n")
    return driver


class ParameterTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.1.1.11."""

    def assertCodes(self, driver: Driver, expected: dict[str, bytes]) -> None:
        """Each MAIL on its own, with code and enhanced code."""
        found = {}
        for line in expected:
            found[line] = b" ".join(driver.speak(f"{line}\r\n".encode()).split()[:2])
            driver.speak(b"RSET\r\n")
        self.assertEqual(found, expected)

    def test_require_tls(self) -> None:
        """REQUIRETLS is refused without TLS, and where the listener does not offer it (S-63)."""
        line = "MAIL FROM:<a@x.example> REQUIRETLS"
        self.assertCodes(greeted(), {line: b"530 5.7.10"})
        self.assertCodes(greeted(tls=TLS), {line: b"250 MAIL"})
        refusing = replace(STATION, offers_require_tls=False)
        self.assertCodes(greeted(refusing, tls=TLS), {line: b"555 5.3.3"})

    def test_size(self) -> None:
        """SIZE is compared with the listener's limit (S-59)."""
        self.assertCodes(
            greeted(),
            {
                "MAIL FROM:<> SIZE=1000": b"250 MAIL",
                "MAIL FROM:<> SIZE=1001": b"552 5.2.3",
                "MAIL FROM:<> SIZE=104857600": b"552 5.3.4",
            },
        )

    def test_pedantic(self) -> None:
        """Who is pedantic wants no space behind the colon (S-57, S-111)."""
        lines = ("MAIL FROM: <a@x.example>", "MAIL FROM:<a@x.example>")
        self.assertCodes(greeted(), dict.fromkeys(lines, b"250 MAIL"))
        pedantic = greeted(replace(STATION, pedantic=True))
        self.assertCodes(pedantic, dict(zip(lines, (b"501 5.5.2", b"250 MAIL"), strict=True)))

    def test_no_transaction(self) -> None:
        """What is refused for a parameter has not begun a transaction (S-28)."""
        driver = greeted()
        driver.speak(b"MAIL FROM:<> FOO\r\n")
        self.assertTrue(driver.speak(b"RCPT TO:<a@x.example>\r\n").startswith(b"503 5.5.1 "))

    def test_bad_recipient(self) -> None:
        """A recipient that is refused for a parameter leaves the transaction as it was (S-28)."""
        driver = greeted()
        driver.speak(b"MAIL FROM:<>\r\n")
        self.assertTrue(
            driver.speak(b"RCPT TO:<a@x.example> NOTIFY=ALWAYS\r\n").startswith(b"501 5.5.2 ")
        )
        self.assertTrue(driver.speak(b"DATA\r\n").startswith(b"503 5.5.1 "))
        self.assertTrue(driver.speak(b"RCPT TO:<a@x.example> NOTIFY=NEVER\r\n").startswith(b"250 "))

    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from([b"MAIL FROM:", b"RCPT TO:", b"MAIL FROM:<", b"RCPT TO:<"]),
        LINES,
        st.booleans(),
    )
    def test_any_octets(self, begun: bytes, rest: bytes, pedantic: bool) -> None:
        """
        Whatever octets stand behind FROM: or TO:, they get one reply in ASCII that
        ends its line and holds no other control character (S-57, S-68).
        """
        driver = greeted(replace(STATION, pedantic=pedantic))
        driver.speak(b"MAIL FROM:<> SMTPUTF8\r\n" if begun.startswith(b"RCPT") else b"RSET\r\n")
        said = driver.speak(begun + rest.replace(b"\n", b"") + b"\r\n")
        self.assertRegex(said, rb"\A(?:250|501|5[35][0-9]) [ -~]*\r\n\Z")
