"""Command lines."""

from __future__ import annotations

import contextlib
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from moxsmtp.names import parse_host
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import (
    Auth,
    BodyType,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Verb,
    Vrfy,
)
from moxsmtp.smtp.grammar import VERBS, BadSyntax, Dialect, command
from moxsmtp.smtp.reply import Refused

DELIVERY = Dialect(submission=False)
SUBMISSION = Dialect(submission=True)


def path(text: str) -> Path:
    local_part, _, domain = text.rpartition("@")
    return Path(local_part, parse_host(domain))


def read(line: str, dialect: Dialect = DELIVERY) -> Command | str:
    """What a line is: a command, or the reply code with its enhanced code."""
    word, space, rest = line.partition(" ")
    try:
        return command(VERBS[word.encode()], (space + rest).encode(), dialect)
    except BadSyntax:
        return "501 5.5.2"
    except Refused as refused:
        return f"{refused.reply.code} {refused.reply.enhanced_status}"


class GrammarTests(unittest.SynchronousTestCase):
    """RFC 5321 section 4.1.1."""

    def assertReads(self, expected: dict[str, Command | str], dialect: Dialect = DELIVERY) -> None:
        self.assertEqual({line: read(line, dialect) for line in expected}, expected)

    def test_mail(self) -> None:
        """FROM: in any case, at most one space, the path in brackets, parameters (S-57)."""
        a = path("a@x.example")
        self.assertReads({
            "MAIL FROM:<a@x.example>": Mail(a),
            "MAIL from:<a@x.example>": Mail(a),
            "MAIL FROM: <a@x.example>": Mail(a),
            "MAIL FROM:<>": Mail(None),
            "MAIL FROM:<a@x.example> SIZE=1 BODY=7BIT": Mail(a, 1, BodyType.SEVEN_BIT),
            "MAIL FROM:<\"a b\"@[192.0.2.1]>": Mail(path("a b@[192.0.2.1]")),
            "MAIL FROM:<@r.example,@s.example:a@x.example>": Mail(a),
            "MAIL FROM:  <a@x.example>": "501 5.5.2",
            "MAIL FROM <a@x.example>": "501 5.5.2",
            "MAIL  FROM:<a@x.example>": "501 5.5.2",
            "MAIL FROM:a@x.example": "501 5.5.2",
            "MAIL FROM:<a@x.example>SIZE=1": "501 5.5.2",
            "MAIL FROM:<a@x.example>  SIZE=1": "501 5.5.2",
            "MAIL FROM:<a@x.example> =1": "501 5.5.2",
            "MAIL FROM:<a@x.example": "501 5.5.2",
            "MAIL FROM:<postmaster>": "501 5.5.2",
            "MAIL \u017fROM:<>": "501 5.5.2",
            "MAIL": "501 5.5.2",
        })  # fmt: skip

    def test_parameters(self) -> None:
        """Keywords in any case; one given twice is 501 5.5.4, an unknown one 555 (S-58)."""
        self.assertReads({
            "MAIL FROM:<> size=5": Mail(None, 5),
            "MAIL FROM:<> SIZE=5 size=5": "501 5.5.4",
            "MAIL FROM:<> FOO": "555 5.3.3",
            "MAIL FROM:<> FOO=bar": "555 5.3.3",
            "MAIL FROM:<> NOTIFY=NEVER": "555 5.3.3",
            "RCPT TO:<a@x.example> SIZE=1": "555 5.3.3",
            "RCPT TO:<a@x.example> FOO=bar": "555 5.3.3",
        })  # fmt: skip

    def test_parameter_form(self) -> None:
        """Letter or digit, then hyphens too; values printable without an equals sign (S-107)."""
        self.assertReads({
            "MAIL FROM:<> 4-X=!<>~": "555 5.3.3",
            "MAIL FROM:<> -X": "501 5.5.2",
            "MAIL FROM:<> X_Y": "501 5.5.2",
            "MAIL FROM:<> X=": "501 5.5.2",
            "MAIL FROM:<> X=a=b": "501 5.5.2",
            "MAIL FROM:<> X=a\x01": "501 5.5.2",
            "MAIL FROM:<> AUTH=\u00e4": "501 5.5.2",
            "MAIL FROM:<> AUTH=a SIZE=1\u0661": "501 5.5.2",
        })  # fmt: skip

    def test_size(self) -> None:
        """One to twenty ASCII digits (S-59)."""
        self.assertReads({
            "MAIL FROM:<> SIZE=0": Mail(None, 0),
            f"MAIL FROM:<> SIZE={'9' * 20}": Mail(None, 10**20 - 1),
            f"MAIL FROM:<> SIZE={'9' * 21}": "501 5.5.2",
            "MAIL FROM:<> SIZE": "501 5.5.2",
            "MAIL FROM:<> SIZE=+1": "501 5.5.2",
            "MAIL FROM:<> SIZE=1_0": "501 5.5.2",
            "MAIL FROM:<> SIZE=-1": "501 5.5.2",
            "MAIL FROM:<> SMTPUTF8 SIZE=\u0661": "501 5.5.2",
        })  # fmt: skip

    def test_body(self) -> None:
        """7BIT and 8BITMIME in any case, nothing else (S-60)."""
        self.assertReads({
            "MAIL FROM:<> BODY=7bit": Mail(None, body=BodyType.SEVEN_BIT),
            "MAIL FROM:<> BODY=8BitMime": Mail(None, body=BodyType.EIGHT_BIT),
            "MAIL FROM:<> BODY=BINARYMIME": "555 5.5.4",
            "MAIL FROM:<> BODY=8b\u0131tm\u0131me SMTPUTF8": "555 5.5.4",
            "MAIL FROM:<> BODY": "555 5.5.4",
        })  # fmt: skip

    def test_auth_parameter(self) -> None:
        """AUTH holds xtext or <>, and is believed by nobody (S-108); RFC 4954 section 5."""
        self.assertReads({
            "MAIL FROM:<> AUTH=<>": Mail(None),
            "MAIL FROM:<> AUTH=a+2Bb+3D@x.example": Mail(None),
            "MAIL FROM:<> AUTH=a+2": "501 5.5.2",
            "MAIL FROM:<> AUTH=a+2b": "501 5.5.2",
            "MAIL FROM:<> AUTH=a+": "501 5.5.2",
            "MAIL FROM:<> AUTH": "501 5.5.2",
        })  # fmt: skip

    def test_smtputf8(self) -> None:
        """SMTPUTF8 has no value, and holds for a path that stands before it (S-62, S-57)."""
        self.assertReads({
            "MAIL FROM:<j\u00f6rg@x.example> SMTPUTF8":
                Mail(path("j\u00f6rg@x.example"), smtputf8=True),
            "MAIL FROM:<a@b\u00fccher.example> smtputf8":
                Mail(path("a@xn--bcher-kva.example"), smtputf8=True),
            "MAIL FROM:<> SMTPUTF8=1": "501 5.5.2",
        })  # fmt: skip

    def test_without_smtputf8(self) -> None:
        """A non-ASCII local-part is 5.6.7, with MAIL's own code and RCPT's (S-104)."""
        self.assertReads({
            "MAIL FROM:<j\u00f6rg@x.example>": "550 5.6.7",
            "RCPT TO:<j\u00f6rg@x.example>": "553 5.6.7",
            "MAIL FROM:<a@b\u00fccher.example>": "501 5.5.2",
            "RCPT TO:<@b\u00fccher.example:a@x.example>": "501 5.5.2",
        })  # fmt: skip
        self.assertReads(
            {"RCPT TO:<j\u00f6rg@x.example>": Rcpt(path("j\u00f6rg@x.example"))},
            Dialect(submission=False, smtputf8=True),
        )

    def test_rcpt(self) -> None:
        """A forward-path, or the bare postmaster in any case."""
        self.assertReads({
            "RCPT TO:<a@x.example>": Rcpt(path("a@x.example")),
            "RCPT to: <a@x.example>": Rcpt(path("a@x.example")),
            "RCPT TO:<postmaster>": Rcpt(Path("postmaster", None)),
            "RCPT TO:<PostMaster>": Rcpt(Path("postmaster", None)),
            "RCPT TO:<>": "501 5.5.2",
            "RCPT TO:<a>": "501 5.5.2",
        })  # fmt: skip

    def test_path_length(self) -> None:
        """256 octets with the brackets, its source route included (S-105)."""
        domain = ".".join(["x" * 60] * 3)
        local_part = "l" * (254 - len(domain) - 1)
        self.assertLessEqual(len(local_part), 128)
        route = "@" + "r" * (254 - 12 - 2) + ":"
        self.assertReads({
            f"RCPT TO:<{local_part}@{domain}>": Rcpt(path(f"{local_part}@{domain}")),
            f"RCPT TO:<l{local_part}@{domain}>": "501 5.5.2",
            f"RCPT TO:<{route}a@x.example>": "501 5.5.2",
            "RCPT TO:<@r.example:a@x.example>": Rcpt(path("a@x.example")),
            "RCPT TO:<@r.example,@s:a@x.example>": Rcpt(path("a@x.example")),
            "RCPT TO:<@r.example a@x.example>": "501 5.5.2",
            "RCPT TO:<@r_r.example:a@x.example>": "501 5.5.2",
            "RCPT TO:<@r.example,:a@x.example>": "501 5.5.2",
        })  # fmt: skip

    def test_hello(self) -> None:
        """EHLO takes a domain or a literal, HELO a domain only (S-29)."""
        host, literal = parse_host("h.example"), parse_host("[192.0.2.1]")
        self.assertReads({
            "EHLO h.example": Ehlo(host),
            "EHLO H.EXAMPLE": Ehlo(host),
            "EHLO h.example \t": Ehlo(host),
            "EHLO [192.0.2.1]": Ehlo(literal),
            "EHLO [192.0.2.1] and more": Ehlo(literal),
            "EHLO [IPv6:2001:db8::1]": Ehlo(parse_host("[IPv6:2001:db8::1]")),
            "EHLO [192.0.2.1]x": "501 5.5.2",
            "EHLO  h.example": "501 5.5.2",
            "EHLO h.example more": "501 5.5.2",
            "EHLO h_h.example": "501 5.5.2",
            "EHLO b\u00fccher.example": "501 5.5.2",
            "EHLO 192.0.2.1": "501 5.5.2",
            "EHLO": "501 5.5.2",
            "HELO h.example": Helo(host),
            "HELO [192.0.2.1]": "501 5.5.2",
        })  # fmt: skip

    def test_hello_of_users(self) -> None:
        """Where users hand in mail, the name is ignored, whatever it is (S-29)."""
        self.assertReads(
            {"EHLO": Ehlo(None), "EHLO my_pc": Ehlo(None), "HELO a b c": Helo(None)}, SUBMISSION
        )

    def test_trailing_space(self) -> None:
        """Between servers, spaces and tabs may follow; from users, nothing may (S-26)."""
        lines: dict[str, Command | str] = {
            "MAIL FROM:<> ": Mail(None), "DATA \t ": Data(), "RSET ": Rset(), "NOOP ": Noop(),
        }  # fmt: skip
        self.assertReads(lines)
        self.assertReads(dict.fromkeys(lines, "501 5.5.2"), SUBMISSION)

    def test_no_arguments(self) -> None:
        """DATA, RSET, QUIT, STARTTLS take none (S-100, S-34)."""
        for verb in ("DATA", "RSET", "QUIT", "STARTTLS"):
            self.assertReads({f"{verb} x": "501 5.5.2"})
        self.assertReads({"QUIT": Quit()})

    def test_noop(self) -> None:
        """NOOP may have one word or quoted string (S-100)."""
        self.assertReads({
            "NOOP": Noop(),
            "NOOP word": Noop(),
            'NOOP "two words \\" x"': Noop(),
            "NOOP two words": "501 5.5.2",
            'NOOP "open': "501 5.5.2",
            "NOOP \u00e4": "501 5.5.2",
        })  # fmt: skip

    def test_enquiries(self) -> None:
        """VRFY and EXPN want a word or quoted string, then perhaps SMTPUTF8 (S-101)."""
        self.assertReads({
            "VRFY word": Vrfy(),
            'VRFY "a@x.example"': Vrfy(),
            "VRFY j\u00f6rg SMTPUTF8": Vrfy(),
            "VRFY word smtputf8": Vrfy(),
            "VRFY j\u00f6rg": "501 5.5.2",
            "VRFY a@x.example": "501 5.5.2",
            "VRFY a.b": "501 5.5.2",
            "VRFY": "501 5.5.2",
            "EXPN list": Expn(),
            "EXPN": "501 5.5.2",
        })  # fmt: skip

    def test_help(self) -> None:
        """HELP takes anything (S-102)."""
        self.assertReads({"HELP": Help(), "HELP me \u00e4 ": Help()})

    def test_auth(self) -> None:
        """A mechanism in upper case, then perhaps a word (S-43, S-44)."""
        self.assertReads({
            "AUTH PLAIN": Auth("PLAIN", None),
            "AUTH PLAIN AGEAYg==": Auth("PLAIN", "AGEAYg=="),
            "AUTH PLAIN   AGEAYg==": Auth("PLAIN", "AGEAYg=="),
            "AUTH PLAIN =": Auth("PLAIN", "="),
            "AUTH A-1_B": Auth("A-1_B", None),
            "AUTH PLAIN ": "501 5.5.2",
            "AUTH PLAIN a b": "501 5.5.2",
            "AUTH plain": "501 5.5.2",
            "AUTH  PLAIN": "501 5.5.2",
            f"AUTH {'A' * 20}": Auth("A" * 20, None),
            f"AUTH {'A' * 21}": "501 5.5.2",
            "AUTH": "501 5.5.2",
        }, SUBMISSION)  # fmt: skip

    def test_no_utf8(self) -> None:
        """Octets that are no UTF-8 are bad syntax, not a crash."""
        for verb in Verb:
            try:
                command(verb, b" \xff\xfe\x80", DELIVERY)
            except BadSyntax:
                continue
            self.assertEqual(verb, Verb.HELP)

    def test_secrets_stay(self) -> None:
        """What stands behind AUTH may be a password: it is in no error."""
        with self.assertRaises(BadSyntax) as caught:
            command(Verb.AUTH, b" PLAIN sec ret", SUBMISSION)
        self.assertEqual(caught.exception.rest, "")

    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from(list(Verb)),
        st.one_of(
            st.binary(max_size=80),
            st.builds(
                "".join,
                st.lists(st.sampled_from(
                    [" ", "FROM:", "TO:", "<", ">", "a@x.example", "SIZE=1", "SMTPUTF8", "\u00e4",
                     '"', "\\", "BODY=7BIT", "@", ",", ":", "[", "]", "IPv6:", "\0", "="]
                ), max_size=12),
            ).map(str.encode),
        ),
        st.booleans(),
        st.booleans(),
    )  # fmt: skip
    def test_any_line(self, verb: Verb, rest: bytes, submission: bool, smtputf8: bool) -> None:
        """Every line is a command of its verb or refused, never a crash."""
        try:
            read = command(verb, rest, Dialect(submission, smtputf8))
        except (BadSyntax, Refused):
            return
        self.assertEqual(read.verb, verb)

    def test_linear(self) -> None:
        """The worst lines of the longest length are read at once."""
        hostile = [
            b" FROM:<" + b'"\\' * 1000, b" FROM:<" + b"a." * 1000 + b">",
            b" FROM:<>" + b" A" * 1000, b" FROM:<>" + b" A=" + b"+" * 2000,
            b" FROM:<" + b"@a," * 700 + b">", b" FROM:<a@" + b"a." * 1000 + b">",
            b" FROM:<" + "\u00e4".encode() * 1000 + b">", b" " + b"\\" * 2000,
            b' "' + b"\\ " * 1000, b" " + b"a" * 2000, b" [" + b":" * 2000, b" PLAIN" + b" " * 2000,
        ]  # fmt: skip
        begun = process_time()
        for rest in hostile:
            for verb in Verb:
                with contextlib.suppress(BadSyntax, Refused):
                    command(verb, rest, Dialect(submission=False, smtputf8=True))
        self.assertLess(process_time() - begun, 1)
