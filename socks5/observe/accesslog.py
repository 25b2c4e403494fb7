"""The access log: one line for each session.

Separate from :mod:`twisted.logger`, whose events cost more than a whole connection's negotiation.
Records of one batch of ready sockets are made lines and written together, behind it, which costs less than one by
one: a process that is killed loses those of some milliseconds at the most. Only behind an output that has stopped
taking octets, or a disk that has just failed, lines wait for a moment.
Rotation: the file is opened anew when asked (:meth:`AccessLog.reopen`) or when its path is seen no longer to lead to
the open file. A disk that is full or gone loses records, which is logged once and
counted; it never stops a session.
"""

from __future__ import annotations

import json
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _string
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from socks5.access import SessionInfo
from socks5.interfaces import IAccessLog

STANDARD_OUTPUT = "-"
"""The path that stands for the standard output."""

RETRY_INTERVAL = 0.25
"""Seconds that lines wait for an output that does not take them."""

LOOK_INTERVAL = 0.01
"""Seconds between looks whether the path still leads to the open file: a look costs as much as a line, and lines for
a file that has been removed are lost.
"""

TOGETHER = 64
"""Records that are written together at the most."""

MAX_WAITING = 4 << 20
"""Octets that wait at the most for an output that has stopped taking them; records beyond are lost."""

_CHUNK = select.PIPE_BUF
"""What a pipe that takes octets at all takes without blocking (pipe(7))."""


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _timestamp() -> str:
    """Now, in UTC, to the millisecond (RFC 3339)."""
    now = time.time()
    return f"{_second(int(now))}.{int(now * 1000) % 1000:03d}Z"


def as_json(record: SessionInfo) -> str:
    """A JSON object on one line; the fields of :class:`~socks5.access.SessionInfo`, and ``time``. It is put together
    here, for an encoder that is made for each line takes longer than the line is worth.
    """
    user, command, target, bound = record.user, record.command, record.target, record.bound
    worker = "" if record.worker is None else f'"worker": {record.worker}, '
    rule = "" if record.rule is None else f'"rule": {_string(record.rule)}, '
    slowed = f'"slowed": {record.slowed:.6f}, ' if record.slowed else ""
    detail = f', "detail": {_string(record.detail)}' if record.detail else ""
    more = _what_rules_noted(record) if record.would or record.denied else ""
    through = "" if record.upstream is None else f'"upstream": {_string(record.upstream)}, '
    return (
        f'{{"time": "{_timestamp()}", {worker}"session": {record.session}, '
        f'"user": {"null" if user is None else _string(user)}, '
        f'"client": {_string(record.client)}, '
        f'"command": {"null" if command is None else _string(command)}, '
        f'"target": {"null" if target is None else _string(target)}, '
        f'"bound": {"null" if bound is None else _string(bound)}, '
        f'"reply": {"null" if record.reply is None else record.reply}, {rule}{through}'
        f'"bytes_up": {record.bytes_up}, "bytes_down": {record.bytes_down}, '
        f'"seconds": {record.seconds:.6f}, {slowed}"reason": {_string(record.reason)}{detail}, '
        f'"dropped": {record.dropped}, "drops": {json.dumps(dict(record.drops)) if record.drops else "{}"}{more}}}'
    )


def _what_rules_noted(record: SessionInfo) -> str:
    would = f', "would": {json.dumps(list(record.would))}' if record.would else ""
    denied = f', "denied": {json.dumps(dict(record.denied))}' if record.denied else ""
    return would + denied


