"""The access log: one line for each session, written in batches.

Separate from :mod:`twisted.logger`, whose events cost more than a whole connection's negotiation.
Records become lines at once and reach the file a moment later; :meth:`AccessLog.close` leaves none
behind. Rotation: the file is opened anew when asked (:meth:`AccessLog.reopen`) or when its path no
longer leads to the open file. A disk that is full or gone loses records, which is logged once and
counted; it never stops a session.

Floor 1½: imports :mod:`socks5.interfaces`.
"""

from __future__ import annotations

import json
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from socks5.interfaces import IAccessLog, Record

STANDARD_OUTPUT = "-"
"""The path that stands for the standard output."""

FLUSH_INTERVAL = 0.25
"""Seconds that a line waits at the most before it is written."""

MAX_WAITING = 4 << 20
"""Octets that wait at the most for an output that has stopped taking them; records beyond are lost."""

_CHUNK = select.PIPE_BUF
"""What a pipe that takes octets at all takes without blocking (pipe(7))."""

FLUSH_LINES = 1000
"""Lines that wait at the most."""


def _timestamp() -> str:
    """Now, in UTC, to the millisecond (RFC 3339)."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


def as_json(record: Record) -> str:
    """A JSON object on one line; the fields of :class:`~socks5.interfaces.Record`, and ``time``."""
    return json.dumps(
        {
            "time": _timestamp(),
            **({} if record.worker is None else {"worker": record.worker}),
            "session": record.session,
            "user": record.user,
            "client": record.client,
            "command": record.command,
            "target": record.target,
            "bound": record.bound,
            "reply": record.reply,
            "bytes_up": record.bytes_up,
            "bytes_down": record.bytes_down,
            "seconds": round(record.seconds, 6),
            "reason": record.reason,
            "dropped": record.dropped,
        }
    )


def _readable(text: str) -> str:
    """Text from outside on one line: control characters as ``\\xNN``."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _word(text: str) -> str:
    """The same as one word."""
    return _readable(text).replace(" ", "\\x20")


def as_text(record: Record) -> str:
    """A line for a person: when, who, what, how it went, how much, how long, why it ended."""
    who = record.client if record.user is None else f"{_word(record.user)}@{record.client}"
    what = f"{record.command} {_word(record.target or '')}" if record.command else "no request"
    how = "" if record.reply is None else f" reply {record.reply}"
    number = record.session if record.worker is None else f"{record.worker}-{record.session}"
    dropped = f" {record.dropped} dropped" if record.dropped else ""
    return (
        f"{_timestamp()} #{number} {who} {what}{how} up {record.bytes_up} down {record.bytes_down}"
        f"{dropped} {record.seconds:.3f} s: {_readable(record.reason)}"
    )


_STANDARD_OUTPUT_DESCRIPTOR = 1

FORMATS: dict[str, Callable[[Record], str]] = {"json": as_json, "text": as_text}
"""What ``--access-log-format`` offers."""


