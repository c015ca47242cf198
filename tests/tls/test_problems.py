"""What is wrong with a server's TLS, in words."""

from __future__ import annotations

from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import parse_domain
from moxsmtp.tls.problems import certificate_problem, handshake_problem
from tests.chains import issue

HOST = parse_domain("mx.example")
GOOD = crypto.X509.from_cryptography(issue("mx.example").certificate)


def words(*errors: int, certificate: crypto.X509 | None = GOOD) -> str:
    """For OpenSSL's errors."""
    return str(certificate_problem([(error, 0) for error in errors], certificate, HOST))


class CertificateTests(SynchronousTestCase):
    """RFC 8460 section 4.3.1."""

    def test_codes(self) -> None:
        """OpenSSL's codes become the words of reports (Q-85)."""
        self.assertEqual(
            {code: words(code) for code in (9, 10, 2, 18, 19, 20, 21, 27)},
            {
                **dict.fromkeys((9, 10), "certificate-expired"),
                **dict.fromkeys((2, 18, 19, 20, 21, 27), "certificate-not-trusted"),
            },
        )

    def test_other_codes(self) -> None:
        """Others are failures with a number."""
        self.assertEqual(words(7), "validation-failure (tls-x509-error-7)")

    def test_several(self) -> None:
        """Dates of what nobody vouches for say little."""
        self.assertEqual(words(10, 20), "certificate-not-trusted")
        self.assertEqual(words(7, 10), "certificate-expired")

    def test_name(self) -> None:
        """A trusted certificate for another name does not match (Q-85)."""
        other = crypto.X509.from_cryptography(issue("other.example").certificate)
        self.assertEqual(words(certificate=other), "certificate-host-mismatch")
        self.assertEqual(words(), "None")

    def test_none(self) -> None:
        """No certificate is not trusted."""
        self.assertEqual(words(certificate=None), "certificate-not-trusted (no-certificate)")


class HandshakeTests(SynchronousTestCase):
    """Reasons as in reports."""

    def reason(
        self, error: BaseException, *alerts: tuple[str, int], timed_out: bool = False
    ) -> str:
        """Of a failed handshake."""
        return handshake_problem(error, alerts, timed_out=timed_out).reason

    def test_reasons(self) -> None:
        """Time, the server's alert, a closed connection, no TLS at all, our alert (Q-85)."""
        strange = SSL.Error([("SSL routines", "", "wrong version number")])
        ours = SSL.Error([("SSL routines", "", "unsupported protocol")])
        self.assertEqual(
            [
                self.reason(ConnectionDone(), timed_out=True),
                self.reason(ours, ("local", 80), ("remote", 40)),
                self.reason(ConnectionDone()),
                self.reason(strange, ("local", 70)),
                self.reason(ours, ("local", 70)),
                self.reason(ours),
            ],
            [
                "io-timeout-during-handshake",
                "tls-remote-alert-40",
                "connection-closed-during-handshake",
                "tls-record-header-error",
                "tls-local-alert-70",
                "tls-unsupported-protocol",
            ],
        )

    def test_empty_errors(self) -> None:
        """OpenSSL may say nothing, or not what we know."""
        for error in (SSL.Error(), SSL.Error([]), SSL.Error("x"), SSL.SysCallError(-1, "EOF")):
            self.assertTrue(self.reason(error).startswith("tls-"))
