"""MTA-STS records and policies read."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.mtasts.policy import (
    LONGEST_AGE,
    InvalidRecord,
    Mode,
    Policy,
    PolicyError,
    parse_policy,
    parse_record,
    policy_url,
    record_name,
)
from moxsmtp.names import Domain, parse_domain

DAY = timedelta(days=1)

#: RFC 8461 section 3.2.
EXAMPLE = (
    "version: STSv1\nmode: enforce\nmx: mail.example.com\n"
    "mx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"
)

HEAD = "version: STSv1\nmode: enforce\nmax_age: 86400\n"


class RecordTests(SynchronousTestCase):
    """TXT records at C{_mta-sts}."""

    def test_read(self) -> None:
        """Q-51: a record starts with its version, and its id is 1 to 32 letters and digits."""
        records = {
            b"v=STSv1; id=20160831085700Z;": "20160831085700Z",  # RFC 8461 section 3.1
            b"v=STSv1;id=a": "a",
            b"v=STSv1; id=" + b"Z9" * 16: "Z9" * 16,
            b"v=STSv1 \t;\t id=1\t ; ": "1",
            b"v=STSv1; x.y_z-0=!~:<>; id=1; other=2": "1",
            b"v=STSv1; id=1; id=2": "1",
        }
        self.assertEqual({record: parse_record([record]) for record in records}, records)

    def test_none(self) -> None:
        """Q-51: what does not begin with the version is passed over, wherever it stands."""
        others: list[bytes] = [
            b"",
            b"v=STSv1",
            b"v=STSv10; id=1",
            b"v=stsv1; id=1",
            b"V=STSv1; id=1",
            b" v=STSv1; id=1",
            b"v=STSv2; id=1",
            b"id=1; v=STSv1;",
            b"v=spf1 -all",
            b"\xff\x00",
        ]
        self.assertEqual(
            {record: parse_record([record]) for record in others}, dict.fromkeys(others)
        )
        self.assertIsNone(parse_record([]))
        self.assertEqual(parse_record([*others, b"v=STSv1; id=1", *others]), "1")

    def test_malformed(self) -> None:
        """Q-51, Q-53: a record that cannot be read is told from one that is not there."""
        for record in (
            b"v=STSv1;",
            b"v=STSv1; ;id=1",
            b"v=STSv1; id=1;;",
            b"v=STSv1; id=",
            b"v=STSv1; id=a b",
            b"v=STSv1; id = 1",
            b"v=STSv1; id=a-b",
            b"v=STSv1; id=" + b"a" * 33,
            b"v=STSv1; id=\xc3\xa9",
            b"v=STSv1; ID=1",
            b"v=STSv1; id=1; x",
            b"v=STSv1; id=1; x=",
            b"v=STSv1; id=1; x=a=b",
            b"v=STSv1; id=1; -x=1",
            b"v=STSv1; id=1; " + b"x" * 33 + b"=1",
            b"v=STSv1; id=1\n",
            b"v=STSv1; id=1; x=\0",
            b"v=STSv1; id=1; x=" + b"y" * 4096,
        ):
            self.assertRaises(InvalidRecord, parse_record, [record])

    def test_several(self) -> None:
        """Q-51, Q-53: of several MTA-STS records none counts, were they equal."""
        one, two = b"v=STSv1; id=1", b"v=STSv1; id=2"
        for records in ([one, two], [one, one], [b"v=STSv1;", one], [one, b"v=spf1", two]):
            self.assertRaises(InvalidRecord, parse_record, records)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.one_of(st.binary(max_size=60), st.text("v=STS1;id a", max_size=30)), max_size=3)
    )
    def test_any(self, records: list[bytes | str]) -> None:
        """Q-51: whatever the DNS has, what comes out is a good id, or nothing."""
        made = [b"v=STSv1;" + one if isinstance(one, bytes) else one.encode() for one in records]
        try:
            found = parse_record(made)
        except InvalidRecord:
            return
        if found is not None:
            self.assertTrue(found.isascii() and found.isalnum() and len(found) <= 32)

    def test_names(self) -> None:
        """Q-51: record and policy are looked for below the A-labels of the domain."""
        domain = parse_domain("bücher.example")
        self.assertEqual(record_name(domain), "_mta-sts.xn--bcher-kva.example")
        self.assertEqual(
            policy_url(domain), "https://mta-sts.xn--bcher-kva.example/.well-known/mta-sts.txt"
        )


class PolicyTests(SynchronousTestCase):
    """Policies as they should be, and as they are."""

    def test_example(self) -> None:
        """Q-52: the policy of RFC 8461 section 3.2, with LF and with CRLF."""
        for text in (EXAMPLE, EXAMPLE.replace("\n", "\r\n"), EXAMPLE.removesuffix("\n")):
            self.assertEqual(
                parse_policy(text),
                Policy(
                    Mode.ENFORCE,
                    timedelta(days=7),
                    ("mail.example.com", "*.example.net", "backupmx.example.com"),
                    text,
                ),
            )

    def test_forms(self) -> None:
        """Q-52: order, white space, unknown fields and empty lines change nothing."""
        for text in (
            "mx:a.example\nmax_age:86400\nmode:enforce\nversion:STSv1",
            "version:\t STSv1 \t\r\nmode: enforce\nmax_age: 86400  \n\n\r\n  \nmx: A.Example\n\n",
            HEAD + "mx: a.example\nx-9.a_b: ünïcode: and more  of it\nmx: a.example",
        ):
            policy = parse_policy(text)
            self.assertEqual((policy.mode, policy.max_age), (Mode.ENFORCE, DAY))
            self.assertEqual((policy.mx, policy.text), (("a.example",), text))

    def test_required(self) -> None:
        """Q-52: version, mode and max_age are required, and mx unless the mode is none."""
        lines = ["version: STSv1", "mode: testing", "max_age: 1", "mx: a.example"]
        self.assertEqual(parse_policy("\n".join(lines)).mode, Mode.TESTING)
        for line in lines:
            rest = "\n".join(other for other in lines if other != line)
            self.assertRaises(PolicyError, parse_policy, rest)
        none = parse_policy("version: STSv1\nmode: none\nmax_age: 0")
        self.assertEqual((none.mode, none.max_age, none.mx), (Mode.NONE, timedelta(), ()))

    def test_first_counts(self) -> None:
        """Q-52: of a field that is there twice the first counts; mx fields add up."""
        text = EXAMPLE + "mode: none\nversion: STSv2\nmax_age: 1\n"
        policy = parse_policy(text)
        self.assertEqual((policy.mode, policy.max_age), (Mode.ENFORCE, timedelta(days=7)))
        self.assertEqual(len(policy.mx), 3)
        late = "mode: none\n" + EXAMPLE
        self.assertIs(parse_policy(late).mode, Mode.NONE)

    def test_age(self) -> None:
        """Q-52: max_age is capped at 31 557 600 seconds."""
        ages = {
            "0": timedelta(),
            "31557600": LONGEST_AGE,
            "31557601": LONGEST_AGE,
            "9999999999": LONGEST_AGE,
        }
        text = "version: STSv1\nmode: none\nmax_age: "
        self.assertEqual({age: parse_policy(text + age).max_age for age in ages}, ages)
        self.assertEqual(LONGEST_AGE.total_seconds(), 31557600)
        for age in ("-1", "+1", "1.5", "1d", "12345678901", "٣", "0x10", "1_0"):
            self.assertRaises(PolicyError, parse_policy, text + age)

    def test_malformed(self) -> None:
        """Q-52: what breaks the form, or a value of a field that we know, is no policy."""
        for text in (
            "",
            "<!DOCTYPE html>\n<html>",
            EXAMPLE.replace("STSv1", "stsv1"),
            EXAMPLE.replace("STSv1", "STSv2"),
            EXAMPLE.replace("version", "Version"),
            EXAMPLE.replace("enforce", "Enforce"),
            EXAMPLE.replace("enforce", "report"),
            EXAMPLE.replace("\n", "\r"),
            EXAMPLE.replace("mode:", "mode :"),
            EXAMPLE.replace("mode:", " mode:"),
            EXAMPLE + "line without colon\n",
            EXAMPLE + "empty:\n",
            EXAMPLE + ": x\n",
            EXAMPLE + "x" * 33 + ": x\n",
            EXAMPLE + "x: a\0b\n",
            EXAMPLE + "\ufeff",
            "\ufeff" + EXAMPLE,
        ):
            self.assertRaises(PolicyError, parse_policy, text)

    def test_patterns(self) -> None:
        """Q-52: an mx is a name of A-labels, which C{*.} may precede."""
        for pattern in ("a", "xn--bcher-kva.example", "*.a", "a--b.example", "1.example"):
            self.assertEqual(parse_policy(f"{HEAD}mx: {pattern}").mx, (pattern,))
        for pattern in (
            "bücher.example",
            "*",
            "*.",
            ".a",
            ".a.example",
            "a.example.",
            "a..example",
            "*.*.example",
            "a.*.example",
            "*a.example",
            "-a.example",
            "a-.example",
            "a_b.example",
            "a b",
            "192.0.2.1:25",
            "[192.0.2.1]",
            "a" * 64,
            ".".join(["a" * 63] * 4),
        ):
            self.assertRaises(PolicyError, parse_policy, f"{HEAD}mx: {pattern}")

    @settings(max_examples=150, deadline=None)
    @given(
        st.one_of(
            st.text(max_size=80),
            st.lists(
                st.sampled_from([*HEAD.split("\n"), "mx: *.a", "mx: b.c", "mode: none", "\r", " "]),
                max_size=9,
            ).map("\n".join),
        )
    )
    def test_any(self, text: str) -> None:
        """Q-52: any text is a policy or an error, and a policy is whole."""
        try:
            policy = parse_policy(text)
        except PolicyError:
            return
        self.assertTrue(policy.mx or policy.mode is Mode.NONE)
        self.assertTrue(timedelta() <= policy.max_age <= LONGEST_AGE)
        self.assertEqual(parse_policy(policy.text), policy)

    def test_full(self) -> None:
        """The longest policies are read and asked at once: there is nothing to blow up."""
        for text in (
            HEAD + "mx: " + "a-" * 32000,
            HEAD + "mx: " + "a." * 32000,
            HEAD + "\t" * 65000,
            HEAD + "x:" + " " * 65000,
            HEAD + "x: " + " y" * 32000,
            ":" * 65000,
            "\n" * 65000,
        ):
            self.assertRaises(PolicyError, parse_policy, text)
        policy = parse_policy(HEAD + "".join(f"mx: {number}.a\n" for number in range(6000)))
        self.assertEqual(len(policy.mx), 6000)
        self.assertTrue(policy.matches(Domain("5999.a")))
        self.assertEqual(len(parse_policy(HEAD + "mx:a\n" * 12000).mx), 1)


class MatchTests(SynchronousTestCase):
    """Hosts."""

    def test_matches(self) -> None:
        """Q-52: a name stands for itself, and C{*.} for exactly one label before the rest."""
        policy = parse_policy(HEAD + "mx: Mail.Example.com\nmx: *.example.net\nmx: *.c\n")
        hosts = {
            "mail.example.com": True,
            "MAIL.EXAMPLE.COM": True,
            "a.mail.example.com": False,
            "example.com": False,
            "mx.example.net": True,
            "a.mx.example.net": False,
            "example.net": False,
            "evil-example.net": False,
            "b.c": True,
            "a.b.c": False,
            "c": False,
        }
        self.assertEqual({host: policy.matches(parse_domain(host)) for host in hosts}, hosts)