@implementer(IAccessLog)
class AccessLog:
    """Writes records to a file.

    :param reactor: the clock of the batches.
    :param path: the file, appended to and created where missing; "-" is the standard output.
    :param form: makes the line, without its end.
    :param output: the descriptor that "-" stands for; None: 1.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        form: Callable[[Record], str] = as_json,
        output: int | None = None,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._output = _STANDARD_OUTPUT_DESCRIPTOR if output is None else output
        self._form = form
        self._lines: list[str] = []
        self._descriptor: int | None = None
        self._flushing: IDelayedCall | None = None
        self._is_failing = False
        self._is_torn = False
        self._rest = b""
        self._at_once: int | None = None
        self.lost = 0
        """Records that could not be written."""

    def open(self) -> None:
        """Open the file now, so that a path that cannot be written is known at the start.

        :raises OSError: it cannot be opened for appending.
        """
        if self._path == STANDARD_OUTPUT:
            # The descriptor itself: Twisted turns sys.stdout into a logger.
            os.fstat(self._output)  # it may be closed
            self._descriptor = self._output
        else:
            # Without waiting for a reader, if it is a named pipe.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o666)
        is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._at_once = None if is_file else _CHUNK

    def write(self, record: Record) -> None:
        """See :meth:`socks5.interfaces.IAccessLog.write`."""
        self._lines.append(self._form(record) + "\n")
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._flushing is None:
            self._flushing = self._reactor.callLater(FLUSH_INTERVAL, self.flush)

    def flush(self) -> None:
        """Write every line that waits."""
        flushing, self._flushing = self._flushing, None
        if flushing is not None and flushing.active():
            flushing.cancel()
        lines, self._lines = self._lines, []
        rest, self._rest = self._rest, b""
        data = rest + "".join(lines).encode("utf-8", "backslashreplace")
        if data:
            self._append(data)

    def _append(self, data: bytes) -> None:
        """Write whole lines, as many of them as the disk takes. Half a line that an earlier failure
        left behind gets its end first.
        """
        rest = data
        try:
            descriptor = self._current()
            if self._is_torn:
                os.write(descriptor, b"\n")
                self._is_torn = False
            while rest and self._takes_octets(descriptor):
                rest = rest[os.write(descriptor, rest[: self._at_once]) :]
        except OSError as error:
            self._is_torn = self._is_torn or (len(rest) < len(data) and data[-len(rest) - 1] != 10)
            self._close()  # to be opened anew for the next lines
            self._lose(rest.count(b"\n"), error.strerror)
        else:
            if not rest:
                self._succeeded()
            self._keep(rest)

    @staticmethod
    def _takes_octets(descriptor: int) -> bool:
        """Whether a small write would not block: a terminal or a pipe may have stopped reading."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _keep(self, rest: bytes) -> None:
        """Try what was not taken again with the next lines; there is an end to that, too."""
        if len(rest) > MAX_WAITING:
            whole = rest.rfind(b"\n", 0, MAX_WAITING) + 1
            self._lose(rest.count(b"\n", whole), "nobody reads them")
            rest = rest[:whole]
        self._rest = rest
        if rest and self._flushing is None:
            self._flushing = self._reactor.callLater(FLUSH_INTERVAL, self.flush)

    def _current(self) -> int:
        """The descriptor of the file that the path leads to now.

        :raises OSError: it cannot be opened for appending.
        """
        if self._is_moved():
            self._change()
        if self._descriptor is None:
            self.open()
        assert self._descriptor is not None
        return self._descriptor

    def _is_moved(self) -> bool:
        """Whether the path no longer leads to the open file: rotated away, or removed."""
        if self._path == STANDARD_OUTPUT or self._descriptor is None:
            return False
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        except OSError:  # not to be seen, which says nothing about the open file
            return False
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _lose(self, count: int, reason: str | None) -> None:
        """Records are lost; said once, until something is written again."""
        self.lost += count
        if not self._is_failing:
            self._is_failing = True
            self._log.error(
                "access log {path} loses records: {reason}", path=self._path, reason=reason
            )

    def _succeeded(self) -> None:
        if self._is_failing:
            self._is_failing = False
            self._log.info(
                "access log {path} is written again; {lost} records are lost",
                path=self._path,
                lost=self.lost,
            )

    def reopen(self) -> None:
        """Write what waits, and continue in the file that the path leads to now."""
        self.flush()
        self._change()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.flush()
        flushing, self._flushing = self._flushing, None
        if flushing is not None:  # an output that has stopped taking octets
            flushing.cancel()
            self._lose(self._rest.count(b"\n"), "nobody reads them")
        self._close()

    def _change(self) -> None:
        self._close()
        self._is_torn = False

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and self._path != STANDARD_OUTPUT:
            with suppress(OSError):  # whatever it says, the descriptor is gone
                os.close(descriptor)
