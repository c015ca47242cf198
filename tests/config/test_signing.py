"""Keys that domains sign with, as the configuration names them."""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from moxsmtp.config import ConfigError, Mistake
from moxsmtp.config.load import load
from moxsmtp.config.signing import MAXIMUM_ACTIVE, selector_name
from moxsmtp.dkim.key import parse_key_record
from moxsmtp.dkim.private_key import generate_key
from moxsmtp.dkim.sign import SIGNED_FIELDS
from moxsmtp.names import parse_domain
from tests.config.test_load import LEAST, ConfigTestCase

OURS = parse_domain("example.org")

KEY = 'domain."example.org".dkim.s.key'

#: Of the first line behind L{LEAST}.
LINE = LEAST.count("\n") + 1


@cache
def rsa_pem(bits: int, password: bytes = b"") -> bytes:
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=bits), password)


def product_pem(p: int, q: int, wrong: int = 0) -> bytes:
    """
    The RSA key of two primes: of lengths that take long to make, or that nobody makes.

    @param wrong: What to add to its secret number.
    """
    d = pow(65537, -1, (p - 1) * (q - 1)) + wrong
    dmp1, dmq1, iqmp = d % (p - 1), d % (q - 1), pow(q, -1, p)
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public)
    return _pem(numbers.private_key(unsafe_skip_rsa_key_validation=True))


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


class SelectorTestCase(ConfigTestCase):
    """Keys in files beside the configuration."""

    def key(self, name: str, pem: bytes | None = None, mode: int = 0o600) -> Path:
        file = self.folder / name
        file.write_bytes(generate_key("ed25519") if pem is None else pem)
        file.chmod(mode)
        return file

    def selector(self, lines: str = 'key = "k.pem"', name: str = "s") -> str:
        """A configuration with a selector."""
        return f'{LEAST}[domain."example.org".dkim.{name}]\n{lines}\n'

    def warnings(self, text: str) -> list[Mistake]:
        """What is said of a configuration that can be used."""
        heard: list[Mistake] = []
        load(self.write(text), heard.append)
        return heard


class GoodTests(SelectorTestCase):
    """Selectors that can be used."""

    def test_signers(self) -> None:
        """Every active selector of a domain signs, and no other (S-96)."""
        self.key("e.pem")
        self.key("r.pem", rsa_pem(2048))
        text = self.selector('key = "r.pem"\nexpiration = "3d"\nheaders = ["List-Id"]')
        text += '[domain."example.org".dkim]\nnext = { key = "e.pem", active = false }\n'
        text += '"a.b" = { key = "e.pem" }\n[domain."bare.example"]\n'
        settings = self.loaded(text)
        first, second = settings.signers()[OURS]
        self.assertEqual(
            (OURS, "s", "rsa-sha256", dt.timedelta(days=3), (*SIGNED_FIELDS, "List-Id")),
            (first.domain, first.selector, first.algorithm, first.expiration, first.headers),
        )
        self.assertEqual(
            ("a.b", "ed25519-sha256", None, SIGNED_FIELDS),
            (second.selector, second.algorithm, second.expiration, second.headers),
        )
        self.assertEqual((), settings.signers()[parse_domain("bare.example")])
        self.assertEqual([], self.warnings(text))

    def test_records(self) -> None:
        """What the DNS has to say is known of all, the inactive ones included."""
        self.key("e.pem")
        self.key("r.pem", rsa_pem(2048))
        text = self.selector('key = "r.pem"') + '[domain."example.org".dkim.Next]\n'
        records = self.loaded(text + 'key = "e.pem"\nactive = false\n').key_records()
        self.assertEqual(
            {"s._domainkey.example.org": "rsa", "next._domainkey.example.org": "ed25519"},
            {name: parse_key_record(text.encode()).type for name, text in records.items()},
        )

    def test_settings_of_domain(self) -> None:
        """Selectors leave the domain's other settings as they are."""
        self.key("k.pem")
        text = self.selector().replace(
            '[domain."example.org"]', '[domain."example.org"]\nseparator = "+"'
        )
        self.assertEqual(("+",), self.loaded(text).domains[OURS].separators)

    def test_places(self) -> None:
        """A relative name starts in the folder of the configuration, an absolute one nowhere."""
        file = self.key("k.pem")
        self.assertEqual(1, len(self.loaded(self.selector()).signers()[OURS]))
        absolute = self.selector(f'key = "{file}"')
        self.assertEqual(1, len(self.loaded(absolute).signers()[OURS]))

    def test_unicode_domain(self) -> None:
        """A domain written in Unicode signs with its A-labels."""
        self.key("k.pem")
        text = self.selector() + '[domain."bücher.example".dkim.s]\nkey = "k.pem"\n'
        [signer] = self.loaded(text).signers()[parse_domain("bücher.example")]
        self.assertEqual("xn--bcher-kva.example", signer.domain.ascii)

    def test_secret(self) -> None:
        """Settings may be printed: no key shows."""
        pem = self.key("k.pem").read_text().splitlines()[1]
        shown = repr(self.loaded(self.selector()))
        self.assertNotIn(pem[:20], shown)
        self.assertNotIn("PrivateKey", shown)


