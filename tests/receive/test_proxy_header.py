"""Headers of the PROXY protocol."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.receive.proxy_header import BadHeader, ProxyHeader, read_proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + b"\x30\x39\x00\x19"


def version_2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


GOOD: dict[bytes, tuple[str, str] | None] = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\r\n": ("192.0.2.7", "198.51.100.1"),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n": ("2001:db8::7", "2001:db8::1"),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n": ("192.0.2.7", "198.51.100.1"),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ff:: x 1 " + b"y" * 70 + b"\r\n": None,
    version_2(0x21, 0x11, V4): ("192.0.2.7", "198.51.100.1"),
    version_2(0x21, 0x11, V4 + b"\x20\x00\x03abc"): ("192.0.2.7", "198.51.100.1"),
    version_2(
        0x21, 0x21, ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + b"\0" * 4
    ): ("2001:db8::7", "2001:db8::1"),
    version_2(0x20, 0x00, b""): None,
    version_2(0x20, 0x11, V4): None,
    version_2(0x21, 0x00, b"whatever"): None,
    version_2(0x21, 0x31, b"x" * 216): None,
}

BAD = [
    b"NOOP\r\n", b"EHLO x\r\n", b"\x16\x03\x01", b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY\r\n", b"PROXY \r\n", b"PROXY TCP4\r\n", b"PROXY UNKNOWNX\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 +2\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 2001:db8:::7 2001:db8::1 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n" + b"x" * 107,
    b"PROXY UNKNOWN " + b"y" * 94,
    SIGNATURE[:-1] + b"\r",
    version_2(0x11, 0x11, V4), version_2(0x22, 0x11, V4), version_2(0x21, 0x12, V4),
    version_2(0x21, 0x11, V4[:-1]), version_2(0x21, 0x21, V4), version_2(0x21, 0x31, b"x" * 215),
]  # fmt: skip


class HeaderTests(SynchronousTestCase):
    """What is read out of octets."""

    def test_good(self) -> None:
        """Both versions name both ends; local and unknown ones name none; the rest is left."""
        for octets, ends in GOOD.items():
            client, local = map(ip_address, ends) if ends else (None, None)
            wanted = ProxyHeader(len(octets), client, local)
            for rest in (b"", b"EHLO x\r\n", SIGNATURE):
                self.assertEqual(read_proxy_header(octets + rest), wanted, octets)

    def test_every_octet(self) -> None:
        """However it is cut, a header is not known before its last octet."""
        for octets in GOOD:
            known = [read_proxy_header(octets[:length]) for length in range(len(octets))]
            self.assertEqual(set(known), {None}, octets)

    def test_bad(self) -> None:
        """What begins otherwise, or names no addresses, is none, and said so."""
        for octets in BAD:
            self.assertRaises(BadHeader, read_proxy_header, octets)

    def test_at_once(self) -> None:
        """The first wrong octet is enough."""
        for octets in (b"E", b"PROXI", b"\r\n\r\n\1", b"\n", b"PROXY TCP" + b"x" * 98):
            self.assertRaises(BadHeader, read_proxy_header, octets)

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
        st.binary(max_size=150),
    )
    def test_any(self, begin: bytes, rest: bytes) -> None:
        """No octets do worse than to be refused."""
        try:
            found = read_proxy_header(begin + rest)
        except BadHeader:
            return
        if found is not None:
            self.assertLessEqual(found.length, len(begin + rest))
