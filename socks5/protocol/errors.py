"""The error tree of the package, and nothing else.

.. code-block:: text

    SOCKSError
      ProtocolError                 somebody broke the wire format or the order of the steps
        LocalProtocolError          we did: a message that the RFC forbids was about to be sent
        RemoteProtocolError         the peer did; ``reply`` is the code to answer with, or None
          NotSOCKS5                 from its first octet on; ``kind`` is what it may speak instead
      NegotiationError              the steps were right, the two sides do not agree
        NoAcceptableMethod          no authentication method in common
        AuthenticationFailed        the credentials were refused
        NoAcceptableProtection      no level of protection in common
      ReplyError                    a command failed; ``code`` is the REP octet (RFC 1928 section 6)
        GeneralFailure            1
        NotAllowed                2
        NetworkUnreachable        3
        HostUnreachable           4
        ConnectionRefused         5
        TTLExpired                6
        CommandNotSupported       7
        AddressTypeNotSupported   8

An unassigned REP octet (9-255) is a plain :exc:`ReplyError` with that code, so a client survives
all of them. No message of these exceptions ever contains a password or relayed octets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from typing_extensions import override


class SOCKSError(Exception):
    """The root: everything this package raises on purpose."""


class ProtocolError(SOCKSError):
    """The octets, or their order, are not what the RFCs describe."""


class LocalProtocolError(ProtocolError):
    """We were asked to send, or to do, what the RFC forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the RFC forbids.

    :param message: what was wrong, without the peer's payload.
    :param reply: the REP code that answers it, or None where the format leaves no room for an
        answer (the connection is then simply closed).
    """

    def __init__(self, message: str, reply: int | None = None) -> None:
        super().__init__(message)
        self.reply = reply


class NotSOCKS5(RemoteProtocolError):
    """A client's first octet is none of SOCKS5.

    :param first: that octet.
    """

    def __init__(self, first: int) -> None:
        self.kind, hint = _OTHERS.get(first, ("unknown", ""))
        if 0x41 <= first <= 0x5A:
            self.kind = "HTTP"  # the capital letter of a method
        super().__init__(f"not SOCKS5: first octet {first}{hint}")


_OTHERS = {
    4: ("SOCKS4", ", as of SOCKS4"),
    13: ("PROXY header", ", as of a PROXY header: see --proxy-from"),
    22: ("TLS", ", as of TLS: see --listen tls:"),
}
"""What a first octet may be of instead: its name, and a hint."""


class NegotiationError(SOCKSError):
    """Both sides follow the protocol and do not come to terms."""


_METHODS = {0: "none", 1: "gssapi", 2: "password", 3: "chap"}
"""Their names, as ``--methods`` has them; another one is its number."""


def _listed(methods: Sequence[int]) -> str:
    """As many as a line has room for."""
    shown = ", ".join(_METHODS.get(method) or str(int(method)) for method in methods[:8])
    return f"{shown} and {len(methods) - 8} more" if len(methods) > 8 else shown or "nothing"


class NoAcceptableMethod(NegotiationError):
    """No authentication method that one side offers is accepted by the other (RFC 1928 section 3).

    :param offered: the methods offered, as octets 0-254.
    :param accepted: the methods that would have been accepted.
    """

    def __init__(self, offered: Iterable[int], accepted: Iterable[int]) -> None:
        self.offered = tuple(offered)
        self.accepted = tuple(accepted)
        super().__init__(self.offered, self.accepted)

    @override
    def __str__(self) -> str:
        return f"offered methods {_listed(self.offered)}, accepted {_listed(self.accepted)}"


class AuthenticationFailed(NegotiationError):
    """The user name and password (RFC 1929), or another proof, were not accepted."""


class NoAcceptableProtection(NegotiationError):
    """No level of protection that the server permits is what the client requires (RFC 1961 section 4.2).

    :param required: the client's level, an octet.
    :param permitted: the levels that the server would have accepted.
    """

    def __init__(self, required: int, permitted: Iterable[int]) -> None:
        self.required = required
        self.permitted = tuple(permitted)
        super().__init__(self.required, self.permitted)

    @override
    def __str__(self) -> str:
        permitted = sorted(int(level) for level in self.permitted)
        return f"protection level {self.required} required, permitted {permitted}"


REPLY_WORDS = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
"""What a REP octet says, in the words of RFC 1928 section 6."""


class ReplyError(SOCKSError):
    """A command failed with a REP code other than 0 (RFC 1928 section 6).

    :param code: the REP octet, 1-255; a subclass has its own and takes none.
    :param message: what failed, in words.
    """

    code: int
    _by_code: ClassVar[dict[int, type[ReplyError]]] = {}
    _own_code: ClassVar[int | None] = None

    def __init__(self, message: str = "", code: int | None = None) -> None:
        self.code = code if code is not None else (self._own_code or 1)
        super().__init__(message or f"{REPLY_WORDS.get(self.code, 'unassigned')} (REP {self.code})")

    @override
    def __init_subclass__(cls, code: int | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls._own_code = code
            ReplyError._by_code[code] = cls

    @staticmethod
    def for_code(code: int, message: str = "") -> ReplyError:
        """The most specific error for a REP octet; an unassigned one gives :exc:`ReplyError`
        itself.

        :param code: the REP octet, 1-255.
        """
        return ReplyError._by_code.get(code, ReplyError)(message, code)


class GeneralFailure(ReplyError, code=1):
    """REP 1: general SOCKS server failure."""


class NotAllowed(ReplyError, code=2):
    """REP 2: connection not allowed by ruleset."""


class NetworkUnreachable(ReplyError, code=3):
    """REP 3: network unreachable."""


class HostUnreachable(ReplyError, code=4):
    """REP 4: host unreachable; also a name that does not resolve."""


class ConnectionRefused(ReplyError, code=5):
    """REP 5: connection refused."""


class TTLExpired(ReplyError, code=6):
    """REP 6: TTL expired; also a connection attempt that took too long."""


class CommandNotSupported(ReplyError, code=7):
    """REP 7: command not supported."""


class AddressTypeNotSupported(ReplyError, code=8):
    """REP 8: address type not supported."""
