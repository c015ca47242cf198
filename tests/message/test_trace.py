"""Trace fields."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.interfaces import Client, Hello, Login, Role, TLSInfo
from moxsmtp.message.header import parse_header
from moxsmtp.message.trace import delivered_to, received, received_spf, return_path
from moxsmtp.names import AddressLiteral, Domain, Host, parse_domain
from moxsmtp.smtp.address import Path, parse_mailbox
from tests.message.strict_reader import read_received_spf

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTNAME = parse_domain("mx.example")
IDN = parse_domain("bücher.example")
REPLY_ID = "AAAAAAAAAAAAAAAAAAAAAA"
TLS = TLSInfo("TLS1.3", "TLS_AES_128_GCM_SHA256")
RECIPIENT = Path("u", parse_domain("c.example"))

CLIENT = Client(
    session_id=1,
    role=Role.SMTP,
    address=IPv4Address("192.0.2.1"),
    local_address=IPv6Address("2001:db8::1"),
    hello=Hello(parse_domain("a.example"), extended=True),
)


def line(
    client: Client = CLIENT,
    *,
    hostname: Domain = HOSTNAME,
    forward_path: Path | None = RECIPIENT,
    smtputf8: bool = False,
    reverse_name: Domain | None = None,
    require_tls: bool = False,
) -> str:
    """The Received field, unfolded, without its name."""
    field = received(
        client,
        hostname=hostname,
        reply_id=REPLY_ID,
        forward_path=forward_path,
        smtputf8=smtputf8,
        when=WHEN,
        reverse_name=reverse_name,
        require_tls=require_tls,
    )
    header = parse_header(field)
    if header.problems or header.count("Received") != 1:
        raise AssertionError(field)
    return header.values("Received")[0].replace("\t", " ")


class FromTests(SynchronousTestCase):
    """Who gave us the message."""

    def test_delivery(self) -> None:
        """S-83: the name of the greeting, and the client's address as a literal."""
        self.assertEqual(
            line(),
            "from a.example ([192.0.2.1]) by mx.example ([IPv6:2001:db8::1]) via tcp with ESMTP"
            " id AAAAAAAAAAAAAAAAAAAAAA for <u@c.example>; 2 Jan 2026 03:04:05 +0000",
        )

    def test_hello_literal(self) -> None:
        """S-83: a greeting with a literal stands as one."""
        client = replace(
            CLIENT, hello=Hello(AddressLiteral(IPv6Address("2001:db8::2")), extended=True)
        )
        self.assertTrue(line(client).startswith("from [IPv6:2001:db8::2] ([192.0.2.1]) by "))

    def test_reverse_name(self) -> None:
        """S-83: a reverse name stands before the literal, unless it is that of the greeting."""
        other = parse_domain("b.example")
        self.assertTrue(
            line(reverse_name=other).startswith("from a.example (b.example [192.0.2.1]) by ")
        )
        same = parse_domain("a.example")
        self.assertTrue(line(reverse_name=same).startswith("from a.example ([192.0.2.1]) by "))

    def test_submission(self) -> None:
        """S-83: mail handed in by users shows our name and no address of theirs."""
        client = replace(CLIENT, role=Role.SUBMISSION, hello=Hello(None, extended=True))
        self.assertTrue(line(client).startswith("from mx.example by mx.example ([IPv6:"))

    def test_internationalized(self) -> None:
        """S-83, S-84: in an SMTPUTF8 message U-labels stand, with the A-label behind."""
        client = replace(CLIENT, hello=Hello(IDN, extended=True))
        self.assertTrue(
            line(client, hostname=IDN, smtputf8=True).startswith(
                "from bücher.example ([192.0.2.1]) (xn--bcher-kva.example)"
                " by bücher.example ([IPv6:2001:db8::1]) (xn--bcher-kva.example) via tcp "
            )
        )
        submitted = line(replace(client, role=Role.SUBMISSIONS), hostname=IDN, smtputf8=True)
        self.assertTrue(
            submitted.startswith("from bücher.example (xn--bcher-kva.example) by bücher.example (")
        )
        self.assertTrue(line(client, hostname=IDN).isascii())


