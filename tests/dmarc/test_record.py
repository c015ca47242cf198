"""A DMARC record read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dmarc.record import (
    InvalidRecord,
    Mode,
    Policy,
    PublicSuffix,
    Record,
    parse_record,
)

NONE = Record(policy=Policy.NONE)
REJECT = Record(policy=Policy.REJECT)

ADDRESS = "mailto:d@example.com"


class RecordTests(SynchronousTestCase):
    """Records as they should be, and as they are."""

    def test_version(self) -> None:
        """What does not start with exactly this version is no DMARC record."""
        records = {
            "v=DMARC1;p=reject": REJECT,
            "v=DMARC1; p=reject": REJECT,
            "V = DMARC1 ; p = reject ;": REJECT,
            "\t v=DMARC1;p=reject": REJECT,
            "": None,
            "v=DMARC1p=reject": None,
            "v=DMARC10; p=reject": None,
            "v=DMARC1.0; p=reject": None,
            "v=dmarc1; p=reject": None,
            "v=DMARC2; p=reject": None,
            "p=reject; v=DMARC1": None,
            "v=spf1 -all": None,
            "DMARC1; p=reject": None,
            "x v=DMARC1; p=reject": None,
        }
        self.assertEqual({text: parse_record(text) for text in records}, records)

    def test_examples(self) -> None:
        """The records of RFC 9989 appendix B.2."""
        feedback = ("mailto:dmarc-feedback@example.com",)
        both = (*feedback, "mailto:tld-test@thirdparty.example.net")
        records = {
            "v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com": Record(
                policy=Policy.NONE, aggregate_reports=feedback
            ),
            "v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com; "
            "ruf=mailto:auth-reports@example.com": Record(
                policy=Policy.NONE,
                aggregate_reports=feedback,
                failure_reports=("mailto:auth-reports@example.com",),
            ),
            "v=DMARC1; p=quarantine; rua=mailto:dmarc-feedback@example.com,"
            "mailto:tld-test@thirdparty.example.net; t=y": Record(
                policy=Policy.QUARANTINE, aggregate_reports=both, testing=True
            ),
        }
        self.assertEqual({text: parse_record(text) for text in records}, records)

    def test_all_tags(self) -> None:
        """Every tag, in any order, in any case, with white space and unknown ones between."""
        expected = Record(
            policy=Policy.REJECT,
            subdomain_policy=Policy.QUARANTINE,
            nonexistent_policy=Policy.NONE,
            public_suffix=PublicSuffix.NO,
            testing=True,
            dkim_mode=Mode.STRICT,
            spf_mode=Mode.STRICT,
            aggregate_reports=("mailto:a@example.com!10m", "https://example.com/r?x=1"),
            failure_reports=("mailto:f@example.com",),
            failure_options=("1", "d", "s"),
        )
        tags = [
            "P=Reject", "sp = QUARANTINE", "np=none", "psd=N", "t=Y", "adkim=S", "aspf=s",
            f"rua={'mailto:a@example.com!10m'} , https://example.com/r?x=1",
            "ruf=mailto:f@example.com", "fo=1:d:S", "ri=3600", "rf=afrf", "pct=50", "x-y=1",
            "nonsense", "=", "",
        ]  # fmt: skip
        for text in ("; ".join(["v=DMARC1", *tags]), ";".join(["v=DMARC1", *reversed(tags)])):
            self.assertEqual(parse_record(text), expected)
            self.assertEqual(parse_record(text.encode()), expected)

    def test_no_policy(self) -> None:
        """
        I-21: Without a valid C{p}, or with an invalid C{sp} or C{np}, it is C{p=none}
        if there is somewhere to report to, else nothing.  RFC 9989 section 4.10.1.
        """
        rua = f"; rua={ADDRESS}"
        reporting = Record(policy=Policy.NONE, aggregate_reports=(ADDRESS,))
        records = {
            f"v=DMARC1{rua}": reporting,
            f"v=DMARC1; p=rejects{rua}": reporting,
            f"v=DMARC1; p={rua}": reporting,
            f"v=DMARC1; p=reject; sp=all{rua}": reporting,
            f"v=DMARC1; p=reject; np=all; sp=reject{rua}": reporting,
            "v=DMARC1": InvalidRecord("no p="),
            "v=DMARC1;": InvalidRecord("no p="),
            "v=DMARC1; sp=reject": InvalidRecord("no p="),
            "v=DMARC1; p=rejects": InvalidRecord("p= has no valid value"),
            "v=DMARC1; p=reject\xe9": InvalidRecord("p= has no valid value"),
            "v=DMARC1; p=reject; sp=all": InvalidRecord("sp= has no valid value"),
            "v=DMARC1; p=reject; np=": InvalidRecord("np= has no valid value"),
            "v=DMARC1; p=reject; sp=all; rua=nobody": InvalidRecord("sp= has no valid value"),
            "v=DMARC1; psd=y": InvalidRecord("no p=", PublicSuffix.YES),
        }
        self.assertEqual({text: parse_record(text) for text in records}, records)

    def test_twice(self) -> None:
        """A tag given twice counts as one without a valid value (RFC 6376 section 3.2)."""
        records = {
            "v=DMARC1; p=none; p=reject": InvalidRecord("p= has no valid value"),
            "v=DMARC1; p=reject; p=reject; p=reject": InvalidRecord("p= has no valid value"),
            "v=DMARC1; p=reject; adkim=s; ADKIM=s": REJECT,
            "v=DMARC1; p=reject; psd=y; psd=n": REJECT,
            "v=DMARC1; p=reject; v=DMARC1": REJECT,
        }
        self.assertEqual({text: parse_record(text) for text in records}, records)

    def test_defaults_for_errors(self) -> None:
        """Values that are not valid are as if they were not given.  RFC 9989 section 4.8."""
        for tag in (
            "adkim=x", "aspf=", "psd=z", "t=1", "t=", "fo=2", "fo=0:1", "fo=d:d", "fo=", "fo=:",
            "fo=0:d:s:1:d:s", "rua=", "rua=,,", "rua=d@example.com", "rua=mailto:",
            "rua=mailto:d", "rua=mailto:@", "rua=mailto:a b@c", "rua=mailto:a@b!", "ruf=<>",
            "rua=mailto:a@b!10x", "rua=1mailto:a@b", "ruf=mailto:\xe4@b", "rua=\x00", "sp",
        ):  # fmt: skip
            expected = InvalidRecord("sp= has no valid value") if tag == "sp" else REJECT
            self.assertEqual(parse_record(f"v=DMARC1; p=reject; {tag}"), expected, tag)

    def test_some_addresses(self) -> None:
        """Of several report addresses, the valid ones count."""
        found = parse_record(f"v=DMARC1; p=none; rua=nobody,{ADDRESS},,mailto:a@b!10x")
        self.assertEqual(found, Record(policy=Policy.NONE, aggregate_reports=(ADDRESS,)))

    def test_testing(self) -> None:
        """I-23: C{pct=0} was what C{t=y} is, where C{t} does not speak.  RFC 9989 appendix A.6."""
        testing = {
            "t=y": True, "t=n": False, "pct=0": True, "pct=00": True, "pct=000": True,
            "pct=100": False, "pct=50": False, "pct=0; t=n": False, "t=y; pct=100": True,
            "pct=0; t=maybe": True, "pct=0000": False, "pct=": False, "pct=-0": False,
        }  # fmt: skip
        found = {tags: parse_record(f"v=DMARC1; p=reject; {tags}") for tags in testing}
        self.assertEqual(
            {tags: isinstance(one, Record) and one.testing for tags, one in found.items()},
            testing,
        )


class HostileTests(SynchronousTestCase):
    """Records made to harm."""

    def test_large(self) -> None:
        """Work grows with the length of a record, not its square, whatever it is made of."""
        size = 1 << 20
        for piece in (
            " ", ";", "=", "p=", "p=none;", "rua=mailto:", ",", ":", "!", "fo=0:", "a:",
            "rua=a:b,", "\xff", "\x00", "v=DMARC1;", "t", "mailto:a@b,",
        ):  # fmt: skip
            text = piece * (size // len(piece))
            self.assertIsNone(parse_record(text if not text.startswith("v=") else f"x{text}"))
            for start in ("v=DMARC1;", "v=DMARC1; p=none; rua=", "v=DMARC1; p=none; fo="):
                self.assertIsNotNone(parse_record(start + text))

    def test_large_is_read(self) -> None:
        """A record of 64 KiB means what a small one means."""
        text = "v=DMARC1; " + "x=y; " * 13000 + "p=reject"
        self.assertEqual(parse_record(text), REJECT)
        self.assertEqual(parse_record(text.encode()), REJECT)

    @settings(max_examples=150, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=80),
            st.text(max_size=80),
            st.lists(
                st.sampled_from(
                    ["v=DMARC1", "p", "=", ";", "reject", "none", " ", "\t", "sp", "np", "rua",
                     "fo", "mailto:a@b", ",", ":", "!", "psd=y", "t=y", "pct=0", "adkim=s",
                     "\xe9", "\0"]
                ),
                max_size=20,
            ).map(lambda parts: "v=DMARC1;" + "".join(parts)),
        )
    )  # fmt: skip
    def test_anything(self, text: str | bytes) -> None:
        """Every text is a record, an invalid one or none, and as octets it is the same."""
        found = parse_record(text)
        self.assertIsInstance(found, Record | InvalidRecord | None)
        if isinstance(text, bytes):
            self.assertEqual(found, parse_record(text.decode("latin-1")))
        elif all(character < "\u0100" for character in text):
            self.assertEqual(found, parse_record(text.encode("latin-1")))
        if isinstance(found, Record) and found.policy is not Policy.NONE:
            self.assertTrue(text.lstrip()[:1] in {"v", "V", b"v", b"V"})

    @settings(max_examples=60, deadline=None)
    @given(
        st.permutations(
            ["p=reject", "sp=none", "psd=n", "adkim=s", "t=y", f"rua={ADDRESS}", "x=y", ""]
        )
    )
    def test_order(self, tags: list[str]) -> None:
        """What was written is read, in whichever order the tags stand."""
        self.assertEqual(
            parse_record("; ".join(["v=DMARC1", *tags])),
            Record(
                policy=Policy.REJECT,
                subdomain_policy=Policy.NONE,
                public_suffix=PublicSuffix.NO,
                dkim_mode=Mode.STRICT,
                testing=True,
                aggregate_reports=(ADDRESS,),
            ),
        )
