"""What TLS a session needs."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dns.records import TLSA
from moxsmtp.interfaces import RequireTLS
from moxsmtp.names import AddressLiteral, parse_domain
from moxsmtp.outbound.tls_policy import (
    NO_DANE,
    Dane,
    Demand,
    Refused,
    Sts,
    decide,
    plain,
    to_smarthost,
)
from moxsmtp.outbound.transport import Smarthost, SmarthostTLS
from moxsmtp.smtp.mailing import StartTLS

HOST: Final = parse_domain("mx.example")
RECORD: Final = TLSA(3, 1, 1, 32 * b"x")
NAMES: Final = ("base.example", "mx.example", "there.example")

USABLE: Final = Dane(base="base.example", names=NAMES, records=(RECORD,), usable=(RECORD,))
UNUSABLE: Final = Dane(base="base.example", names=NAMES, records=(TLSA(0, 0, 1, b""),))
FAILED: Final = Dane(base="base.example", error="SERVFAIL")

UNSET, YES, NO = RequireTLS.UNSET, RequireTLS.YES, RequireTLS.NO

#: A demand in words: STARTTLS, what is verified, what follows a failure, REQUIRETLS.
OPPORTUNISTIC: Final = "if offered, unverified, or plain"


def words(found: Demand | Refused) -> str:
    """As in the table of Q-59."""
    if isinstance(found, Refused):
        return (
            f"refused {found.code} {found.status} {'for good' if found.permanent else ''}".strip()
        )
    verified = [word for word, on in (("PKIX", found.pkix), ("TLSA", found.dane)) if on]
    told = [found.starttls.value, " and ".join(verified) or "unverified"]
    told += ["or plain"] if found.may_fall_back else []
    told += ["REQUIRETLS"] if found.require_tls else []
    return ", ".join(told)


class TableTests(SynchronousTestCase):
    """Q-59, row by row."""

    def assertRow(self, sts: Sts, dane: Dane, *expected: str) -> None:
        """For RequireTLS unset, true and false."""
        found = tuple(
            words(decide(HOST, sts=sts, dane=dane, require_tls=require_tls))
            for require_tls in (UNSET, YES, NO)
        )
        self.assertEqual(found, expected)

    def test_nothing(self) -> None:
        """
        Without policies, or with one in testing: opportunistic TLS, a failure
        leads to clear text; REQUIRETLS is refused (Q-59, first row).
        """
        self.assertRow(
            Sts.SILENT, NO_DANE, OPPORTUNISTIC, "refused 554 7.30 for good", OPPORTUNISTIC
        )

    def test_mta_sts(self) -> None:
        """MTA-STS: PKIX on the MX host; C{TLS-Required: No} ignores it (Q-59, second row)."""
        self.assertRow(
            Sts.ENFORCED, NO_DANE, "always, PKIX", "always, PKIX, REQUIRETLS", OPPORTUNISTIC
        )

    def test_dane(self) -> None:
        """Usable TLSA records: mandatory, whatever the sender says (Q-59, third row)."""
        self.assertRow(
            Sts.SILENT, USABLE, "always, TLSA", "always, TLSA, REQUIRETLS", "always, TLSA"
        )

    def test_unusable(self) -> None:
        """
        TLSA records of which none is usable: TLS without verification, which is
        not enough for REQUIRETLS (Q-59, fourth row).
        """
        self.assertRow(
            Sts.SILENT,
            UNUSABLE,
            "always, unverified",
            "refused 554 7.30 for good",
            "always, unverified",
        )

    def test_both(self) -> None:
        """MTA-STS and DANE: both must verify, in all columns (Q-59, fifth row)."""
        both = "always, PKIX and TLSA"
        self.assertRow(Sts.ENFORCED, USABLE, both, f"{both}, REQUIRETLS", both)

    def test_lookup_error(self) -> None:
        """
        TLSA records that are not known block the host: nothing is sent in the
        clear or unverified, except for C{TLS-Required: No} (Q-59, last row).
        """
        self.assertRow(Sts.SILENT, FAILED, "refused 0 7.5", "refused 0 7.5", OPPORTUNISTIC)
        self.assertRow(Sts.ENFORCED, FAILED, "refused 0 7.5", "refused 0 7.5", OPPORTUNISTIC)

    def test_unusable_with_mta_sts(self) -> None:
        """
        Policies add up where the table has no row: what is unusable of DANE
        still demands TLS, where MTA-STS is waived too (Q-59).
        """
        self.assertRow(
            Sts.ENFORCED,
            UNUSABLE,
            "always, PKIX",
            "always, PKIX, REQUIRETLS",
            "always, unverified",
        )

    def test_mismatch(self) -> None:
        """
        A host that the policy to be enforced does not name is skipped, DANE or
        not; C{TLS-Required: No} ignores that (Q-55).
        """
        self.assertRow(Sts.MISMATCH, NO_DANE, "refused 0 7.5", "refused 0 7.5", OPPORTUNISTIC)
        self.assertRow(Sts.MISMATCH, USABLE, "refused 0 7.5", "refused 0 7.5", "always, TLSA")

    @given(
        st.sampled_from(Sts),
        st.sampled_from([NO_DANE, USABLE, UNUSABLE, FAILED]),
        st.sampled_from(RequireTLS),
        st.booleans(),
    )
    def test_no_way_around(
        self, sts: Sts, dane: Dane, require_tls: RequireTLS, is_dmarc_report: bool
    ) -> None:
        """
        Whatever comes together: a demand that is verified or made by a policy is
        never one that a failure turns into clear text, and TLSA records are never
        dropped (Q-59).
        """
        found = decide(
            HOST, sts=sts, dane=dane, require_tls=require_tls, is_dmarc_report=is_dmarc_report
        )
        if isinstance(found, Refused):
            self.assertIsNot(require_tls, NO)
            return
        self.assertEqual(found.dane, dane.usable)
        if found.is_verified or dane.applies:
            self.assertIs(found.starttls, StartTLS.ALWAYS)
            self.assertFalse(found.may_fall_back)
        if require_tls is YES:
            self.assertTrue(found.is_verified and found.require_tls)


class DemandTests(SynchronousTestCase):
    """What else a demand says."""

    def demand(self, sts: Sts = Sts.SILENT, dane: Dane = NO_DANE, **more: object) -> Demand:
        """Of HOST."""
        found = decide(HOST, sts=sts, dane=dane, **{"require_tls": UNSET, **more})  # type: ignore[arg-type]  # given by the tests below
        assert isinstance(found, Demand)
        return found

    def test_names(self) -> None:
        """
        SNI is the TLSA base, but PKIX looks for the MX host: they differ where
        DANE and MTA-STS both apply (Q-58).
        """
        found = self.demand(Sts.ENFORCED, USABLE)
        self.assertEqual((found.names, found.host), (NAMES, HOST))
        self.assertEqual(self.demand(Sts.ENFORCED).names, ("mx.example",))

    def test_literal(self) -> None:
        """An address has no name for SNI (Q-46)."""
        found = decide(
            AddressLiteral(ip_address("192.0.2.1")), sts=Sts.SILENT, dane=NO_DANE, require_tls=UNSET
        )
        assert isinstance(found, Demand)
        self.assertEqual(found.names, ())

    def test_dmarc_report(self) -> None:
        """
        A DMARC report does not go out in the clear after TLS has failed, unless
        it says C{TLS-Required: No} (Q-60).
        """
        self.assertFalse(self.demand(is_dmarc_report=True).may_fall_back)
        self.assertTrue(self.demand(is_dmarc_report=True, require_tls=NO).may_fall_back)

    def test_modes(self) -> None:
        """The words for metrics (Q-91)."""
        self.assertEqual(
            [
                self.demand().mode,
                self.demand(Sts.ENFORCED).mode,
                self.demand(dane=USABLE).mode,
                self.demand(Sts.ENFORCED, UNUSABLE).mode,
                self.demand(Sts.ENFORCED, require_tls=NO).mode,
                plain(HOST).mode,
            ],
            [
                "opportunistic",
                "requiredstarttls+mtasts",
                "requiredstarttls+dane",
                "requiredstarttls+mtasts+dane",
                "opportunistic+mtasts",
                "skip",
            ],
        )

    def test_why(self) -> None:
        """Each reason is told."""
        self.assertIn("DANE", self.demand(dane=USABLE).why)
        self.assertIn("none of them usable", self.demand(dane=UNUSABLE).why)
        self.assertIn("waives", self.demand(Sts.ENFORCED, require_tls=NO).why)
        self.assertIn("REQUIRETLS", self.demand(Sts.ENFORCED, require_tls=YES).why)
        self.assertIn("waives", self.demand(Sts.MISMATCH, require_tls=NO).why)
        self.assertIn("unknown", self.demand(dane=FAILED, require_tls=NO).why)

    def test_plain(self) -> None:
        """The repetition in the clear asks for no TLS at all (Q-60)."""
        self.assertIs(plain(HOST).starttls, StartTLS.NEVER)
        self.assertFalse(plain(HOST).may_fall_back)


class SmarthostTests(SynchronousTestCase):
    """Q-45."""

    def demands(self, require_tls: RequireTLS) -> list[str]:
        """By each kind of TLS."""
        return [
            words(to_smarthost(Smarthost("x", HOST, 587, tls), require_tls)) for tls in SmarthostTLS
        ]

    def test_as_configured(self) -> None:
        """What is configured counts; C{TLS-Required: No} weakens nothing (Q-45, Q-43)."""
        expected = [
            "immediate, PKIX", "always, PKIX", "always, unverified", "never, unverified",
        ]  # fmt: skip
        self.assertEqual(self.demands(UNSET), expected)
        self.assertEqual(self.demands(NO), expected)

    def test_require_tls(self) -> None:
        """REQUIRETLS over what is not verified: 554 5.7.30, for good (Q-45)."""
        self.assertEqual(
            self.demands(YES),
            [
                "immediate, PKIX, REQUIRETLS",
                "always, PKIX, REQUIRETLS",
                "refused 554 7.30 for good",
                "refused 554 7.30 for good",
            ],
        )