class WithTests(SynchronousTestCase):
    """How, and which number we gave it."""

    def test_protocol(self) -> None:
        """S-85: the word says UTF8SMTP, ESMTP or SMTP, S for TLS, A for a login."""
        login = Login("mox", "mox@localhost")
        plain = replace(CLIENT, hello=Hello(parse_domain("a.example"), extended=False))
        cases = {
            "SMTP": line(plain),
            "ESMTP": line(),
            "ESMTPS": line(replace(CLIENT, tls=TLS)),
            "ESMTPA": line(replace(CLIENT, login=login)),
            "ESMTPSA": line(replace(CLIENT, login=login, tls=TLS)),
            "SMTPS": line(replace(plain, tls=TLS)),
            "UTF8SMTP": line(smtputf8=True),
            "UTF8SMTPSA": line(replace(plain, login=login, tls=TLS), smtputf8=True),
        }
        for word, text in cases.items():
            self.assertIn(f" via tcp with {word} id {REPLY_ID} ", text)

    def test_tls(self) -> None:
        """S-86: a comment names TLS version and cipher suite."""
        self.assertIn(
            f" id {REPLY_ID} (TLS1.3 TLS_AES_128_GCM_SHA256) for <",
            line(replace(CLIENT, tls=TLS)),
        )
        self.assertNotIn("TLS", line())

    def test_require_tls(self) -> None:
        """RFC 8689: that TLS was demanded stands as a comment behind the protocol."""
        self.assertIn(" with ESMTP (requiretls) id ", line(require_tls=True))


class ForTests(SynchronousTestCase):
    """For whom, and when."""

    def test_recipient(self) -> None:
        """S-87: the recipient stands with A-labels, literals as literals, quotes if needed."""
        literal: Host = AddressLiteral(IPv4Address("192.0.2.9"))
        expected = {
            Path("u", IDN): "<u@xn--bcher-kva.example>",
            Path("u", literal): "<u@[192.0.2.9]>",
            Path("a b", HOSTNAME): '<"a b"@mx.example>',
            Path("postmaster", None): "<postmaster@mx.example>",
        }
        for path, text in expected.items():
            for smtputf8 in (False, True):
                self.assertIn(f" for {text}; ", line(forward_path=path, smtputf8=smtputf8))

    def test_several(self) -> None:
        """S-87: no recipient, but still the semicolon, where copies stay identical."""
        self.assertTrue(
            line(forward_path=None).endswith(f" id {REPLY_ID}; 2 Jan 2026 03:04:05 +0000")
        )

    def test_no_octets_above_127(self) -> None:
        """S-87: a local-part that ASCII cannot hold stands in SMTPUTF8 messages only."""
        path = Path("ü", HOSTNAME)
        self.assertIn(" for <ü@mx.example>; ", line(forward_path=path, smtputf8=True))
        self.assertNotIn(" for ", line(forward_path=path))

    def test_folds(self) -> None:
        """S-88: lines end with CRLF TAB before what would pass column 76."""
        field = received(
            replace(CLIENT, tls=TLS),
            hostname=HOSTNAME,
            reply_id=REPLY_ID,
            forward_path=RECIPIENT,
            smtputf8=False,
            when=WHEN,
        )
        self.assertEqual(
            field,
            b"Received: from a.example ([192.0.2.1]) by mx.example ([IPv6:2001:db8::1])\r\n"
            b"\tvia tcp with ESMTPS id AAAAAAAAAAAAAAAAAAAAAA (TLS1.3\r\n"
            b"\tTLS_AES_128_GCM_SHA256) for <u@c.example>; 2 Jan 2026 03:04:05 +0000\r\n",
        )

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.from_regex(r"[a-z]{1,63}", fullmatch=True), min_size=2, max_size=3),
        st.from_regex(r"[a-z \"\\]{1,64}", fullmatch=True),
        st.booleans(),
    )
    def test_columns(self, labels: list[str], local_part: str, encrypted: bool) -> None:
        """S-88: only a word longer than a line passes column 76, alone in its line."""
        name = parse_domain(".".join(labels))
        client = replace(CLIENT, hello=Hello(name, extended=True), tls=TLS if encrypted else None)
        field = received(
            client,
            hostname=name,
            reply_id=REPLY_ID,
            forward_path=Path(local_part, name),
            smtputf8=False,
            when=WHEN,
        ).decode()
        lines = field.removesuffix("\r\n").split("\r\n")
        for one in lines[1:]:
            self.assertTrue(one.startswith("\t"))
        for one in lines:
            if len(one) > 76:
                self.assertTrue(re.fullmatch(r"\t(?:\S+|<\".*\"@\S+>;)|Received: from", one), one)


