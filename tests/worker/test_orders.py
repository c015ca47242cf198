"""Tests for L{moxsmtp.worker.orders}."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.config.settings import Selector
from moxsmtp.dkim.private_key import KEY_KINDS, generate_key, load_private_key
from moxsmtp.dkim.sign import Signer
from moxsmtp.interfaces import Role
from moxsmtp.localserve import settings
from moxsmtp.names import parse_domain
from moxsmtp.worker.orders import Doorway, Orders, packed, unpacked


class OrderTests(SynchronousTestCase):
    """Settings on their way into another process."""

    def test_whole(self) -> None:
        """They arrive as they were."""
        orders = Orders(
            settings("/nowhere"), (Doorway("a", Role.SMTP, ip_address("192.0.2.1"), 25),)
        )
        found = unpacked(packed(orders))
        self.assertEqual(found, orders)

    def test_keys(self) -> None:
        """Keys to sign with arrive, and sign the same."""
        domain = parse_domain("localhost")
        for kind in ("rsa2048", "ed25519"):
            self.assertIn(kind, KEY_KINDS)
            signer = Signer(domain=domain, selector="s", key=load_private_key(generate_key(kind)))
            selector = Selector(signer=signer, record="v=DKIM1")
            before = replace(settings("/nowhere"), selectors={domain: (selector,)})
            after = unpacked(packed(before))
            (found,) = after.signers()[domain]
            self.assertEqual(found.signature(b"text"), signer.signature(b"text"))