class WarningTests(SelectorTestCase):
    """Selectors that can be used but should not stay as they are."""

    def test_readable(self) -> None:
        """A key that others may read is told, with what to do."""
        for mode in (0o640, 0o604, 0o610):
            file = self.key("k.pem", mode=mode)
            [warning] = self.warnings(self.selector())
            self.assertEqual((LINE + 1, KEY), (warning.line, warning.key))
            self.assertEqual(f"others may read {file}; chmod 600 it", warning.text)

    def test_short(self) -> None:
        """RSA below 2048 bits is used, and told (RFC 8301 section 3.2)."""
        self.key("k.pem", rsa_pem(1024))
        [warning] = self.warnings(self.selector())
        self.assertIn("1024 bits; take 2048", warning.text)


class MistakeTests(SelectorTestCase):
    """Selectors that cannot be used: file, line, key, and what would be right."""

    def assertRefused(self, word: str, pem: bytes) -> None:
        """A key file with this in it."""
        file = self.key("k.pem", pem)
        [(line, key, text)] = self.mistakes(self.selector())
        self.assertEqual((LINE + 1, KEY), (line, key))
        for part in (word, str(file), "dkim generate"):
            self.assertIn(part, text)

    def test_files(self) -> None:
        """Each kind of file that holds no key of use is told from the others."""
        curve = ec.generate_private_key(ec.SECP256R1())
        public = curve.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.assertRefused("no private key in PEM", b"")
        self.assertRefused("no private key in PEM", b"\xff\0 nothing")
        self.assertRefused("no private key in PEM", public)
        self.assertRefused("passphrase", rsa_pem(1024, b"secret"))
        self.assertRefused("neither an RSA nor an Ed25519", _pem(curve))

    def test_unreadable(self) -> None:
        """A file that is not there, or is a folder, is named with the reason."""
        self.assertMistake(self.selector(), LINE + 1, KEY, "No such file")
        (self.folder / "k.pem").mkdir()
        self.assertMistake(self.selector(), LINE + 1, KEY, "Is a directory")

    def test_lengths(self) -> None:
        """RSA keys that nobody verifies, too short or too long, are refused."""
        # Mersenne's primes need not be looked for.
        self.assertRefused("648 bits", product_pem(2**521 - 1, 2**127 - 1))
        long = product_pem(2**2203 - 1, 2**2281 - 1)
        self.assertRefused("4484 bits; verifiers take up to 4096", long)

    def test_damaged(self) -> None:
        """An RSA key that signs nothing that could be verified is refused."""
        damaged = product_pem(2**607 - 1, 2**1279 - 1, wrong=2)
        self.assertRefused("do not belong together", damaged)

    def test_keys(self) -> None:
        """What has to be there, and what may."""
        self.key("k.pem")
        self.assertMistake(self.selector(""), LINE, KEY, "is missing")
        self.assertMistake(
            self.selector('key = "k.pem"\nkeys = 1'),
            LINE + 2,
            'domain."example.org".dkim.s.keys',
            'did you mean "key"',
        )
        self.assertMistake(
            self.selector('key = "k.pem"\nexpiration = "soon"'),
            LINE + 2,
            'domain."example.org".dkim.s.expiration',
            "not a duration",
        )

    def test_fraction(self) -> None:
        """A signature that is good for less than a second is a slip of the pen."""
        self.key("k.pem")
        at = 'domain."example.org".dkim.s.expiration'
        text = self.selector('key = "k.pem"\nexpiration = "0.5s"')
        self.assertMistake(text, LINE + 2, at, "at least a second")

    def test_headers(self) -> None:
        """Names that are none, that change on the way, or that are signed anyway."""
        self.key("k.pem")
        for name, word in {
            "List Id": "not the name",
            "List-Id:": "not the name",
            "a;b": "not the name",
            "": "not the name",
            "received": "on the way",
            "DKIM-Signature": "on the way",
            "subject": "already",
        }.items():
            text = self.selector(f'key = "k.pem"\nheaders = ["{name}"]')
            at = 'domain."example.org".dkim.s.headers[0]'
            self.assertMistake(text, LINE + 2, at, word)
        text = self.selector('key = "k.pem"\nheaders = ["X-A", "x-a"]')
        at = 'domain."example.org".dkim.s.headers[1]'
        self.assertMistake(text, LINE + 2, at, "already")

    def test_names(self) -> None:
        """A selector is a name in the DNS, and stands there once."""
        self.key("k.pem")
        for name in ('"-a"', '"a b"', '"a..b"', '""', '"a."', f'"{"a" * 64}"'):
            error = self.assertRaises(ConfigError, load, self.write(self.selector(name=name)))
            [mistake] = error.mistakes
            self.assertEqual(LINE, mistake.line)
            self.assertIn("not a selector", mistake.text)
        text = self.selector() + '[domain."example.org".dkim.S]\nkey = "k.pem"\n'
        at = 'domain."example.org".dkim.S'
        self.assertMistake(text, LINE + 2, at, "the same selector as")

    def test_too_many(self) -> None:
        """More active selectors than verifiers look at are a mistake; others do not count."""
        self.key("k.pem")
        tables = [
            f'[domain."example.org".dkim.s{number}]\nkey = "k.pem"\n'
            for number in range(MAXIMUM_ACTIVE + 1)
        ]
        error = self.assertRaises(ConfigError, self.loaded, LEAST + "".join(tables))
        self.assertIn(f"more than {MAXIMUM_ACTIVE} are active", str(error))
        text = LEAST + "".join(tables) + "active = false\n"
        self.assertEqual(MAXIMUM_ACTIVE, len(self.loaded(text).signers()[OURS]))

    def test_all_at_once(self) -> None:
        """Mistakes in keys are told together with all others."""
        text = self.selector() + '[domain."example.org".dkim.-]\nkey = "x"\n[queue]\nbad = 1\n'
        self.assertEqual(
            [LINE + 1, LINE + 2, LINE + 5], [line for line, _, _ in self.mistakes(text)]
        )

    def test_bad_domain(self) -> None:
        """The keys of a domain that is none are not looked at."""
        text = self.selector().replace('"example.org".dkim', '"exa mple".dkim')
        self.assertMistake(text, LINE, 'domain."exa mple"', "not a domain")


class NameTests(ConfigTestCase):
    """L{selector_name}."""

    def test_spelling(self) -> None:
        """Case does not matter, underscores are in use, and Unicode becomes A-labels."""
        expected = {
            "2026-RSA": "2026-rsa",
            "s1.mail": "s1.mail",
            "my_key": "my_key",
            "schlüssel": "xn--schlssel-95a",
        }
        self.assertEqual(expected, {text: selector_name(text, OURS) for text in expected})

    def test_length(self) -> None:
        """Selector and domain fit into a name together."""
        long = parse_domain(".".join(["a" * 60] * 4)[:240].rstrip("."))
        self.assertRaises(ValueError, selector_name, "2026-rsa", long)