class OtherFieldTests(SynchronousTestCase):
    """Return-Path and Delivered-To."""

    def test_return_path(self) -> None:
        """The reverse-path stands in angle brackets; the null one is only those."""
        path = Path("u", IDN)
        self.assertEqual(return_path(None, smtputf8=False), b"Return-Path: <>\r\n")
        self.assertEqual(
            return_path(path, smtputf8=False), b"Return-Path: <u@xn--bcher-kva.example>\r\n"
        )
        self.assertEqual(
            return_path(path, smtputf8=True), "Return-Path: <u@bücher.example>\r\n".encode()
        )

    def test_delivered_to(self) -> None:
        """The mailbox stands bare."""
        self.assertEqual(
            delivered_to(Path("a b", IDN), smtputf8=False),
            b'Delivered-To: "a b"@xn--bcher-kva.example\r\n',
        )


def spf_field(
    *,
    result: str = "pass",
    comment: str = "",
    client: str = "192.0.2.1",
    reverse_path: Path | None = None,
    hello: Host | None = None,
    problem: str = "",
    mechanism: str = "",
    receiver: Domain = HOSTNAME,
    identity: str = "",
    smtputf8: bool = False,
) -> bytes:
    """The Received-SPF field, with as little in it as may be."""
    return received_spf(
        result=result,
        comment=comment,
        client=ip_address(client),
        reverse_path=reverse_path,
        hello=hello,
        problem=problem,
        mechanism=mechanism,
        receiver=receiver,
        identity=identity,
        smtputf8=smtputf8,
    )


SPF_TEXT = st.one_of(
    st.text(max_size=60),
    st.text(alphabet='ab.@()<>,;:\\"/[]?= \t\r\n\0\x7fü\u2028\ud800', max_size=40),
    st.sampled_from(["a" * 900, "é (" * 300, "); X: y", '"; problem="']),
)


