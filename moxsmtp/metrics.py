"""
What is counted, for Prometheus.  The only importer of C{prometheus_client}.

Names that begin with C{mox_} are those of mox, with its labels, so that its
dashboards and alert rules work here; names of ours begin with C{moxsmtp_}.
Label values are from bounded sets: no addresses, no domains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from zope.interface import implementer

from moxsmtp.interfaces import IMetrics

M = TypeVar("M", Counter, Histogram, Gauge)

__all__ = ["COUNTERS", "FROM_START", "GAUGES", "HISTOGRAMS", "Metrics", "process_metrics"]

#: Counters: name without C{_total}, help, labels.
COUNTERS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("mox_smtpserver_connection", "Incoming connections.", ("kind",)),
    ("mox_smtpserver_delivery", "Messages from outside, by recipient.", ("result", "reason")),
    ("mox_smtpserver_submission", "Messages handed in by users.", ("result",)),
    ("mox_smtpserver_errors", "Trouble while working on a message.", ("error",)),
    ("mox_smtpserver_delivery_starttls", "Handshakes begun on port 25.", ()),
    ("mox_smtpserver_delivery_starttls_errors", "Handshakes failed on port 25.", ("reason",)),
    ("mox_authentication", "Attempts to log in.", ("kind", "variant", "result")),
    ("mox_authentication_ratelimited", "Turned away: too many failed attempts.", ("kind",)),
    ("mox_panic", "Unexpected exceptions: bugs, or a broken environment.", ("pkg",)),
    ("mox_dkim_sign", "Signatures put on mail of our domains.", ("key",)),
    ("mox_queue_connection", "Connections made to deliver mail.", ("result",)),
    ("mox_queue_destinations", "Destinations whose hosts were found.", ()),
    ("mox_queue_destinations_authentic", "Of them, those that DNSSEC vouches for.", ()),
    ("mox_queue_destination_dane_required", "Hosts with TLSA records.", ()),
    (
        "mox_queue_destination_dane_starttlsunverified",
        "Hosts whose TLSA records are of no use.",
        (),
    ),
    ("mox_queue_destination_dane_gathertlsa_errors", "Hosts whose TLSA records are unknown.", ()),
    ("mox_queue_tlsrequiredno_ignored", "Policies that senders waived.", ("ignored",)),
    ("mox_queue_requiretls_unsupported", "Hosts that REQUIRETLS ruled out.", ("reason",)),
    ("mox_queue_plaintext_fallback", "Connections in the clear where TLS had failed.", ()),
    ("mox_queue_dmarcreport_failure", "DMARC reports of ours that could not be delivered.", ()),
    ("mox_webhook_results", "Answers to webhook calls.", ("code",)),
    ("moxsmtp_mtasts_fetches", "MTA-STS policies fetched over HTTPS.", ("result",)),
    ("moxsmtp_mtasts_refreshes", "Kept MTA-STS policies looked at.", ("result",)),
    ("moxsmtp_early_talkers", "Clients on port 25 that did not wait for the greeting.", ()),
    ("moxsmtp_store_missing_content", "Stored messages whose content is gone.", ()),
    ("moxsmtp_handed_over", "Messages put into a Maildir.", ()),
    ("moxsmtp_worker_ends", "Worker processes that ended and had to be replaced.", ()),
    ("moxsmtp_worker_silent", "Times that a worker did not tell its counts in time.", ()),
)

_COMMAND_BUCKETS: Final = (
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 60, 120,
)  # fmt: skip
_CHECK_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20)
_CALL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 60, 120)

#: Histograms: name, help, labels, upper bounds in seconds.
HISTOGRAMS: Final[tuple[tuple[str, str, tuple[str, ...], tuple[float, ...]], ...]] = (
    (
        "mox_smtpserver_command_duration_seconds",
        "From a command to its reply.",
        ("kind", "cmd", "code", "ecode"),
        _COMMAND_BUCKETS,
    ),
    (
        "mox_queue_delivery_duration_seconds",
        "Attempts to deliver.",
        ("attempt", "transport", "tlsmode", "result"),
        _CALL_BUCKETS,
    ),
    ("mox_webhook_request_duration_seconds", "Webhook calls.", (), _CALL_BUCKETS),
    (
        "mox_spf_verify_duration_seconds",
        "SPF of messages from outside, its DNS included.",
        ("status",),
        _CHECK_BUCKETS,
    ),
    (
        "mox_dkim_verify_duration_seconds",
        "Signatures of messages from outside, from the message's end.",
        ("algorithm", "status"),
        _CHECK_BUCKETS,
    ),
    (
        "mox_dmarc_verify_duration_seconds",
        "DMARC of messages from outside, its DNS included.",
        ("status", "reject", "use"),
        _CHECK_BUCKETS,
    ),
    # A histogram, whatever its name says: that is what mox's is called.
    (
        "mox_iprev_lookup_total",
        "Names of clients' addresses.",
        ("status",),
        (*_CHECK_BUCKETS, 30),
    ),
)

#: Series of counters that are there from the start, at zero, by the values of the
#: labels.  To Prometheus a series that appears with its first event has not
#: increased, so that no alert would tell of it.
FROM_START: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "mox_smtpserver_connection": (("smtp",), ("submission",)),
    "mox_smtpserver_delivery": tuple(
        (result, "")
        for result in ("delivered", "reject", "unknownuser", "accounterror", "delivererror")
    ),
    "mox_smtpserver_submission": tuple(
        (result,)
        for result in (
            "ok", "badmessage", "badfrom", "badheader", "messagelimiterror",
            "recipientlimiterror", "missingsmtputf8", "queueerror",
        )
    ),
    "mox_smtpserver_errors": (("dkimsign",), ("queuedsn",)),
    "mox_smtpserver_delivery_starttls_errors": tuple(
        (reason,) for reason in ("eof", "sslv2", "unsupportedversions", "nottls", "other")
    ),
    "mox_authentication_ratelimited": (("submission",),),
    "moxsmtp_mtasts_fetches": tuple(
        (result,)
        for result in (
            "ok", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
        )
    ),
    "moxsmtp_mtasts_refreshes": tuple(
        (result,) for result in ("unchanged", "replaced", "removed", "failed")
    ),
    "mox_panic": tuple(
        (package,)
        for package in (
            "smtpserver", "outbound", "spfverify", "dkimverify", "dmarcverify", "iprevverify",
        )
    ),
}  # fmt: skip

#: Gauges: name, help, labels.
GAUGES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("moxsmtp_connections", "SMTP connections open.", ("listener", "protocol")),
    ("mox_queue_hold", "Messages on hold in the queue.", ()),
    ("moxsmtp_queue_messages", "Messages in the queue.", ()),
    ("moxsmtp_workers", "Worker processes that take connections.", ()),
    ("moxsmtp_webhook_queue", "Webhook calls that wait.", ()),
    ("moxsmtp_dnsbl_healthy", "Whether a configured DNSBL can be believed: 1 or 0.", ("zone",)),
)


#: A name with the values of its labels.
Series = tuple[str, tuple[tuple[str, str], ...]]

#: A name, its labels, their value, and whether that only grows.
Counted = tuple[str, list[tuple[str, str]], float, bool]

#: Whose samples each name is of.
_FAMILIES: Final[Mapping[str, str]] = {
    **{f"{name}_total": name for name, *_ in COUNTERS},
    **{f"{name}_{part}": name for name, *_ in HISTOGRAMS for part in ("bucket", "count", "sum")},
    **{name: name for name, *_ in GAUGES},
}

_OURS: Final = frozenset(_FAMILIES.values())


@implementer(IMetrics)
class Metrics:
    """Keeps the counts of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._counters = {
            f"{name}_total": Counter(name, text, labels, registry=registry)
            for name, text, labels in COUNTERS
        }
        for name, series in FROM_START.items():
            for values in series:
                self._counters[f"{name}_total"].labels(*values)
        self._histograms = {
            name: Histogram(name, text, labels, registry=registry, buckets=buckets)
            for name, text, labels, buckets in HISTOGRAMS
        }
        self._gauges = {
            name: Gauge(name, text, labels, registry=registry) for name, text, labels in GAUGES
        }
        # The hot path: finding a labelled child costs several times its increment.
        self._children: dict[tuple[str, ...], Counter | Histogram | Gauge] = {}

    def count(self, name: str, **labels: str) -> None:
        """One more.  @raise KeyError: There is no such counter."""
        child = self._child(name, labels, self._counters[name])
        child.inc()

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """It took this long.  @raise KeyError: There is no such histogram."""
        child = self._child(name, labels, self._histograms[name])
        child.observe(seconds)

    def move(self, name: str, step: int, **labels: str) -> None:
        """A gauge goes up or down.  @raise KeyError: There is no such gauge."""
        child = self._child(name, labels, self._gauges[name])
        child.inc(step)

    def level(self, name: str, value: int, **labels: str) -> None:
        """A gauge now stands at C{value}.  @raise KeyError: There is no such gauge."""
        self._child(name, labels, self._gauges[name]).set(value)

    def samples(self) -> Sequence[Counted]:
        """What is counted here, for the process that adds up what several have counted."""
        return [
            (sample.name, sorted(sample.labels.items()), sample.value, family.type != "gauge")
            for family in self._registry.collect()
            if family.name in _OURS
            for sample in family.samples
            if sample.name in _FAMILIES
        ]

    def exposition(self, others: Mapping[Series, float] = {}) -> bytes:
        """
        All of it in Prometheus's text format.

        @param others: What other processes have counted, to be added.
        """
        return generate_latest(_Sum(self._registry, others) if others else self._registry)

    def _child(self, name: str, labels: dict[str, str], parent: M) -> M:
        if not labels:
            return parent
        key = (name, *labels, *labels.values())
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = parent.labels(**labels)
        return cast("M", child)


class _Sum(CollectorRegistry):
    """One registry, and values from elsewhere."""

    def __init__(self, registry: CollectorRegistry, others: Mapping[Series, float]) -> None:
        super().__init__()
        self._one = registry
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """See C{CollectorRegistry}."""
        left: dict[str, list[Series]] = {}
        for series in self._others:
            left.setdefault(_FAMILIES.get(series[0], series[0]), []).append(series)
        for family in self._one.collect():
            found = Metric(family.name, family.documentation, family.type)
            known = set()
            for sample in family.samples:
                series = sample.name, tuple(sorted(sample.labels.items()))
                known.add(series)
                value = sample.value + self._others.get(series, 0.0)
                found.samples.append(sample._replace(value=value))
            for name, labels in left.get(family.name, ()):
                if (name, labels) not in known:
                    found.add_sample(name, dict(labels), self._others[name, labels])
            yield found


def process_metrics() -> Metrics:
    """Ours, and what Prometheus's client tells of the process."""
    # A second series for each, with the time it began, is of no use to anybody.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return Metrics(registry)
