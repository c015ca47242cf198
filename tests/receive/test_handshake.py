"""Tests for L{moxsmtp.receive.handshake}."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.handshake import handshake_failure, handshake_trouble


def failure(*reasons: str) -> SSL.Error:
    """As pyOpenSSL raises it."""
    return SSL.Error([("SSL routines", "", reason) for reason in reasons])


class FailureTests(SynchronousTestCase):
    """Words of the metric (S-114)."""

    def test_words(self) -> None:
        """Every failure has one of the words of the metric (S-114)."""
        expected: dict[BaseException | None, str] = {
            None: "eof",
            ConnectionDone(): "eof",
            ConnectionLost(): "eof",
            SSL.SysCallError(-1, "Unexpected EOF"): "eof",
            failure("unexpected eof while reading"): "eof",
            failure("wrong version number"): "nottls",
            failure("data length too long", "record layer failure"): "nottls",
            failure("http request"): "nottls",
            failure("ssl2 client hello"): "sslv2",
            failure("unsupported protocol"): "unsupportedversions",
            failure("version too low"): "unsupportedversions",
            failure("ssl/tls alert bad certificate"): "alert-42-bad-certificate",
            failure("tls alert bad certificate"): "alert-42-bad-certificate",
            failure("sslv3 alert certificate unknown"): "alert-46-certificate-unknown",
            failure("tlsv1 alert unknown ca"): "alert-48-unknown-ca",
            failure("tlsv1 alert protocol version"): "alert-70-protocol-version",
            failure("tlsv1 unrecognized name"): "alert-112-unrecognized-name",
            failure("tlsv13 alert certificate required"): "alert-116-certificate-required",
            failure("tlsv1 alert of an odd kind"): "other",
            failure("no shared cipher"): "other",
            failure(""): "other",
            failure(): "other",
            SSL.Error(): "other",
        }
        self.assertEqual(list(expected.values()), [handshake_failure(error) for error in expected])

    def test_trouble(self) -> None:
        """People are told what OpenSSL says, where it says something."""
        self.assertEqual("other (no shared cipher)", handshake_trouble(failure("no shared cipher")))
        self.assertEqual("eof", handshake_trouble(ConnectionLost()))
        self.assertEqual("other", handshake_trouble(failure("")))