class ReceivedSPFTests(SynchronousTestCase):
    """Received-SPF.  RFC 7208 section 9.1."""

    def test_all(self) -> None:
        """I-78: every part in its order, values quoted unless they are dot-atoms."""
        field = spf_field(
            result="permerror",
            comment="mx.example: sender.example says so",
            reverse_path=parse_mailbox("u@sender.example"),
            hello=parse_domain("mail.sender.example"),
            problem="no colon: include",
            mechanism="ip4:192.0.2.0/24",
            identity="mailfrom",
        )
        self.assertEqual(
            field.decode("ascii"),
            "Received-SPF: permerror (mx.example: sender.example says so)\r\n"
            '\tclient-ip=192.0.2.1; envelope-from="u@sender.example";\r\n'
            '\thelo=mail.sender.example; problem="no colon: include";\r\n'
            '\tmechanism="ip4:192.0.2.0/24"; receiver=mx.example; identity=mailfrom\r\n',
        )

    def test_least(self) -> None:
        """I-78: what is not known is left out; a null reverse-path is an empty value."""
        self.assertEqual(
            spf_field(result="none", client="2001:db8::1"),
            b'Received-SPF: none client-ip="2001:db8::1"; envelope-from="";\r\n'
            b"\treceiver=mx.example\r\n",
        )

    def test_long_problem(self) -> None:
        """I-78: of a problem 67 octets are shown, in whole characters."""
        for text, shown in (("p" * 80, 67), ("é" * 80, 66)):
            field = spf_field(problem=text, smtputf8=True)
            value = read_received_spf(field)[2]["problem"]
            self.assertEqual(len(value.encode()), shown)
            self.assertTrue(text.startswith(value))

    def test_names_in_unicode(self) -> None:
        """I-78: U-labels stand in UTF-8 messages only, with the A-labels behind them."""
        given = {
            "reverse_path": parse_mailbox("ü@bücher.example"),
            "hello": IDN,
            "receiver": IDN,
        }
        field = spf_field(**given, smtputf8=True)  # type: ignore[arg-type]  # a table of keywords
        _, _, pairs, comments = read_received_spf(field)
        self.assertEqual(
            [pairs[key] for key in ("envelope-from", "helo", "receiver")],
            ["ü@bücher.example", "bücher.example", "bücher.example"],
        )
        self.assertEqual(comments, ["xn--bcher-kva.example"] * 3)
        plain = spf_field(**given)  # type: ignore[arg-type]  # a table of keywords
        _, _, pairs, comments = read_received_spf(plain)
        self.assertTrue(plain.isascii())
        self.assertEqual(pairs["receiver"], "xn--bcher-kva.example")
        self.assertEqual(pairs["envelope-from"], "\\x{FC}@xn--bcher-kva.example")
        self.assertEqual(comments, [])

    def test_result_is_a_word(self) -> None:
        """A result that could end the line is a mistake of the caller."""
        for result in ("", "pass\r\n", "pass (", "pässe"):
            with self.assertRaises(ValueError):
                spf_field(result=result)

    @settings(max_examples=150, deadline=None)
    @given(
        comment=SPF_TEXT,
        problem=SPF_TEXT,
        mechanism=SPF_TEXT,
        local_part=st.text(
            st.characters(min_codepoint=32, exclude_categories=["C"]), min_size=1, max_size=64
        ),
        smtputf8=st.booleans(),
    )
    def test_any_text(
        self, *, comment: str, problem: str, mechanism: str, local_part: str, smtputf8: bool
    ) -> None:
        """I-78: whatever strangers write, a reader after the grammar gets back that."""
        path = Path(local_part, parse_domain("c.example"))
        field = spf_field(
            comment=comment, problem=problem, mechanism=mechanism, reverse_path=path,
            identity="mailfrom", smtputf8=smtputf8,
        )  # fmt: skip
        result, _, pairs, comments = read_received_spf(field)
        expected = {"client-ip": "192.0.2.1", "receiver": "mx.example", "identity": "mailfrom"}
        expected["envelope-from"] = shown(path.ascii, 400, smtputf8=smtputf8)
        if problem:
            expected["problem"] = shown(problem, 67, smtputf8=smtputf8)
        if mechanism:
            expected["mechanism"] = shown(mechanism, 400, smtputf8=smtputf8)
        self.assertEqual((result, pairs, comments), ("pass", expected, []))
        if not smtputf8:
            self.assertTrue(field.isascii())


def shown(text: str, octets: int, *, smtputf8: bool) -> str:
    """What of a text can be in a field."""
    text = re.sub("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", " ", text)
    if not smtputf8:
        text = re.sub(r"[^\0-\x7f]", lambda match: f"\\x{{{ord(match[0]):X}}}", text)
    return text.encode()[:octets].decode(errors="ignore")
