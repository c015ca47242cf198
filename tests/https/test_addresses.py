"""Which addresses may be called."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.https.addresses import AddressPolicy


class PolicyTests(unittest.SynchronousTestCase):
    """Single addresses."""

    def test_embedded(self) -> None:
        """IPv6 addresses that stand for an IPv4 address are judged by it too."""
        policy = AddressPolicy((), allow_loopback=False)
        cases = {
            "::ffff:127.0.0.1": False,
            "::ffff:10.0.0.1": False,
            "2002:7f00:1::": False,
            "2002:0a00:1::1": False,
            "64:ff9b::7f00:1": False,
            "64:ff9b::c629:4": False,
            "64:ff9b:1::a00:1": False,
            "::10.0.0.1": False,
            "::ffff:0:10.0.0.1": False,
            "fec0::1": False,
            "3fff::1": False,
            "5f00::1": False,
            "192.0.0.8": False,
            "fe80::1": False,
            "fc00::1": False,
            "::": False,
            "::1": False,
            "ff02::1": False,
            "100.64.0.1": False,
            "192.168.0.1": False,
            "255.255.255.255": False,
            "2a00::1": True,
            "198.41.0.4": True,
        }
        self.assertEqual({text: policy.allows(ip_address(text)) for text in cases}, cases)

    @settings(max_examples=200, deadline=None)
    @given(st.ip_addresses())
    def test_only_global(self, address: object) -> None:
        """Without exceptions nothing but global addresses is called."""
        one = ip_address(str(address))
        if AddressPolicy((), allow_loopback=False).allows(one):
            self.assertTrue(one.is_global)
