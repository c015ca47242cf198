"""
Log observers: lines of text for people, lines of JSON for programs.

Text from the network reaches logs; neither form lets a control character of
it reach a terminal or begin a line of its own.
"""

from __future__ import annotations

import enum
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
)
from twisted.python.failure import Failure
from zope.interface import implementer, provider

__all__ = ["Form", "JSONObserver", "TextObserver", "Threshold", "printable", "write_log"]

#: Keys that every line has; a field of the same name gets an underscore behind it.
_OWN_KEYS: Final = frozenset({"time", "level", "namespace", "text", "traceback"})

#: Where what is written through C{twisted.python.log} comes from.
_LEGACY: Final = "log_legacy"

#: What C{twisted.python.log} adds to events of old code; all of it is in the text.
_LEGACY_KEYS: Final = frozenset({"isError", "format", "message", "time", "system", "why"})

# Literal text, doubled braces, and fields such as "{name}" or "{until:%H:%M}".
_NAMES_ONLY: Final = re.compile(r"(?>(?:[^{}]|\{\{|\}\}|\{[A-Za-z_]\w*(?:![rs])?(?::[^{}]*)?\})*)")

#: What is finer than debugging: those who write it know whether it is wanted.
_TRACES: Final = frozenset({"trace", "traceauth", "tracedata"})

#: The levels by how much they matter.
_WEIGHTS: Final[Mapping[object, int]] = {
    level: weight for weight, level in enumerate(LogLevel.iterconstants())
}

#: How deep containers in a field are followed.
_DEPTH: Final = 4


class Form(enum.StrEnum):
    """How a log is written."""

    TEXT = "text"
    JSON = "json"


def printable(text: str) -> str:
    """C{text} on one line, with escapes where a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _time(event: LogEvent) -> str:
    """When, in UTC.  RFC 3339."""
    seconds = event.get("log_time", 0.0)
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _text(event: LogEvent) -> str:
    """The message; an event that cannot be formatted says so instead of raising."""
    failure = event.get("log_failure")
    text = _plainly_formatted(event)
    if text is None:
        text = formatEvent(event)
    if not text and failure is not None:
        return f"{failure.type.__name__}: {failure.value}"
    return text


def _plainly_formatted(event: LogEvent) -> str | None:
    """
    Most formats name fields and no more; then this gives what C{formatEvent}
    gives, in a fifth of its time.

    @return: L{None}: that is for C{formatEvent} to do.
    """
    pattern = event.get("log_format")
    if not isinstance(pattern, str) or not _names_only(pattern):
        return None
    try:
        return pattern.format_map(event)
    except Exception:  # noqa: BLE001 - it knows what to say of fields that are not there
        return None


@functools.lru_cache(maxsize=1024)
def _names_only(pattern: str) -> bool:
    """Whether C{pattern} calls nothing and looks into nothing."""
    return _NAMES_ONLY.fullmatch(pattern) is not None


def _session(event: LogEvent) -> str:
    """
    Whose line it is: the connection's number, the client, the time since the last
    such line, the user (S-9).
    """
    if "session" not in event:
        return ""
    parts = [f"session {event['session']}"]
    if "client" in event:
        parts.append(str(event["client"]))
    if "delta" in event:
        parts.append(f"+{event['delta']:.3f}s")
    if "username" in event:
        parts.append(str(event["username"]))
    return f" [{' '.join(parts)}]"


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return ""
    try:
        return failure.getTraceback()
    except Exception as error:  # noqa: BLE001 - whatever a foreign __repr__ raises
        return f"(no traceback: {type(error).__name__})"


@implementer(ILogObserver)
class TextObserver:
    """
    C{time level text [session]}, one line an event; a traceback follows, each
    line indented.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        text = printable(_text(event) + _session(event))
        lines = [f"{_time(event)} {_level(event):<5} {text}"]
        lines += [f"    {printable(line)}" for line in _traceback(event).splitlines()]
        write_log(self._file, "\n".join(lines) + "\n")


@implementer(ILogObserver)
class JSONObserver:
    """One object an event: time, level, namespace, text, traceback, and its fields as keys."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        entry: dict[str, object] = {
            "time": _time(event),
            "level": _level(event),
            "namespace": str(event.get("log_namespace", "")),
            "text": _text(event),
        }
        traceback = _traceback(event)
        if traceback:
            entry["traceback"] = traceback
        entry.update(_fields(event))
        # ASCII only: every control character, and U+2028, is an escape.
        write_log(self._file, json.dumps(entry, ensure_ascii=True, allow_nan=False) + "\n")


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """What the logging code stated beside its message."""
    is_legacy = event.get("log_namespace") == _LEGACY
    for key, value in event.items():
        if key.startswith("log_") or (is_legacy and key in _LEGACY_KEYS):
            continue
        yield f"{key}_" if key in _OWN_KEYS else key, _plain(value, _DEPTH)


def _plain(value: object, depth: int) -> object:
    """A field's value as JSON has it; what JSON lacks becomes text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth and isinstance(value, (tuple, list)):
        return [_plain(element, depth - 1) for element in value]
    if depth and isinstance(value, Mapping):
        return {_string(key): _plain(element, depth - 1) for key, element in value.items()}
    return _string(value)


def _string(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - whatever a foreign __str__ raises
        return f"({type(value).__name__}: {type(error).__name__})"


def write_log(file: TextIO, text: str) -> None:
    """A log that cannot be written (full disk, reader gone) must not end the server."""
    try:
        try:
            file.write(text)
        except UnicodeEncodeError:  # a terminal that knows ASCII only
            file.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        file.flush()
    except (OSError, ValueError):
        return


class Threshold:
    """
    Drops what is less important than a level, which may change while running.

    Twisted's own filter asks for namespaces too, which we never set apart, and
    takes several times as long; a session's lines for debugging come here too.

    What Twisted's old code says in passing counts as debugging: it has a line
    for each socket opened and closed, those that ask the DNS included.

    A level is a name of C{twisted.logger.LogLevel}, or one of a trace, which is
    written at the level of debugging.
    """

    def __init__(self, level: str = "info") -> None:
        self.set(level)

    def set(self, level: str) -> None:
        """From now on."""
        self._least = _WEIGHTS[LogLevel.levelWithName("debug" if level in _TRACES else level)]

    def observer(self, observer: ILogObserver) -> ILogObserver:
        """The same observer behind this threshold."""

        def filtered(event: LogEvent) -> None:
            level = event.get("log_level")
            if level is LogLevel.info and event.get("log_namespace") == _LEGACY:
                level = LogLevel.debug
            if _WEIGHTS.get(level, -1) >= self._least:
                observer(event)

        # What only implements it, twistd takes for old code, and rewrites each event for it.
        kept: ILogObserver = provider(ILogObserver)(filtered)
        return kept
