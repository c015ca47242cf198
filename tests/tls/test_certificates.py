"""Tests for L{moxsmtp.tls.certificates}."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.names import Domain, InvalidName, parse_domain
from moxsmtp.tls.certificates import CertificateError, Certificates, read_names, use_pair
from moxsmtp.tls.server import Manners, ServerTLS
from tests.tls.hands import Pair, client_context, made_pair, meet, served_name

HOST = Domain("mx.example")


def new_context() -> SSL.Context:
    """An empty one."""
    return SSL.Context(SSL.TLS_SERVER_METHOD)


class ChoiceTests(SynchronousTestCase):
    """Which certificate is whose."""

    def setUp(self) -> None:
        self.folder = self.mktemp()

    def pair(self, subject: str, *hosts: str, **others: object) -> Pair:
        """Made anew."""
        return made_pair(self.folder, subject, *hosts, **others)  # type: ignore[arg-type]  # its keywords

    def shown(self, server: ServerTLS, *names: str | None) -> dict[str | None, str]:
        """The subject that each name is shown."""
        return {
            name: served_name(
                meet(server, client_context(), sni=None if name is None else name.encode())[1]
            )
            for name in names
        }

    def test_wildcard(self) -> None:
        """A wildcard stands for one label; an exact name comes before it (S-5)."""
        server = ServerTLS(
            [
                self.pair("ours", "mx.example"),
                self.pair("wild", "*.example.org"),
                self.pair("exact", "a.example.org"),
            ],
            HOST,
            Manners(),
        )
        expected = {
            None: "ours",
            "a.example.org": "exact",
            "b.example.org": "wild",
            "b.a.example.org": "ours",
            "example.org": "ours",
        }
        self.assertEqual(expected, self.shown(server, *expected))

    def test_host_by_wildcard(self) -> None:
        """Our own name may be in a wildcard, of a certificate that is not the first (S-5)."""
        server = ServerTLS(
            [self.pair("other", "other.example"), self.pair("wild", "*.example")], HOST, Manners()
        )
        self.assertEqual({None: "wild"}, self.shown(server, None))

    def test_no_names(self) -> None:
        """A certificate without names is shown for our host, and to everybody else (S-5)."""
        server = ServerTLS([self.pair("plain")], HOST, Manners(strict=True))
        self.assertEqual(
            {None: "plain", "mx.example": "plain"}, self.shown(server, None, "mx.example")
        )

    def test_given_names(self) -> None:
        """Names that are given stand for those in the certificate; in any spelling."""
        named = self.pair("named", "in.example", names=("B\xdcCHER.example", "*.wide.example"))
        server = ServerTLS([self.pair("ours", "mx.example"), named], HOST, Manners())
        expected = {
            "b\xfccher.example": "named",
            "xn--bcher-kva.example": "named",
            "a.wide.example": "named",
            "in.example": "ours",
        }
        self.assertEqual(expected, self.shown(server, *expected))

    def test_kinds_of_keys(self) -> None:
        """An RSA and an ECDSA certificate of one name are there for who can use which."""
        both = [
            self.pair("elliptic", "mx.example"),
            self.pair("rivest", "mx.example", rsa_bits=2048),
        ]
        for pairs in (both, both[::-1]):
            server = ServerTLS(pairs, HOST, Manners())
            shown = {}
            for sni in (None, b"mx.example"):
                for kind in (b"ECDSA", b"RSA"):
                    context = client_context(
                        SSL.TLS1_2_VERSION, ciphers=b"ECDHE-%s-AES128-GCM-SHA256" % kind
                    )
                    shown[sni, kind] = served_name(meet(server, context, sni=sni)[1])
            self.assertEqual(
                {
                    (None, b"ECDSA"): "elliptic",
                    (None, b"RSA"): "rivest",
                    (b"mx.example", b"ECDSA"): "elliptic",
                    (b"mx.example", b"RSA"): "rivest",
                },
                shown,
            )

    def test_first_of_two(self) -> None:
        """Of two certificates with a name and kind of key in common, the first is shown for it."""
        server = ServerTLS(
            [
                self.pair("one", "mx.example", "both.example"),
                self.pair("two", "both.example", "two.example"),
            ],
            HOST,
            Manners(),
        )
        expected = {"both.example": "one", "two.example": "two"}
        self.assertEqual(expected, self.shown(server, *expected))

    def test_many_names(self) -> None:
        """Names with the same certificates share one context."""
        pair = self.pair("many", *(f"h{number}.example" for number in range(50)), "*.example")
        made = []

        def counted() -> SSL.Context:
            made.append(new_context())
            return made[-1]

        found = Certificates([pair], HOST, counted)
        self.assertEqual(1, len(made))
        self.assertIs(found.context_for(parse_domain("h7.example")), made[0])
        self.assertIsNone(found.context_for(parse_domain("elsewhere.test")))
        self.assertIsNone(found.context_for(parse_domain("example")))


class MistakeTests(SynchronousTestCase):
    """What cannot be used."""

    def test_mistakes(self) -> None:
        """A missing or foreign file is named, with what is wrong."""
        folder = self.mktemp()
        good, other = made_pair(folder, "good"), made_pair(folder, "other")
        empty = self.mktemp()
        Path(empty).write_text("not PEM")
        cases = {
            "missing certificate": Pair("/nonexistent/c", good.key),
            "missing key": Pair(good.certificate, "/nonexistent/k"),
            "no PEM": Pair(empty, good.key),
            "mismatch": Pair(good.certificate, other.key),
        }
        texts = {
            name: str(self.assertRaises(CertificateError, ServerTLS, [pair], HOST, Manners()))
            for name, pair in cases.items()
        }
        self.assertIn("/nonexistent/c: no usable certificate", texts["missing certificate"])
        self.assertIn("/nonexistent/k: no usable key", texts["missing key"])
        self.assertIn(f"{empty}: no usable certificate", texts["no PEM"])
        self.assertIn("mismatch", texts["mismatch"])
        context = new_context()
        self.assertRaises(CertificateError, use_pair, context, cases["missing certificate"])
        self.assertRaises(CertificateError, use_pair, context, cases["no PEM"])

    def test_names(self) -> None:
        """A wildcard is a whole first label, and what is no domain is none with it either."""
        self.assertEqual({"*.a.example", "b.example"}, read_names(["*.A.example", "b.example"]))
        for name in ("*", "*.", "a.*.example", "*a.example", "**.example", "192.0.2.1", ""):
            self.assertRaises(InvalidName, read_names, [name])
