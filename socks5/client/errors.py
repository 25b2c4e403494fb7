"""Why there is no tunnel: the errors of a client of proxies, each of which is Twisted's as well.

.. code-block:: text

    ClientError                     SOCKSError and ConnectError; has stage and hop
      ReplyError                    the last proxy says no; code is REP, 9-255 have no class
        GeneralFailure            1
        NotAllowed                2
        NetworkUnreachable        3   + NoRouteError
        HostUnreachable           4
          NameNotFound                + DNSLookupError: the answer to RESOLVE and RESOLVE_PTR
        ConnectionRefused         5   + ConnectionRefusedError
        TTLExpired                6   + TimeoutError
        CommandNotSupported       7
        AddressTypeNotSupported   8
      ProxyUnreachable              no connection to a proxy, or no TLS; __cause__ says why
      ProxyTimeout                  + TimeoutError: not in time, at that stage
      ProxyAuthError                no method in common, or the login was refused
      ProxyProtocolError            other octets than those of the RFC
      ProxyClosed                   an end where a message was due

``except ConnectionRefusedError`` therefore is about the target, as without a proxy: no trouble on the way to it is one.
No text has a login or an octet that was received.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from twisted.internet import error
from typing_extensions import override

from socks5.protocol import errors
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Method


class ClientError(SOCKSError, error.ConnectError):
    """The root of these.

    :param text: what happened, to which proxy.
    :param stage: when: ``resolve`` (the target's name, here), ``connect``, ``tls``, ``method``, ``login``, ``reply``,
        and ``peer`` where a BIND awaits one.
    :param hop: to which proxy on the way, from 1.
    """

    number: ClassVar[int | None] = None
    """The errno that Twisted's base has."""

    upstream = ""
    """The name of the upstream, where a server has gone through one."""

    def __init__(self, text: str, *, stage: str, hop: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.args = (text,)
        self.osError = self.number
        self.stage = stage
        self.hop = hop

    @override
    def __str__(self) -> str:
        return str(self.args[0])


class ReplyError(ClientError, errors.ReplyError):
    """See :exc:`socks5.protocol.errors.ReplyError`.

    :param code: the REP octet; a subclass has its own.
    """

    def __init__(
        self, text: str, code: int | None = None, *, stage: str = "reply", hop: int = 1
    ) -> None:
        super().__init__(text, stage=stage, hop=hop)
        if code is not None:
            self.code = code


class GeneralFailure(ReplyError, errors.GeneralFailure):
    """REP 1."""


class NotAllowed(ReplyError, errors.NotAllowed):
    """REP 2."""

    number = errno.EACCES


class NetworkUnreachable(ReplyError, errors.NetworkUnreachable, error.NoRouteError):
    """REP 3."""

    number = errno.ENETUNREACH


class HostUnreachable(ReplyError, errors.HostUnreachable):
    """REP 4; also a name that the proxy cannot resolve."""

    number = errno.EHOSTUNREACH


class NameNotFound(HostUnreachable, error.DNSLookupError):
    """REP 4 where a name, or its address, was asked for. Of a CONNECT that does not say what was wrong."""


class ConnectionRefused(ReplyError, errors.ConnectionRefused, error.ConnectionRefusedError):
    """REP 5: the target's refusal."""

    number = errno.ECONNREFUSED


class TTLExpired(ReplyError, errors.TTLExpired, error.TimeoutError):
    """REP 6: the target took too long, as the proxy says."""

    number = errno.ETIMEDOUT


class CommandNotSupported(ReplyError, errors.CommandNotSupported):
    """REP 7."""

    number = errno.EOPNOTSUPP


class AddressTypeNotSupported(ReplyError, errors.AddressTypeNotSupported):
    """REP 8."""

    number = errno.EAFNOSUPPORT


class ProxyUnreachable(ClientError):
    """There is no connection to a proxy, or no TLS over it. ``__cause__`` says why, in the words of Twisted's, of
    OpenSSL's or of the proxy before it.
    """


class ProxyTimeout(ClientError, error.TimeoutError):
    """It did not go through in time."""

    number = errno.ETIMEDOUT


class ProxyAuthError(ClientError):
    """A proxy has no method in common with us, or does not accept the login."""


class ProxyProtocolError(ClientError):
    """A proxy sent what the RFC forbids, or is none."""


class ProxyClosed(ClientError):
    """A proxy closed the connection where a message was due. ``__cause__`` is the reason, if there is one."""


_KINDS = (
    *(GeneralFailure, NotAllowed, NetworkUnreachable, HostUnreachable),
    *(ConnectionRefused, TTLExpired, CommandNotSupported, AddressTypeNotSupported),
)
_BY_CODE: dict[int, type[ReplyError]] = dict(enumerate(_KINDS, 1))


def error_for(found: SOCKSError, text: str, stage: str, hop: int) -> ClientError:
    """What a machine ended with, as one of these.

    :param found: the machine's error.
    :param text: what comes before its words.
    """
    text = f"{text}: {found}"
    if isinstance(found, errors.NoAcceptableMethod) and found.offered == (
        Method.NO_AUTHENTICATION,
    ):
        text += ": it wants a login"
    if isinstance(found, errors.ReplyError):
        return _BY_CODE.get(found.code, ReplyError)(text, found.code, stage=stage, hop=hop)
    is_login = isinstance(found, errors.NegotiationError)
    return (ProxyAuthError if is_login else ProxyProtocolError)(text, stage=stage, hop=hop)
