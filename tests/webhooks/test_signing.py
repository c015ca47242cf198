"""Calls that prove where they come from."""

from __future__ import annotations

import base64
import contextlib
import hmac
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.webhooks.signing import InvalidSecret, parse_secret, signature, signature_headers
from tests.webhooks.test_post import HOOK, NOON

#: That of the examples in the documentation of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = b"o" * 32


class SecretTests(SynchronousTestCase):
    """Secrets as people write them."""

    def test_key(self) -> None:
        """Q-92: behind whsec_ stands base64, padded or not."""
        for octets in (24, 25, 26, 32, 64):
            key = bytes(range(octets))
            text = "whsec_" + base64.b64encode(key).decode()
            self.assertEqual(parse_secret(text), key)
            self.assertEqual(parse_secret(text.rstrip("=")), key)

    def test_no_key(self) -> None:
        """Q-92: what is none is refused, in words that do not hold it."""
        for text in (
            "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=",
            "whsec_" + "A" * 88, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa w", "whsec_\u00fc" * 40,
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!!!!", "whsec_" + "A" * 87,
            "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        ):  # fmt: skip
            error = self.assertRaises(InvalidSecret, parse_secret, text)
            self.assertNotIn("MfKQ", str(error))

    @given(st.text(max_size=100))
    @settings(max_examples=200, deadline=None)
    def test_any_text(self, text: str) -> None:
        """Whatever is written there is a key of allowed length, or refused."""
        for candidate in (text, f"whsec_{text}"):
            with contextlib.suppress(InvalidSecret):
                self.assertTrue(24 <= len(parse_secret(candidate)) <= 64)


class SignatureTests(SynchronousTestCase):
    """Signatures."""

    def test_example(self) -> None:
        """Q-92: the example of Standard Webhooks comes out as published."""
        self.assertEqual(
            signature(
                parse_secret(SECRET),
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1614265330,
                b'{"test": 2432232314}',
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )

    def test_unsigned(self) -> None:
        """Q-92: without a secret nothing is said."""
        self.assertEqual(signature_headers(HOOK, NOON), {})

    def test_several(self) -> None:
        """Q-92: each secret makes a signature, in order, over identifier, time and body."""
        key = parse_secret(SECRET)
        headers = signature_headers(replace(HOOK, secrets=(key, OTHER)), NOON)
        self.assertEqual(set(headers), {"webhook-id", "webhook-timestamp", "webhook-signature"})
        identifier, seconds = headers["webhook-id"], headers["webhook-timestamp"]
        self.assertEqual(seconds, str(int(NOON.timestamp())))
        signed = f"{identifier}.{seconds}.".encode() + HOOK.payload
        self.assertEqual(
            headers["webhook-signature"].split(" "),
            [
                "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
                for secret in (key, OTHER)
            ],
        )

    def test_identifier(self) -> None:
        """
        Q-92: the identifier is the same in each attempt, has no dot, and is that
        of no other call, nor of one of equal number at another server.
        """
        signed = replace(HOOK, secrets=(OTHER,))
        first = signature_headers(signed, NOON)["webhook-id"]
        again = replace(signed, attempts=7)
        later = signature_headers(again, NOON + timedelta(hours=3))
        self.assertEqual(later["webhook-id"], first)
        self.assertNotIn(".", first)
        others = (
            replace(signed, id=signed.id + 1),
            replace(signed, payload=b"{}"),
            replace(signed, submitted=signed.submitted + timedelta(microseconds=1)),
        )
        self.assertEqual(
            len({first, *(signature_headers(one, NOON)["webhook-id"] for one in others)}), 4
        )

    def test_time_is_of_the_attempt(self) -> None:
        """Q-92: each attempt is signed with its own time, so that an old one is worth nothing."""
        signed = replace(HOOK, secrets=(OTHER,))
        later = NOON + timedelta(minutes=1)
        one, two = (signature_headers(signed, moment) for moment in (NOON, later))
        self.assertEqual(int(two["webhook-timestamp"]) - int(one["webhook-timestamp"]), 60)
        self.assertNotEqual(one["webhook-signature"], two["webhook-signature"])

    def test_secrets_are_not_shown(self) -> None:
        """Q-92: what logs show of a hook or a target does not hold its secrets."""
        key = parse_secret(SECRET)
        self.assertNotIn(repr(key), repr(replace(HOOK, secrets=(key,))))
