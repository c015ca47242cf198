"""Tests for L{moxsmtp.tls.binding}."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import Domain
from moxsmtp.tls import binding
from moxsmtp.tls.binding import channel_binding, client_channel_binding
from moxsmtp.tls.server import Manners, ServerTLS
from tests.tls.hands import client_context, made_pair, meet, resumable

LABEL = b"EXPORTER-Channel-Binding"


class ChannelBindingTests(SynchronousTestCase):
    """What both ends know (T-12)."""

    def setUp(self) -> None:
        pair = made_pair(self.mktemp(), "mx.example", "mx.example")
        self.server = ServerTLS([pair], Domain("mx.example"), Manners(tickets=True))

    def test_exporter(self) -> None:
        """TLS 1.3: 32 octets that the client exports too, resumed or not; RFC 9266 section 4.2."""
        context = client_context(SSL.TLS1_3_VERSION)
        session = None
        seen = set()
        for _ in range(2):
            ours, client = meet(self.server, context, session=session)
            found = channel_binding(ours)
            assert found is not None
            exported = client.export_keying_material(LABEL, 32, b"")
            self.assertEqual(("tls-exporter", exported), (found.type, found.data))
            seen.add(found.data)
            session = resumable(client)
        self.assertEqual(2, len(seen))

    def test_full(self) -> None:
        """TLS 1.2: in a full handshake the client's Finished comes first; RFC 5929 section 3.1."""
        ours, client = meet(self.server, client_context(SSL.TLS1_2_VERSION))
        found = channel_binding(ours)
        assert found is not None
        self.assertEqual(("tls-unique", client.get_finished()), (found.type, found.data))
        self.assertNotEqual(client.get_peer_finished(), found.data)

    def test_resumed(self) -> None:
        """TLS 1.2: in a resumed one the server's comes first; RFC 5929 section 3.1."""
        context = client_context(SSL.TLS1_2_VERSION)
        _, client = meet(self.server, context)
        ours, client = meet(self.server, context, session=resumable(client))
        found = channel_binding(ours)
        assert found is not None
        self.assertEqual(("tls-unique", client.get_peer_finished()), (found.type, found.data))
        self.assertNotEqual(client.get_finished(), found.data)

    def test_no_extended_master_secret(self) -> None:
        """A resumed session without extended master secret binds nothing; RFC 7627 section 1."""
        self.patch(binding, "has_extended_master_secret", lambda _: False)
        context = client_context(SSL.TLS1_2_VERSION)
        ours, client = meet(self.server, context)
        self.assertIsNotNone(channel_binding(ours))
        ours, _ = meet(self.server, context, session=resumable(client))
        self.assertIsNone(channel_binding(ours))


class BothEndsTests(SynchronousTestCase):
    """What the client's end computes is what the server's does."""

    def setUp(self) -> None:
        pair = made_pair(self.mktemp(), "mx.example", "mx.example")
        self.server = ServerTLS([pair], Domain("mx.example"), Manners(tickets=True))

    def test_same(self) -> None:
        """With TLS 1.3 and 1.2, resumed or not, both ends have one binding (Q-44)."""
        for version in (SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION):
            context = client_context(version)
            session = None
            for _ in range(2):
                ours, client = meet(self.server, context, session=session)
                found = client_channel_binding(client)
                self.assertIsNotNone(found)
                self.assertEqual(channel_binding(ours), found)
                session = resumable(client)

    def test_no_extended_master_secret(self) -> None:
        """A resumed session without extended master secret binds nothing here either."""
        self.patch(binding, "has_extended_master_secret", lambda _: False)
        context = client_context(SSL.TLS1_2_VERSION)
        _, client = meet(self.server, context)
        self.assertIsNotNone(client_channel_binding(client))
        _, client = meet(self.server, context, session=resumable(client))
        self.assertIsNone(client_channel_binding(client))
