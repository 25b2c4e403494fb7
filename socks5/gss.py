"""What both halves need of the library ``gssapi``: its errors in words, and messages out of their tokens."""

from __future__ import annotations

from typing import Any

from socks5.protocol.errors import RemoteProtocolError


def said(error: Any) -> str:
    """What the library says of an error, in ASCII and on one line: Kerberos' words, or GSS-API's if it has none."""
    code, is_major = (error.min_code, False) if error.min_code else (error.maj_code, True)
    words = ", ".join(error.get_all_statuses(code, is_major))
    if words == "Success":  # so it calls octets that are no token at all
        words = "not a token"
    return words.encode("unicode_escape").decode()


def unwrap(library: Any, context: Any, token: bytes) -> tuple[bytes, bool]:
    """See :meth:`socks5.logins.IContext.unwrap`.

    By buffers of our own (an IOV), for the library's simple call leaks the octets of a token that has come
    before.
    """
    raw = library.raw
    buffers = raw.IOV(
        (raw.IOVBufferType.stream, token),
        (raw.IOVBufferType.data, True, None),
        std_layout=False,
    )
    try:
        outcome = raw.unwrap_iov(context, buffers)
    except library.exceptions.GSSError:
        raise RemoteProtocolError("a token that is not this context's, or not its next") from None
    return buffers[1].value or b"", bool(outcome.encrypted)
