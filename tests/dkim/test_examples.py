"""Messages that the RFCs print, with their keys."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from moxsmtp.dkim import Results, Signer, Status, public_record, sign, verify
from moxsmtp.dns.records import Question, RRType
from moxsmtp.names import parse_domain
from moxsmtp.testing import MemoryResolver

NOW: Final = datetime(2018, 6, 11, tzinfo=UTC)

BRISBANE: Final = (
    b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ"
    b"KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
    b"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v"
    b"/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
    b"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)

TEST: Final = (
    b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
    b"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
    b"DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
    b"Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)

#: RFC 6376 appendix A.2, with errata 3192 (one space in the body) and 4926 (how it is folded).
RFC_6376: Final = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
        4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
        KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
        4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")

#: RFC 8463 appendix A.3.
RFC_8463: Final = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

""".replace(b"\n", b"\r\n")

RESOLVER: Final = MemoryResolver(
    {
        Question("brisbane._domainkey.example.com", RRType.TXT): (BRISBANE,),
        Question("brisbane._domainkey.football.example.com", RRType.TXT): (
            b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        ),
        Question("test._domainkey.football.example.com", RRType.TXT): (TEST,),
    }
)


class ExampleTests(unittest.SynchronousTestCase):
    """They verify as printed, which is also how we know that they are copied rightly."""

    def verified(self, message: bytes) -> Results:
        """What their keys say of C{message}."""
        return self.successResultOf(Deferred.fromCoroutine(verify(RESOLVER, message, now=NOW)))

    def test_rfc_6376(self) -> None:
        """The example of RFC 6376 appendix A: simple, 1024 bits, identity below the domain."""
        [result] = self.verified(RFC_6376).signatures
        self.assertEqual((result.status, result.reason), (Status.PASS, ""))
        self.assertEqual(result.domain, parse_domain("example.com"))
        self.assertEqual(result.selector, "brisbane")
        self.assertEqual(result.identity, "joe@football.example.com")
        self.assertEqual(result.key_bits, 1024)
        self.assertEqual(result.signature[:12], "AuUoFEfDxTDk")

    def test_rfc_6376_touched(self) -> None:
        """The example with the blank that its erratum takes away does not verify."""
        touched = RFC_6376.replace(b"game. Are", b"game.  Are")
        [result] = self.verified(touched).signatures
        self.assertEqual(result.status, Status.FAIL)

    def test_rfc_8463(self) -> None:
        """The example of RFC 8463 appendix A: the same message signed with Ed25519 and RSA."""
        results = self.verified(RFC_8463)
        self.assertEqual(
            [(one.status, one.algorithm, one.key_bits) for one in results.signatures],
            [(Status.PASS, "ed25519-sha256", 0), (Status.PASS, "rsa-sha256", 1024)],
        )
        self.assertEqual(results.verified_domains, (parse_domain("football.example.com"),))

    def test_rfc_8463_secret(self) -> None:
        """What the secret key of RFC 8463 appendix A.2 signs, its printed record verifies."""
        secret = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        key = Ed25519PrivateKey.from_private_bytes(secret)
        self.assertIn("p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", public_record(key))
        signer = Signer(parse_domain("football.example.com"), "brisbane", key)
        results = self.verified(sign(RFC_8463, [signer], now=NOW))
        self.assertEqual([one.status for one in results.signatures], [Status.PASS] * 3)
