"""How mail comes in: what each socket makes a receiver with, of a server's parts."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import lru_cache

from moxsmtp.entrances import ReceiverMaker
from moxsmtp.interfaces import IReceiver, Role
from moxsmtp.names import Domain
from moxsmtp.parts import Parts
from moxsmtp.receive.credentials import Credentials, Disguise
from moxsmtp.receive.delivery import Delivery
from moxsmtp.receive.receiver import House
from moxsmtp.receive.relay import Port25, Relay
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.receive.submission import Submission
from moxsmtp.smtp.reply_id import ReplyIds

__all__ = ["receivers"]


def receivers(parts: Parts, reply_ids: ReplyIds, disguise: Disguise) -> ReceiverMaker:
    """
    What each socket makes a receiver with, for each connection.

    @param reply_ids: Known once the database answers.
    @param disguise: For users that there are none of.
    """
    credentials = Credentials(
        parts.accounts,
        parts.hashes,
        parts.client_keys,
        disguise=disguise,
        cram_md5=lambda: parts.cram_md5,
        reactor=parts.reactor,
        pool=parts.engine.hashing,
    )
    house = House(
        hostname=parts.settings.hostname,
        accounts=parts.accounts,
        credentials=credentials,
        store=parts.mail_store,
        queue=parts.job_store,
        resolver=parts.resolver,
        policy=parts.surroundings.policy(parts.reactor),
        metrics=parts.metrics,
        # Asked for at least once a message, and always the same in a session.
        reply_id=lru_cache(maxsize=1024)(reply_ids.encode),
        now=parts.now,
        random_bytes=secrets.token_bytes,
        checks=parts.checks,
        organizational_domain=parts.suffixes.organizational_domain,
        signers=lambda: parts.signers,
        pedantic=parts.settings.pedantic,
        strict_mime=parts.settings.pedantic and parts.surroundings.strict_mime,
    )

    def maker(
        role: Role, hostname: Domain, tls_required: bool, checked: bool
    ) -> Callable[[SessionLog], IReceiver]:
        if role.is_submission:
            return lambda log: Submission(house, log, tls_required=tls_required)

        def delivery(log: SessionLog) -> Delivery:
            return Delivery(
                house,
                log,
                hostname=hostname,
                tls_required=tls_required,
                unknown_delay=parts.delays.unknown_recipient,
                clock=parts.reactor,
                checked=checked,
            )

        def port25(log: SessionLog) -> IReceiver:
            relays = parts.relays
            if not relays.settings:
                return delivery(log)
            return Port25(
                delivery(log),
                relays,
                lambda relay: Relay(house, log, relays, relay, tls_required=tls_required),
            )

        return port25

    return maker
