"""Command lines."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
from moxsmtp.smtp.future_release import Hold
from moxsmtp.smtp.grammar import VERBS, BadSyntax, Dialect, command
from moxsmtp.smtp.notification import Notify, Occasion, ReturnContent
from moxsmtp.smtp.reply import Refused

DELIVERY = Dialect(submission=False)
SUBMISSION = Dialect(submission=True)
UTF8 = Dialect(submission=False, smtputf8=True)

#: What lines are made of, and octets that are of none.
LINES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        "".join,
        st.lists(
            st.sampled_from([
                " ", "FROM:", "TO:", "<", ">", "a@x.example", "SIZE=1", "SMTPUTF8", "\u00e4",
                '"', "\\", "BODY=7BIT", "@", ",", ":", "[", "]", "IPv6:", "\0", "=", "a", ".",
                "x.example", "@x.example>", "> SMTPUTF8", "[192.0.2.1]", "[IPv6:2001:db8::1]",
                "b\u00fccher.example", "%", "!", "\u3002", "\u037e", "\u1fef", "e\u0301", "\u200d",
                "RET=FULL", "ENVID=a+2B", "NOTIFY=NEVER", "ORCPT=rfc822;a", "ORCPT=utf-8;\\x{F6}",
                "HOLDFOR=1", "HOLDUNTIL=2026-03-02T00:00:00Z", "REQUIRETLS", "AUTH=<>",
            ]),
            max_size=12,
        ),
    ).map(str.encode),
)  # fmt: skip

DIALECTS = st.builds(Dialect, *[st.booleans()] * 5, maximum_size=st.sampled_from([None, 0, 1]))


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
        """AUTH holds xtext or <>, and is believed by nobody (S-61, S-108).  RFC 4954 section 5."""
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

    def test_path_length_as_written(self) -> None:
        """A path that has more than 256 octets once we write it, with A-labels, is none (S-105)."""
        for labels, expected in ((19, True), (20, False)):
            domain = ".".join(["\u00fc"] * labels)
            line = f"RCPT TO:<{'l' * 95}@{domain}>"
            self.assertEqual(isinstance(read(line, UTF8), Rcpt), expected)

    def test_require_tls(self) -> None:
        """
        REQUIRETLS has no value; without TLS it is 530 5.7.10, where it is not offered
        555 5.3.3 (S-63).  RFC 8689 section 2.
        """
        line = "MAIL FROM:<> REQUIRETLS"
        offered = Dialect(submission=False, secure=True, require_tls=True)
        self.assertReads({line: "530 5.7.10", f"{line}=1": "501 5.5.2"})
        self.assertReads({line: "530 5.7.10"}, replace(offered, secure=False))
        self.assertReads({line: "555 5.3.3"}, replace(offered, require_tls=False))
        self.assertReads({line: Mail(None, require_tls=True), f"{line}=1": "501 5.5.2"}, offered)

    def test_hold(self) -> None:
        """
        HOLDFOR and HOLDUNTIL are for users alone, and one excludes the other (S-64).
        RFC 4865.
        """
        moment = "2026-03-02T00:00:00Z"
        hold = Hold(f"until;{moment}", datetime(2026, 3, 2, tzinfo=UTC))
        self.assertReads({
            "MAIL FROM:<> HOLDFOR=60": Mail(None, hold=Hold("for;60", timedelta(seconds=60))),
            f"MAIL FROM:<> holduntil={moment}": Mail(None, hold=hold),
            f"MAIL FROM:<> HOLDUNTIL={moment} HOLDFOR=60": "501 5.5.4",
            f"MAIL FROM:<> HOLDFOR=60 HOLDUNTIL={moment}": "501 5.5.4",
            "MAIL FROM:<> HOLDFOR=0": "501 5.5.2",
            "MAIL FROM:<> HOLDFOR": "501 5.5.2",
            "MAIL FROM:<> HOLDUNTIL": "501 5.5.2",
            "MAIL FROM:<> HOLDUNTIL=tomorrow": "501 5.5.2",
        }, SUBMISSION)  # fmt: skip
        self.assertReads({
            "MAIL FROM:<> HOLDFOR=60": "555 5.3.3",
            "MAIL FROM:<> HOLDFOR": "555 5.3.3",
            f"MAIL FROM:<> HOLDUNTIL={moment}": "555 5.3.3",
        })  # fmt: skip

    def test_return(self) -> None:
        """RET is FULL or HDRS, ENVID at most 100 characters of xtext (S-68).  RFC 3461."""
        self.assertReads({
            "MAIL FROM:<> RET=full": Mail(None, returns=ReturnContent.FULL),
            "MAIL FROM:<> RET=HDRS": Mail(None, returns=ReturnContent.HEADERS),
            "MAIL FROM:<> RET=BODY": "501 5.5.2",
            "MAIL FROM:<> RET": "501 5.5.2",
            "MAIL FROM:<> RET=HDRS RET=FULL": "501 5.5.4",
            "MAIL FROM:<> ENVID=QQ+20314159": Mail(None, envelope_id="QQ 314159"),
            f"MAIL FROM:<> ENVID={'x' * 100}": Mail(None, envelope_id="x" * 100),
            f"MAIL FROM:<> ENVID={'x' * 101}": "501 5.5.2",
            "MAIL FROM:<> ENVID=a+0D+0AX:b": "501 5.5.2",
            "MAIL FROM:<> ENVID=a+2": "501 5.5.2",
            "MAIL FROM:<> ENVID": "501 5.5.2",
            "RCPT TO:<a@x.example> RET=HDRS": "555 5.3.3",
            "RCPT TO:<a@x.example> ENVID=a": "555 5.3.3",
        })  # fmt: skip

    def test_notify(self) -> None:
        """NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY (S-68).  RFC 3461 section 4.1."""
        a = path("a@x.example")
        some = Notify(frozenset({Occasion.SUCCESS, Occasion.DELAY}))
        self.assertReads({
            "RCPT TO:<a@x.example> NOTIFY=success,DELAY": Rcpt(a, some),
            "RCPT TO:<postmaster> NOTIFY=NEVER":
                Rcpt(Path("postmaster", None), Notify(frozenset({Occasion.NEVER}))),
            "RCPT TO:<a@x.example> NOTIFY=NEVER,DELAY": "501 5.5.2",
            "RCPT TO:<a@x.example> NOTIFY=SUCCESS,": "501 5.5.2",
            "RCPT TO:<a@x.example> NOTIFY": "501 5.5.2",
            "RCPT TO:<a@x.example> NOTIFY=DELAY NOTIFY=DELAY": "501 5.5.4",
            "MAIL FROM:<> NOTIFY=NEVER": "555 5.3.3",
        })  # fmt: skip

    def test_original_recipient(self) -> None:
        """
        ORCPT is a type and an address in xtext, or of type utf-8 in its own form,
        at most 500 characters (S-68).  RFC 3461 section 4.2, RFC 6533 section 3.
        """
        a = path("a@x.example")
        line = "RCPT TO:<a@x.example> ORCPT="
        whole = "rfc822;" + "x" * 493
        self.assertReads({
            f"{line}rfc822;B+2Bc@x.example": Rcpt(a, original_recipient="rfc822;B+c@x.example"),
            f"{line}RFC822;b@x.example": Rcpt(a, original_recipient="rfc822;b@x.example"),
            f"{line}X-Local;+21": Rcpt(a, original_recipient="x-local;!"),
            f"{line}utf-8;j\\x{{F6}}rg@x.example":
                Rcpt(a, original_recipient="utf-8;j\u00f6rg@x.example"),
            f"{line}{whole}": Rcpt(a, original_recipient=whole),
            f"{line}{whole}x": "501 5.5.2",
            f"{line}rfc822;": "501 5.5.2",
            f"{line}rfc822": "501 5.5.2",
            f"{line};b@x.example": "501 5.5.2",
            f"{line}rfc822;b+4": "501 5.5.2",
            f"{line}rfc822;b+0D+0AX:c": "501 5.5.2",
            f"{line}utf-8;b+2B": "501 5.5.2",
            f"{line}utf-8;j\u00f6rg@x.example": "501 5.5.2",
            f"{line}rfc822;j\u00f6rg@x.example": "501 5.5.2",
            "RCPT TO:<a@x.example> ORCPT": "501 5.5.2",
        })  # fmt: skip
        self.assertReads({
            f"{line}utf-8;j\u00f6rg@x.example":
                Rcpt(a, original_recipient="utf-8;j\u00f6rg@x.example"),
            f"{line}rfc822;j\u00f6rg@x.example": "501 5.5.2",
        }, Dialect(submission=False, smtputf8=True))  # fmt: skip

    def test_order(self) -> None:
        """The first parameter that is wrong is answered, and the path last of all (S-57, S-58)."""
        now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        limited = Dialect(submission=True, maximum_size=100, now=lambda: now)
        self.assertReads({
            "MAIL FROM:<a> HOLDFOR=5184001 FOO": "554 5.5.4",
            "MAIL FROM:<a> HOLDUNTIL=2026-03-01T11:59:59Z FOO": "554 5.5.4",
            "MAIL FROM:<a> HOLDUNTIL=2026-03-01T12:00:00Z FOO": "555 5.3.3",
            "MAIL FROM:<a> FOO": "555 5.3.3",
            "MAIL FROM:<a> SIZE=101": "552 5.2.3",
            "MAIL FROM:<a> SIZE=100": "501 5.5.2",
            "MAIL FROM:<a> FOO SIZE=1 SIZE=1": "555 5.3.3",
            "MAIL FROM:<a> SIZE=1 SIZE=x FOO": "501 5.5.4",
            "MAIL FROM:<a> SIZE=101 FOO": "552 5.2.3",
            "MAIL FROM:<a> BODY=x REQUIRETLS": "555 5.5.4",
            "MAIL FROM:<a> REQUIRETLS BODY=x": "530 5.7.10",
            "MAIL FROM:<j\u00f6rg@x.example> FOO": "555 5.3.3",
        }, limited)  # fmt: skip

    def test_declared_size(self) -> None:
        """
        Above the maximum, SIZE is 552 5.2.3 below 100 MiB, where the limit is this
        server's own, else 5.3.4 (S-59).  RFC 1870 section 6.1.
        """
        usual, few = 104_857_600, Dialect(submission=False, maximum_size=100)
        many = replace(few, maximum_size=2 * usual)
        self.assertReads({
            "MAIL FROM:<> SIZE=100": Mail(None, 100),
            "MAIL FROM:<> SIZE=101": "552 5.2.3",
            f"MAIL FROM:<> SIZE={usual - 1}": "552 5.2.3",
            f"MAIL FROM:<> SIZE={usual}": "552 5.3.4",
            f"MAIL FROM:<> SIZE={'9' * 20}": "552 5.3.4",
        }, few)  # fmt: skip
        self.assertReads({
            f"MAIL FROM:<> SIZE={2 * usual}": Mail(None, 2 * usual),
            f"MAIL FROM:<> SIZE={2 * usual + 1}": "552 5.3.4",
        }, many)  # fmt: skip

    def test_path_ends_at_the_first_bracket(self) -> None:
        """The path is what stands before the first closing bracket, quoted or not (S-57)."""
        self.assertReads({
            'RCPT TO:<"a>b"@x.example>': "501 5.5.2",
            "RCPT TO:<a@x.example>>": "501 5.5.2",
            "RCPT TO:<<a@x.example>": "501 5.5.2",
            "RCPT TO:<a@x.example> <b@x.example>": "501 5.5.2",
        })  # fmt: skip

    def test_pedantic(self) -> None:
        """
        The pedantic want hello's name from users too, no space before a path, one
        before an initial response, and local-parts of 64 octets (S-29, S-44, S-57,
        S-104, S-111).
        """
        strict, loose = replace(SUBMISSION, pedantic=True), SUBMISSION
        longest = "l" * 64 + "@x.example"
        refused = (
            "EHLO", "EHLO my_pc", "HELO a b c", "EHLO  h.example", "HELO [192.0.2.1]",
            "MAIL FROM: <a@x.example>", "RCPT TO: <a@x.example>", "AUTH PLAIN  AA==",
            f"MAIL FROM:<l{longest}>", f"RCPT TO:<l{longest}>",
            f"MAIL FROM:<\u00e4{longest[1:]}> SMTPUTF8",
        )  # fmt: skip
        self.assertReads(dict.fromkeys(refused, "501 5.5.2"), strict)
        for line in refused:
            self.assertNotIsInstance(read(line, loose), str)
        self.assertReads({
            "EHLO h.example": Ehlo(parse_host("h.example")),
            "EHLO [192.0.2.1] and more": Ehlo(parse_host("[192.0.2.1]")),
            "HELO h.example": Helo(parse_host("h.example")),
            "MAIL FROM:<a@x.example>": Mail(path("a@x.example")),
            f"RCPT TO:<{longest}>": Rcpt(path(longest)),
            "AUTH PLAIN AA==": Auth("PLAIN", "AA=="),
        }, strict)  # fmt: skip

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
            self.assertReads({f"{verb} x": "501 5.5.2", f"{verb} <>": "501 5.5.2"})
            self.assertReads({f"{verb} ": "501 5.5.2"}, SUBMISSION)
        self.assertReads({"QUIT": Quit(), "RSET": Rset()})

    def test_noop(self) -> None:
        """NOOP may have one word or quoted string (S-100)."""
        self.assertReads({
            "NOOP": Noop(),
            "NOOP word": Noop(),
            'NOOP "two words \\" x"': Noop(),
            "NOOP two words": "501 5.5.2",
            'NOOP "open': "501 5.5.2",
            'NOOP ""': Noop(),
            "NOOP a.b": "501 5.5.2",
            "NOOP  word": "501 5.5.2",
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
            "VRFY ": "501 5.5.2",
            "VRFY  word": "501 5.5.2",
            "VRFY two words": "501 5.5.2",
            "VRFY SMTPUTF8": Vrfy(),
            'VRFY "j\u00f6 rg@x" SmtpUtf8': Vrfy(),
            'VRFY "j\u00f6rg"': "501 5.5.2",
            "VRFY j\u00f6rg SMTPUTF8 SMTPUTF8": "501 5.5.2",
            "VRFY j\u00f6rg  SMTPUTF8": "501 5.5.2",
            "VRFY j\u00f6rg \u017fMTPUTF8": "501 5.5.2",
            'VRFY "open': "501 5.5.2",
            'VRFY "a\x07b"': "501 5.5.2",
            "VRFY a\x00b": "501 5.5.2",
            "EXPN list": Expn(),
            "EXPN l\u00efst SMTPUTF8": Expn(),
            "EXPN a.list": "501 5.5.2",
            "EXPN": "501 5.5.2",
        })  # fmt: skip

    def test_enquiries_of_users(self) -> None:
        """From users nothing may follow, not even a space (S-26, S-101)."""
        self.assertReads({
            "VRFY word": Vrfy(), "VRFY word ": "501 5.5.2", "EXPN word\t": "501 5.5.2",
        }, SUBMISSION)  # fmt: skip

    def test_help(self) -> None:
        """HELP takes anything (S-102)."""
        everything: dict[str, Command | str] = {
            "HELP": Help(), "HELP me \u00e4 ": Help(), "HELP \x00\x1b[2J <>": Help(),
        }  # fmt: skip
        self.assertReads(everything)
        self.assertReads(everything, SUBMISSION)
        self.assertEqual(command(Verb.HELP, b" \xff", DELIVERY), Help())

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

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(list(Verb)), LINES, DIALECTS)
    def test_any_line(self, verb: Verb, rest: bytes, dialect: Dialect) -> None:
        """Every line is a command of its verb or refused, never a crash."""
        try:
            read = command(verb, rest, dialect)
        except (BadSyntax, Refused):
            return
        self.assertEqual(read.verb, verb)

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from([b" FROM:<", b" TO:<", b" FROM:", b" TO:"]), LINES, DIALECTS)
    def test_any_path(self, begun: bytes, rest: bytes, dialect: Dialect) -> None:
        """
        Whatever stands behind FROM: or TO: is refused or a path, and what we print
        of this is read as the same path again (S-57, S-104).
        """
        verb = Verb.MAIL if b"FROM" in begun else Verb.RCPT
        try:
            read = command(verb, begun + rest, dialect)
        except (BadSyntax, Refused):
            return
        found = read.reverse_path if isinstance(read, Mail) else read.forward_path  # type: ignore[union-attr]  # of these verbs there are two commands
        if found is None or found.domain is None:
            return
        for written in (found.ascii, found.unicode):
            self.assertNotRegex(written, "[\\x00-\\x1f\\x7f]")
            again = command(Verb.RCPT, f" TO:<{written}>".encode(), UTF8)
            self.assertEqual(again, Rcpt(found))

    def test_linear(self) -> None:
        """
        The worst lines of more than the longest length are read in one pass; looked
        at again and again they would not be read today.
        """
        hostile = [
            b" FROM:<" + b'"\\' * 100_000, b" FROM:<" + b"a." * 100_000 + b">",
            b" FROM:<>" + b" A" * 100_000, b" FROM:<>" + b" A=" + b"+" * 200_000,
            b" FROM:<" + b"@a," * 70_000 + b">", b" FROM:<a@" + b"a." * 100_000 + b">",
            b" FROM:<" + "\u00e4".encode() * 100_000 + b">", b" " + b"\\" * 200_000,
            b' "' + b"\\ " * 100_000, b" " + b"a" * 200_000, b" [" + b":" * 200_000,
            b" PLAIN" + b" " * 200_000,
        ]  # fmt: skip
        for rest in hostile:
            for verb in Verb:
                with contextlib.suppress(BadSyntax, Refused):
                    command(verb, rest, Dialect(submission=False, smtputf8=True))
