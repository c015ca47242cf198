"""What a SOCKS5 proxy is told and may say.  RFC 1928."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.outbound.socks_reply import SocksRefused, SocksRequest

FOUR, SIX = ip_address("192.0.2.1"), ip_address("2001:db8::1")

METHOD = b"\x05\x00"
BOUND4 = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x12\x34"
BOUND6 = b"\x05\x00\x00\x04" + b"\0" * 16 + b"\x12\x34"
NAMED = b"\x05\x00\x00\x03\x05proxy\x12\x34"


class AskedTests(SynchronousTestCase):
    """What we say."""

    def test_greeting(self) -> None:
        """Version 5, one method: no authentication (Q-43).  RFC 1928 section 3."""
        self.assertEqual(b"\x05\x01\x00", SocksRequest.greeting)

    def test_request(self) -> None:
        """CONNECT with an address of either family and a port, once the method is settled."""
        for address, octets in (
            (FOUR, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x19"),
            (SIX, b"\x05\x01\x00\x04" + SIX.packed + b"\x00\x19"),
        ):
            request = SocksRequest(address, 25)
            self.assertEqual(b"", request.receive(b"\x05"))
            self.assertEqual(octets, request.receive(b"\x00"))
            self.assertFalse(request.is_open)


class ReplyTests(SynchronousTestCase):
    """What the proxy says then."""

    def opened(self, reply: bytes, *, piece: int) -> SocksRequest:
        """The reply and three octets of the other end, so many at a time."""
        request = SocksRequest(FOUR, 25)
        request.receive(METHOD)
        octets = reply + b"220"
        for start in range(0, len(octets), piece):
            if request.is_open:
                request.rest += octets[start : start + piece]
            else:
                self.assertEqual(b"", request.receive(octets[start : start + piece]))
                self.assertEqual(start + piece >= len(reply), request.is_open)
        return request

    def test_success(self) -> None:
        """Any kind of bound address, in any pieces; what follows is of the other end."""
        for reply in (BOUND4, BOUND6, NAMED, b"\x05\x00\x00\x03\x00\x12\x34"):
            for piece in (1, 2, 3, 7, 1000):
                request = self.opened(reply, piece=piece)
                self.assertTrue(request.is_open)
                self.assertEqual(b"220", request.rest)

    def test_refusals(self) -> None:
        """Another version, a login that is wanted, and every code."""
        for before, octets, word in (
            (b"", b"\x04", "no SOCKS5"),
            (b"", b"HTTP/1.1 400", "no SOCKS5"),
            (b"", b"220 mx.example ESMTP\r\n", "no SOCKS5"),
            (b"", b"\x05\xff", "login"),
            (b"", b"\x05\x02", "login"),
            (METHOD, b"\x04\x00", "no SOCKS5"),
            (METHOD, b"\x05\x00\x00\x02\x00", "unknown kind 2"),
            (METHOD, b"\x05\x01", "general failure"),
            (METHOD, b"\x05\x02", "rules"),
            (METHOD, b"\x05\x03", "network unreachable"),
            (METHOD, b"\x05\x04", "host unreachable"),
            (METHOD, b"\x05\x05\x00\x01\0\0\0\0\0\0", "refused"),
            (METHOD, b"\x05\x06", "TTL"),
            (METHOD, b"\x05\x07", "command"),
            (METHOD, b"\x05\x08", "kind of address"),
            (METHOD, b"\x05\x63", "says 99"),
        ):
            for whole in (True, False):
                request = SocksRequest(FOUR, 25)
                request.receive(before)
                pieces = [octets] if whole else [octets[n : n + 1] for n in range(len(octets))]
                with self.assertRaises(SocksRefused) as caught:
                    for piece in pieces:
                        request.receive(piece)
                self.assertIn(word, str(caught.exception))

    def test_out_of_turn(self) -> None:
        """A reply that comes before the request can have been sent is refused."""
        with self.assertRaises(SocksRefused) as caught:
            SocksRequest(FOUR, 25).receive(METHOD + BOUND4)
        self.assertIn("not asked", str(caught.exception))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever comes, it is open, waits for at most 262 octets, or is refused."""
        for before in (b"", METHOD):
            request = SocksRequest(FOUR, 25)
            request.receive(before)
            held = 0
            with contextlib.suppress(SocksRefused):
                for piece in pieces:
                    request.receive(piece)
                    if request.is_open:
                        break
                    held += len(piece)
                    self.assertLess(held, 262 + 2)
