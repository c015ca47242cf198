"""Verdicts of DMARC that are found again."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxsmtp.dkim.result import Status as DKIMStatus
from moxsmtp.dmarc import Result, Status, verify
from moxsmtp.dns.memory import Memory
from moxsmtp.dns.records import Answer, LookupFailed, Question, RRType
from moxsmtp.interfaces import IResolver
from moxsmtp.names import parse_domain
from moxsmtp.spf.result import Result as SPFResult
from moxsmtp.spf.result import Status as SPFStatus
from tests.dmarc.zones import FAILED, SilentResolver, asked, dkim, dmarc_zone, spf
from tests.spf.asking import SlowResolver

REJECT: Final = "v=DMARC1; p=reject"
ANSWERS: Final = (
    REJECT,
    "v=DMARC1; p=none; np=reject",
    "v=DMARC1; p=quarantine; psd=n",
    "hello",
    Answer((REJECT.encode(),), authentic=True),
    Answer((), authentic=True, exists=False),
    Answer((), exists=False, canonical_name="elsewhere.example"),
    FAILED,
)
NAMES: Final = ("a.example.com", "example.com", "com")


class MemoryTests(SynchronousTestCase):
    """L{verify} with a L{Memory}."""

    def setUp(self) -> None:
        self.memory = Memory[Result]()
        self.resolver = dmarc_zone({"example.com": REJECT})

    def judging(
        self, resolver: IResolver, *authors: str, spf: SPFResult, signer: str = ""
    ) -> Deferred[Result]:
        """A check under way."""
        return Deferred.fromCoroutine(
            verify(
                resolver,
                [parse_domain(author) for author in authors],
                spf=spf,
                dkim=dkim(signer) if signer else (),
                memory=self.memory,
            )
        )

    def found(
        self, *authors: str, sender: str = "", signer: str = "", spf_status: str = "pass"
    ) -> Result:
        """The verdict."""
        result = spf(sender or None, SPFStatus(spf_status))
        return self.successResultOf(
            self.judging(self.resolver, *authors, spf=result, signer=signer)
        )

    def test_unchanged(self) -> None:
        """The same answers and identifiers give the same verdict, and nothing else is asked."""
        first = self.found("example.com", sender="example.com")
        names = asked(self.resolver)
        self.assertIs(self.found("example.com", sender="example.com"), first)
        self.assertEqual(asked(self.resolver), names + names)

    def test_identifiers(self) -> None:
        """A verdict is that of one author and of what SPF and DKIM said of whom."""
        self.assertEqual(self.found("example.com", sender="example.com").status, Status.PASS)
        self.assertEqual(self.found("example.com").status, Status.FAIL)
        self.assertEqual(self.found("example.com", signer="example.com").status, Status.PASS)
        self.assertEqual(self.found("example.com", signer="example.net").status, Status.FAIL)
        self.assertEqual(self.found("a.example.com", signer="example.com").alignment, "dmarc")
        unsure = self.found("example.com", sender="example.com", spf_status="temperror")
        self.assertEqual(unsure.status, Status.TEMPERROR)
        failed = self.found("example.com", sender="example.com", spf_status="fail")
        self.assertEqual(failed.status, Status.FAIL)

    def test_several_authors(self) -> None:
        """A message of several authors is judged anew: their time limits decide too."""
        self.found("example.com", "example.net")
        self.assertEqual(len(self.memory), 0)

    def test_awaited_answer(self) -> None:
        """An answer that is not there at once is awaited, asked for once, and obeyed."""
        self.found("example.com", sender="example.com")
        slow = SlowResolver({"_dmarc.com": "v=DMARC1; p=none; psd=y"})
        judging = self.judging(slow, "example.com", spf=spf("example.com"))
        for _ in range(2):
            self.assertNoResult(judging)
            slow.answer()
        self.assertEqual(self.successResultOf(judging).policy, "none")
        self.assertEqual(
            [question.name for question in slow.asked], ["_dmarc.example.com", "_dmarc.com"]
        )

    def test_cancelled(self) -> None:
        """Who gives up waiting for an answer gives up the look-up."""
        self.found("example.com", sender="example.com")
        silent = SilentResolver()
        judging = self.judging(silent, "example.com", spf=spf("example.com"))
        judging.cancel()
        self.failureResultOf(judging, CancelledError)
        self.assertEqual(silent.cancelled, [Question("_dmarc.example.com", RRType.TXT)])

    @given(
        st.lists(
            st.tuples(
                st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ANSWERS)),
                st.sampled_from([*NAMES[:2], "other.example"]),
                st.sampled_from([SPFStatus.PASS, SPFStatus.TEMPERROR, SPFStatus.FAIL]),
                st.sampled_from([DKIMStatus.PASS, DKIMStatus.FAIL]),
            ),
            max_size=8,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_never_another_verdict(
        self,
        messages: list[tuple[dict[str, str | Answer | LookupFailed], str, SPFStatus, DKIMStatus]],
    ) -> None:
        """Whatever came before, and however the DNS changes, a verdict is that of now."""
        memory = Memory[Result](3)
        for zone, identifier, by_spf, by_dkim in messages:
            results = [
                self.successResultOf(
                    Deferred.fromCoroutine(
                        verify(
                            dmarc_zone(zone),
                            [parse_domain("a.example.com")],
                            spf=spf(identifier, by_spf),
                            dkim=dkim("example.com", status=by_dkim),
                            memory=remembered,
                        )
                    )
                )
                for remembered in (memory, None, memory)
            ]
            self.assertEqual(results, results[1:2] * 3)
