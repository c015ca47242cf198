"""What a server says of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

from twisted.trial import unittest

from moxsmtp.interfaces import Client, Role, TLSInfo
from moxsmtp.smtp.station import Station

STATION = Station(
    hostname="mx.example",
    maximum_size=1000,
    offers_tls=True,
    clear_passwords=False,
    reply_id=str,
    now=lambda: datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC),
)

CLEAR = Client(7, Role.SMTP, IPv4Address("192.0.2.2"), IPv4Address("192.0.2.1"))
SECURED = replace(CLEAR, tls=TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256"))


def said(
    client: Client, station: Station = STATION, *, may_start_tls: bool = False, words: str = "PLAIN"
) -> list[str]:
    """The lines of EHLO."""
    return list(station.extensions(client, words.split(), may_start_tls=may_start_tls))


class ExtensionTests(unittest.SynchronousTestCase):
    """S-32."""

    def test_whole(self) -> None:
        """All of them, in their order, to a user who has TLS (S-32)."""
        self.assertEqual(
            said(replace(SECURED, role=Role.SUBMISSION), words="EXTERNAL PLAIN"),
            [
                "PIPELINING", "SIZE 1000", "REQUIRETLS", "AUTH EXTERNAL PLAIN",
                "FUTURERELEASE 5184000 2026-04-30T12:30:05Z", "ENHANCEDSTATUSCODES", "8BITMIME",
                "DSN", "LIMITS RCPTMAX=1000", "CHUNKING", "SMTPUTF8",
            ],
        )  # fmt: skip

    def test_require_tls(self) -> None:
        """REQUIRETLS only under TLS, and where it is obeyed (S-32, S-63).  RFC 8689 section 2."""
        refusing = replace(STATION, offers_require_tls=False)
        found = {
            (client is SECURED, station is STATION): "REQUIRETLS" in said(client, station)
            for client in (CLEAR, SECURED)
            for station in (STATION, refusing)
        }
        self.assertEqual({where for where, offered in found.items() if offered}, {(True, True)})

    def test_future_release(self) -> None:
        """Mail of users is held, and no other's (S-32, S-64).  RFC 4865."""
        roles = {
            role
            for role in Role
            if any(line.startswith("FUTURERELEASE") for line in said(replace(SECURED, role=role)))
        }
        self.assertEqual(roles, {Role.SUBMISSION, Role.SUBMISSIONS})
