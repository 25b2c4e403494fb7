"""CONNECT through an HTTP proxy, the client's half (RFC 9110 section 9.3.6, RFC 9112): another machine of
:mod:`socks5.protocol.client_negotiation`'s shape, so that whoever drives the one drives the other.

It knows Basic alone of the ways to log in, reads no body, and of the header it keeps the error of ``Proxy-Status``
(RFC 9209).
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import ClassVar

from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.client_negotiation import ClientEvent, ReplyReceived
from socks5.protocol.errors import (
    REPLY_WORDS,
    AuthenticationFailed,
    HostUnreachable,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyError,
)
from socks5.protocol.machine import Machine
from socks5.protocol.messages import Credentials, Reply, ReplyCode
from socks5.protocol.stages import CLIENT_NEXT, Stage

MAX_OCTETS = 16384
"""Octets of all that comes before the target's, line ends included."""

MAX_LINES = 100
"""Lines of it, empty ones included."""

MAX_INTERIM = 4
"""Answers of 1xx that are skipped (RFC 9110 section 15.2)."""

_NAME = re.compile(rb"[A-Za-z0-9_.-]+")
"""What may get into a line of the request; a name of SOCKS5 may have any octet, CR and LF too."""

_BEGINNING = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: .*)?", re.DOTALL)

_SWITCHING = 101

_LOGIN_WANTED = (401, 407)
"""No server behind the proxy can have answered. Tinyproxy says 401 to a wrong password, 407 to none."""

_BY_STATUS = {
    403: ReplyCode.NOT_ALLOWED,
    405: ReplyCode.COMMAND_NOT_SUPPORTED,
    408: ReplyCode.TTL_EXPIRED,
    451: ReplyCode.NOT_ALLOWED,
    501: ReplyCode.COMMAND_NOT_SUPPORTED,
    502: ReplyCode.HOST_UNREACHABLE,
    503: ReplyCode.HOST_UNREACHABLE,
    504: ReplyCode.TTL_EXPIRED,
}
"""What a status comes to in REP octets; any other one is a general failure."""

_BY_ERROR = {
    b"connection_refused": ReplyCode.CONNECTION_REFUSED,
    b"connection_timeout": ReplyCode.TTL_EXPIRED,
    b"destination_ip_prohibited": ReplyCode.NOT_ALLOWED,
    b"destination_ip_unroutable": ReplyCode.NETWORK_UNREACHABLE,
    b"destination_not_found": ReplyCode.HOST_UNREACHABLE,
    b"dns_error": ReplyCode.HOST_UNREACHABLE,
    b"dns_timeout": ReplyCode.HOST_UNREACHABLE,
    b"http_request_denied": ReplyCode.NOT_ALLOWED,
}
"""The same of an error type of RFC 9209 section 2.3, which says more than a status."""

_ERROR = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\Z)|;[ \t]*error=([a-z_]+)', re.DOTALL)
"""An error type, or a string, which may contain anything."""


class HTTPConnect(Machine):
    """One CONNECT. ``take_output`` holds the request at once; events are those of
    :class:`~socks5.protocol.client_negotiation.ClientNegotiation`. A status of 2xx is a reply of success without an
    address; others are the :exc:`~socks5.protocol.errors.ReplyError` that fits, 407 and 401
    are :exc:`~socks5.protocol.errors.AuthenticationFailed`.

    Behind the empty line of a success the next octet is the target's, whatever the header says of a body.

    :param target: where to.
    :param credentials: for Basic (RFC 7617), or None. A user name has no colon.
    :raises socks5.protocol.errors.HostUnreachable: a name has octets that no host has, which may not get into the
        request.
    :raises LocalProtocolError: the target cannot be encoded, or there is a colon in the user name.
    """

    __slots__ = ("_error", "_has_login", "_interim", "_lines", "_octets", "_status")

    _next = CLIENT_NEXT

    def __init__(self, target: Address, credentials: Credentials | None = None) -> None:
        super().__init__(Stage.COMMAND)
        target.encode()  # raises, if it is none
        if isinstance(target.host, bytes) and not _NAME.fullmatch(target.host):
            raise HostUnreachable("a name that an HTTP proxy cannot be asked for")
        self._has_login = credentials is not None
        self._octets = self._lines = self._interim = 0
        self._status: int | None = None  # until the first line is there
        self._error = b""  # the word of a Proxy-Status that says what it is
        self._output = b"CONNECT %(to)s HTTP/1.1\r\nHost: %(to)s\r\n%(login)s\r\n" % {
            b"to": str(target).encode(),
            b"login": b"" if credentials is None else _login(credentials),
        }

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Take octets from the proxy.

        :returns: the event that they complete, if any.
        """
        event: ClientEvent | None = self._take_in(data)
        return [] if event is None else [event]

    def _await_line(self) -> ClientEvent | None:
        """Take a line; each counts, and so does each octet of one that is not whole."""
        buffer = self._buffer
        used = buffer.find(b"\n") + 1
        if self._octets + (used or len(buffer)) > MAX_OCTETS or self._lines == MAX_LINES:
            raise RemoteProtocolError("the header of the answer is too long")
        if self._status is None and not buffer.startswith(_BEGINNING[: len(buffer)]):
            hint = ", as of SOCKS5: use socks5://" if buffer[0] == 5 else ""
            raise RemoteProtocolError(f"not an HTTP proxy: first octet {buffer[0]}{hint}")
        if not used:
            return None
        self._octets += used
        self._lines += 1
        self._buffer = buffer[used:]
        return self._take_line(buffer[:used].rstrip(b"\r\n"))

    def _take_line(self, line: bytes) -> ClientEvent | None:
        if self._status is None:
            found = _STATUS.fullmatch(line)
            if found is None:
                raise RemoteProtocolError("the answer's first line has no status")
            self._status = int(found[1])
        elif line:
            self._look_at(line)
        else:
            return self._end_header(self._status)
        return None

    def _look_at(self, line: bytes) -> None:
        """A field of the header. The first proxy in a Proxy-Status is the one next to the target."""
        name, _, value = line.partition(b":")
        if not self._error and name.lower() == b"proxy-status":
            words = (found[1] for found in _ERROR.finditer(value))
            self._error = next((word for word in words if word in _BY_ERROR), b"")

    def _end_header(self, status: int) -> ClientEvent | None:
        if 100 <= status < 200 and status != _SWITCHING:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise RemoteProtocolError("no answer but interim ones")
            self._status, self._error = None, b""
            return None
        if 200 <= status < 300:
            self._enter(Stage.ESTABLISHED)
            return ReplyReceived(Reply(ReplyCode.SUCCEEDED, UNSPECIFIED))
        if status in _LOGIN_WANTED:
            words = "user name and password not accepted" if self._has_login else "it wants a login"
            return self._close(AuthenticationFailed(f"{words} (status {status})"))
        error = self._error
        code = _BY_ERROR.get(error) or _BY_STATUS.get(status, ReplyCode.GENERAL_FAILURE)
        said = f"status {status}, {error.decode()}" if error else f"status {status}"
        return self._close(ReplyError.for_code(code, f"{REPLY_WORDS[code]} ({said})"))

    _steps: ClassVar = {Stage.COMMAND: _await_line}


def _login(credentials: Credentials) -> bytes:
    """The header's line.

    :raises LocalProtocolError: there is a colon in the user name.
    """
    if b":" in credentials.username:
        raise LocalProtocolError("a colon in the user name cannot be sent to an HTTP proxy")
    login = b64encode(credentials.username + b":" + credentials.password)
    return b"Proxy-Authorization: Basic %s\r\n" % login
