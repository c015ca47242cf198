"""What the log is told of what a session refuses."""

from __future__ import annotations

from typing import Any, Final

from twisted.logger import LogLevel

from moxsmtp.receive.accepted import greeted_as, shown
from moxsmtp.receive.session_log import SessionLog
from moxsmtp.smtp.address import Path
from moxsmtp.smtp.commands import Mail, Rcpt, Verb
from moxsmtp.smtp.events import UNANSWERED, Event, Refusal
from moxsmtp.smtp.reply import Reply
from moxsmtp.smtp.session import Session

__all__ = ["Refusals", "verb_of"]

#: Whose refusal costs a message.
_OF_TRANSACTION: Final = frozenset({Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT})

#: So many of one session are told; who goes on fills no log.
_TOLD: Final = 20

#: Recipients that are named.
_NAMED: Final = 5

#: Octets that are shown of a line that was not understood.
_SHOWN: Final = 200

_PLAIN: Final = "refused {verb} with {code}: {reason}"
_SENDER: Final = "refused {verb} with {code} {status}: {reason}; from <{reverse_path}> by {hello}"
_ENVELOPE: Final = _SENDER + " to {recipient}"
_LINE: Final = "refused {verb} with {code} {status}: {reason}; {hello} said {line}"


class Refusals:
    """
    Those of one connection.  Of what costs a message, an operator sees who brought
    it, from whom and for whom, and why it was refused; the rest is for debugging.
    """

    __slots__ = ("_count", "_log", "_named", "_recipients", "_sender", "_session")

    def __init__(self, session: Session, log: SessionLog) -> None:
        self._session = session
        self._log = log
        self._count = 0
        self._sender: Mail | None = None
        #: The first of the recipients, and how many there are.
        self._named: tuple[Path, ...] = ()
        self._recipients = 0

    # -- the transaction under way

    def begin(self, command: Mail) -> None:
        """It has a sender."""
        self._sender = command
        self._named = ()
        self._recipients = 0

    def add(self, command: Rcpt) -> None:
        """It has one recipient more."""
        self._recipients += 1
        if self._recipients <= _NAMED:
            self._named += (command.forward_path,)

    def forget(self) -> None:
        """There is none."""
        self._sender = None
        self._named = ()
        self._recipients = 0

    # -- what is told

    def tell(
        self, event: Event, reply: Reply, reason: str = "", *, is_ours: bool | None = None
    ) -> None:
        """
        An event is answered with that.

        @param reason: Empty: the reply says it all.
        @param is_ours: The trouble is our own (S-112); L{None}: nobody raised anything.
        """
        verb = verb_of(event)
        fields: dict[str, Any] = {}
        if verb in _OF_TRANSACTION:
            text, fields = self._circumstances(event)
            level = LogLevel.warn if is_ours else self._level()
        elif is_ours is None and not reason:
            return
        else:
            text, level = _PLAIN, LogLevel.warn if is_ours else LogLevel.debug
        self._log.write(
            level,
            text,
            verb=verb,
            code=reply.code,
            status=reply.enhanced_status or "",
            reason=reason or reply.text,
            **fields,
        )

    def _level(self) -> Any:
        self._count += 1
        return LogLevel.info if self._count <= _TOLD else LogLevel.debug

    def _circumstances(self, event: Event) -> tuple[str, dict[str, Any]]:
        """How it is told, and with what."""
        hello = greeted_as(self._session.client)
        if isinstance(event, Refusal):
            line = self._session.line[:_SHOWN].decode("latin-1")
            return _LINE, {"hello": hello, "line": line.encode("unicode_escape").decode("ascii")}
        sender, named, count = self._sender, self._named, self._recipients
        if isinstance(event, Mail):
            sender, named, count = event, (), 0
        elif isinstance(event, Rcpt):
            named, count = (event.forward_path,), 1
        names = [path.unicode for path in named]
        recipient = ", ".join(f"<{name}>" for name in names)
        if count > len(names):
            recipient += f" and {count - len(names)} more"
        return _ENVELOPE if names else _SENDER, {
            "reverse_path": shown(sender.reverse_path if sender is not None else None),
            "hello": hello,
            "forward_paths": names,
            "recipients": count,
            "recipient": recipient,
        }

    def end(self) -> None:
        """The connection is gone: nothing is refused any more."""
        untold = self._count - _TOLD
        if untold > 0:
            self._log.write(LogLevel.info, "{count} more were refused", count=untold)


def verb_of(event: Event) -> Verb | None:
    """What it came with; L{None} if that is no command that we know."""
    return None if isinstance(event, UNANSWERED) else event.verb
