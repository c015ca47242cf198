"""The header fields that we put in front of a message from outside (I-74)."""

from __future__ import annotations

from moxsmtp.interfaces import Client, RequireTLS
from moxsmtp.message import authres, trace
from moxsmtp.names import Domain, InvalidName, parse_domain
from moxsmtp.receive.partial import Incoming
from moxsmtp.receive.results import method_results
from moxsmtp.receive.verification import Authentication
from moxsmtp.smtp.address import Path

__all__ = ["Prefix", "result_fields"]


class Prefix:
    """What all recipients of a message get, written once."""

    def __init__(
        self,
        arrival: Incoming,
        authentication: Authentication,
        *,
        hostname: Domain,
        receiver: Domain,
        reply_id: str,
    ) -> None:
        """
        @param hostname: The server's, the authserv-id too.
        @param receiver: The listener's.
        @param reply_id: The session's number in its opaque form.
        """
        self._arrival = arrival
        self._hostname = hostname
        self._reply_id = reply_id
        self._reverse_name = _domain(authentication.iprev.name)
        self._shared = b"".join(
            (
                trace.return_path(arrival.reverse_path, smtputf8=arrival.smtputf8),
                result_fields(
                    authentication,
                    client=arrival.client,
                    reverse_path=arrival.reverse_path,
                    hostname=hostname,
                    receiver=receiver,
                    smtputf8=arrival.smtputf8,
                ),
            )
        )

    def for_recipient(self, path: Path, member: Path | None = None) -> bytes:
        """
        Our header fields, the last hop first.

        @param member: Of the alias that C{path} is.
        """
        arrival = self._arrival
        return b"".join(
            (
                trace.delivered_to(member or path, smtputf8=arrival.smtputf8),
                self._shared,
                trace.received(
                    arrival.client,
                    hostname=self._hostname,
                    reply_id=self._reply_id,
                    forward_path=path,
                    smtputf8=arrival.smtputf8,
                    when=arrival.received,
                    reverse_name=self._reverse_name,
                    require_tls=arrival.require_tls is RequireTLS.YES,
                ),
            )
        )


def result_fields(
    authentication: Authentication,
    *,
    client: Client,
    reverse_path: Path | None,
    hostname: Domain,
    receiver: Domain,
    smtputf8: bool,
) -> bytes:
    """
    What the checks say: Authentication-Results and Received-SPF.  Where none was
    made, the former says so (RFC 8601 section 2.2), and the latter is not there.

    @param hostname: The server's, the authserv-id.
    @param receiver: The listener's.
    """
    if not authentication.is_made:
        return authres.authentication_results(hostname, (), smtputf8=smtputf8)
    result = authentication.spf
    return authres.authentication_results(
        hostname,
        method_results(authentication, address=client.address),
        smtputf8=smtputf8,
    ) + trace.received_spf(
        result=result.status.value,
        comment="with dnssec" if result.authentic else "without dnssec",
        client=client.address,
        reverse_path=reverse_path,
        hello=client.hello.name if client.hello is not None else None,
        problem=result.problem,
        mechanism=result.mechanism,
        receiver=receiver,
        identity=result.scope.value if result.scope is not None else "",
        smtputf8=smtputf8,
    )


def _domain(name: str) -> Domain | None:
    """The reverse name, if it is one that may be written in Received (I-13, S-83)."""
    if not name:
        return None
    try:
        return parse_domain(name)
    except InvalidName:
        return None