def _readable(text: str) -> str:
    """Text from outside on one line: control characters as ``\\xNN``."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _word(text: str) -> str:
    """The same as one word."""
    return _readable(text).replace(" ", "\\x20")


_REPLIES = {
    0: "succeeded",
    1: "failed",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "refused",
    6: "timed out",
    7: "command not supported",
    8: "address type not supported",
}
"""REP octets in words; a line that says why a session ended says more."""


def _command(name: str) -> str:
    """An unknown one is its number."""
    return f"command {name}" if name.isdigit() else name


def as_text(record: SessionInfo) -> str:
    """A line for a person: when, who, what, how it went, how much, how long, why it ended."""
    who = record.client if record.user is None else f"{_word(record.user)}@{record.client}"
    what = (
        f"{_command(record.command)} {_word(record.target or '')}"
        if record.command
        else "no request"
    )
    reply = record.reply
    how = "" if reply is None else f" {_REPLIES.get(reply) or f'reply {reply:d}'}"
    how += "" if record.rule is None else f" by rule {_word(record.rule)}"
    how += "" if record.upstream is None else f" through {record.upstream}"
    how += f" but {', '.join(map(_word, record.would))}" if record.would else ""
    number = record.session if record.worker is None else f"{record.worker}-{record.session}"
    why = ", ".join(f"{reason} {count}" for reason, count in record.drops.items())
    dropped = f" {record.dropped} dropped ({why})" if record.dropped else ""
    slowed = f", {record.slowed:.3f} s slowed" if record.slowed else ""
    dropped += "".join(f" {count} by rule {_word(rule)}" for rule, count in record.denied.items())
    detail = f" ({_readable(record.detail)})" if record.detail else ""
    return (
        f"{_timestamp()} #{number} {who} {what}{how} up {record.bytes_up} down {record.bytes_down}"
        f"{dropped} {record.seconds:.3f} s{slowed}: {_readable(record.reason)}{detail}"
    )


_STANDARD_OUTPUT_DESCRIPTOR = 1

FORMATS: dict[str, Callable[[SessionInfo], str]] = {"json": as_json, "text": as_text}
"""What ``--access-log-format`` offers."""


@implementer(IAccessLog)
class AccessLog:
    """Writes records to a file.

    :param reactor: the clock of the batches.
    :param path: the file, appended to and created where missing; "-" is the standard output.
    :param form: makes the line, without its end.
    :param output: the descriptor that "-" stands for; None: 1.
    :param behind: such as :meth:`socks5.net.poller.Poller.behind`, for records that are written together; default:
        each is written at once.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        form: Callable[[SessionInfo], str] = as_json,
        output: int | None = None,
        behind: Callable[[Callable[[], object]], object] = lambda call: call(),
    ) -> None:
        self._reactor = reactor
        self._behind = behind
        self._path = path
        self._output = _STANDARD_OUTPUT_DESCRIPTOR if output is None else output
        self._form = form
        self._descriptor: int | None = None
        self._status: os.stat_result | None = None
        self._poll: select.poll | None = None
        self._looked = -LOOK_INTERVAL
        self._records: list[SessionInfo] = []
        self._waiting: list[bytes] = []
        self._octets_waiting = 0
        self._retrying: IDelayedCall | None = None
        self._is_failing = False
        self._torn: os.stat_result | None = None
        self.lost = 0
        """Records that could not be written."""

    def open(self) -> None:
        """Open the file now, so that a path that cannot be written is known at the start.

        :raises OSError: it cannot be opened for appending.
        """
        if self._path == STANDARD_OUTPUT:
            # The descriptor itself: Twisted turns sys.stdout into a logger.
            descriptor = self._output
        else:
            # Without waiting for a reader, if it is a named pipe.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o666)
        self._status = os.fstat(descriptor)  # the standard output may be closed
        self._descriptor = descriptor
        self._poll = None
        if not stat.S_ISREG(self._status.st_mode):
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    def write(self, record: SessionInfo) -> None:
        """See :meth:`socks5.interfaces.IAccessLog.write`."""
        self._records.append(record)
        count = len(self._records)
        if count == 1:
            self._behind(self._write_out)
        elif count == TOGETHER:
            self._write_out()

    def _write_out(self) -> None:
        """Write the records that wait for nothing but each other."""
        self._make_lines()
        if self._retrying is None:
            self.flush()

    def _make_lines(self) -> None:
        records, self._records = self._records, []
        for record in records:
            try:
                line = (self._form(record) + "\n").encode("utf-8", "backslashreplace")
            except Exception:
                self._log.failure("session {session} has no record", session=record.session)
                continue
            if self._octets_waiting + len(line) > MAX_WAITING:
                self._lose(1, "nobody reads them")
                continue
            self._waiting.append(line)
            self._octets_waiting += len(line)

    def flush(self) -> None:
        """Write every record that waits."""
        self._make_lines()
        if self._retrying is not None and self._retrying.active():
            self._retrying.cancel()
        self._retrying = None
        waiting, self._waiting = self._waiting, []
        self._octets_waiting = 0
        if waiting:
            self._append(b"".join(waiting))

    def _append(self, data: bytes) -> None:
        """Write lines, as many of them as the output takes; the others wait, or are lost."""
        rest = data
        try:
            descriptor = self._current()
            self._end_torn_line(descriptor)
            while rest and self._takes_octets():
                rest = rest[os.write(descriptor, rest if self._poll is None else rest[:_CHUNK]) :]
        except OSError as error:
            self._remove_half_line(data[: len(data) - len(rest)])
            self._close()  # to be opened anew for the next lines
            self._lose(rest.count(b"\n"), error.strerror)
            self._retry_later()
        else:
            if rest:
                self._wait(rest)
            elif self._is_failing:
                self._succeeded()

    def _takes_octets(self) -> bool:
        """Whether a small write would not block: a terminal or a pipe may have stopped reading."""
        return self._poll is None or bool(self._poll.poll(0))

    def _wait(self, rest: bytes) -> None:
        self._waiting = [rest]
        self._octets_waiting = len(rest)
        self._retry_later()

    def _retry_later(self) -> None:
        self._retrying = self._reactor.callLater(RETRY_INTERVAL, self.flush)

    # Half a line

    def _remove_half_line(self, written: bytes) -> None:
        """A failure came within a line: take back what is in the file of it. Where that cannot be, because
        another process has written behind it, it gets its end before the next line.
        """
        half = len(written) - (written.rfind(b"\n") + 1)
        descriptor = self._descriptor
        if not half or descriptor is None:
            return
        self._torn = self._status
        with suppress(OSError):
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            if os.fstat(descriptor).st_size == end:
                os.ftruncate(descriptor, end - half)
                self._torn = None

    def _end_torn_line(self, descriptor: int) -> None:
        """:raises OSError: there is no room for that."""
        if self._torn is not None:
            if self._status is not None and os.path.samestat(self._torn, self._status):
                os.write(descriptor, b"\n")
            self._torn = None

    # The file

    def _current(self) -> int:
        """The descriptor of the file that the path leads to now, or led to a moment ago.

        :raises OSError: it cannot be opened for appending.
        """
        if self._is_moved():
            self._close()
        if self._descriptor is None:
            self.open()
        assert self._descriptor is not None
        return self._descriptor

    def _is_moved(self) -> bool:
        """Whether the path no longer leads to the open file: rotated away, or removed."""
        now = self._reactor.seconds()
        if 0 <= now - self._looked < LOOK_INTERVAL:
            return False
        self._looked = now
        if self._path == STANDARD_OUTPUT or self._descriptor is None or self._status is None:
            return False
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        except OSError:  # not to be seen, which says nothing about the open file
            return False
        return not os.path.samestat(there, self._status)

    def _lose(self, count: int, reason: str | None) -> None:
        """Records are lost; said once, until something is written again."""
        self.lost += count
        if not self._is_failing:
            self._is_failing = True
            self._log.error(
                "access log {path} loses records: {reason}", path=self._path, reason=reason
            )

    def _succeeded(self) -> None:
        self._is_failing = False
        self._log.info(
            "access log {path} is written again; {lost} records are lost",
            path=self._path,
            lost=self.lost,
        )

    def reopen(self) -> str | None:
        """Write what waits, and continue in the file that the path leads to now.

        :returns: the path; None for the standard output, which has none.
        :raises OSError: it cannot be opened; the file of before stays.
        """
        self.flush()
        if self._path == STANDARD_OUTPUT:
            return None
        before, self._descriptor = self._descriptor, None
        try:
            self.open()
        except OSError:
            self._descriptor = before
            raise
        _closed(before)
        return self._path

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.flush()
        if self._retrying is not None:  # an output that has stopped taking octets
            self._retrying.cancel()
            self._retrying = None
            waiting, self._waiting = self._waiting, []
            self._lose(b"".join(waiting).count(b"\n"), "nobody reads them")
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if self._path != STANDARD_OUTPUT:
            _closed(descriptor)


def _closed(descriptor: int | None) -> None:
    if descriptor is not None:
        with suppress(OSError):  # whatever it says, the descriptor is gone
            os.close(descriptor)
